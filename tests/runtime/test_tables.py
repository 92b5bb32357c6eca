"""Each table takes a new entry from outside: it works through the command line and its help."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

SOURCE = """
import numpy as np
from fer_runtime.items import Item
from fer_runtime.sources.table import SOURCES

def numpy_stack(path):
    for index, pixels in enumerate(np.load(path)):
        yield Item(f"{path}[{index}]", path, content=pixels)

SOURCES[".npy"] = numpy_stack
"""
SINK = """
from fer_runtime.sinks.table import SINKS
from fer_runtime.sinks.text import LinesSink

class MarkdownSink(LinesSink):
    def write_row(self, row):
        self.stream.write(f"- {row.name}: **{row.label or row.error}**\\n")

SINKS[".md"] = MarkdownSink
"""
PROVIDER = """
from fer_runtime.providers.table import PROVIDERS, Provider

PROVIDERS["padded"] = Provider("padded CPU", "CPUExecutionProvider", device="cpu")
"""


def fer_infer(setup: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    code = f"{setup}\nfrom fer_runtime.cli.infer import main\nmain()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


def help_of(setup: str) -> str:
    text = fer_infer(setup, "--help").stdout
    return " ".join(text.replace("│", " ").split())


@pytest.fixture
def stack(tmp_path: Path, faces: npt.NDArray[np.uint8]) -> Path:
    np.save(tmp_path / "faces.npy", faces[:5, 0])
    return tmp_path / "faces.npy"


def test_a_source(tmp_path: Path, stack: Path, tiny_model: Path) -> None:
    done = fer_infer(SOURCE, stack, "--model", tiny_model, "-o", "-", "--provider", "cpu")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()[1:]
    assert [line.split(",")[0] for line in lines] == [f"{stack}[{index}]" for index in range(5)]
    assert ".npy" in help_of(SOURCE) and ".npy" not in help_of("")
    missing = fer_infer(SOURCE, tmp_path / "gone.npy", "--model", tiny_model)
    assert missing.returncode == 6 and "gone.npy does not exist" in missing.stderr


def test_a_sink(tmp_path: Path, stack: Path, tiny_model: Path) -> None:
    output = tmp_path / "rows.md"
    common = (stack, "--model", tiny_model, "--provider", "cpu", "-o", output)
    done = fer_infer(SOURCE + SINK, *common)
    assert done.returncode == 0, done.stderr
    lines = output.read_text().splitlines()
    assert len(lines) == 5 and lines[0].startswith(f"- {stack}[0]: **")
    assert ".md" in help_of(SINK) and ".md" not in help_of("")
    resumed = fer_infer(SOURCE + SINK, *common, "--resume")
    assert resumed.returncode == 2 and "--resume" in resumed.stderr


def test_a_provider(stack: Path, tiny_model: Path) -> None:
    common = (stack, "--model", tiny_model, "-o", "-", "--batch-size", 4, "--provider")
    expected = fer_infer(SOURCE, *common, "cpu")
    done = fer_infer(SOURCE + PROVIDER, *common, "padded")
    assert done.returncode == 0, done.stderr
    assert done.stdout == expected.stdout and len(done.stdout.splitlines()) == 6
    assert "padded CPU in f32, as requested" in done.stderr
    assert "padded" in help_of(PROVIDER)
    unknown = fer_infer(SOURCE, *common, "padded")
    assert unknown.returncode == 2 and "auto" in unknown.stderr
