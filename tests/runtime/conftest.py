"""Small models written with onnx.helper in milliseconds: no torch, no training, known weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fer_bench.artefacts import LABELS
from fer_runtime.session import Session
from fer_runtime.spec import METADATA_KEY, InputSpec, ModelSpec

SaveGraph = Callable[..., Path]


@pytest.fixture(scope="session")
def tiny_spec() -> ModelSpec:
    """Seven classes from 48 x 48 grey: what `tiny_model` carries."""
    grey = InputSpec(height=48, width=48, channels=1, mean=(0.5,), std=(0.25,))
    return ModelSpec(labels=LABELS, input=grey)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, tiny_spec: ModelSpec) -> Path:
    """A seeded convolution with a head that tells pictures apart; carries `tiny_spec`."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.onnx"
    return save_classifier(path, tiny_spec)


@pytest.fixture(scope="session")
def tiny_session(tiny_model: Path) -> Session:
    """`tiny_model` on one CPU thread, as the pipeline opens it."""
    return Session.open(tiny_model, provider="cpu", threads=1)


@pytest.fixture(scope="session")
def save_graph() -> SaveGraph:
    """The function `save(path, nodes, inputs, outputs, weights, metadata)` -> path."""
    return _save


def save_classifier(path: Path, spec: ModelSpec) -> Path:
    """uint8 images -> logits, probabilities: cast, /255, convolution, average, head, softmax."""
    rng = np.random.default_rng(7)
    weights = {
        "scale": np.float32(255),
        "filters": rng.normal(size=(6, 1, 5, 5)).astype(np.float32),
        "head": rng.normal(scale=8, size=(6, len(spec.labels))).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["floats", "scale"], ["scaled"]),
        helper.make_node("Conv", ["scaled", "filters"], ["maps"], strides=[2, 2]),
        helper.make_node("Relu", ["maps"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["means"]),
        helper.make_node("Flatten", ["means"], ["features"]),
        helper.make_node("MatMul", ["features", "head"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    count = len(spec.labels)
    return _save(
        path,
        nodes,
        [("images", TensorProto.UINT8, ["batch", *spec.input.shape])],
        [(name, TensorProto.FLOAT, ["batch", count]) for name in ("logits", "probabilities")],
        weights,
        {METADATA_KEY: spec.to_json()},
    )


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[tuple[str, int, list[int | str]]],
    outputs: list[tuple[str, int, list[int | str]]],
    weights: dict[str, npt.NDArray[Any]] | None = None,
    metadata: dict[str, str] | None = None,
) -> Path:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(*entry) for entry in inputs],
        [helper.make_tensor_value_info(*entry) for entry in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (weights or {}).items()],
    )
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)])
    helper.set_model_props(model, metadata or {})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
