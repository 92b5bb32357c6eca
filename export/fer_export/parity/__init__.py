"""Whether two models compute the same: what they are tried on, and how they are compared."""

from fer_export.parity.comparison import (
    LEAST_SCALE,
    TOLERANCE,
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
