"""The table of precisions: what each may cost, and how it is made from the fp32 file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from fer_export.parity.limits import TOLERANCE
from fer_runtime._lazy import resolve

if TYPE_CHECKING:
    from fer_export.precision.job import Job, Made
    from fer_runtime.spec import ModelSpec
    from fer_train.models import Deployable


@dataclass(frozen=True)
class Precision:
    """One precision of an artefact.

    Functions may be given as "package.module:name".

    Attributes:
        name: its name in the table.
        help: what it is, in a few words.
        infix: before the file's ending, as `.fp16` in `best.fp16.onnx`.
        tolerance: largest difference of logits in standard deviations of the reference's, unless
            another is given; None compares decisions only.
        min_agreement: smallest share of equal top-1, unless another is given.
        arithmetic: the precision that it computes in, where that is not its own.
        requires: option -> what it is, for options without which it cannot be made.
        providers: where it is compared.
        maker: (Job) -> Made writes the file from the fp32 one; None for fp32 itself.
        detector: (path) -> whether an artefact has this precision; None for fp32.
        accuracy_check: (deployable, spec, path, evaluation folder or None) -> failures; None where
            parity decides.
    """

    name: str
    help: str
    infix: str
    tolerance: float | None
    min_agreement: float
    arithmetic: str = ""
    requires: Mapping[str, str] = field(default_factory=dict)
    providers: tuple[str, ...] = ("cpu", "cuda")
    maker: str | Callable[[Job], Made] | None = None
    detector: str | Callable[[Path], bool] | None = None
    accuracy_check: str | Callable[..., list[str]] | None = None

    @property
    def computes(self) -> str:
        """The precision that it computes in."""
        return self.arithmetic or self.name

    def accuracy_failures(
        self, deployable: Deployable, spec: ModelSpec, artefact: Path, evaluation: Path | None
    ) -> list[str]:
        """What an artefact of this precision loses on labelled images, if that is too much."""
        if self.accuracy_check is None:
            return []
        return cast(
            "list[str]", resolve(self.accuracy_check)(deployable, spec, artefact, evaluation)
        )


PRECISIONS: dict[str, Precision] = {
    "fp32": Precision("fp32", "full size", "", TOLERANCE, 1.0),
    "fp16": Precision(
        "fp16",
        "half the size, faster on GPUs",
        ".fp16",
        # Half precision has 11 bits; a deep model loses some of them.
        tolerance=0.05,
        min_agreement=0.995,
        maker="fer_export.precision.half:make",
        detector="fer_export.precision.half:is_half",
    ),
    "fp16-weights": Precision(
        "fp16-weights",
        "half the size, computed in fp32 everywhere",
        ".fp16-weights",
        # Only the weights are rounded, to 11 bits.
        tolerance=0.01,
        min_agreement=0.998,
        arithmetic="fp32",
        maker="fer_export.precision.half_weights:make",
        detector="fer_export.precision.half_weights:has_half_weights",
    ),
    "int8": Precision(
        "int8",
        "a quarter of the size, needs --calibration and --evaluation",
        ".int8",
        # Values differ by design; macro-F1 on labelled images decides.
        tolerance=None,
        min_agreement=0.0,
        requires={
            "calibration": "typical images, to choose ranges by",
            "evaluation": "labelled images, DIR/<label>/*, which decide whether it may be used",
        },
        providers=("cpu",),
        maker="fer_export.precision.int8:make",
        detector="fer_export.precision.int8:is_int8",
        accuracy_check="fer_export.precision.int8:accuracy_failures",
    ),
}
"""Name -> precision. Which of them a format supports is in the table of formats."""


def precision_of(artefact: Path, supported: Iterable[str] = tuple(PRECISIONS)) -> Precision:
    """The precision of an artefact by its content; fp32 where no other one is detected.

    Args:
        artefact: the file.
        supported: the precisions that its format can have.
    """
    for name in reversed(tuple(supported)):
        entry = PRECISIONS[name]
        if entry.detector is not None and resolve(entry.detector)(artefact):
            return entry
    return PRECISIONS["fp32"]


def beside(artefact: Path, precision: str) -> Path | None:
    """The file of another precision with the same weights and labels beside an fp32 one.

    None where there is none, or parity does not hold for it.
    """
    from fer_export.inspection import read_spec
    from fer_runtime.errors import FerError

    other = artefact.with_name(f"{artefact.stem}{PRECISIONS[precision].infix}{artefact.suffix}")
    if other == artefact or not other.is_file():
        return None
    try:
        ours, theirs = read_spec(artefact), read_spec(other)
    except FerError:
        return None
    weights = ours.provenance.weights_sha256
    same = weights is not None and weights == theirs.provenance.weights_sha256
    passed = (theirs.parity or {}).get("passed") is True
    return other if same and passed and ours.labels == theirs.labels else None
