"""Tables of Markdown from the files in benchmarks/results; each row names its command.

A block is a function (results) -> lines, and an entry in `BLOCKS`.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fer_bench.clone import CLONE
from fer_bench.end_to_end import BASELINE, BEST
from fer_bench.reporting import page
from fer_bench.reporting.charts import number
from fer_bench.reporting.record import Record, read
from fer_runtime.errors import DataError

RESULTS = CLONE / "benchmarks" / "results"
SUITE = "pytest benchmarks --benchmark-only"
END_TO_END = "fer-bench end-to-end train/checkpoints/compact_cnn.pt fer2013/validation"
PRECISIONS = "fer-bench precisions train/checkpoints/compact_cnn.pt --data fer2013"
SCENARIOS = "fer-bench scenarios fer2013/validation"
PEERS = "fer-bench peers fer2013/validation --install"
IMAGES = 3589
PERCENTILES = ("p50", "p90", "p99")


class Results:
    """The stored results, each read when it is needed.

    Args:
        folder: with suite.json, precisions.json, end_to_end.json, scenarios.json and peers.json.

    Raises:
        DataError: one of them is missing or is not JSON.
    """

    def __init__(self, folder: Path = RESULTS) -> None:
        self.folder = folder

    def json(self, name: str) -> Any:
        """A file's values."""
        path = self.folder / name
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise DataError(f"{path} is not JSON: {error}") from None

    def printed(self, name: str) -> list[str]:
        """The lines that a script printed, as a block of text."""
        path = self.folder / name
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from None
        return ["```text", *text.strip().splitlines(), "```"]

    def suite(self) -> Record:
        """The reference run of the default suite."""
        return read(self.folder / "suite.json")


def results(found: Results) -> list[str]:
    """README's table: the figures that a reader asks for first."""
    precisions = found.json("precisions.json")["precisions"]
    whole = found.json("end_to_end.json")
    peers = found.json("peers.json")["peers"]
    suite = page.sections(found.suite())
    ratios = {name: value for section in suite for name, value in section.ratios.items()}
    rates = {name: statistics.median(each) for name, each in whole["images_per_second"].items()}
    times = whole["ratio_to_baseline"]
    low, high = interval(precisions["fp32"]["accuracy"], IMAGES)
    files = {name: f"fer-infer {name} (file to CSV row)" for name in ("fp32", "int8")}
    ours, theirs = peers["fer-runtime"], peers["fer"]
    rows = [
        (
            "accuracy (and its 95 % interval)",
            f"{precisions['fp32']['accuracy']:.1%} ({low:.1%} to {high:.1%})",
            f"{precisions['int8']['accuracy']:.1%}", PRECISIONS,
        ),
        (
            "same label as PyTorch", f"{whole['equal_top1']['fp32']:,} of {whole['images']:,}",
            f"{whole['equal_top1']['int8']:,}", END_TO_END,
        ),
        (
            "images/s from file to CSV row, against ImageFolder + DataLoader + eager PyTorch",
            *(f"{number(rates[key])} ({times[key]:.2f} x)" for key in files.values()), "the same",
        ),
        (
            "session at batch 512, against PyTorch at its best (and as it is started)",
            f"{ratios['runtime / PyTorch at its best, batch 512']:.2f} x "
            f"({ratios['runtime / eager, batch 512']:.2f} x)",
            "", SUITE,
        ),
        (
            "int8 against fp32 at batch 1, 32 and 256", "",
            ", ".join(f"{ratios[f'int8 / fp32, batch {size}']:.2f} x" for size in (1, 32, 256)),
            "the same",
        ),
        (
            "one image: PyTorch at its best takes",
            f"{ratios['PyTorch at its best / runtime, p50 of one image']:.1f} times as long", "",
            "the same",
        ),
        (
            "cold start: PyTorch at its best takes",
            f"{ratios['cold start, PyTorch at its best / runtime']:.1f} times as long", "",
            "the same",
        ),
        (
            "one core, in batches (one at a time), against the package `fer`, which takes an image "
            f"at a time and has an accuracy of {theirs['accuracy']:.1%}",
            *(
                f"{each['batched_images_per_second'] / theirs['images_per_second']:.2f} x "
                f"({each['images_per_second'] / theirs['images_per_second']:.2f} x)"
                for each in (ours, peers["fer-runtime, int8"])
            ),
            PEERS,
        ),
    ]  # fmt: skip
    return table(("what", "fp32", "int8", "command"), rows, {1, 2})


