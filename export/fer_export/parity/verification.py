"""Everything that was found out about an artefact, as a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fer_export.parity.comparison import ParityReport
from fer_runtime.errors import ParityError

if TYPE_CHECKING:
    from fer_export.engines.verifying import EngineVerdict
    from fer_export.precision.reduction import Reduced


@dataclass(frozen=True)
class Verification:
    """Everything that was found out about an artefact; true only if it passed.

    Attributes:
        precision: a name in `PRECISIONS`.
        report: the comparison with PyTorch.
        reduced: what the precision costs and gains; None for fp32.
        pictures: (C, H, W) uint8 pixels of the first images whose label changed, by name.
        engines: what other engines make of the artefact (`fer-export verify --engine`).
    """

    precision: str
    report: ParityReport
    reduced: Reduced | None = None
    pictures: Mapping[str, npt.NDArray[np.uint8]] = field(default_factory=dict)
    engines: Sequence[EngineVerdict] = ()

    def __bool__(self) -> bool:
        return bool(self.report) and all(self.engines)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: all but the pictures."""
        found = {"precision": self.precision, **self.report.to_dict()}
        if self.engines:
            found["passed"] = bool(self)
            found["engines"] = [each.to_dict() for each in self.engines]
        return found if self.reduced is None else {**found, **self.reduced.to_dict()}

    def summary(self) -> dict[str, Any]:
        """What is written into the artefact."""
        found = {"precision": self.precision, **self.report.summary()}
        if self.reduced is not None and self.reduced.figures:
            figures = self.reduced.figures.items()
            found["accuracy"] = {name: entry.to_dict() for name, entry in figures}
        if self.reduced is not None and self.reduced.float_layers is not None:
            found["float_layers"] = self.reduced.float_layers.summary()
        return found


class VerificationError(ParityError):
    """A ParityError that carries its verification."""

    def __init__(self, message: str, verification: Verification) -> None:
        super().__init__(message)
        self.verification = verification
