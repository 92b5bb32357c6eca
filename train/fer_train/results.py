"""Comparisons as Markdown: one table a comparison, or a page of several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from fer_train import plots
from fer_train.outcomes import Comparison, Outcome, Row, history, options_of, rows

PICTURE = "compare.png"


def report(comparison: Comparison, title: str, picture: str | None = None) -> str:
    """One comparison: how it was made, mean and spread per setting, and every run."""
    lines = [f"# {title}", "", *_origin(comparison), "", *_summary(comparison), ""]
    if picture:
        lines += [f"![{title}]({picture})", ""]
    lines += ["## Runs", "", *_runs(comparison.outcomes)]
    return "\n".join(lines) + "\n"


def write(output: Path, comparison: Comparison, title: str) -> None:
    """Write compare.md and compare.png into the folder of a comparison."""
    first: dict[str, Outcome] = {}
    scores: dict[str, list[float]] = {}
    for outcome in comparison.outcomes:
        first.setdefault(outcome.name, outcome)
        reached = [] if outcome.error else [outcome.figures["accuracy"]]
        scores.setdefault(outcome.name, []).extend(reached)
    plots.comparison(
        list(scores.items()),
        [(name, history(output, outcome)) for name, outcome in first.items()],
        output / PICTURE,
    )
    text = report(comparison, title, PICTURE)
    (output / "compare.md").write_text(text, encoding="utf-8")


def page(comparisons: Sequence[tuple[str, Comparison]], introduction: str) -> str:
    """Several comparisons under their titles, as in train/RESULTS.md."""
    lines = [introduction.rstrip(), ""]
    for title, comparison in comparisons:
        lines += [f"## {title}", "", *_origin(comparison), "", *_summary(comparison), ""]
        lines += [
            "<details><summary>Every run</summary>", "", *_runs(comparison.outcomes), "",
            "</details>", "",
        ]  # fmt: skip
    return "\n".join(lines).rstrip() + "\n"


def table(comparison: Comparison) -> list[tuple[str, ...]]:
    """Header and one row per setting, as text for a terminal."""
    return [HEADER, *(_cells(row) for row in rows(comparison.outcomes))]


def _origin(comparison: Comparison) -> list[str]:
    versions = ", ".join(f"{name} {number}" for name, number in comparison.versions.items())
    return ["```", comparison.command, "```", f"{comparison.machine}; {versions}."]


HEADER = (
    "setting", "runs", "accuracy", "macro-F1", "best epoch", "gap", "time", "parameters",
    "multiply-adds",
)  # fmt: skip


def _summary(comparison: Comparison) -> list[str]:
    lines = [_row(HEADER), _row(["---"] + ["---:"] * (len(HEADER) - 1))]
    return lines + [_row(_cells(row)) for row in rows(comparison.outcomes)]


def _cells(row: Row) -> tuple[str, ...]:
    runs = f"{len(row.seeds)}"
    if row.errors:
        runs += f" ({len(row.errors)} failed)"
    if len(row.errors) == len(row.seeds):
        return (row.name, runs, *["-"] * (len(HEADER) - 2))
    means = row.means
    return (
        row.name,
        runs,
        _spread(row, "accuracy"),
        _spread(row, "macro_f1"),
        f"{means['best_epoch']:.1f}",
        f"{means['gap']:+.3f}",
        f"{means['seconds']:.0f} s",
        f"{means['parameters'] / 1e6:.2f} M",
        f"{means['multiply_adds'] / 1e6:.1f} M",
    )


def _spread(row: Row, name: str) -> str:
    mean, spread = row.means[name], row.spreads[name]
    return f"{mean:.4f}" if math.isnan(spread) else f"{mean:.4f} ± {spread:.4f}"


def _runs(outcomes: Sequence[Outcome]) -> list[str]:
    header = ("options", "accuracy", "macro-F1", "loss", "best epoch", "outcome")
    lines = [_row(header), _row(["---", *["---:"] * 4, "---"])]
    for outcome in outcomes:
        options = f"`{options_of(outcome.settings)} --seed {outcome.seed}`"
        if outcome.error is not None:
            lines.append(_row((options, "-", "-", "-", "-", f"failed: {outcome.error}")))
            continue
        figures = [f"{outcome.figures[key]:.4f}" for key in ("accuracy", "macro_f1", "loss")]
        remarks = " ".join(outcome.remarks) or "finished"
        lines.append(_row((options, *figures, str(outcome.best_epoch), remarks)))
    return lines


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def read(paths: Sequence[Path]) -> list[tuple[str, Comparison]]:
    """Compare.json files (or copies of them) with titles from their file or folder names."""
    found = []
    for path in paths:
        name = path.parent.name if path.name == "compare.json" else path.stem
        found.append((name.replace("_", " ").replace("-", " ").capitalize(), Comparison.load(path)))
    return found
