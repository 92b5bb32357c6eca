"""Fixtures of the benchmarks: one exported model, faces, engines; and a summary."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fer_bench import artefacts, environment
from fer_bench.engines.hosted import Hosted
from fer_bench.engines.table import ENGINES
from fer_runtime import images
from fer_runtime.errors import FerError
from fer_runtime.machine import usable_threads
from fer_runtime.session import Session

MOST = 512
SHIPPED = Path(__file__).parents[1] / "train" / "checkpoints" / "compact_cnn.pt"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--model`: the checkpoint that is measured."""
    parser.addoption("--model", type=Path, default=SHIPPED, help="A best.pt; default: what ships.")


@pytest.fixture(scope="session")
def exported(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> artefacts.Artefacts:
    """The model in all formats."""
    checkpoint = pytestconfig.getoption("--model")
    try:
        return artefacts.make(tmp_path_factory.mktemp("artefacts"), checkpoint)
    except FerError as error:
        pytest.exit(f"--model: {error}", returncode=error.exit_status)


@pytest.fixture(scope="session")
def faces(exported: artefacts.Artefacts) -> npt.NDArray[np.uint8]:
    """(512, C, H, W) uint8: drawn faces as the model's pixels."""
    spec = Session.open(exported.onnx, provider="cpu", threads=1).spec.input
    drawn = artefacts.faces(MOST).transpose(0, 2, 3, 1)
    return np.stack([images.load(face, spec) for face in drawn])


@pytest.fixture(scope="session")
def reference(
    exported: artefacts.Artefacts, faces: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float32]:
    """(512, K) probabilities of eager PyTorch."""
    with Hosted(ENGINES["eager"], exported, usable_threads()) as engine:
        engine.take(faces)
        engine.run()
        return engine.probabilities()


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, exported: artefacts.Artefacts) -> Iterator[Hosted]:
    """Each engine that can run here, on all cores, in a process of its own."""
    entry = ENGINES[request.param]
    if (reason := entry.why_not()) is not None:
        pytest.skip(f"{request.param}: {reason}")
    with Hosted(entry, exported, usable_threads()) as opened:
        opened.facts["engine"] = request.param
        yield opened


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Images/s and percentiles of each benchmark, and the machine, after pytest-benchmark's."""
    session = getattr(config, "_benchmarksession", None)
    measured = [each for each in getattr(session, "benchmarks", ()) if each.stats.rounds]
    if not measured:
        return
    terminalreporter.section("images/s, and milliseconds a run")
    heads = f"{'images/s':>12}{'p50':>10}{'p90':>10}{'p99':>10}"
    terminalreporter.write_line(f"{'group':<24}{'engine':<32}{heads}")
    for each in sorted(measured, key=lambda one: (one.extra_info["batch_size"], one.group)):
        info = each.extra_info
        times = "".join(f"{info['milliseconds'][name]:>10.3f}" for name in ("p50", "p90", "p99"))
        rate = f"{info['images_per_second']:>12,.0f}"
        terminalreporter.write_line(f"{each.group:<24}{info['engine']:<32}{rate}{times}")
    versions = {
        name: each.extra_info[name]
        for each in measured
        for name in ("torch", "onnxruntime", "openvino")
        if name in each.extra_info
    }
    facts = environment.machine() | versions
    machine = ", ".join(f"{name} {value}" for name, value in facts.items())
    terminalreporter.write_line(f"machine: {machine}")
