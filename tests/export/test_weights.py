"""Checkpoints of other people's training loops: which entry is taken, and what may be beside it."""

from __future__ import annotations

import argparse
import collections
import datetime
import json
import os
import pathlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fer_bench.artefacts import Artefacts
from fer_export import exporter, inspection, loading, weights
from fer_export.loading import ModelDescription
from fer_runtime.errors import ModelFileError, ModelSpecError
from fer_runtime.spec import InputSpec
from fer_train import checkpoint, models, pickles
from fer_train.checkpoint import Loaded

LABELS = ("calm", "cross", "glad")
SPEC = InputSpec(height=16, width=16, channels=1, mean=(0.5,), std=(0.25,))
DESCRIBED: dict[str, Any] = {
    "architecture": "simple_cnn", "labels": LABELS, "image_size": (16, 16), "channels": 1,
    "mean": (0.5,), "std": (0.25,),
}  # fmt: skip


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return dict(models.build("simple_cnn", SPEC, 3, {}).state_dict())


def other(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor * 2 for name, tensor in state.items()}


def load(content: object, path: Path, **changes: Any) -> tuple[Loaded, list[str]]:
    said: list[str] = []
    torch.save(content, path)
    found = loading.load(path, ModelDescription(**{**DESCRIBED, **changes}), say=said.append)
    return found, said


def test_the_only_state_dict_is_taken_and_named(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    optimizer = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]}
    for content in (
        {"network": state, "optimizer": optimizer, "epoch": 3},
        {"ema": state},
        {"weights of today": state, "metrics": {"accuracy": torch.tensor(0.9)}},
    ):
        found, said = load(content, tmp_path / "w.pt")
        assert found.spec.provenance.weights_sha256 == checkpoint.state_sha256(state)
        assert said == [f"taking the weights from the entry {next(iter(content))!r} of w.pt"]
    assert load(state, tmp_path / "w.pt")[1] == []


@pytest.mark.parametrize(
    ("first", "second", "taken"),
    [
        ("model", "ema", "model"),
        ("ema", "model", "model"),
        ("model_ema", "state_dict", "state_dict"),
        ("net", "model_state_dict", "model_state_dict"),
    ],
)
def test_of_several_the_documented_one_is_taken_unless_another_is_chosen(
    state: dict[str, torch.Tensor], tmp_path: Path, first: str, second: str, taken: str
) -> None:
    content = {first: state, second: other(state)}
    left = second if taken == first else first
    found, said = load(content, tmp_path / "w.pt")
    assert found.spec.provenance.weights_sha256 == checkpoint.state_sha256(content[taken])
    assert said == [
        f"taking the weights from the entry {taken!r} of w.pt; --state-key chooses another ({left})"
    ]
    found, said = load(content, tmp_path / "w.pt", state_key=left)
    assert found.spec.provenance.weights_sha256 == checkpoint.state_sha256(content[left])
    assert f"the entry {left!r}" in said[0]


def test_entries_that_cannot_be_chosen_are_named(
    state: dict[str, torch.Tensor], tmp_path: Path, exported: Artefacts
) -> None:
    content = {"teacher": state, "student": state, "epoch": 3}
    with pytest.raises(ModelFileError, match=r"\(teacher, student\); choose one with --state-key"):
        load(content, tmp_path / "w.pt")
    with pytest.raises(ModelFileError, match="has no such entry; entries that are: teacher, stu"):
        load(content, tmp_path / "w.pt", state_key="ema")
    with pytest.raises(ModelFileError, match=r"that entry of .* is not a state dict"):
        load(content, tmp_path / "w.pt", state_key="epoch")
    with pytest.raises(ModelFileError, match="contains no state dict; its keys: epoch, lr"):
        load({"epoch": 3, "lr": 0.1}, tmp_path / "w.pt")
    with pytest.raises(ModelSpecError, match="contains its own spec; omit --state-key"):
        loading.load(exported.checkpoint, ModelDescription(state_key="state_dict"))


PLAIN = {
    "best_acc": np.float64(0.5),
    "curve": np.arange(5.0),
    "names": np.array(["a", "b"]),
    "flag": np.bool_(True),
    "args": argparse.Namespace(lr=0.1, out=pathlib.Path("runs")),
    "note": SimpleNamespace(text="hello"),
    "path": pathlib.PurePosixPath("runs/1"),
    "windows": pathlib.PureWindowsPath("runs\\1"),
    "date": datetime.datetime(2024, 2, 3, tzinfo=datetime.UTC),
    "took": datetime.timedelta(seconds=3),
    "history": collections.defaultdict(list, loss=[0.3, np.float32(0.2)]),
    "last": collections.deque([1, 2], maxlen=5),
    "counts": collections.Counter("aab"),
    "sets": ({1, 2}, frozenset([3])),
    "bytes": b"\xff\x00",
}


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("name", PLAIN)
def test_plain_objects_beside_the_weights_are_accepted(
    state: dict[str, torch.Tensor], tmp_path: Path, name: str, new_format: bool
) -> None:
    content = {"model": state, name: PLAIN[name]}
    torch.save(content, tmp_path / "w.pt", _use_new_zipfile_serialization=new_format)
    found = loading.load(tmp_path / "w.pt", ModelDescription(**DESCRIBED))
    assert found.spec.provenance.weights_sha256 == checkpoint.state_sha256(state)


