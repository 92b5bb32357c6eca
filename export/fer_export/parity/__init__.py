"""Whether two models compute the same: the inputs, the comparison, and its result."""

from typing import TYPE_CHECKING

from fer_export.parity.limits import LEAST_SCALE, TOLERANCE
from fer_runtime._lazy import lazy_attributes

if TYPE_CHECKING:
    from fer_export.parity.comparison import (
        Arrays,
        Batch,
        ChangedLabel,
        ParityReport,
        compare,
        with_failures,
    )

__all__ = [
    "LEAST_SCALE",
    "TOLERANCE",
    "Arrays",
    "Batch",
    "ChangedLabel",
    "ParityReport",
    "compare",
    "with_failures",
]

# Lazy, so that the command line shows its help without importing numpy.
__getattr__ = lazy_attributes(
    __name__,
    dict.fromkeys(
        ("Arrays", "Batch", "ChangedLabel", "ParityReport", "compare", "with_failures"),
        "fer_export.parity.comparison",
    ),
)
