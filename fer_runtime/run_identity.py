"""What makes the rows of two runs comparable: model, spec, provider, sources and options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fer_runtime.sinks.resume import identity
from fer_runtime.sources.table import SourceOptions

if TYPE_CHECKING:
    from fer_runtime.run import Run


def identity_of(run: Run) -> Mapping[str, Any]:
    """A run in plain values, as it is recorded beside unfinished output."""
    from fer_runtime.hashing import file_sha256  # loads OpenSSL, which stdout need not pay for

    session = run.classifier.session
    index, count = run.sources.shard
    options = {
        "sources": run.sources.sources,
        # Shares that write parts side by side have one record.
        "shard": f"of {count}" if run.in_parts else f"{index}/{count}",
        "batch_size": run.classifier.batch_size,
        "max_pixels": run.max_pixels,
        "top_k": run.top_k if run.ending == ".jsonl" else None,
    }
    if run.in_parts:
        options |= {"part_images": run.part_images, "format": run.ending}
    if run.columns.min_probability:
        options["min_probability"] = run.columns.min_probability
    if session.arithmetic != "f32":
        options["arithmetic"] = session.arithmetic
    if run.faces is not None:
        options["faces"] = run.faces._asdict() | {"smooth": run.smooth}
    if run.sources.options != SourceOptions():
        chosen = run.sources.options._asdict().items()
        # As JSON keeps it, so that it can be compared with the record of an earlier run.
        options["reading"] = {k: list(v) if isinstance(v, tuple) else v for k, v in chosen}
    return identity(file_sha256(session.path), session.spec, session.provider, options)
