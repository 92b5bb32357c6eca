"""The table of output formats: a new kind of sink is one entry here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from fer_runtime._lazy import resolve
from fer_runtime.errors import DataError

if TYPE_CHECKING:
    from fer_runtime.columns import Columns
    from fer_runtime.sinks.base import Sink

STDOUT = "-"
SINKS: dict[str, str | type[Sink]] = {
    ".csv": "fer_runtime.sinks.text:CsvSink",
    ".jsonl": "fer_runtime.sinks.text:JsonLinesSink",
    ".parquet": "fer_runtime.sinks.parquet:ParquetSink",
    ".txt": "fer_runtime.sinks.text:TextSink",
}
"""File name ending (lower case) -> subclass of `fer_runtime.sinks.base.Sink`, or "module:name" of
one."""


def sink_of(ending: str) -> type[Sink]:
    """The sink of a file name ending.

    Raises:
        DataError: an unknown ending.
    """
    if ending not in SINKS:
        raise DataError(f"{ending or 'no ending'} is not an output format; allowed: {_endings()}.")
    return cast("type[Sink]", resolve(SINKS[ending]))


def ending_of(output: str) -> str:
    """The ending in the table that a file name has; raises DataError where there is none."""
    name = os.path.basename(output).lower()
    fitting = [each for each in SINKS if name.endswith(each) and name != each]
    if not fitting:
        raise DataError(
            f"{output or 'an empty name'}: unknown ending; the format goes by it: {_endings()}."
        )
    return max(fitting, key=len)


def resumable_endings() -> list[str]:
    """The endings of the formats that `--resume` can continue."""
    return [ending for ending in SINKS if sink_of(ending).resumable]


def open_sink(
    output: str,
    columns: Columns | tuple[str, ...],
    *,
    ending: str | None = None,
    top_k: int = 3,
    run: Mapping[str, Any] | None = None,
    resume: bool = False,
) -> Sink:
    """The sink of a file by its ending, or of standard output for "-".

    Args:
        output: path of the file, or "-".
        columns: the columns of the rows, or the model's labels where rows are whole images.
        ending: the format, where it is not that of the file's ending (required for "-").
        top_k: labels per image in text and JSON.
        run: what makes the rows comparable, in plain values; kept beside a partial file.
        resume: continue a partial file of the same run.

    Raises:
        DataError: an unknown ending, or a file that cannot be opened (see `Sink`).
    """
    chosen = ending or ending_of(output)
    return sink_of(chosen)(output, columns, top_k=top_k, run=run, resume=resume)


def require_new(output: str) -> None:
    """Raises DataError where a finished output would be overwritten."""
    if Path(output).is_file():
        raise DataError(
            f"{output} exists already; pass --overwrite to replace it, or name another output."
        )


def _endings() -> str:
    return ", ".join(SINKS)
