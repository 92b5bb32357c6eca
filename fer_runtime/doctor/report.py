"""The whole report, and its text for a terminal, a bug report and a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fer_runtime._version import __version__
from fer_runtime.doctor import installation, running
from fer_runtime.doctor.finding import PROBLEM, Finding

CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    installation.versions,
    installation.cores,
    running.wheels,
    running.table,
    running.devices,
    installation.decoders,
    installation.folders,
    running.models,
)
"""In the order of the report; a new check is one entry."""


def examine() -> list[Finding]:
    """Run every check."""
    return [finding for check in CHECKS for finding in check()]


def exit_status(findings: Sequence[Finding]) -> int:
    """Of the first problem; 0 without one."""
    return next((each.status for each in findings if each.state == PROBLEM), 0)


def as_text(findings: Sequence[Finding]) -> str:
    """Lines of state, name and text, in sections."""
    width = max(len(each.name) for each in findings)
    lines, section = [], ""
    for each in findings:
        if each.section != section:
            section = each.section
            lines.append(f"{section}:")
        lines.append(f"  {each.state:<8} {each.name:<{width}}  {each.text}")
    return "\n".join([*lines, _verdict(findings)]) + "\n"


def as_markdown(findings: Sequence[Finding]) -> str:
    """A table to paste into a bug report."""
    lines = ["| | what | state | found |", "|---|---|---|---|"]
    for each in findings:
        text = each.text.replace("|", "\\|").replace("\n", " ")
        lines.append(f"| {each.section} | {each.name} | {each.state} | {text} |")
    return "\n".join([*lines, "", _verdict(findings)]) + "\n"


def as_plain(findings: Sequence[Finding]) -> dict[str, Any]:
    """Plain values: `status` is the exit status."""
    return {
        "fer-runtime": __version__,
        "status": exit_status(findings),
        "findings": [each._asdict() for each in findings],
    }


def _verdict(findings: Sequence[Finding]) -> str:
    problems = [f"{each.section}: {each.name}" for each in findings if each.state == PROBLEM]
    if not problems:
        return "No problem found."
    return f"{len(problems)} problem{'s' * (len(problems) > 1)}: {', '.join(problems)}."
