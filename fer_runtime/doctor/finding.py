"""What a check of `fer-doctor` found."""

from __future__ import annotations

from typing import Any, NamedTuple

OK, NOTE, PROBLEM = "ok", "note", "problem"
"""It works; it is not there, and need not be; it should work, and does not."""


class Finding(NamedTuple):
    """One line of the report.

    Attributes:
        section: the group of checks.
        name: what was looked at.
        state: "ok", "note" or "problem".
        text: what was found, and what to do about a problem.
        status: the exit status that a problem gives.
        details: the same as plain values, for programs.
    """

    section: str
    name: str
    state: str
    text: str
    status: int = 0
    details: dict[str, Any] = {}  # noqa: RUF012 - never written to
