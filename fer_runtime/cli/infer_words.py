"""What `fer-infer` prints when a run is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fer_runtime.cli.console import count

if TYPE_CHECKING:
    from fer_runtime.run_options import RunResult
    from fer_runtime.spec import InputSpec


def last_line(result: RunResult, *, faces: bool = False) -> str:
    """Counts, time and speed of a run."""
    rows = count(result.pictures, "image")
    if faces:
        rows = f"{count(result.faces, 'face')} in {rows}"
    parts = [
        f"{rows} in {result.seconds:.2f} s "
        f"({result.images_per_second:,.0f} images/s) on {result.provider}",
        f"{result.errors:,} with an error" if result.errors else "",
        f"{count(result.skipped, 'other file')} skipped" if result.skipped else "",
        f"{count(result.finished_rows, 'row')} finished before" if result.finished_rows else "",
        f"{result.finished_errors:,} of these with an error" if result.finished_errors else "",
    ]
    line = ", ".join(part for part in parts if part)
    return line if result.output == "-" else f"{line} -> {result.output}"


def photograph_hint(larger: int, looked_at: int, spec: InputSpec) -> str:
    """What to do where images are much larger than the input; nothing where none is."""
    if not larger:
        return ""
    which = "this image is" if looked_at == 1 else f"{larger} of the first {looked_at} images are"
    return (
        f"{which} much larger than the model's input of {spec.width} x {spec.height} pixels, which "
        "expects the crop of one face: for photographs pass --faces, which finds and crops them"
    )
