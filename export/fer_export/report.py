"""A ParityReport and an Inspection as text for the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fer_export.inspect import Inspection
from fer_export.parity import ParityReport

SHOWN_CHANGES = 10


def parity_table(report: ParityReport, title: str) -> RenderableType:
    """The verdict, its figures, and the first images whose label changed."""
    verdict = Text("PASSED", "bold green") if report else Text("FAILED", "bold red")
    table = Table("figure", "value", "allowed", title=title, title_justify="left")
    sizes = ", ".join(map(str, report.batch_sizes))
    table.add_row("verdict", verdict, "")
    table.add_row("images compared", f"{report.images:,}, in batches of {sizes}", "at least 1")
    table.add_row("scale (std of logits)", f"{report.scale:.4g}", "at least 0.001")
    table.add_row(
        "largest difference", f"{report.max_difference:.3g}",
        f"{report.tolerance * report.scale:.3g}",
    )  # fmt: skip
    table.add_row(
        "99th percentile, mean", f"{report.p99_difference:.3g}, {report.mean_difference:.3g}", ""
    )
    table.add_row(
        "smallest tolerance to pass", f"{report.smallest_tolerance:.2g}", f"{report.tolerance:.2g}"
    )
    table.add_row("probabilities differ by", f"{report.max_probability_difference:.3g}", "")
    table.add_row("same top-1", f"{report.agreement:.2%}", "")
    parts: list[RenderableType] = [table]
    parts += [Text(f"  - {failure}", "red") for failure in report.failures]
    parts += [
        Text(f"  {entry.name}: {entry.reference} -> {entry.candidate} (margin {entry.margin:.2g})")
        for entry in report.changed[:SHOWN_CHANGES]
    ]
    return Group(*parts)


def inspection_table(found: Inspection) -> RenderableType:
    """Facts and spec of a file, one line each."""
    table = Table(show_header=False, title=str(found.path), title_justify="left")
    table.add_row("kind", found.kind)
    table.add_row("size", f"{found.size_bytes:,} bytes")
    for name, value in found.facts.items():
        table.add_row(name, _plain(value))
    if found.spec is None:
        table.add_row("spec", "none")
        return table
    spec = found.spec
    table.add_row("labels", ", ".join(spec.labels))
    mean, std = (
        ", ".join(f"{v:.4f}" for v in values) for values in (spec.input.mean, spec.input.std)
    )
    table.add_row(
        "input",
        f"{spec.input.name}: {spec.input.dtype} {spec.input.layout}, {spec.input.channels} x "
        f"{spec.input.height} x {spec.input.width}; mean {mean}; std {std}; "
        f"{spec.input.resize_mode}, {spec.input.interpolation}",
    )
    table.add_row("architecture", f"{spec.architecture} {dict(spec.architecture_args)}")
    table.add_row("temperature", str(spec.temperature))
    table.add_row("weights", str(spec.provenance.weights_sha256))
    parity = spec.parity
    table.add_row(
        "parity",
        "none" if parity is None else f"{'passed' if parity.get('passed') else 'FAILED'} on "
        f"{parity.get('images')} images, {parity.get('created')}",
    )  # fmt: skip
    return table


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {entry}" for key, entry in value.items())
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)
