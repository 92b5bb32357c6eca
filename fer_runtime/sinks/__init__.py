"""Rows out: text for a person; CSV, JSON Lines and Parquet for programs.

A file appears under its name only when it is complete; until then it is `NAME.partial`, which
`--resume` continues. The names load on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fer_runtime._lazy import lazy_attributes
from fer_runtime.sinks.table import SINKS, STDOUT, open_sink, sink_of

if TYPE_CHECKING:
    from fer_runtime.columns import probability_columns
    from fer_runtime.sinks.base import Sink

__all__ = ["SINKS", "STDOUT", "Sink", "open_sink", "probability_columns", "sink_of"]

__getattr__ = lazy_attributes(
    __name__,
    {"Sink": "fer_runtime.sinks.base", "probability_columns": "fer_runtime.columns"},
)
