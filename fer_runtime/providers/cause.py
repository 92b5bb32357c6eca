"""Why a provider cannot run, as a value."""

from __future__ import annotations

from typing import NamedTuple


class Cause(NamedTuple):
    """Why a provider cannot run, how to fix it, and what the system reported, if anything."""

    what: str
    remedy: str = ""
    detail: str = ""

    def __str__(self) -> str:
        text = f"{self.what}: {self.detail}" if self.detail else self.what
        return f"{text} ({self.remedy})" if self.remedy else text