def end_to_end(found: Results) -> list[str]:
    """From file to row, against the loop that tutorials show."""
    run = found.json("end_to_end.json")
    names = {
        BASELINE: "baseline: ImageFolder + transforms + DataLoader (2 workers) + eager PyTorch, "
        "start-up not counted",
        BEST: "the same with glibc told to keep large blocks",
        "fer-infer fp32 (whole command)": "`fer-infer`, the whole command with its start",
        "fer-infer fp32 (file to CSV row)": "`fer-infer`, session already open",
        "fer-infer int8 (whole command)": "the same as int8, the whole command",
        "fer-infer int8 (file to CSV row)": "the same as int8, session already open",
    }
    best = statistics.median(run["images_per_second"][BEST])
    rows = []
    for name, text in names.items():
        rate = statistics.median(run["images_per_second"][name])
        rows.append((text, number(rate), f"{rate / best:.2f} x"))
    return table(("from file to CSV row", "images/s", ""), rows, {1, 2})


def suite(found: Results) -> list[str]:
    """What the default suite says, a sentence or more for each group."""
    record = found.suite()
    lines = [f"{page.machine(record)} {page.steadiness(record)[0]}", ""]
    lines += [
        f"- **{section.title}** (`{section.command}`). {' '.join(section.sentences)}"
        for section in page.sections(record)
    ]
    return lines


def throughput(found: Results) -> list[str]:
    """Images/s by engine and batch size."""
    section = next(each for each in page.sections(found.suite()) if each.title == "Throughput")
    header, *rows = section.rows
    return table(header, rows, set(range(1, len(header))))


def scenarios(found: Results) -> list[str]:
    """MLPerf's scenarios, fp32 and int8."""
    rows = []
    for file in ("scenarios.json", "scenarios_int8.json"):
        run = found.json(file)
        for name, each in run["scenarios"].items():
            rate = each["target"] or each["samples_per_second"]
            times = each["milliseconds"]
            rows.append(
                (
                    f"{run['model']['name']}, {name}", number(rate),
                    *("" if name == "Offline" else f"{times[p]:.2f}" for p in PERCENTILES),
                    "VALID" if each["valid"] else "INVALID", f"{each['accuracy']['accuracy']:.2%}",
                )
            )  # fmt: skip
    head = ("", "images/s", "p50, ms", "p90, ms", "p99, ms", "verdict", "accuracy")
    return table(head, rows, {1, 2, 3, 4})


def peers(found: Results) -> list[str]:
    """Other packages on the same crops."""
    run = found.json("peers.json")
    rows = []
    for name, each in run["peers"].items():
        batched = each.get("batched_images_per_second")
        rate = number(each["images_per_second"])
        rows.append(
            (
                name, f"{rate}; {number(batched)} in batches" if batched else rate,
                f"{each['start_seconds']:.1f}", number(each["installed_bytes"] / 1e6),
                f"{each['accuracy']:.1%}" if "accuracy" in each else "",
                f"{each['macro_f1']:.3f}" if "macro_f1" in each else "",
            )
        )  # fmt: skip
    notes = [f"{name}: {each['note']}" for name, each in run["peers"].items() if each["note"]]
    missing = [f"{name} {why}" for name, why in run["missing"].items()]
    head = ("", "images/s on one core", "cold start, s", "installed, MB", "accuracy", "macro-F1")
    return [*table(head, rows, {1, 2, 3, 4, 5}), "", *(f"- {line}" for line in notes + missing)]


def interval(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z = 1.96
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    spread = share * (1 - share) / count + z * z / (4 * count * count)
    half = z * math.sqrt(spread) / (1 + z * z / count)
    return middle - half, middle + half


def table(header: Any, rows: Any, right: set[int]) -> list[str]:
    """Lines of a table; the columns in `right` are aligned to the right, the last is a command."""
    rule = "|".join("---:" if place in right else "---" for place in range(len(header)))
    lines = [f"| {' | '.join(header)} |", f"|{rule}|"]
    for row in rows:
        cells = list(row)
        if header[-1] == "command" and cells[-1] != "the same":
            cells[-1] = f"`{cells[-1]}`"
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def serving(found: Results) -> list[str]:
    """What benchmarks/serving.sh printed."""
    return found.printed("serving.txt")


def clusters(found: Results) -> list[str]:
    """What benchmarks/clusters.sh printed."""
    return found.printed("clusters.txt")


def homes(found: Results) -> list[str]:
    """What benchmarks/homes.sh printed."""
    return found.printed("homes.txt")


BLOCKS: Mapping[str, Callable[[Results], list[str]]] = {
    "results": results,
    "end_to_end": end_to_end,
    "suite": suite,
    "throughput": throughput,
    "scenarios": scenarios,
    "peers": peers,
    "serving": serving,
    "clusters": clusters,
    "homes": homes,
}
