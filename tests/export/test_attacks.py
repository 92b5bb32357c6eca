"""A folder of hostile model files, every one against every door that opens model files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fer_bench.artefacts import Artefacts

HERE = Path(__file__).parent / "attacks"
MAX_GROWN = 300 << 20
MAX_SECONDS = 30


def python(*arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The attacks as files; the marker that some of them want to create is beside it."""
    made = tmp_path_factory.mktemp("attacks") / "files"
    python(HERE / "make.py", made, made.parent / "marker")
    return made


@pytest.fixture(scope="module")
def tried(folder: Path, exported: Artefacts) -> list[dict[str, Any]]:
    """One entry per file and door."""
    beside = folder.parent / "checkpoint.pt"
    shutil.copy(exported.checkpoint, beside)
    shutil.copy(exported.onnx, beside.with_name("model.onnx"))
    lines = python(HERE / "open_all.py", folder, beside).splitlines()
    return [json.loads(line) for line in lines]


def test_every_attack_is_refused_in_words(tried: list[dict[str, Any]]) -> None:
    assert len(tried) == 32 * 7
    for each in tried:
        where = f"{each['file']} by {each['door']}: {each['words']}"
        # Looking at metadata is harmless, and tells what a file is.
        allowed = ("refused", "opened") if each["door"] == "inspect" else ("refused",)
        assert each["ended"] in allowed, where
        assert len(each["words"]) >= 10 and "Traceback" not in each["words"], where


def test_no_attack_takes_memory_or_time(tried: list[dict[str, Any]]) -> None:
    for each in tried:
        assert each["grown"] < MAX_GROWN, (each["file"], each["door"])
        assert each["seconds"] < MAX_SECONDS, (each["file"], each["door"])


def test_nothing_was_executed_or_left(folder: Path, tried: list[dict[str, Any]]) -> None:
    assert not (folder.parent / "marker").exists()
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".fer")]
    assert not (folder / "attached.onnx").exists()


@pytest.mark.parametrize(
    ("file", "load"),
    [
        ("pickled.pt", "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'))"),
        ("torch_saved.pt", "import torch, sys; torch.load(sys.argv[1], weights_only=False)"),
        ("sample_inputs.pt2", "import torch, sys; torch.export.load(sys.argv[1])"),
    ],
)
def test_the_attacks_are_real(folder: Path, tried: object, file: str, load: str) -> None:
    """Opened without care, they do execute; else their refusal would prove nothing."""
    marker = folder.parent / "marker"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", load, str(folder / file)],
        capture_output=True,
        check=False,
    )
    assert marker.exists()
    marker.unlink()


def test_refusals_name_the_kind(tried: list[dict[str, Any]]) -> None:
    said = {(each["file"], each["door"]): each["words"] for each in tried}
    assert "would unpack to" in said["bomb.pt", "load"]
    assert "would unpack to" in said["bomb.torchscript", "verify"]
    assert "would execute code" in said["torch_saved.pt", "load"]
    assert "would execute code" in said["sample_inputs.pt2", "verify"]
    assert "would execute code" in said["constants.pt2", "verify"]
    assert "contains an entry twice" in said["twice.pt2", "verify"]
    assert "is not an archive of torch.export" in said["malformed.pt2", "verify"]
    assert "would be executed on loading" in said["compiled.pt2", "verify"]
    assert "web page" in said["web_page.onnx", "inspect"]
    assert "/etc/passwd" in said["external_absolute.onnx", "attach"]
    assert "validation failed" in said["external_parent.onnx", "run with a spec"]
    assert "validation failed" in said["external_link.onnx", "run with a spec"]
