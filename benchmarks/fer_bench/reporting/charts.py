"""Charts as PNG: lines over batch sizes, and bars; legible in grey and on a phone.

Colours from Okabe & Ito's palette, and never colour alone: lines differ in style and marker, and
bars carry their numbers.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from fer_train.plots import BLUE, STYLES, VERMILION

WIDTH = 5.0
"""Inches: on a phone a page's column has some 75 pixels an inch then, and letters about 9."""
FONT = {"size": 9, "small": 8}


def lines(
    series: Mapping[str, Mapping[int, float]], *, x: str, y: str, emphasised: Sequence[str] = ()
) -> bytes:
    """A line for each series of x -> y, both axes logarithmic in powers of two; a PNG.

    Args:
        series: name -> x -> y.
        x: what the horizontal axis is, with its unit.
        y: what the vertical axis is, with its unit.
        emphasised: names of series that are drawn thicker.
    """
    figure, axes = _figure(4.4)
    for (name, points), (colour, style, marker) in zip(
        series.items(), _styles(series), strict=True
    ):
        width = 2.6 if name in emphasised else 1.3
        axes.plot(
            list(points), list(points.values()), linestyle=style, marker=marker, color=colour,
            label=name, linewidth=width, markersize=4,
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    ticks = sorted({point for points in series.values() for point in points})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel(x, fontsize=FONT["size"])
    axes.set_ylabel(y, fontsize=FONT["size"])
    axes.tick_params(labelsize=FONT["small"])
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=FONT["small"])
    return _png(figure)


def bars(values: Mapping[str, float], *, unit: str, emphasised: Sequence[str] = ()) -> bytes:
    """A horizontal bar for each value, from the top, with its number; a PNG."""
    figure, axes = _figure(0.9 + 0.34 * len(values))
    names = list(values)
    colours = [BLUE if name in emphasised else "#8a8a8a" for name in names]
    drawn = axes.barh(names, list(values.values()), color=colours, height=0.7)
    axes.bar_label(
        drawn, [number(value) for value in values.values()], padding=3, fontsize=FONT["small"]
    )
    _finish_bars(axes, max(values.values(), default=1), unit)
    return _png(figure)


def percentiles(values: Mapping[str, Mapping[str, float]], *, unit: str) -> bytes:
    """A bar to p50, and marks at p90 and p99, of each engine, from the top; a PNG."""
    figure, axes = _figure(1.2 + 0.36 * len(values))
    names = list(values)
    axes.barh(names, [each["p50"] for each in values.values()], color="#b8d4e8", label="p50")
    for mark, colour, label in (("|", BLUE, "p90"), ("D", VERMILION, "p99")):
        at = [each[label] for each in values.values()]
        axes.plot(at, names, mark, color=colour, label=label, markersize=9 if mark == "|" else 5)
    for name, each in values.items():
        text = f"{number(each['p50'])} · {number(each['p99'])}"
        axes.annotate(
            text, (max(each.values()), name), xytext=(7, 0), textcoords="offset points",
            va="center", fontsize=FONT["small"],
        )  # fmt: skip
    _finish_bars(axes, max(max(each.values()) for each in values.values()), unit, room=1.45)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=FONT["small"])
    return _png(figure)


def scatter(points: Mapping[str, tuple[float, float]], *, x: str, y: str) -> bytes:
    """A named point for each (x, y), x logarithmic; a PNG."""
    figure, axes = _figure(3.6)
    for place, (name, (colour, _, marker)) in enumerate(zip(points, _styles(points), strict=True)):
        axes.plot(*points[name], marker, color=colour, markersize=8)
        axes.annotate(
            name,
            points[name],
            xytext=(0, -16 if place % 2 else 9),
            textcoords="offset points",
            ha="center",
            fontsize=FONT["small"],
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
    axes.margins(0.24)
    axes.set_xlabel(x, fontsize=FONT["size"])
    axes.set_ylabel(y, fontsize=FONT["size"])
    axes.tick_params(labelsize=FONT["small"])
    axes.grid(alpha=0.3, which="both")
    return _png(figure)


def number(value: float) -> str:
    """A number with three digits that matter."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def _styles(names: Mapping[str, object]) -> list[tuple[str, str, str]]:
    return [STYLES[index % len(STYLES)] for index in range(len(names))]


def _finish_bars(axes: Axes, most: float, unit: str, *, room: float = 1.25) -> None:
    axes.invert_yaxis()
    axes.set_xlim(0, most * room)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axes.set_xlabel(unit, fontsize=FONT["size"])
    axes.tick_params(axis="both", labelsize=FONT["small"])
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=200, format="png", facecolor="white")
    return buffer.getvalue()
