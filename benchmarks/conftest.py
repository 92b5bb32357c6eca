"""Fixtures of the benchmarks: one net, exported once, and faces to run it on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from fer_bench import artefacts
from fer_bench.gpu import skip_without_cuda


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> artefacts.Artefacts:
    """The seeded net in all formats."""
    return artefacts.make(tmp_path_factory.mktemp("artefacts"))


@pytest.fixture(scope="session")
def faces() -> npt.NDArray[np.uint8]:
    """(256, 1, 48, 48) uint8."""
    return artefacts.faces(256)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `gpu` say what is missing where they cannot run."""
    skip_without_cuda(items)
