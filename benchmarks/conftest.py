"""Fixtures of the benchmarks: one exported model, faces, engines; a record, and a summary."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_bench import artefacts, environment, image_files, recording
from fer_bench.artefacts import SHIPPED
from fer_bench.engines.hosted import Hosted
from fer_bench.engines.table import ENGINES
from fer_runtime import images
from fer_runtime.errors import FerError
from fer_runtime.machine import usable_threads
from fer_runtime.session import Session
from fer_runtime.spec import ModelSpec

MOST = 512
BEFORE = pytest.StashKey[Mapping[str, Any]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The checkpoint that is measured, and the images that int8 needs."""
    parser.addoption("--model", type=Path, default=SHIPPED, help="A best.pt; default: what ships.")
    parser.addoption(
        "--data",
        type=Path,
        help="Folder with train/<label>/* and validation/, for int8 of --model.",
    )


@pytest.fixture(scope="session", autouse=True)
def before(pytestconfig: pytest.Config) -> None:
    """How busy and how fast the machine is before anything is measured."""
    if not pytestconfig.getoption("benchmark_disable"):
        pytestconfig.stash[BEFORE] = recording.moment()


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """The file of --benchmark-json says where it was measured; `fer-bench report` reads it."""
    recording.complete(output_json, config.stash[BEFORE], skipped(config))


def skipped(config: pytest.Config) -> list[str]:
    """Why something was not measured, each reason once."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    reports = reporter.stats.get("skipped", []) if reporter is not None else []
    reasons = [str(each.longrepr[2]).removeprefix("Skipped: ") for each in reports]
    return list(dict.fromkeys(reasons))


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """The name of the machine is nobody's business."""
    machine_info.pop("node", None)


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
    except ModuleNotFoundError as error:
        pytest.exit(f"{error.name} is not installed: pip install '.[cpu,bench]'", returncode=2)


@pytest.fixture(scope="session")
def faces(spec: ModelSpec) -> npt.NDArray[np.uint8]:
    """(512, C, H, W) uint8: drawn faces as the model's pixels."""
    drawn = artefacts.faces(MOST).transpose(0, 2, 3, 1)
    return np.stack([images.load(face, spec.input) for face in drawn])


@pytest.fixture(scope="session")
def spec(exported: artefacts.Artefacts) -> ModelSpec:
    """What the model expects."""
    return Session.open(exported.onnx, provider="cpu", threads=1).spec


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> image_files.ImageFiles:
    """Sets of image files, made when they are asked for."""
    return image_files.ImageFiles(tmp_path_factory.mktemp("images"))


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
    terminalreporter.write_line(f"{'group':<30}{'engine':<40}{heads}")
    for each in sorted(measured, key=lambda one: _by_number(one.group)):
        info = each.extra_info
        times = "".join(f"{info['milliseconds'][name]:>10.3f}" for name in ("p50", "p90", "p99"))
        rate = f"{info['images_per_second']:>12,.0f}"
        terminalreporter.write_line(f"{each.group:<30}{info['engine']:<40}{rate}{times}")
    facts = environment.machine()
    machine = ", ".join(f"{name} {value}" for name, value in facts.items())
    terminalreporter.write_line(f"machine: {machine}")
    for reason in skipped(config):
        terminalreporter.write_line(f"not measured: {reason}")
    if not config.getoption("benchmark_json"):
        terminalreporter.write_line(
            "With --benchmark-json run.json it is kept, and fer-bench report run.json draws it."
        )


def _by_number(group: str) -> list[Any]:
    """What sorts "batch 8" before "batch 32"."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", group)]
