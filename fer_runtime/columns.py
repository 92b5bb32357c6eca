"""The columns of a run's rows: what every run has, and those of faces, videos and tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Column(NamedTuple):
    """A column that a source or a stage adds.

    Attributes:
        name: its name, which is also the key in an item's and a row's `values`.
        kind: "text", "integer" or "number".
        arrow: the pyarrow type, where the source knows it.
    """

    name: str
    kind: str = "text"
    arrow: Any = None


def kept_name(name: str, taken: Sequence[str]) -> str:
    """The name of a column that is passed through: its own, or `source NAME` where that is taken.

    >>> kept_name("label", ("path", "label"))
    'source label'
    """
    while name in taken:
        name = f"source {name}"
    return name
