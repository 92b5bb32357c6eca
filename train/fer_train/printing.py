"""What the commands print: tables of figures, as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fer_train.stats import Stats


def print_table(table: Sequence[tuple[str, ...]]) -> None:
    """Print rows in columns: the first one left, the others right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join([first.strip().ljust(widths[0]), *rest]).rstrip())


def stats_text(found: Stats) -> str:
    """Counts per class and split, overlaps, sizes, broken files, mean and std."""
    names = list(found.splits)
    lines = [f"{'':<12}" + "".join(f"{name:>12}" for name in names)]
    for label in found.splits["train"].counts:
        row = "".join(f"{found.splits[name].counts[label]:>12,}" for name in names)
        lines.append(f"{label:<12}{row}")
    for title, value in (
        ("all", lambda split: sum(split.counts.values())),
        ("unreadable", lambda split: len(split.unreadable)),
        ("duplicates", lambda split: split.duplicates),
        ("relabelled", lambda split: split.relabelled),
    ):
        lines.append(f"{title:<12}" + "".join(f"{value(found.splits[n]):>12,}" for n in names))
    for overlap in found.overlaps:
        lines.append(
            f"{overlap.second} shares {overlap.images:,} images with {overlap.first}, "
            f"{overlap.relabelled:,} of them under another label"
        )
    for name, split in found.splits.items():
        sizes = ", ".join(f"{size} ({count:,})" for size, count in list(split.sizes.items())[:4])
        lines.append(f"{name}: {len(split.sizes)} sizes (height x width): {sizes}")
        lines += [f"  {entry}" for entry in split.unreadable[:5]]
    mean, std = (", ".join(f"{v:.4f}" for v in values) for values in (found.mean, found.std))
    lines.append(f"training split: mean {mean}, std {std} (0-1, per channel)")
    return "\n".join(lines)


def print_evaluation(report: dict[str, Any], title: str) -> None:
    """Every figure with its 95 % interval; again without the images that were trained on."""
    columns = {f"all {report['metrics']['count']:,.0f} images": report}
    unseen = report.get("without_training_images")
    if unseen:
        columns[f"{unseen['metrics']['count']:,.0f} not in training"] = unseen
    print(f"{title}; figures with their 95 % intervals")
    print(f"{'':<24}" + "".join(f"{name:<26}" for name in columns))
    for name in report["intervals_95"]:
        cells = ""
        for each in columns.values():
            low, high = each["intervals_95"][name]
            cells += f"{each['metrics'][name]:.4f} ({low:.4f}-{high:.4f})".ljust(26)
        print(f"  {name.replace('_', ' '):<22}{cells}".rstrip())
