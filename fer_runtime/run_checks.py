"""What a run refuses before any work: outputs and sources that cannot be what is asked for."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from fer_runtime.errors import DataError
from fer_runtime.object_stores.addresses import is_remote
from fer_runtime.parts.outputs import FORMATS
from fer_runtime.sinks.table import STDOUT, require_new, sink_of

if TYPE_CHECKING:
    from fer_runtime.run import Run

ON_ERROR = ("row", "fail")


def check(run: Run, *, overwrite: bool) -> None:
    """Raises DataError for a run that cannot be done, ValueError for an unknown `on_error`."""
    if run.on_error not in ON_ERROR:
        raise ValueError(f"on_error={run.on_error!r}; allowed: {', '.join(ON_ERROR)}")
    if run.in_parts:
        _check_parts(run)
    elif run.ray is not None or is_remote(run.output):
        why = "a cluster writes" if run.ray is not None else "what is written to an object store is"
        raise DataError(
            f"{run.output}: end the name with a slash; {why} a folder of parts, which every "
            "machine can reach."
        )
    to_file = run.output != STDOUT
    if run.resume and not (to_file and sink_of(run.ending).resumable):
        raise DataError(f"{run.output} cannot be resumed; write a .csv, .jsonl or .parquet file.")
    if run.resume and run.sources.live:
        raise DataError(f"{run.sources.sources[0]}: a camera cannot be resumed.")
    run.sources.check()
    if run.faces is not None and run.sources.packed:
        raise DataError(
            "A pack contains crops of one face, not photographs: omit --faces, or run on the "
            "photographs themselves."
        )
    if to_file and not run.resume and not overwrite and not run.in_parts:
        require_new(run.output)


def _check_parts(run: Run) -> None:
    if run.ending not in FORMATS:
        raise DataError(f"parts are {', '.join(FORMATS)}, not {run.ending}.")
    if run.ending == ".parquet" and find_spec("pyarrow") is None:
        raise DataError(
            f"{run.output}: parts in Parquet need pyarrow: pip install '.[parquet]', or pass "
            "--part-format csv."
        )
    if run.on_error == "fail":
        raise DataError(f"{run.output}: a folder of parts has rows for errors; omit on_error.")
    if run.sources.live:
        raise DataError(f"{run.sources.sources[0]}: a camera has no end; name one output file.")
