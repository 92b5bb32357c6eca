"""The model that comes with the package: there, whole, within its limits, and used by default."""

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
from fer_runtime.shipped import SHIPPED, find_model
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
    with pytest.raises(ModelFileError, match=r"are named compact_cnn and compact_cnn.int8"):
        Classifier.load("compact_cnn.int9", provider="cpu")


def test_the_variable_may_name_a_shipped_model(
    nothing_else: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FER_MODEL", "compact_cnn.int8")
    assert find_model() == SHIPPED.with_suffix(".int8.onnx")


def test_its_spec_and_card_lie_beside_it() -> None:
    spec = ModelSpec.read(SHIPPED.with_suffix(".json"))
    assert spec == Classifier.load(SHIPPED, provider="cpu").spec
    card = (SHIPPED.parent / "MODEL_CARD.md").read_text(encoding="utf-8")
    for words in ("research and evaluation only", "Article 5(1)(f)", "**unmeasured**", "apparent"):
        assert words in card.replace("*apparent*", "apparent")
    recorded = spec.provenance.metrics["validation"]["accuracy"]
    assert f"| accuracy | {recorded:.4f} (" in card


def test_it_is_small_and_stands_alone() -> None:
    files = {path.name: path.stat().st_size for path in SHIPPED.parent.iterdir()}
    assert set(files) == {
        "compact_cnn.onnx", "compact_cnn.int8.onnx", "compact_cnn.json", "golden.json",
        "MODEL_CARD.md", "face_detection_yunet_2026may.onnx", "FACE_DETECTOR.md",
        "LICENSE-yunet.txt",
    }  # fmt: skip
    assert files["compact_cnn.int8.onnx"] <= 0.3 * files["compact_cnn.onnx"]
    assert sum(files.values()) <= 4e6
