"""A checkpoint opens without executing anything, and says what is wrong with one that is broken."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch

from fer_bench.artefacts import Artefacts
from fer_runtime.errors import DataError, ModelFileError
from fer_runtime.spec import ModelSpec
from fer_train import checkpoint, models


class Hostile:
    """Unpickling this would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_round_trip(spec: ModelSpec, tmp_path: Path) -> None:
    net = models.build("compact_cnn", spec.input, 7, {})
    checkpoint.save(tmp_path / "best.pt", spec, net.state_dict())
    loaded = checkpoint.load(tmp_path / "best.pt")
    assert loaded.spec.labels == spec.labels and loaded.spec.input == spec.input
    assert loaded.spec.provenance.weights_sha256 == checkpoint.state_sha256(net.state_dict())
    images = torch.randint(0, 256, (3, 1, 48, 48), dtype=torch.uint8)
    expected = models.Deployable(net, spec).eval()(images)
    assert torch.equal(loaded.deployable()(images)[0], expected[0])
    assert not loaded.deployable().training
    assert [path.name for path in tmp_path.iterdir()] == ["best.pt"]


def test_hostile_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    torch.save({"spec": Hostile(marker), "state_dict": {}}, tmp_path / "bad.pt")
    with pytest.raises(ModelFileError, match="would execute code"):
        checkpoint.load(tmp_path / "bad.pt")
    assert not marker.exists()


def test_truncated_checkpoint(exported: Artefacts, tmp_path: Path) -> None:
    whole = exported.checkpoint.read_bytes()
    for keep in (0, 100, len(whole) // 2, len(whole) - 10):
        (tmp_path / "best.pt").write_bytes(whole[:keep])
        with pytest.raises(ModelFileError, match=r"best\.pt"):
            checkpoint.load(tmp_path / "best.pt")


@pytest.mark.parametrize("content", [b"hello", b"<html></html>", pickle.dumps({"a": 1})])
def test_other_files_are_no_checkpoints(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "best.pt").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"not a checkpoint that torch\.save wrote"):
        checkpoint.load(tmp_path / "best.pt")


def test_missing_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="does not exist"):
        checkpoint.load(tmp_path / "best.pt")


def test_state_dict_without_spec_says_so(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "best.pt")
    with pytest.raises(ModelFileError, match=r"contains no ModelSpec beside its weights.*weight"):
        checkpoint.load(tmp_path / "best.pt")


def test_changed_weights_are_noticed(exported: Artefacts, tmp_path: Path) -> None:
    content = torch.load(exported.checkpoint, weights_only=True)
    first = next(iter(content["state_dict"].values()))
    first.view(-1)[0] += 1
    torch.save(content, tmp_path / "best.pt")
    with pytest.raises(ModelFileError, match="not those that its spec was written for"):
        checkpoint.load(tmp_path / "best.pt")


def test_weights_of_another_net(exported: Artefacts, tmp_path: Path) -> None:
    loaded = checkpoint.load(exported.checkpoint)
    other = checkpoint.Checkpoint(
        loaded.spec.replace(architecture_args={"widths": [16, 32, 64]}), loaded.state_dict
    )
    with pytest.raises(ModelFileError, match="do not fit compact_cnn"):
        other.net()


def test_folder_that_cannot_be_written(spec: ModelSpec, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written"):
        checkpoint.save(tmp_path / "file" / "best.pt", spec, {})


def test_factory_that_a_file_names_is_imported_only_if_the_user_named_it(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "executed"
    (tmp_path / "evil_nets.py").write_text(
        f"import os\nos.mkdir({str(marker)!r})\nfrom torch import nn\n"
        "def net(spec, classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(48 * 48, classes))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    state = {"1.weight": torch.zeros(7, 48 * 48), "1.bias": torch.zeros(7)}
    checkpoint.save(tmp_path / "best.pt", spec.replace(architecture="evil_nets:net"), state)
    with pytest.raises(ModelFileError, match="if you trust it, pass --architecture evil_nets:net"):
        checkpoint.load(tmp_path / "best.pt").net()
    assert not marker.exists()
    checkpoint.load(tmp_path / "best.pt", factory="evil_nets:net").net()
    assert marker.exists()
