"""Weights of every kind become a model with a spec, or a message that explains what is wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models as torchvision_models
from typer.testing import CliRunner

from fer_bench.artefacts import Artefacts
from fer_export import inspection, loading
from fer_export.cli import app
from fer_export.loading import ModelDescription
from fer_runtime.errors import DataError, ModelFileError, ModelSpecError
from fer_runtime.session import Session
from fer_train import checkpoint
from fer_train.checkpoint import Loaded

LABELS = ("calm", "cross", "glad")
NET = "squeezenet1_1"


def description(**changes: Any) -> ModelDescription:
    values: dict[str, Any] = {
        "architecture": NET, "labels": LABELS, "image_size": (64, 64), "channels": 3,
        "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25),
    }  # fmt: skip
    return ModelDescription(**{**values, **changes})


@pytest.fixture(scope="module")
def net() -> nn.Module:
    """torchvision's own, with three classes and weights that give its outputs a scale."""
    torch.manual_seed(0)
    made: nn.Module = torchvision_models.get_model(NET, num_classes=3)
    head = [layer for layer in made.modules() if isinstance(layer, nn.Conv2d)][-1]
    nn.init.normal_(head.weight, std=0.1)
    return made.eval()


def assert_same(loaded: Loaded, net: nn.Module) -> None:
    images = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        expected = net((images.float() / 255 - 0.5) / 0.25)
        torch.testing.assert_close(loaded.deployable()(images)[0], expected)
    assert loaded.spec.labels == LABELS and loaded.spec.provenance.weights_sha256


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.", "model.net."])
def test_state_dict_whatever_its_keys_begin_with(
    net: nn.Module, tmp_path: Path, prefix: str
) -> None:
    torch.save({f"{prefix}{k}": v for k, v in net.state_dict().items()}, tmp_path / "w.pth")
    assert_same(loading.load(tmp_path / "w.pth", description()), net)


def test_lightning_and_training_checkpoints(net: nn.Module, tmp_path: Path) -> None:
    state = {f"net.{k}": v for k, v in net.state_dict().items()}
    lightning = {
        "state_dict": {**state, "loss.weight": torch.ones(3)}, "epoch": 3, "global_step": 9,
        "pytorch-lightning_version": "2.6.0", "optimizer_states": [{"state": {}}],
    }  # fmt: skip
    torch.save(lightning, tmp_path / "last.ckpt")
    assert_same(loading.load(tmp_path / "last.ckpt", description()), net)
    torch.save({"model_state_dict": net.state_dict(), "epoch": 3}, tmp_path / "loop.pt")
    assert_same(loading.load(tmp_path / "loop.pt", description()), net)


