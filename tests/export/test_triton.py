"""Model repositories for Triton: parsed by its own protobuf, and true to the graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fer_export.cli import main
from fer_export.homes.triton import write
from fer_runtime.errors import DataError, ModelFileError
from fer_runtime.hashing import file_sha256
from fer_runtime.session import Session
from fer_runtime.shipped import SHIPPED


def parsed(target: Path) -> Any:
    """config.pbtxt as Triton reads it: an unknown field or value is an error."""
    reason = "tritonclient[grpc] is not installed"
    model_config = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason=reason)
    from google.protobuf import text_format

    text = (target / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, model_config.ModelConfig())


@pytest.mark.parametrize("name", ["compact_cnn", "compact_cnn.int8"])
def test_the_shipped_models(tmp_path: Path, name: str) -> None:
    model = SHIPPED.with_name(f"{name}.onnx")
    target = write(model, tmp_path / "models", max_batch_size=16)
    found = parsed(target)
    spec = Session.open(model, provider="cpu", threads=1).spec
    assert target == tmp_path / "models" / name
    assert (found.name, found.backend, found.max_batch_size) == (name, "onnxruntime", 16)
    assert [(tensor.name, tensor.data_type, list(tensor.dims)) for tensor in found.input] == [
        ("images", 2, [1, 48, 48])
    ]
    assert [(t.name, list(t.dims), t.label_filename) for t in found.output] == [
        ("logits", [7], ""),
        ("probabilities", [7], "labels.txt"),
    ]
    assert found.HasField("dynamic_batching")
    assert found.instance_group[0].kind == found.instance_group[0].KIND_CPU
    parameters = {key: value.string_value for key, value in found.parameters.items()}
    assert parameters["fer_runtime.sha256"] == file_sha256(model)
    assert parameters["fer_runtime.parity"] == "passed"
    assert parameters["intra_op_thread_count"] == "1"
    assert json.loads(parameters["fer_runtime.input"]) == spec.to_dict()["input"]
    assert tuple((target / "labels.txt").read_text().split()) == spec.labels
    assert (target / "1" / "model.onnx").read_bytes() == model.read_bytes()


def test_on_a_gpu(tmp_path: Path) -> None:
    found = parsed(write(SHIPPED, tmp_path, gpu=True))
    assert found.instance_group[0].kind == found.instance_group[0].KIND_GPU
    assert "intra_op_thread_count" not in found.parameters


def test_a_model_of_the_same_name_is_replaced_only_where_asked(tmp_path: Path) -> None:
    target = write(SHIPPED, tmp_path)
    (target / "mine").touch()
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match="exists already; pass --overwrite"):
        write(SHIPPED, tmp_path)
    assert (target / "mine").exists()
    write(SHIPPED, tmp_path, overwrite=True)
    assert sorted(path.name for path in target.iterdir()) == ["1", "config.pbtxt", "labels.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["compact_cnn", "other"]


def test_what_is_not_a_model_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(ModelFileError):
        write(tmp_path / "text.onnx", tmp_path / "models")
    assert not (tmp_path / "models").exists()
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        write(SHIPPED, tmp_path / "file")


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["triton", str(tmp_path / "models"), "--model", "compact_cnn"]
    monkeypatch.setattr("sys.argv", ["fer-export", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "config.pbtxt" in capsys.readouterr().err
    assert (tmp_path / "models" / "compact_cnn" / "1" / "model.onnx").is_file()
