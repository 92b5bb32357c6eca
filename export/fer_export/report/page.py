"""The report of an export as one HTML page: what was made, and how it was compared."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from fer_export.report.html_page import Page
from fer_export.work_folder import write_whole

if TYPE_CHECKING:
    from fer_export.parity.verification import Verification
    from fer_export.precision.reduction import Reduced


@dataclass(frozen=True)
class Entry:
    """One artefact on the page; `path` is None where parity failed and nothing was written."""

    title: str
    path: Path | None
    verification: Verification


def write(target: Path, checkpoint: Path, entries: Sequence[Entry]) -> None:
    """Write the page; it appears under its name only when complete.

    Raises:
        DataError: it cannot be written.
    """
    write_whole(target, html(checkpoint, entries).encode())


def html(checkpoint: Path, entries: Sequence[Entry]) -> str:
    """The page as text; the speed of what was written is measured for it."""
    from fer_export.inspection import read_spec
    from fer_export.precision import speed

    page = Page(f"{checkpoint.name}: export with proof of parity")
    passed = all(entry.verification for entry in entries)
    files = {entry.title: entry.path for entry in entries if entry.path is not None}
    measured = speed.images_per_second(files) if files else {}
    page.text(
        "Passed: every artefact below computes what the checkpoint computes."
        if passed
        else "Failed: not every artefact below computes what the checkpoint computes.",
        "good" if passed else "bad",
    )
    page.table(
        [
            [
                entry.title,
                "passed" if entry.verification else "FAILED",
                entry.verification.precision,
                f"{entry.verification.report.smallest_tolerance:.1e}",
                f"{entry.verification.report.agreement:.2%}",
                f"{entry.path.stat().st_size:,} bytes" if entry.path else "",
                f"{measured[entry.title]:,.0f}" if entry.path else "",
            ]
            for entry in entries
        ],
        [
            "artefact",
            "verdict",
            "precision",
            "smallest tolerance",
            "same top-1",
            "size",
            "images/s",
        ],
    )
    page.text("Images/s are those of batch 32 on one thread of this machine, without decoding.")
    for entry in entries:
        _artefact(page, entry)
    if files:
        page.heading("ModelSpec")
        page.text("Every artefact above contains it, each with its own verdict.")
        spec = read_spec(next(iter(files.values())))
        page.code(spec.replace(parity=None).to_json())
    _environment(page)
    return page.html()


def _artefact(page: Page, entry: Entry) -> None:
    from fer_export import inspection
    from fer_export.report import text

    verification, figures = entry.verification, entry.verification.report
    page.heading(entry.title)
    if figures.failures:
        page.items(figures.failures)
    page.heading("Parity with PyTorch", 3)
    sizes = ", ".join(map(str, figures.batch_sizes))
    allowed = "any" if figures.tolerance is None else f"{figures.tolerance:.1e}"
    rows = [
        ["images compared", f"{figures.images:,}, in batches of {sizes}"],
        ["scale: standard deviation of the logits", f"{figures.scale:.4g}"],
        ["tolerance, in that unit", allowed],
        ["smallest tolerance that would have passed", f"{figures.smallest_tolerance:.2g}"],
        ["largest difference of a logit", f"{figures.max_difference:.3g}"],
        ["99th percentile", f"{figures.p99_difference:.3g}"],
        ["mean", f"{figures.mean_difference:.3g}"],
        ["largest difference of a probability", f"{figures.max_probability_difference:.3g}"],
        ["same top-1", f"{figures.agreement:.2%}"],
    ]
    if figures.tolerance is not None:
        rows.append(["images within the tolerance", f"{figures.pass_rate:.2%}"])
    page.table(rows)
    if figures.histogram:
        page.heading("Differences of logits, in standard deviations", 3)
        page.bars(_decades(figures.histogram))
    if figures.changed:
        page.heading(f"Images whose label changed: {len(figures.changed):,}", 3)
        page.pictures(
            [
                (
                    verification.pictures[change.name],
                    f"{Path(change.name).name}: {change.reference} became {change.candidate} "
                    f"(margin {change.margin:.2g})",
                )
                for change in figures.changed
                if change.name in verification.pictures
            ]
        )
    if verification.engines:
        page.heading("Other engines", 3)
        page.table(text.engine_rows(verification.engines), text.ENGINE_HEADER)
    if verification.reduced is not None:
        _precisions(page, verification.reduced)
    if entry.path is None:
        return
    found = inspection.inspect(entry.path)
    page.heading("What the file contains", 3)
    page.table(
        [["kind", found.kind], *([k, text.plain(v) or "none"] for k, v in found.facts.items())]
    )


def _precisions(page: Page, reduced: Reduced) -> None:
    from fer_export.report import text

    page.heading("Precisions side by side", 3)
    page.table(text.precision_rows(reduced), ["", *reduced.bytes])
    page.items(text.remarks(reduced))
    if reduced.candidates:
        page.table(
            [
                [each.method, ", ".join(each.kept) or "none", f"{each.figures.macro_f1:.4f}"]
                for each in reduced.candidates
            ],
            ["calibration", "layers in float", "macro-F1"],
        )


def _decades(histogram: Sequence[int]) -> dict[str, int]:
    """Counts by their label, from the first decade that has any to the last."""
    edges = [f"1e{power}" for power in range(-9, 1)]
    labels = [f"below {edges[0]}"]
    labels += [f"{low} to {high}" for low, high in pairwise(edges)]
    labels.append("above 1")
    filled = [place for place, count in enumerate(histogram) if count]
    if not filled:
        return {}
    span = slice(filled[0], filled[-1] + 1)
    return dict(zip(labels[span], histogram[span], strict=True))


def _environment(page: Page) -> None:
    from fer_runtime import __version__, machine
    from fer_runtime.doctor.installation import package_versions

    page.heading("Environment")
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    page.table(
        [
            ["date", now],
            ["fer-runtime", __version__],
            ["python", platform.python_version()],
            ["system", platform.platform()],
            ["processor", f"{machine.processor()}, {machine.usable_threads()} cores usable"],
            *([name, version] for name, version in package_versions().items() if version),
        ]
    )
