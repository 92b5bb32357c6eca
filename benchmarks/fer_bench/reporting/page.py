"""The page of a record: recommendation, sections with their charts, and the machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fer_bench.reporting import costs, speed
from fer_bench.reporting.advice import advise
from fer_bench.reporting.record import COMMAND, Record
from fer_bench.reporting.section import Section
from fer_export.report.html_page import Page

SECTIONS: tuple[Callable[[Record], Section | None], ...] = (
    speed.throughput, speed.latency, speed.precision, speed.threads, costs.pipeline,
    costs.stages, costs.cold_start, costs.memory, costs.decoding, costs.roofline,
)  # fmt: skip
"""In the order of the page; each is None where the record has nothing of it. One more group of
benchmarks is one function and one entry here."""


def sections(record: Record) -> list[Section]:
    """What the record says."""
    return [found for write in SECTIONS if (found := write(record)) is not None]


def page(record: Record, parts: Sequence[Section]) -> str:
    """HTML of a record and its sections, which refers to no other file."""
    found = Page("fer-runtime on this machine")
    found.text(machine(record))
    found.text(*steadiness(record))
    advice = advise(record)
    if advice is not None:
        found.heading("What to deploy")
        for sentence in advice.sentences:
            found.text(sentence)
        found.code(advice.command)
    for section in parts:
        found.heading(section.title)
        found.image(section.chart, f"Chart: {section.title}. {' '.join(section.sentences)}")
        for sentence in section.sentences:
            found.text(sentence)
        header, *rows = section.rows
        found.table(rows, header)
        found.code(section.command)
    found.heading("How it was measured")
    found.text(
        "Each engine runs in a process of its own, on the same weights and pixels, and its result "
        "is checked after it was timed. Rates are of the median run. “Blocks kept” means that "
        "glibc is told to keep large blocks (MALLOC_MMAP_THRESHOLD_ and two more): PyTorch at its "
        "best, which the conclusions compare with."
    )
    if record.skipped:
        found.text("Not measured:")
        found.items(record.skipped)
    packages = record.environment["packages"]
    found.table(
        [
            ["command", COMMAND],
            ["commit", str(record.environment["commit"])],
            ["date", record.environment["date"]],
            ["CPU features", ", ".join(record.environment["cpu_features"]) or "not known"],
            ["system", record.environment["system"]],
            ["packages", ", ".join(f"{name} {version}" for name, version in packages.items())],
            ["load before and after", f"{record.before['load']} and {record.after['load']}"],
            ["model", ", ".join(sorted({each.facts["model"] for each in record.of("throughput")}))],
        ]
    )
    return found.html()


def machine(record: Record) -> str:
    """The machine in a sentence."""
    about = record.environment
    memory = about["memory_bytes"]
    gpus = ", ".join(about["gpus"]) or "no NVIDIA GPU"
    size = f", {memory / 2**30:.0f} GiB of memory" if memory else ""
    return f"{about['cpu']}, {about['cores']} cores for this process{size}, {gpus}."


def steadiness(record: Record) -> tuple[str, str]:
    """Whether the figures can be trusted, and the mood of that sentence."""
    taken = record.taken()
    others = "" if taken is None else f"other programs took {taken:.0%} of its CPU time; "
    drift = f"the reference work's time differed by {record.drift():.0%} between start and end"
    if record.is_steady():
        return f"The machine was steady during this run ({others}{drift}).", "good"
    return (
        f"The machine was too noisy for these figures to be trusted ({others}{drift}). Stop other "
        "programs, and measure again.",
        "bad",
    )