class Custom:
    """A class of somebody's project."""

    def __init__(self, value: object) -> None:
        self.value = value


class Hostile:
    """Unpickling this would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("new_format", [True, False])
def test_the_entry_that_would_execute_code_is_named_with_its_type(
    state: dict[str, torch.Tensor], tmp_path: Path, new_format: bool
) -> None:
    marker = tmp_path / "executed"
    content = {
        "model": collections.OrderedDict(state),
        "best_acc": np.float64(0.5),
        "config": {"loss": Custom(Hostile(marker)), "hooks": [Hostile(marker)]},
        "args": argparse.Namespace(criterion=nn.CrossEntropyLoss()),
    }
    torch.save(content, tmp_path / "w.pt", _use_new_zipfile_serialization=new_format)
    with pytest.raises(ModelFileError) as raised:
        loading.load(tmp_path / "w.pt", ModelDescription(**DESCRIBED))
    message = str(raised.value)
    for words in (
        f"config.loss ({Custom.__module__}.Custom)",
        "config.hooks (posix.mkdir)",
        "args.criterion (torch.nn.modules.loss.CrossEntropyLoss)",
        "would execute code",
    ):
        assert words in message
    assert message.index("torch.save(model.state_dict()") < message.index("--trust-pickle")
    assert "best_acc" not in message and not marker.exists()


class Huge:
    """A NumPy array that claims a petabyte."""

    def __reduce__(self) -> tuple[Any, ...]:
        make: Callable[..., Any] = np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        return make, (np.ndarray, (1 << 50,), b"b")


def test_plain_types_are_never_called(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    found, _ = load({"model": state, "huge": Huge()}, tmp_path / "w.pt")
    assert found.spec.labels == LABELS
    assert pickles.foreign_objects(tmp_path / "w.pt") == []


def test_a_checkpoint_is_read_once(
    exported: Artefacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []
    original = torch.load

    def counted(path: Path, **more: Any) -> Any:
        read.append(path)
        return original(path, **more)

    monkeypatch.setattr(torch, "load", counted)
    loading.load(exported.checkpoint)
    assert read == [exported.checkpoint]


FACTORY = """
from dataclasses import dataclass

import torch
from torch import nn

from fer_train import models


@dataclass
class Output:
    logits: torch.Tensor
    hidden: None = None


class Wrapped(nn.Module):
    def __init__(self, spec, classes, as_dict):
        super().__init__()
        self.inner = models.build("simple_cnn", spec, classes, {})
        self.as_dict = as_dict

    def forward(self, x):
        logits = self.inner(x)
        return {"logits": logits, "hidden": x} if self.as_dict else Output(logits)


def build(spec, classes, as_dict=False):
    return Wrapped(spec, classes, as_dict)
"""


@pytest.mark.parametrize("as_dict", [False, True])
def test_a_factory_whose_output_has_logits_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_dict: bool
) -> None:
    name = f"made_up_factory_{as_dict}".lower()
    (tmp_path / f"{name}.py").write_text(FACTORY, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    torch.manual_seed(0)
    net = models.build("simple_cnn", SPEC, 3, {}).eval()
    nn.init.normal_(list(net.parameters())[-2], std=0.1)
    torch.save({f"inner.{k}": v for k, v in net.state_dict().items()}, tmp_path / "w.pt")
    described = ModelDescription(
        **{**DESCRIBED, "architecture": f"{name}:build", "net_args": {"as_dict": as_dict}}
    )
    images = torch.randint(0, 256, (3, 1, 16, 16), dtype=torch.uint8)
    with torch.inference_mode():
        expected = net((images.float() / 255 - 0.5) / 0.25)
    found = loading.load(tmp_path / "w.pt", described)
    with torch.inference_mode():
        torch.testing.assert_close(found.deployable()(images)[0], expected)
    done = exporter.export(tmp_path / "w.pt", "pt2", description=described)
    spec = inspection.read_spec(done.path)
    assert spec.provenance.weights_sha256 == found.spec.provenance.weights_sha256


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_a_hugging_face_folder_is_named_as_one(tmp_path: Path, file: str) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"architectures": ["ViTForImageClassification"]}), encoding="utf-8"
    )
    (tmp_path / file).write_bytes(b"")
    with pytest.raises(ModelFileError) as raised:
        loading.load(tmp_path)
    message = str(raised.value)
    assert "is a Hugging Face folder with the weights of ViTForImageClassification" in message
    assert f"fer-export onnx {tmp_path / file} --architecture package.module:factory" in message
    assert "factory(InputSpec, classes, **net_args) -> nn.Module" in message
    with pytest.raises(ModelFileError, match="is a folder; pass a file with weights"):
        loading.load(tmp_path.parent)


def test_nothing_named_like_weights_is_taken_from_settings() -> None:
    with pytest.raises(ModelFileError, match="contains a list, not a state dict"):
        weights.state_dict_of([1], Path("w.pt"))
    with pytest.raises(ModelFileError, match="contains no state dict"):
        weights.state_dict_of({"model": "resnet18", "net": {}}, Path("w.pt"))
