"""What a precision is made from, and what making it found out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fer_export.parity.inputs import InputBatch
from fer_export.precision.accuracy import Figures
from fer_export.precision.float_layers import FloatLayers
from fer_runtime.labelled import Labelled
from fer_runtime.spec import ModelSpec


@dataclass(frozen=True)
class Job:
    """What a precision is made from.

    Attributes:
        source: the fp32 file.
        target: the file to write; its folder takes temporary files too.
        spec: the model's.
        batches: what parity is checked on.
        calibration: a folder of typical images, or None.
        skip_duplicates: omit calibration images that are in the evaluation set.
        known: the evaluation set, or None.
        reference: fp32's figures on it, or None.
        float_layers: which layers int8 leaves in float for speed: auto, none, or their names.
        say: called with a short line as work proceeds.
    """

    source: Path
    target: Path
    spec: ModelSpec
    batches: Sequence[InputBatch]
    calibration: Path | None
    skip_duplicates: bool
    known: Labelled | None
    reference: Figures | None
    float_layers: str
    say: Callable[[str], None]


@dataclass(frozen=True)
class Candidate:
    """One way of quantising, and how accurate the model was afterwards.

    `kept` are the nodes that stayed in float.
    """

    method: str
    kept: tuple[str, ...]
    figures: Figures

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Made:
    """What making a precision found out.

    Attributes:
        figures: on the evaluation set; None where they were not measured.
        candidates: the ways of quantising that were tried.
        largest_intermediate: the largest fp32 value inside the graph, for fp16.
        float_layers: what timing the layers of int8 found; None where they were not timed.
    """

    figures: Figures | None = None
    candidates: Sequence[Candidate] = ()
    largest_intermediate: float | None = None
    float_layers: FloatLayers | None = None
