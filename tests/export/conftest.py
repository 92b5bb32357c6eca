"""Every test in this folder may use torch, so its settings for tests apply to all of them."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def _small_torch(small_torch: None) -> None:
    """The fixture `small_torch`, for each test."""
