"""Hub folders: the graph's preprocessing, and files that loaders and people rely on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from fer_bench.artefacts import Artefacts
from fer_export.cli import app
from fer_export.homes.hub import bill, folder, graph, resizing
from fer_export.homes.hub.nodes import Nodes
from fer_export.loading import load
from fer_runtime import Classifier, images
from fer_runtime.errors import DataError, ModelFileError, ParityError
from fer_runtime.images import fitting
from fer_runtime.session import Session, softmax
from fer_runtime.shipped import find_model
from fer_runtime.spec import METADATA_KEY, InputSpec, ModelSpec

GREY: dict[str, Any] = {"mean": (0.5,), "std": (0.25,), "channels": 1}
SPECS: list[dict[str, Any]] = [
    *({"interpolation": each} for each in ("nearest", "bilinear", "bicubic", "lanczos")),
    {"resize_mode": "crop"},
    {"resize_mode": "pad"},
    {"height": 40, "width": 64, "resize_mode": "pad", "interpolation": "bicubic"},
    {"height": 40, "width": 64, "resize_mode": "crop"},
    {"height": 32, "width": 32, "resize_mode": "short", "resize_to": 40},
    {"height": 64, "width": 64, "resize_mode": "short", "resize_to": 41},
    {"height": 64, "width": 64, "resize_mode": "long", "resize_to": 48},
    {"height": 30, "width": 31, "resize_mode": "stretch", "resize_to": (45, 44)},
]
SIZES = [(48, 48), (20, 31), (90, 60), (301, 200), (49, 47), (16, 160)]


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8: waves and an edge, as pictures have them."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    planes = [
        128 + 90 * np.sin(rows * rng.uniform(0.02, 0.4) + columns * rng.uniform(0.02, 0.4))
        for _ in range(3)
    ]
    picture = np.stack(planes, 2)
    picture[height // 3 : height // 2] += 37
    return picture.clip(0, 255).astype(np.uint8)


def preprocessing(spec: InputSpec) -> onnxruntime.InferenceSession:
    nodes = Nodes()
    output = resizing.fit(nodes, "planes", spec)
    made = helper.make_graph(
        nodes.nodes, "fit",
        [helper.make_tensor_value_info("planes", TensorProto.FLOAT, ["n", 1, "h", "w"])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)], nodes.constants,
    )  # fmt: skip
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return onnxruntime.InferenceSession(model.SerializeToString())


@pytest.mark.parametrize("changes", SPECS, ids=str)
def test_the_graph_resizes_as_images_does(changes: dict[str, Any]) -> None:
    spec = InputSpec(**{"height": 48, "width": 48, **GREY, **changes})
    session = preprocessing(spec)
    for seed, size in enumerate(SIZES):
        array = smooth(*size, seed)[:, :, :1]
        (found,) = session.run(None, {"planes": array.transpose(2, 0, 1)[None].astype(np.float32)})
        expected = fitting.fit(array, spec)
        assert found.shape == (1, *expected.shape)
        changed = (found[0] != expected).mean()
        # Nearest takes another pixel where a point falls on an edge between two, up to rounding.
        assert changed <= (0.15 if spec.interpolation == "nearest" else 0), size


def run(path: Path, array: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> probabilities (K,), as the loaders' pipelines compute them."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options)
    values = (array.astype(np.float32) * np.float32(1 / 255)).transpose(2, 0, 1)[None]
    (logits,) = session.run(["logits"], {"pixel_values": values})
    return softmax(logits)[0]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("hub") / "fer-model"
    folder.write(find_model("compact_cnn"), target, license_id="apache-2.0")
    return target


def test_probabilities_are_the_models(written: Path) -> None:
    for name, file in (("compact_cnn", "model.onnx"), ("compact_cnn.int8", "model_quantized.onnx")):
        classifier = Classifier.load(find_model(name))
        for size in ((48, 48), (30, 44), (150, 120)):
            array = smooth(*size, 7)
            expected = np.array([*classifier.predict(array).probabilities.values()])
            found = run(written / "onnx" / file, array)
            assert found.argmax() == expected.argmax()
            near = 1e-4 if size == (48, 48) else 0.02
            assert np.abs(found - expected).max() < near, (name, size)


def test_files_are_those_that_loaders_and_people_expect(written: Path) -> None:
    spec = Session.open(find_model("compact_cnn")).spec
    config = json.loads((written / "config.json").read_text())
    assert list(config["id2label"].values()) == list(spec.labels)
    assert config["label2id"][spec.labels[3]] == 3
    processor = json.loads((written / "preprocessor_config.json").read_text())
    assert processor["do_resize"] is False and processor["rescale_factor"] == 1 / 255
    card = (written / "README.md").read_text(encoding="utf-8")
    assert card.startswith('---\nlicense: "apache-2.0"\n')
    assert f"{spec.provenance.metrics['validation']['accuracy']:.4f}" in card
    assert "not what a person feels" in card and "{" not in card.split("```")[0].split("---")[2]
    lines = (written / "SHA256SUMS").read_text().splitlines()
    names = {path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file()}
    assert {line.split("  ")[1] for line in lines} == names - {"SHA256SUMS"}
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((written / name).read_bytes()).hexdigest() == digest
    assert not list(written.parent.glob(".fer-export-*"))


def test_the_bill_of_materials_is_valid_cyclonedx(written: Path) -> None:
    validation = pytest.importorskip(
        "cyclonedx.validation.json", reason="cyclonedx-python-lib[json-validation] is missing"
    )
    from cyclonedx.schema import SchemaVersion

    text = (written / "bom.cdx.json").read_text(encoding="utf-8")
    assert validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found = json.loads(text)
    files = {each["name"]: each["hashes"][0]["content"] for each in
             found["metadata"]["component"]["components"]}  # fmt: skip
    assert (
        files["onnx/model.onnx"]
        == hashlib.sha256((written / "onnx" / "model.onnx").read_bytes()).hexdigest()
    )
    metrics = found["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]
    assert any(each["type"] == "accuracy" for each in metrics["performanceMetrics"])


def test_equal_files_have_equal_bills() -> None:
    spec = Session.open(find_model("compact_cnn")).spec
    bills = [bill.bill("a", spec, "1", {"x": digest}) for digest in ("1" * 64, "1" * 64, "2" * 64)]
    assert bills[0] == bills[1] != bills[2]


def test_weights_are_the_checkpoints(exported: Artefacts, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    target = tmp_path / "hub"
    folder.write(exported.onnx, target, checkpoint=exported.checkpoint)
    (weights,) = target.glob("*.safetensors")
    assert weights.name != "model.safetensors"  # which transformers would load into a ResNet
    found, expected = load_file(weights), load(exported.checkpoint).deployable().net.state_dict()
    assert set(found) == set(expected)
    assert all(np.array_equal(found[name].numpy(), expected[name].numpy()) for name in found)
    with pytest.raises(ModelFileError, match="has other weights"):
        folder.write(find_model("compact_cnn"), tmp_path / "b", checkpoint=exported.checkpoint)
    assert not (tmp_path / "b").exists()


def float_model(path: Path, batch: int | str = "n", layout: Any = "NCHW") -> Path:
    """A made model of somebody else: float32 RGB in, one output without a name of ours."""
    shape = [batch, 3, 8, 8] if layout == "NCHW" else [batch, 8, 8, 3]
    axes = [2, 3] if layout == "NCHW" else [1, 2]
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["scores"], keepdims=0),
    ]
    made = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 3])],
        [helper.make_tensor("axes", TensorProto.INT64, [2], axes)],
    )  # fmt: skip
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    spec = ModelSpec(
        labels=("a", "b", "c"), temperature=0.5,
        input=InputSpec(
            name="x", height=8, width=8, channels=3, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4),
            dtype="float32", value_range=(-1, 3), layout=layout,
        ),
    )  # fmt: skip
    helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_model_that_normalises_outside_is_normalised_inside(layout: str, tmp_path: Path) -> None:
    model = float_model(tmp_path / "other.onnx", layout=layout)
    target = tmp_path / "hub"
    folder.write(model, target)
    array = smooth(8, 8, 3)
    session = Session.open(model)
    expected = session.run(images.load(array, session.spec.input)[None]).probabilities[0]
    assert np.abs(run(target / "onnx" / "model.onnx", array) - expected).max() < 1e-5
    card = (target / "README.md").read_text(encoding="utf-8")
    assert "The spec has none." in card and "the file has no verdict" in card


def test_a_fixed_batch_and_an_old_opset_are_refused(tmp_path: Path) -> None:
    model = float_model(tmp_path / "fixed.onnx", batch=4)
    with pytest.raises(ModelFileError, match="batches of exactly 4"):
        folder.write(model, tmp_path / "hub")
    old = onnx.load(find_model("compact_cnn"))
    old.opset_import[0].version = 11
    with pytest.raises(ModelFileError, match="has opset 11"):
        graph._check(Path("old.onnx"), old)


def test_a_graph_that_computes_something_else_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "LUMA", (65536, 0, 0))
    monkeypatch.setattr(folder.inputs, "noise", lambda spec: iter(()))
    real = graph.convert

    def tampered(model: Path, spec: ModelSpec, target: Path) -> None:
        real(model, spec.replace(temperature=spec.temperature * 1.5), target)

    monkeypatch.setattr(graph, "convert", tampered)
    with pytest.raises(ParityError, match="probabilities differ by"):
        folder.write(find_model("compact_cnn"), tmp_path / "hub")
    assert not list(tmp_path.iterdir())


def test_folders_of_others_are_kept(tmp_path: Path, written: Path) -> None:
    model = find_model("compact_cnn.int8")
    with pytest.raises(DataError, match="exists already; pass --overwrite"):
        folder.write(model, written)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(DataError, match="has files of something else"):
            folder.write(model, other, overwrite=overwrite)
    assert (other / "thesis.txt").read_text() == "years of work"
    with pytest.raises(DataError, match="is a file"):
        folder.write(model, other / "thesis.txt")


def test_command(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "hub"
    done = CliRunner().invoke(app, ["hub", str(target), "--model", "compact_cnn.int8"])
    assert done.exit_code == 0 and "onnx/model_quantized.onnx" in done.stderr
    again = CliRunner().invoke(
        app, ["hub", str(target), "--model", "compact_cnn.int8", "--overwrite"]
    )
    assert again.exit_code == 0 and not (target / "onnx" / "model.onnx").exists()
    config = json.loads((target / "config.json").read_text())
    assert config["transformers.js_config"] == {"dtype": "q8"}  # there is no other file to take
