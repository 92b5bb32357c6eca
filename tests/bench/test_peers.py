"""Peers: labels are counted fairly, and what cannot be had is named without a number."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fer_bench import peers
from fer_bench.artefacts import Artefacts
from fer_bench.peer_runs import deepface_weights, measuring, program
from fer_bench.peer_runs.table import PEERS
from fer_runtime.errors import DataError


def test_every_peer_has_a_program() -> None:
    assert set(PEERS) == set(program.OPENERS)


@pytest.mark.parametrize("name, is_made_anew", [("fer-runtime", True), ("fer", False)])
def test_only_this_checkout_is_installed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_made_anew: bool
) -> None:
    done = tmp_path / name / "complete"
    done.parent.mkdir()
    done.touch()
    commands: list[list[str]] = []
    monkeypatch.setattr(measuring, "_call", lambda command: _made(commands, command, done.parent))
    measuring.install(name, tmp_path)
    assert done.exists()
    assert bool(commands) == is_made_anew


def _made(commands: list[list[str]], command: list[str], folder: Path) -> None:
    commands.append(command)
    folder.mkdir(exist_ok=True)


def test_peers_of_one_environment_share_its_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(peers, "install", lambda name, environments: asked.append(name))
    ours = [part for name in ("fer-runtime", "fer-runtime, int8") for part in ("--peer", name)]
    (tmp_path / "face.png").touch()
    options = [*ours, "--environments", str(tmp_path / "none"), "--install"]
    done = CliRunner().invoke(peers.app, [str(tmp_path), *options])
    assert asked == ["fer-runtime"]
    assert done.exit_code == 0 and "fer-runtime, int8 is not installed" in done.output


def test_a_label_of_no_folder_is_wrong() -> None:
    paths = [Path(f"data/{label}/{i}.png") for label in ("happy", "sad") for i in range(4)]
    right = [path.parent.name for path in paths]
    assert measuring.accuracy(paths, right) == {
        "accuracy": 1.0, "macro_f1": 1.0, "without_label": 0,
    }  # fmt: skip
    found = measuring.accuracy(paths, ["no face detected", *right[1:]])
    assert found["accuracy"] == 7 / 8 and found["without_label"] == 1


@pytest.mark.slow
def test_the_pytorch_loop_is_measured_and_others_are_named(
    exported: Artefacts, dataset: Path, tmp_path: Path
) -> None:
    output = tmp_path / "peers.json"
    done = CliRunner().invoke(
        peers.app,
        [
            str(dataset / "validation"), "--environments", str(tmp_path / "none"), "--images", "20",
            "--repeats", "1", "--peer", "PyTorch loop", "--peer", "fer",
            "--checkpoint", str(exported.checkpoint), "-o", str(output),
        ],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads(output.read_text(encoding="utf-8"))
    assert found["missing"] == {"fer": "is not installed: pass --install"}
    (loop,) = found["peers"].values()
    assert loop["images_per_second"] > 0 and loop["start_seconds"] > 0
    assert loop["installed_bytes"] > 1e8 and 0 <= loop["accuracy"] <= 1
    assert "fer is not installed" in done.output


def test_an_unknown_peer_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    unknown = CliRunner().invoke(peers.app, [str(tmp_path), "--peer", "nobody"])
    assert isinstance(unknown.exception, DataError) and "what-the-face" in str(unknown.exception)
    empty = CliRunner().invoke(peers.app, [str(tmp_path), "--peer", "PyTorch loop"])
    assert isinstance(empty.exception, DataError)


def test_deepfaces_stand_in_has_its_shapes(tmp_path: Path) -> None:
    import onnxruntime

    deepface_weights.write(tmp_path)
    path = tmp_path / deepface_weights.FILE
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape[1:] == [48, 48, 1]
    assert session.get_outputs()[0].shape[1:] == [7]
