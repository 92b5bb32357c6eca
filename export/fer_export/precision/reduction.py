"""An fp32 artefact in another precision, with what that costs and gains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_export.formats.table import Format
from fer_export.options import ExportOptions
from fer_export.parity.inputs import InputBatch
from fer_export.precision import accuracy, speed
from fer_export.precision.float_layers import FloatLayers
from fer_export.precision.job import Candidate, Job, Made
from fer_export.precision.table import Precision
from fer_runtime import labelled
from fer_runtime._lazy import resolve
from fer_runtime.spec import ModelSpec


@dataclass(frozen=True)
class Reduced:
    """What a precision costs and gains.

    Attributes:
        figures: those of "fp32" and of the precision on labelled images; empty without such.
        speed: images/s at batch 32 on one thread.
        bytes: the files' sizes before the verdict is written into them.
        candidates: the ways of quantising that were tried.
        largest_intermediate: the largest fp32 value inside the graph, for fp16.
        float_layers: what timing the layers of int8 found; None where they were not timed.
    """

    figures: Mapping[str, accuracy.Figures]
    speed: Mapping[str, float]
    bytes: Mapping[str, int]
    candidates: Sequence[Candidate] = ()
    largest_intermediate: float | None = None
    float_layers: FloatLayers | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "accuracy": {name: found.to_dict() for name, found in self.figures.items()},
            "candidates": [candidate.to_dict() for candidate in self.candidates],
            "largest_intermediate": self.largest_intermediate,
            "float_layers": self.float_layers and self.float_layers.to_dict(),
            "images_per_second": dict(self.speed),
            "bytes": dict(self.bytes),
        }


def reduce(
    precision: Precision,
    chosen: Format,
    source: Path,
    target: Path,
    spec: ModelSpec,
    batches: Sequence[InputBatch],
    options: ExportOptions,
    say: Callable[[str], None] = lambda _: None,
) -> Reduced:
    """Write another precision of an fp32 file, and measure what it costs and gains.

    Args:
        precision: which one; not fp32.
        chosen: the files' format.
        source: the fp32 file.
        target: the file to write.
        spec: the model's.
        batches: what parity is checked on.
        options: the folders `calibration` and `evaluation`; int8 requires both.
        say: called with a short line as work proceeds.

    Raises:
        DataError: a folder cannot be used.
        ParityError: the model loses too much in this precision.
    """
    evaluation = options.evaluation
    known = None if evaluation is None else labelled.read(evaluation, spec.labels)
    reference = None
    if known is not None:
        say(f"measuring fp32 on {len(known.paths):,} labelled images")
        reference = accuracy.measure(chosen.runner(source), known, spec)
    job = Job(
        source, target, spec, batches, options.calibration, options.skip_duplicates, known,
        reference, options.float_layers, say,
    )  # fmt: skip
    made: Made = resolve(precision.maker)(job)
    figures = {}
    if known is not None and reference is not None:
        own = made.figures or accuracy.measure(chosen.runner(target), known, spec)
        figures = {"fp32": reference, precision.name: own}
    say("measuring speed")
    chosen.embed(target, spec)  # quantisers lose it, or keep a stale one
    files = {"fp32": source, precision.name: target}
    sizes = {name: path.stat().st_size for name, path in files.items()}
    return Reduced(
        figures, speed.images_per_second(files), sizes, made.candidates,
        made.largest_intermediate, made.float_layers,
    )  # fmt: skip
