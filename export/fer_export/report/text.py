"""A ParityReport and an Inspection as text for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from fer_export.engines.verifying import EngineVerdict
    from fer_export.inspection import Inspection
    from fer_export.parity.verification import Verification
    from fer_export.precision.reduction import Reduced

SHOWN_CHANGES = 10


def parity_table(verification: Verification, title: str) -> RenderableType:
    """The verdict and its figures, what a precision costs, and the first changed labels."""
    report = verification.report
    verdict = Text("PASSED", "bold green") if report else Text("FAILED", "bold red")
    table = Table("figure", "value", "allowed", title=title, title_justify="left")
    sizes = ", ".join(map(str, report.batch_sizes))
    table.add_row("verdict", verdict, "")
    table.add_row("images compared", f"{report.images:,}, in batches of {sizes}", "at least 1")
    table.add_row("scale (std of logits)", f"{report.scale:.4g}", "at least 0.001")
    table.add_row(
        "largest difference", f"{report.max_difference:.3g}",
        "any" if report.tolerance is None else f"{report.tolerance * report.scale:.3g}",
    )  # fmt: skip
    table.add_row(
        "99th percentile, mean", f"{report.p99_difference:.3g}, {report.mean_difference:.3g}", ""
    )
    table.add_row(
        "smallest tolerance to pass", f"{report.smallest_tolerance:.2g}",
        "any" if report.tolerance is None else f"{report.tolerance:.2g}",
    )  # fmt: skip
    if report.tolerance is not None:
        table.add_row("images within tolerance", f"{report.pass_rate:.2%}", "")
    table.add_row("probabilities differ by", f"{report.max_probability_difference:.3g}", "")
    if report.max_feature_difference is not None:
        table.add_row("features differ by", f"{report.max_feature_difference:.3g} of their σ", "")
    table.add_row("same top-1", f"{report.agreement:.2%}", "")
    parts: list[RenderableType] = [table]
    if verification.reduced is not None:
        parts.append(_precisions_table(verification.reduced))
        parts += [Text(f"  {line}") for line in remarks(verification.reduced)]
    parts += [Text(f"  - {failure}", "red") for failure in report.failures]
    parts += [
        Text(f"  {entry.name}: {entry.reference} -> {entry.candidate} (margin {entry.margin:.2g})")
        for entry in report.changed[:SHOWN_CHANGES]
    ]
    return Group(*parts)


def _precisions_table(reduced: Reduced) -> Table:
    table = Table("", *reduced.bytes)
    for row in precision_rows(reduced):
        table.add_row(*row)
    return table


def precision_rows(reduced: Reduced) -> list[list[str]]:
    """fp32 and the other precision side by side: a title and a cell for each."""
    figures, speed, names = reduced.figures, reduced.speed, list(reduced.bytes)
    rows = [
        ["file", *(f"{size:,} bytes" for size in reduced.bytes.values())],
        ["batch 32, one thread", *(f"{speed[n]:,.0f} images/s" for n in names)],
    ]
    if figures:
        count = next(iter(figures.values())).images
        rows += [
            [
                f"accuracy on {count:,} images",
                *(f"{figures[n].accuracy:.4f}" for n in names),
            ],
            ["macro-F1", *(f"{figures[n].macro_f1:.4f}" for n in names)],
            [
                "its 95 % interval",
                *("{:.4f} to {:.4f}".format(*figures[n].macro_f1_interval) for n in names),
            ],
        ]
    return rows


def remarks(reduced: Reduced) -> list[str]:
    """What to note: the speed against fp32, how int8 was calibrated, how close fp16 came."""
    lines = []
    (first, before), (name, after) = reduced.speed.items()
    if after <= before:
        lines.append(
            f"{name} is not faster than {first} on this machine ({after / before:.2f} times its "
            "speed); only the file is smaller."
        )
    else:
        lines.append(f"{name} runs at {after / before:.2f} times the speed of {first} here.")
    if reduced.candidates:
        best = max(reduced.candidates, key=lambda candidate: candidate.figures.macro_f1)
        kept = f"; {' and '.join(best.kept)} stayed in float" if best.kept else ""
        lines.append(
            f"{len(reduced.candidates)} ways of calibrating were tried; {best.method} kept the "
            f"most macro-F1{kept}."
        )
    if reduced.float_layers is not None:
        lines += [
            f"{layer} (on {reduced.float_layers.processor}), so it stayed in float."
            for layer in reduced.float_layers.layers
            if layer.kept
        ]
    if reduced.largest_intermediate is not None:
        lines.append(
            f"The largest fp32 intermediate is {reduced.largest_intermediate:,.0f}; fp16 goes "
            "up to 65,504."
        )
    return lines


def engine_rows(engines: Sequence[EngineVerdict]) -> list[list[str]]:
    """A row for each engine, below `ENGINE_HEADER`."""
    rows = []
    for each in engines:
        figures = ["", "", ""]
        if each.report is not None:
            figures = [
                f"{each.report.max_difference:.2g}",
                f"{each.report.max_probability_difference:.2g}",
                f"{each.report.agreement:.2%}",
            ]
        computed = each.arithmetic if each.precision == "fp32" else each.precision
        ran = f"{each.version}, {computed}" if each.version else ""
        against = each.reference if each.report is not None else ""
        rows.append([each.name, each.outcome, ran, against, *figures, each.remark])
    return rows


ENGINE_HEADER = (
    "engine", "outcome", "version, arithmetic", "against", "logits differ by",
    "probabilities by", "same top-1", "remark",
)  # fmt: skip


def engine_table(engines: Sequence[EngineVerdict]) -> RenderableType:
    """What each engine makes of an artefact."""
    table = Table(title="engines", title_justify="left")
    for title in ENGINE_HEADER[:-1]:
        table.add_column(title, no_wrap=title == ENGINE_HEADER[0])
    colours = {"passed": "bold green", "FAILED": "bold red", "not run": "yellow"}
    remarks = []
    for name, outcome, *figures, remark in engine_rows(engines):
        table.add_row(name, Text(outcome, colours[outcome]), *figures)
        if remark:
            remarks.append(Text(f"  {name}: {remark}"))
    return Group(table, *remarks)


def inspection_table(found: Inspection) -> RenderableType:
    """Facts and spec of a file, one line each."""
    table = Table(show_header=False, title=str(found.path), title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("kind", found.kind)
    table.add_row("size", f"{found.size_bytes:,} bytes")
    table.add_row("sha256", found.sha256)
    for name, value in found.facts.items():
        table.add_row(name, plain(value))
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
    table.add_row("face crop", str(spec.input.face_crop))
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


def plain(value: object) -> str:
    """A fact as one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {entry}" for key, entry in value.items())
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)
