"""Fixtures of the benchmarks: one exported model and faces to run it on; and a summary."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from fer_bench import artefacts, engines
from fer_bench.gpu import skip_without_cuda


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> artefacts.Artefacts:
    """The seeded model in all formats."""
    return artefacts.make(tmp_path_factory.mktemp("artefacts"))


@pytest.fixture(scope="session")
def faces() -> npt.NDArray[np.uint8]:
    """(256, 1, 48, 48) uint8."""
    return artefacts.faces(256)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked `gpu` where they cannot run, with what is missing as the reason."""
    skip_without_cuda(items)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Images/s and median latency of each benchmark, and the machine, after pytest-benchmark's."""
    session = getattr(config, "_benchmarksession", None)
    measured = [each for each in getattr(session, "benchmarks", ()) if each.stats.rounds]
    if not measured:
        return
    terminalreporter.section("throughput")
    terminalreporter.write_line(f"{'group':<12}{'engine':<24}{'images/s':>12}{'p50 ms':>12}")
    for each in measured:
        seconds, engine = each.stats.median, each.extra_info["engine"]
        rate = each.extra_info["batch_size"] / seconds
        terminalreporter.write_line(
            f"{each.group:<12}{engine:<24}{rate:>12,.0f}{seconds * 1e3:>12.3f}"
        )
    versions = {
        name: each.extra_info[name]
        for each in measured
        for name in ("torch", "onnxruntime")
        if name in each.extra_info
    }
    facts = engines.machine() | versions
    machine = ", ".join(f"{name} {value}" for name, value in facts.items())
    terminalreporter.write_line(f"machine: {machine}")
