"""The first node whose output differs from PyTorch's, with its numbers.

Both sides name their values alike, because the artefact was made from the same program that is run
here: the ONNX graph from `torch.onnx.export`, the `.pt2` from `torch.export.export`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fer_export.formats.table import FORMATS, Values, format_of
from fer_export.parity.limits import LEAST_SCALE
from fer_runtime._lazy import resolve
from fer_runtime.errors import ModelFileError
from fer_runtime.spec import ModelSpec
from fer_train.models import Deployable


@dataclass(frozen=True)
class Divergence:
    """The first value that differs.

    Attributes:
        node: the node that computes it.
        operator: what the node does.
        module: the part of the model that the node comes from.
        difference: the largest absolute difference.
        scale: the standard deviation of PyTorch's value.
        compared: how many values were compared.
        nodes: how many both sides have.
    """

    node: str
    operator: str
    module: str
    difference: float
    scale: float
    compared: int
    nodes: int

    def __str__(self) -> str:
        return (
            f"the first node whose output differs is {self.node} ({self.operator}, of "
            f"{self.module}): by up to {self.difference:.3g}, "
            f"{self.difference / max(self.scale, 1e-12):.2g} of its standard deviation (value "
            f"{self.compared} of {self.nodes} that both have)"
        )


def first(
    deployable: Deployable,
    spec: ModelSpec,
    artefact: Path,
    pixels: npt.NDArray[np.uint8],
    tolerance: float,
) -> Divergence | None:
    """Compare every value that both sides compute for (N, C, H, W) uint8 pixels, in order.

    A value differs where it is off by more than `tolerance` standard deviations of PyTorch's own.
    None: no value differs.

    Raises:
        ModelFileError: a format whose values have no names (TorchScript), or an artefact that
            shares no value with the checkpoint's program.
    """
    chosen = format_of(artefact)
    if chosen.bisector is None:
        others = " or ".join(entry.ending for entry in FORMATS.values() if entry.bisector)
        raise ModelFileError(
            f"{artefact}: the values of a {chosen.title} file carry no names; bisect the {others} "
            "file of the same checkpoint."
        )
    found: Values = resolve(chosen.bisector)(deployable, spec, artefact, pixels)
    shared = [
        name
        for name, value in found.candidate.items()
        if name in found.reference and found.reference[name].shape == value.shape
    ]
    if not shared:
        raise ModelFileError(
            f"{artefact} shares no value with the checkpoint's program, so nothing can be "
            "bisected; was it exported by another version, or made elsewhere?"
        )
    for count, name in enumerate(shared, 1):
        expected = found.reference[name].astype(np.float64)
        difference = np.abs(expected - found.candidate[name].astype(np.float64)).max(initial=0.0)
        scale = float(expected.std())
        if not difference <= tolerance * max(scale, LEAST_SCALE):  # also NaN
            return Divergence(*found.places[name], float(difference), scale, count, len(shared))
    return None
