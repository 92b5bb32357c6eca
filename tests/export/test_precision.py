"""fp16 and int8 exist only if they keep what fp32 gets right; their cost is reported."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from fer_bench.artefacts import Artefacts
from fer_export import exporter, inspection, precision
from fer_export.formats import runners, to_onnx
from fer_export.options import ExportOptions
from fer_export.parity import inputs
from fer_export.parity.verify import verify
from fer_export.precision import accuracy, half, int8
from fer_runtime import labelled
from fer_runtime.classifier import Classifier
from fer_runtime.errors import DataError, ParityError
from fer_train import checkpoint
from tests.export.graphs import layers_in_float


def test_int8_is_quantised_per_channel_and_carries_its_accuracy(
    exported: Artefacts, int8_options: ExportOptions, tmp_path: Path, sure: Path
) -> None:
    said: list[str] = []
    done = exporter.export(
        exported.checkpoint, "onnx", tmp_path / "m.int8.onnx", int8_options, say=said.append
    )
    model = onnx.load(done.path)
    operators = {node.op_type for node in model.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear", "Conv"} <= operators
    weights = [e for e in model.graph.initializer if e.data_type == onnx.TensorProto.INT8]
    scales = {e.name: e for e in model.graph.initializer if e.name.endswith("_scale")}
    assert any(entry.dims and entry.dims[0] > 1 for entry in scales.values()), "not per channel"
    assert max(int(np.abs(onnx.numpy_helper.to_array(w).astype(int)).max()) for w in weights) <= 64
    assert {entry.domain for entry in model.opset_import} <= {"", "com.microsoft"}
    verdict = inspection.read_spec(done.path).parity
    assert verdict is not None
    assert verdict["precision"] == "int8" and verdict["passed"] is True
    assert verdict["accuracy"]["fp32"]["macro_f1"] == 1.0
    assert verdict["accuracy"]["int8"]["macro_f1"] >= 0.995
    report = json.loads(done.report_path.read_text("utf-8"))
    assert {each["method"] for each in report["candidates"]} == set(int8.METHODS)
    assert report["images_per_second"]["int8"] > 0
    # Weights are a quarter; in a model as small as this one, names take as much again.
    assert report["bytes"]["int8"] < 0.4 * report["bytes"]["fp32"]
    assert any("macro-F1" in line for line in said)
    assert precision.precision_of(done.path).name == "int8"
    assert not [path for path in tmp_path.iterdir() if path.suffix not in (".onnx", ".json")]
    # It runs in the runtime, and verifies.
    known = labelled.read(sure, Classifier.load(done.path).spec.labels)
    found = [p.label for p in Classifier.load(done.path).predict_batch(known.paths)]
    labels = Classifier.load(done.path).spec.labels
    assert np.mean([labels[t] == f for t, f in zip(known.targets, found, strict=True)]) > 0.95
    assert verify(exported.checkpoint, done.path, ExportOptions(evaluation=sure))
    with pytest.raises(
        DataError, match="int8, which is checked on labelled images: pass --evaluation"
    ):
        verify(exported.checkpoint, done.path)


def test_int8_that_breaks_the_model_leaves_no_file(
    exported: Artefacts,
    int8_options: ExportOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A model that quantising destroys: every candidate has chance accuracy."""
    original = accuracy.measure

    def broken(run: runners.Runner, known: labelled.Labelled, spec: object) -> accuracy.Figures:
        found = original(run, known, spec)  # type: ignore[arg-type]
        calls.append(found)
        if len(calls) == 1:
            return found
        return accuracy.Figures(found.images, 0.2, 0.15, (0.1, 0.2))

    calls: list[accuracy.Figures] = []
    monkeypatch.setattr(accuracy, "measure", broken)
    with pytest.raises(ParityError, match=r"macro-F1 is 1\.0000 in fp32, and at best 0\.1500"):
        exporter.export(exported.checkpoint, "onnx", tmp_path / "m.onnx", int8_options)
    assert len(calls) == 1 + 2 * len(int8.METHODS), "first and last in float is tried too"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_first_and_last_layer_stay_in_float_if_that_saves_the_accuracy(
    exported: Artefacts,
    int8_options: ExportOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = accuracy.measure

    def fragile(run: runners.Runner, known: labelled.Labelled, spec: object) -> accuracy.Figures:
        found = original(run, known, spec)  # type: ignore[arg-type]
        calls.append(found)
        whole = 1 < len(calls) <= 1 + len(int8.METHODS)
        return accuracy.Figures(found.images, 0.2, 0.15, (0.1, 0.2)) if whole else found

    calls: list[accuracy.Figures] = []
    monkeypatch.setattr(accuracy, "measure", fragile)
    done = exporter.export(exported.checkpoint, "onnx", tmp_path / "m.onnx", int8_options)
    report = json.loads(done.report_path.read_text("utf-8"))
    assert [len(each["kept"]) for each in report["candidates"]] == [0, 0, 0, 2, 2, 2]
    floats = layers_in_float(done.path)
    assert floats[0] and floats[-1] and not floats[1]


def test_calibration_in_the_evaluation_set_is_refused(
    exported: Artefacts, int8_options: ExportOptions, sure: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "calibration"
    shutil.copytree(int8_options.calibration or Path(), folder)
    twin = sorted(sure.rglob("*.jpg"))[0]
    shutil.copy(twin, folder / "another name.jpg")
    options = ExportOptions(precision="int8", calibration=folder, evaluation=sure)
    with pytest.raises(
        DataError, match=r"1 of the calibration images are in the evaluation set too.*another"
    ):
        exporter.export(exported.checkpoint, "onnx", tmp_path / "m.onnx", options)
    spec = inspection.read_spec(exported.onnx)
    known = labelled.read(sure, spec.labels)
    batches = int8.calibration_batches(folder, known, spec, skip_duplicates=True)
    names = [name for batch in batches for name in batch.names]
    assert len(names) == 140 and not any("another name" in name for name in names)
    with pytest.raises(DataError, match="every image in it is in the evaluation set"):
        int8.calibration_batches(sure, known, spec, skip_duplicates=True)


def test_int8_names_the_folders_it_requires(exported: Artefacts, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--calibration DIR .* --evaluation DIR"):
        exporter.export(
            exported.checkpoint, "onnx", tmp_path / "m.onnx", ExportOptions(precision="int8")
        )


def test_a_tolerance_for_another_precision_keeps_the_fp32_limits(
    exported: Artefacts, tmp_path: Path
) -> None:
    """The tolerance of fp16 must not apply to the fp32 file that it is made from."""
    loose = ExportOptions(precision="fp16", tolerance=0.5, min_agreement=0.9)
    assert loose.limits(precision.PRECISIONS["fp32"]) == {"tolerance": 1e-4, "min_agreement": 1.0}
    assert loose.limits(precision.PRECISIONS["fp16"]) == {"tolerance": 0.5, "min_agreement": 0.9}
    assert ExportOptions(tolerance=0.0).limits(precision.PRECISIONS["fp32"])["tolerance"] == 0.0


def test_precision_that_a_format_does_not_support_is_named(
    exported: Artefacts, tmp_path: Path
) -> None:
    with pytest.raises(
        DataError,
        match="--precision int4 is not a precision; allowed: fp32, fp16, fp16-weights, int8",
    ):
        exporter.export(exported.checkpoint, "onnx", options=ExportOptions(precision="int4"))
    with pytest.raises(DataError, match="--precision fp16: pt2 supports fp32 only"):
        exporter.export(exported.checkpoint, "pt2", options=ExportOptions(precision="fp16"))


def test_fp16_contains_half_floats_and_keeps_its_signature(
    exported: Artefacts, dataset: Path, tmp_path: Path
) -> None:
    options = ExportOptions(precision="fp16", images=dataset / "test", evaluation=dataset / "test")
    source = Path(shutil.copy(exported.checkpoint, tmp_path / "best.pt"))
    done = exporter.export(source, "onnx", options=options)
    assert done.path == tmp_path / "best.fp16.onnx"
    model = onnx.load(done.path)
    kinds = {entry.name: entry.type.tensor_type.elem_type for entry in model.graph.output}
    assert set(kinds.values()) == {onnx.TensorProto.FLOAT}
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    halves = [e for e in model.graph.initializer if e.data_type == onnx.TensorProto.FLOAT16]
    assert len(halves) >= 8
    assert done.report.agreement >= 0.995 and 1e-5 < done.report.smallest_tolerance < 0.05
    assert done.verification.reduced is not None and set(done.verification.reduced.figures) == {
        "fp32",
        "fp16",
    }
    assert verify(source, done.path, ExportOptions(images=dataset / "test"))
    probabilities = to_onnx.runner(done.path)(np.zeros((2, 1, 48, 48), np.uint8))["probabilities"]
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)


def test_fp16_is_refused_where_values_are_too_large(exported: Artefacts, tmp_path: Path) -> None:
    """The same function by weights scaled up and down again: 1e5 between two layers."""
    loaded = checkpoint.load(exported.checkpoint)
    state = {name: tensor.clone() for name, tensor in loaded.state_dict.items()}
    state["1.weight"] *= 1e5
    state["1.bias"] *= 1e5
    for name in ("3.body.0.weight", "3.shortcut.0.weight"):
        state[name] *= 1e-5
    spec = loaded.spec.replace(provenance=type(loaded.spec.provenance)())
    checkpoint.save(tmp_path / "best.pt", spec, state)
    with pytest.raises(ParityError, match=r"outputs [\d,]+ on .*; fp16 ends at 65,504, and 32,000"):
        exporter.export(tmp_path / "best.pt", "onnx", options=ExportOptions(precision="fp16"))
    assert [path.name for path in tmp_path.iterdir()] == ["best.pt"]


def test_weight_scaled_in_fp16_is_caught(exported: Artefacts, tmp_path: Path) -> None:
    done = exporter.export(
        exported.checkpoint, "onnx", tmp_path / "m.onnx", ExportOptions(precision="fp16")
    )
    model = onnx.load(done.path)
    entry = next(e for e in model.graph.initializer if e.name == "net.9.weight")
    larger = onnx.numpy_helper.to_array(entry) * np.float16(1.2)
    entry.CopyFrom(onnx.numpy_helper.from_array(larger, entry.name))
    onnx.save(model, done.path)
    report = verify(exported.checkpoint, done.path).report
    assert any("logits differ" in failure for failure in report.failures)


def test_fp16_weights_are_half_the_file_and_computed_in_fp32(
    exported: Artefacts, dataset: Path, tmp_path: Path
) -> None:
    source = Path(shutil.copy(exported.checkpoint, tmp_path / "best.pt"))
    options = ExportOptions(precision="fp16-weights", images=dataset / "test")
    done = exporter.export(source, "onnx", options=options)
    assert done.path == tmp_path / "best.fp16-weights.onnx"
    model = onnx.load(done.path)
    halves = {e.name for e in model.graph.initializer if e.data_type == onnx.TensorProto.FLOAT16}
    weighted = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(halves) == len(weighted) >= 8
    casts = {node.output[0] for node in model.graph.node if set(node.input) & halves}
    assert casts == {node.input[1] for node in weighted}
    assert done.report.agreement >= 0.998 and 1e-6 < done.report.smallest_tolerance < 0.01
    reduced = done.verification.reduced
    assert reduced is not None and reduced.bytes["fp16-weights"] < 0.65 * reduced.bytes["fp32"]
    assert precision.precision_of(done.path).name == "fp16-weights"
    assert precision.precision_of(done.path).computes == "fp32"
    assert verify(source, done.path, ExportOptions(images=dataset / "test"))
    fp16 = exporter.export(source, "onnx", options=ExportOptions(precision="fp16"))
    assert precision.precision_of(fp16.path).name == "fp16"
    # The runtime computes the casts when it opens the file, none for each image.
    options_of_session = onnxruntime.SessionOptions()
    options_of_session.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options_of_session.graph_optimization_level = (
        onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    )
    onnxruntime.InferenceSession(done.path, options_of_session, ["CPUExecutionProvider"])
    left = onnx.load(tmp_path / "optimised.onnx")
    kinds = {e.data_type for e in left.graph.initializer}
    assert onnx.TensorProto.FLOAT16 not in kinds


def test_a_changed_fp16_weight_is_caught(exported: Artefacts, tmp_path: Path) -> None:
    options = ExportOptions(precision="fp16-weights")
    done = exporter.export(exported.checkpoint, "onnx", tmp_path / "m.onnx", options)
    model = onnx.load(done.path)
    entry = next(e for e in model.graph.initializer if e.data_type == onnx.TensorProto.FLOAT16)
    larger = onnx.numpy_helper.to_array(entry) * np.float16(1.2)
    entry.CopyFrom(onnx.numpy_helper.from_array(larger, entry.name))
    onnx.save(model, done.path)
    report = verify(exported.checkpoint, done.path).report
    assert any("logits differ" in failure for failure in report.failures)


def test_a_weight_too_large_for_fp16_is_named(exported: Artefacts, tmp_path: Path) -> None:
    loaded = checkpoint.load(exported.checkpoint)
    state = {name: tensor.clone() for name, tensor in loaded.state_dict.items()}
    last = [name for name in state if name.endswith("weight")][-1]
    state[last] *= 1e7
    spec = loaded.spec.replace(provenance=type(loaded.spec.provenance)())
    checkpoint.save(tmp_path / "best.pt", spec, state)
    with pytest.raises(ParityError, match=r"The weight .* has a value of [\d,]+; fp16 ends at"):
        exporter.export(
            tmp_path / "best.pt", "onnx", options=ExportOptions(precision="fp16-weights")
        )
    assert [path.name for path in tmp_path.iterdir()] == ["best.pt"]


@pytest.mark.parametrize("opset", [18, 22])
def test_opset_is_what_was_asked_for(exported: Artefacts, tmp_path: Path, opset: int) -> None:
    done = exporter.export(
        exported.checkpoint, "onnx", tmp_path / "m.onnx", ExportOptions(settings={"opset": opset})
    )
    assert [e.version for e in onnx.load(done.path).opset_import if not e.domain] == [opset]


def test_opset_that_pytorch_cannot_write_is_named(exported: Artefacts, tmp_path: Path) -> None:
    from fer_runtime.errors import ModelFileError

    with pytest.raises(ModelFileError, match="--opset 11: PyTorch writes opset 18 to 25"):
        exporter.export(
            exported.checkpoint, "onnx", tmp_path / "m.onnx", ExportOptions(settings={"opset": 11})
        )


def test_labelled_folder_is_read_in_order_and_checked(
    tmp_path: Path, dataset: Path, expect_labels: Callable[[], tuple[str, ...]]
) -> None:
    known = labelled.read(dataset / "test", expect_labels())
    assert len(known.paths) == 35 and known.targets.tolist() == sorted(known.targets.tolist())
    with pytest.raises(DataError, match=r"angry.*none of its folders is named after one of"):
        labelled.read(dataset / "test", ("happy", "sad"))
    with pytest.raises(DataError, match="is not a folder"):
        labelled.read(tmp_path / "none", expect_labels())
    with pytest.raises(DataError, match="contains no images"):
        labelled.read(tmp_path, expect_labels())
    Image.new("L", (8, 8)).save(tmp_path / "loose.png")
    with pytest.raises(DataError, match=r"loose\.png: none of its folders is named"):
        labelled.read(tmp_path, expect_labels())


@pytest.fixture
def expect_labels() -> Callable[[], tuple[str, ...]]:
    return lambda: ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


def test_largest_value_names_its_node(exported: Artefacts, tmp_path: Path) -> None:

    dark = inputs.InputBatch(("dark",), np.zeros((1, 1, 48, 48), np.uint8))
    white = inputs.InputBatch(tuple("abcde"), np.full((5, 1, 48, 48), 255, np.uint8))
    value, node, image = half.largest_value(exported.onnx, [dark, white], tmp_path)
    assert value >= 255 and node and image == "a" and list(tmp_path.iterdir()) == []
    assert np.finfo(np.float16).max / 2 > half.LARGEST
    assert torch.finfo(torch.float16).max == np.finfo(np.float16).max