def test_safetensors(net: nn.Module, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(net.state_dict(), tmp_path / "w.safetensors")
    assert_same(loading.load(tmp_path / "w.safetensors", description()), net)
    (tmp_path / "bad.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(ModelFileError, match="cannot be read as safetensors"):
        loading.load(tmp_path / "bad.safetensors", description())


def test_pickled_module_only_if_trusted(net: nn.Module, tmp_path: Path) -> None:
    torch.save(net, tmp_path / "net.pt")
    with pytest.raises(ModelFileError, match=r"would execute code.*pass --trust-pickle"):
        loading.load(tmp_path / "net.pt", description())
    assert_same(loading.load(tmp_path / "net.pt", description(trust_pickle=True)), net)


class Hostile:
    """Unpickling this would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("new_format", [True, False])
def test_hostile_pickle_executes_nothing(tmp_path: Path, new_format: bool) -> None:
    marker = tmp_path / "executed"
    torch.save(
        {"state_dict": Hostile(marker)}, tmp_path / "w.pt",
        _use_new_zipfile_serialization=new_format,
    )  # fmt: skip
    with pytest.raises(ModelFileError, match="would execute code"):
        loading.load(tmp_path / "w.pt", description())
    assert not marker.exists()


def test_checkpoint_of_fer_train_requires_no_description(exported: Artefacts) -> None:
    found = loading.load(exported.checkpoint)
    assert found.spec == checkpoint.load(exported.checkpoint).spec
    with pytest.raises(ModelSpecError, match="contains its own spec; omit --channels"):
        loading.load(exported.checkpoint, ModelDescription(channels=3))


def test_message_for_weights_without_a_description_shows_what_to_do(
    net: nn.Module, tmp_path: Path
) -> None:
    torch.save(net.state_dict(), tmp_path / "w.pt")
    with pytest.raises(ModelFileError, match=r"contains no ModelSpec.*--architecture resnet18"):
        loading.load(tmp_path / "w.pt")
    with pytest.raises(ModelSpecError, match=r"so --labels, --image-size, --std must be given"):
        loading.load(tmp_path / "w.pt", description(labels=(), image_size=None, std=()))
    with pytest.raises(ModelSpecError, match="--architecture is required"):
        loading.load(tmp_path / "w.pt", description(architecture=None))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ("a", "b")}, r"head has 3 classes, and 2 labels were given"),
        ({"channels": 1, "mean": (0.5,), "std": (0.5,)}, r"takes 3 channels: pass --channels 3"),
        ({"architecture": "resnet18"}, r"missing: .* and \d+ more(.|\n)*those of another archit"),
        ({"architecture": "resnet_18"}, "Unknown architecture 'resnet_18'"),
        ({"mean": (0.5, 0.5)}, "mean"),
        ({"architecture": "timm:no_such_net"}, "timm"),
    ],
)
def test_mismatch_names_the_likely_cause(
    net: nn.Module, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    torch.save(net.state_dict(), tmp_path / "w.pt")
    with pytest.raises((ModelFileError, ModelSpecError), match=message):
        loading.load(tmp_path / "w.pt", description(**changes))


@pytest.mark.parametrize("content", [b"", b"hello", b"<html></html>", b"PK\x03\x04 no zip"])
def test_other_files_are_not_weights(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"w\.pt"):
        loading.load(tmp_path / "w.pt", description())


def test_published_model_is_not_adapted_to_small_inputs(tmp_path: Path) -> None:
    """Strides leave no trace in the weights: a silent difference if they were guessed."""
    torch.manual_seed(0)
    net = torchvision_models.resnet18(num_classes=3).eval()
    torch.save(net.state_dict(), tmp_path / "w.pt")
    found = loading.load(tmp_path / "w.pt", description(architecture="resnet18"))
    assert_same(found, net)
    assert found.spec.architecture_args == {"small_input": False}


@pytest.mark.parametrize("text", ["calm,cross,glad", "labels.txt"])
def test_labels_from_a_file_or_a_list(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.txt").write_text("calm\n cross\nglad\n\n", encoding="utf-8")
    given = str(tmp_path / text) if text.endswith(".txt") else text
    assert loading.labels_from(given) == LABELS
    with pytest.raises(DataError, match="cannot be read as a list of labels"):
        loading.labels_from(str(tmp_path / "none.txt"))


@pytest.mark.slow
def test_bare_weights_to_every_format_by_the_command(net: nn.Module, tmp_path: Path) -> None:
    torch.save(net.state_dict(), tmp_path / "w.pth")
    described = [
        "--architecture", NET, "--labels", ",".join(LABELS), "--image-size", "64x48",
        "--channels", "3", "--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25",
    ]  # fmt: skip
    outcome = CliRunner().invoke(app, ["all", str(tmp_path / "w.pth"), *described])
    assert outcome.exit_code == 0, outcome.output
    assert {path.name for path in tmp_path.iterdir()} == {
        "w.pth", "w.onnx", "w.onnx.parity.json", "w.torchscript", "w.torchscript.parity.json",
        "w.pt2", "w.pt2.parity.json",
    }  # fmt: skip
    spec = Session.open(tmp_path / "w.onnx", provider="cpu").spec
    assert spec.labels == LABELS and spec.input.shape == (3, 64, 48)
    verified = CliRunner().invoke(
        app, ["verify", str(tmp_path / "w.pth"), str(tmp_path / "w.pt2"), *described]
    )
    assert verified.exit_code == 0, verified.output
    assert inspection.read_spec(tmp_path / "w.pt2").labels == LABELS
