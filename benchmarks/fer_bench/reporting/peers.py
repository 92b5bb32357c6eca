"""Accuracy against speed, of the packages that `fer-bench peers` has measured."""

from __future__ import annotations

import json
from pathlib import Path

from fer_bench.reporting import charts
from fer_bench.reporting.section import Section
from fer_runtime.errors import DataError


def section(path: Path) -> Section:
    """The file of `fer-bench peers -o` as a section.

    Raises:
        DataError: no such file, or another one.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        peers, images = found["peers"], found["images"]
        rates = {
            name: each.get("batched_images_per_second", each["images_per_second"])
            for name, each in peers.items()
        }
        points = {
            name: (rates[name], 100 * each["accuracy"])
            for name, each in peers.items()
            if "accuracy" in each
        }
        rows = [["one core", "images/s", "accuracy", "macro-F1", "cold start, s", "MB"]]
        rows += [
            [
                name, charts.number(rates[name]),
                f"{each['accuracy']:.1%}" if "accuracy" in each else "",
                f"{each['macro_f1']:.3f}" if "macro_f1" in each else "",
                f"{each['start_seconds']:.1f}", charts.number(each["installed_bytes"] / 1e6),
            ]
            for name, each in peers.items()
        ]  # fmt: skip
        notes = [f"{name}: {each['note']}" for name, each in peers.items() if each["note"]]
        notes += [f"{name} {why}" for name, why in found["missing"].items()]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(
            f"{path} is not a record of other packages; fer-bench peers -o writes one."
        ) from None
    sentences = [f"{images:,} crops, each on one core with its model loaded.", *notes]
    ratios = {}
    if points:
        fastest = max(points, key=lambda name: points[name][0])
        best = max(points, key=lambda name: points[name][1])
        sentences.insert(
            1,
            f"{fastest} is the fastest with {charts.number(points[fastest][0])} images/s, {best} "
            f"the most accurate with {points[best][1]:.1f} %.",
        )
        if "fer" in rates and "fer-runtime" in rates:
            ratios["fer-runtime / fer, one core"] = rates["fer-runtime"] / rates["fer"]
    chart = charts.scatter(points, x="images/s on one core", y="accuracy, %")
    return Section(
        "Against other packages", "fer-bench peers DATA --install", sentences, chart, "peers",
        ratios, rows,
    )  # fmt: skip
