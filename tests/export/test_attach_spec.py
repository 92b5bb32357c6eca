"""An ONNX file made elsewhere runs in fer_runtime with a spec inside; a wrong spec is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from fer_bench.artefacts import Artefacts
from fer_export import attach, inspection
from fer_export.cli import app
from fer_runtime.classifier import Classifier
from fer_runtime.errors import ModelFileError
from fer_runtime.spec import InputSpec, ModelSpec

SPEC = ModelSpec(
    labels=("a", "b", "c"),
    input=InputSpec(
        height=6, width=4, channels=3, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), name="pixels",
        layout="NHWC", dtype="float32", value_range=(-1.0, 1.0),
    ),
)  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """(N, 6, 4, 3) float32 pixels -> mean per channel as logits; contains no spec."""
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["pixels", "axes"], ["scores"], keepdims=0)],
        "means",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", 6, 4, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(np.array([1, 2]), "axes")],
    )
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])
    onnx.save(model, tmp_path / "other.onnx")
    return tmp_path / "other.onnx"


def test_file_made_elsewhere_runs_with_its_spec_inside(file: Path, tmp_path: Path) -> None:
    before = file.read_bytes()
    (tmp_path / "spec.json").write_text(SPEC.to_json(), encoding="utf-8")
    outcome = CliRunner().invoke(
        app, ["attach-spec", str(file), "--spec", str(tmp_path / "spec.json")]
    )
    assert outcome.exit_code == 0, outcome.output
    assert file.read_bytes() == before
    classifier = Classifier.load(tmp_path / "other.fer.onnx", provider="cpu")
    assert classifier.spec == SPEC
    red, blue = np.zeros((2, 6, 4, 3), np.uint8)
    red[..., 0] = blue[..., 2] = 200
    assert [p.label for p in classifier.predict_batch([red, blue])] == ["a", "c"]


@pytest.mark.parametrize(
    ("changes", "labels", "message"),
    [
        ({"name": "images"}, SPEC.labels, "pixels"),
        ({"layout": "NCHW"}, SPEC.labels, "the graph takes"),
        ({}, ("a", "b"), "labels"),
    ],
)
def test_spec_that_does_not_fit_is_refused(
    file: Path, tmp_path: Path, changes: dict[str, Any], labels: tuple[str, ...], message: str
) -> None:
    from dataclasses import replace

    spec = SPEC.replace(labels=labels, input=replace(SPEC.input, **changes))
    with pytest.raises(ModelFileError, match=message):
        attach.attach_spec(file, spec, tmp_path / "out.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["other.onnx"]


def test_weights_in_other_files_are_named_and_not_opened(file: Path, tmp_path: Path) -> None:
    model = onnx.load(file)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    pair = tensor.external_data.add()
    pair.key, pair.value = "location", "../../../etc/passwd"
    file.write_bytes(model.SerializeToString())
    assert inspection.inspect(file).facts["external_data"] == ["../../../etc/passwd"]
    with pytest.raises(ModelFileError, match=r"keeps weights in other files \(\.\./\.\./"):
        attach.attach_spec(file, SPEC, tmp_path / "out.onnx")


def test_other_kinds_are_refused(exported: Artefacts, tmp_path: Path) -> None:
    with pytest.raises(
        ModelFileError, match="is of another kind \\(TorchScript\\); a spec is attached to ONNX"
    ):
        attach.attach_spec(exported.torchscript, SPEC, tmp_path / "out.onnx")
