"""A part of the report's page, and what its writers share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from fer_bench.reporting import charts
from fer_bench.reporting.record import Measurement

OURS = "runtime"


class Section(NamedTuple):
    """A part of the page.

    Attributes:
        title: its heading.
        command: what measures it again.
        sentences: what the numbers say.
        chart: a PNG.
        name: of the chart's file, without its ending.
        ratios: what is concluded, by name; two runs on one machine should agree on them.
        rows: the numbers, with a header first.
    """

    title: str
    command: str
    sentences: Sequence[str]
    chart: bytes
    name: str
    ratios: Mapping[str, float]
    rows: Sequence[Sequence[str]]


def is_ours(engine: str) -> bool:
    """Whether this project computes it, and not PyTorch."""
    return engine.startswith(OURS)


def best(measured: Iterable[Measurement]) -> Measurement | None:
    """The one with the most images/s."""
    return max(measured, key=lambda each: each.images_per_second, default=None)


def rates(names: Mapping[str, Measurement]) -> list[list[str]]:
    """A table of images/s and times, with its header."""
    rows = [["what", "images/s", "ms a run, p50", "p99"]]
    rows += [
        [name, charts.number(each.images_per_second),
         f"{each.milliseconds['p50']:.2f}", f"{each.milliseconds['p99']:.2f}"]
        for name, each in names.items()
    ]  # fmt: skip
    return rows
