"""The models that come with the package: there, whole, within their limits, one by default."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fer_runtime.classifier import Classifier
from fer_runtime.cli.infer import app as infer_app
from fer_runtime.errors import ModelFileError
from fer_runtime.shipped import FOLDER, MODELS, SHIPPED, find_model
from fer_runtime.spec import ModelSpec


@pytest.fixture
def nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without best.onnx, no $FER_MODEL, and no network."""

    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FER_MODEL", raising=False)
    monkeypatch.setattr(socket.socket, "connect", refused)
    return tmp_path


def test_it_loads_without_a_path_and_names_itself(nothing_else: Path) -> None:
    classifier = Classifier.load(provider="cpu")
    spec = classifier.spec
    assert spec.labels == ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    assert spec.input.shape == (1, 48, 48)
    assert spec.parity is not None and spec.parity["passed"] is True
    assert spec.provenance.dataset == "fer2013"
    many = classifier.predict_batch(np.random.default_rng(0).integers(0, 256, (5, 60, 50), "uint8"))
    assert all(sum(p.probabilities.values()) == pytest.approx(1, abs=1e-5) for p in many)


def test_command_uses_it_and_says_so(nothing_else: Path) -> None:
    Image.new("L", (48, 48), 90).save(nothing_else / "photo.jpg")
    outcome = CliRunner().invoke(infer_app, ["photo.jpg", "--provider", "cpu", "--json"])
    assert outcome.exit_code == 0
    assert json.loads(outcome.stdout)["label"] in Classifier.load(provider="cpu").spec.labels
    assert f"model {SHIPPED} on" in outcome.stderr


def test_int8_goes_by_its_name_and_lost_little(nothing_else: Path) -> None:
    int8 = Classifier.load("compact_cnn.int8", provider="cpu")
    assert int8.spec.parity is not None and int8.spec.parity["precision"] == "int8"
    figures = int8.spec.parity["accuracy"]
    assert figures["fp32"]["images"] == 3589
    assert figures["int8"]["macro_f1"] >= figures["fp32"]["macro_f1"] - 0.005
    fp32 = Classifier.load("compact_cnn", provider="cpu")
    assert fp32.session.path == SHIPPED
    assert fp32.spec.replace(parity=None) == int8.spec.replace(parity=None)
    (nothing_else / "compact_cnn").write_text("a file of mine")
    assert find_model("compact_cnn") == Path("compact_cnn"), "a file of that name goes first"
    assert find_model("other") == Path("other")
    names = "compact_cnn, compact_cnn.int8, accurate_cnn, accurate_cnn.int8"
    with pytest.raises(ModelFileError, match=rf"are named {names}\."):
        Classifier.load("compact_cnn.int9", provider="cpu")


def test_the_variable_may_name_a_shipped_model(
    nothing_else: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FER_MODEL", "compact_cnn.int8")
    assert find_model() == SHIPPED.with_suffix(".int8.onnx")


def test_the_accurate_one_goes_by_its_name(nothing_else: Path) -> None:
    accurate = Classifier.load("accurate_cnn", provider="cpu")
    assert accurate.spec.parity is not None and accurate.spec.parity["passed"] is True
    assert accurate.spec.parity["precision"] == "fp16-weights"
    shipped = Classifier.load("compact_cnn", provider="cpu").spec
    assert accurate.spec.labels == shipped.labels
    scores = [each.provenance.metrics["validation"] for each in (accurate.spec, shipped)]
    assert scores[0]["accuracy"] > scores[1]["accuracy"]
    assert scores[0]["macro_f1"] > scores[1]["macro_f1"]
    int8 = Classifier.load("accurate_cnn.int8", provider="cpu").spec.parity
    assert int8 is not None and int8["precision"] == "int8" and int8["passed"] is True
    figures = int8["accuracy"]
    assert figures["int8"]["macro_f1"] >= figures["fp32"]["macro_f1"] - 0.005
    Image.new("L", (48, 48), 90).save(nothing_else / "photo.jpg")
    command = ["--model", "accurate_cnn", "photo.jpg", "--provider", "cpu", "--json"]
    outcome = CliRunner().invoke(infer_app, command)
    assert outcome.exit_code == 0, outcome.output
    assert "accurate_cnn.onnx" in outcome.stderr


@pytest.mark.parametrize("name", MODELS)
def test_its_spec_and_card_lie_beside_it(name: str) -> None:
    spec = ModelSpec.read(FOLDER / f"{name}.json")
    assert spec == Classifier.load(FOLDER / f"{name}.onnx", provider="cpu").spec
    card = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    assert card.startswith(f"# Model card: {name}\n")
    for words in ("research and evaluation only", "Article 5(1)(f)", "**unmeasured**", "apparent"):
        assert words in card.replace("*apparent*", "apparent")
    recorded = spec.provenance.metrics["validation"]["accuracy"]
    assert f"| accuracy | {recorded:.4f} (" in card
    assert "| all at random | up to 8%, 6%, 10 degrees |" in card
    assert "| 0.7 |" in card


def test_they_are_small_and_stand_alone() -> None:
    files = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    own = {f"{name}{end}" for name in MODELS for end in (".onnx", ".int8.onnx", ".json", ".md")}
    detector = {"face_detection_yunet_2026may.onnx", "FACE_DETECTOR.md", "LICENSE-yunet.txt"}
    assert set(files) == own | detector | {"golden.json"}
    assert files["compact_cnn.int8.onnx"] <= 0.3 * files["compact_cnn.onnx"]
    assert sum(size for name, size in files.items() if not name.startswith("accurate")) <= 4e6
    assert files["accurate_cnn.onnx"] <= 8e6
    assert sum(files.values()) <= 14e6
