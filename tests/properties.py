"""Hypothesis where it is installed; without it the property tests are skipped, and no other test.

The runtime's tests run with pytest alone, so their modules import these names from here.
"""

from __future__ import annotations

from typing import Any

import pytest

try:
    from hypothesis import given, settings
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as arrays
except ModuleNotFoundError:

    class _Absent:
        """Stands for any strategy: every attribute, call and combination of it is itself."""

        def __getattr__(self, name: str) -> _Absent:
            return self

        def __call__(self, *_: Any, **__: Any) -> _Absent:
            return self

        def __or__(self, _: Any) -> _Absent:
            return self

    def _skipping(*_: Any, **__: Any) -> Any:
        def decorate(_: Any) -> Any:
            @pytest.mark.skip(reason="a property test needs hypothesis (extra `dev`)")
            def skipped() -> None:
                raise AssertionError("this runs under hypothesis only")

            return skipped

        return decorate

    given = _skipping
    settings = lambda **_: lambda test: test  # type: ignore[assignment,misc]  # noqa: E731
    st = arrays = _Absent()  # type: ignore[assignment]

__all__ = ["arrays", "given", "settings", "st"]
