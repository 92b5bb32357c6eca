"""What was tampered with is caught, and the message names what differs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from PIL import Image
from torch import nn

from fer_bench.artefacts import Artefacts
from fer_export import exporter, inspection, loading
from fer_export.formats import graph, runners, to_exported_program, to_onnx, to_torchscript
from fer_export.options import ExportOptions
from fer_export.parity import bisection, checker, inputs
from fer_export.parity.verify import verify
from fer_runtime import images, row_batch
from fer_runtime.columns import plain_columns
from fer_runtime.errors import ModelFileError, ParityError
from fer_runtime.providers import PROVIDERS
from fer_runtime.rows import Row
from fer_runtime.spec import InputSpec
from fer_runtime.stages import whole
from fer_train import checkpoint, models


def scaled(source: Path, target: Path, name: str) -> Path:
    """A copy of an ONNX file in which one tensor is scaled by 1.01."""
    model = onnx.load(source)
    for entry in model.graph.initializer:
        if entry.name == name:
            larger = numpy_helper.to_array(entry) * np.float32(1.01)
            entry.CopyFrom(numpy_helper.from_array(larger, name))
    onnx.save(model, target)
    return target


def weights_of(path: Path) -> list[str]:
    return [
        entry.name
        for entry in onnx.load(path).graph.initializer
        if entry.data_type == onnx.TensorProto.FLOAT and int(np.prod(entry.dims)) > 1
    ]


def test_any_weight_scaled_in_onnx_is_caught(exported: Artefacts, tmp_path: Path) -> None:
    """Every floating tensor in turn: one scaled by 1.01 is enough."""
    names = weights_of(exported.onnx)
    assert len(names) >= 8
    for name in names:
        target = scaled(exported.onnx, tmp_path / "model.onnx", name)
        report = verify(exported.checkpoint, target).report
        assert any("logits differ" in failure for failure in report.failures), name
        assert "the verdict inside the artefact is about another file" in report.failures


@pytest.mark.parametrize(
    ("weight", "module"), [("net.3.body.3.weight", "net.3.body.4"), ("net.9.weight", "net.9")]
)
def test_bisect_names_the_module_of_the_scaled_weight(
    exported: Artefacts, tmp_path: Path, weight: str, module: str
) -> None:
    """A convolution is folded into the BatchNorm behind it, so that is the module named."""
    target = scaled(exported.onnx, tmp_path / "model.onnx", weight)
    failures = verify(exported.checkpoint, target, ExportOptions(bisect=True)).report.failures
    named = [failure for failure in failures if "first node whose output differs" in failure]
    assert len(named) == 1 and f", of {module})" in named[0], failures


def test_bisect_of_a_program_names_the_module(exported: Artefacts, tmp_path: Path) -> None:
    loaded = loading.load(exported.checkpoint)
    with torch.no_grad():
        loaded.net.get_parameter("4.body.0.weight").mul_(1.01)
    target = tmp_path / "model.pt2"
    to_exported_program.convert(loaded.deployable(), inspection.read_spec(exported.pt2), target)
    failures = verify(exported.checkpoint, target, ExportOptions(bisect=True)).report.failures
    assert any("of net.4.body.0)" in failure for failure in failures), failures


def test_bisect_of_equal_models_names_none(exported: Artefacts) -> None:
    loaded = loading.load(exported.checkpoint)
    pixels = next(iter(inputs.noise(loaded.spec.input))).pixels
    for artefact in (exported.onnx, exported.pt2):
        found = bisection.first(loaded.deployable(), loaded.spec, artefact, pixels, 1e-4)
        assert found is None
    with pytest.raises(ModelFileError, match="carry no names"):
        bisection.first(loaded.deployable(), loaded.spec, exported.torchscript, pixels, 1e-4)


def test_bisect_at_export_is_in_the_error(exported: Artefacts, tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="first node whose output differs is"):
        exporter.export(
            exported.checkpoint,
            "onnx",
            tmp_path / "m.onnx",
            ExportOptions(tolerance=1e-9, bisect=True),
        )
    assert list(tmp_path.iterdir()) == []


def test_scaled_weight_in_torchscript_is_caught(exported: Artefacts, tmp_path: Path) -> None:
    deployable = checkpoint.load(exported.checkpoint).deployable()
    with torch.no_grad():
        next(deployable.net.parameters()).mul_(1.01)
    artefact = tmp_path / "model.torchscript"
    to_torchscript.convert(deployable, inspection.read_spec(exported.torchscript), artefact)
    report = verify(exported.checkpoint, artefact).report
    assert any("logits differ" in failure for failure in report.failures)


def test_model_that_stays_in_training_mode_is_named(
    exported: Artefacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Export calls eval() itself; where that changes nothing, the message names the module."""
    monkeypatch.setattr(nn.BatchNorm2d, "eval", lambda self: self)
    monkeypatch.setattr(nn.BatchNorm2d, "train", lambda self, mode=True: self)
    with pytest.raises(ParityError, match=r"net\.1, .* stays in training mode after eval\(\)"):
        exporter.export(exported.checkpoint, "onnx", tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_batchnorm_of_the_batch_is_named(exported: Artefacts) -> None:
    """BatchNorm without running statistics: in evaluation mode too, images change one another."""
    loaded = loading.load(exported.checkpoint)
    for layer in loaded.net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean = layer.running_var = None
    batches = list(inputs.noise(loaded.spec.input))
    run = runners.eager(loaded.deployable())
    failures = checker._batch_failures(run, batches, [run(batch.pixels) for batch in batches])
    assert len(failures) == 1 and "a BatchNorm without running statistics" in failures[0]


def test_artefact_with_batchnorm_in_training_mode_is_bisected(
    exported: Artefacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `.pt2` made without eval(): the BatchNorm is the first to differ."""
    loaded = loading.load(exported.checkpoint)
    deployable = loaded.deployable()
    target = tmp_path / "model.pt2"
    with monkeypatch.context() as patched:
        patched.setattr(models.Deployable, "eval", lambda self: self)
        deployable.net.get_submodule("1").train()
        to_exported_program.convert(deployable, inspection.read_spec(exported.pt2), target)
    failures = verify(exported.checkpoint, target, ExportOptions(bisect=True)).report.failures
    assert any(
        "first node whose output differs is batch_norm" in failure for failure in failures
    ), failures


@pytest.mark.parametrize("kind", ["BatchNormalization", "Dropout"])
def test_training_mode_in_a_graph_is_named(kind: str) -> None:
    helper = onnx.helper
    image = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ("n", 2))
    entries = [numpy_helper.from_array(np.ones(2, np.float32), name) for name in "abcd"]
    if kind == "Dropout":
        entries = [
            numpy_helper.from_array(np.array(0.5, np.float32), "ratio"),
            numpy_helper.from_array(np.array(True), "on"),
        ]
        node = helper.make_node(kind, ["x", "ratio", "on"], ["y"], name="the_node")
    else:
        node = helper.make_node(
            kind, ["x", *"abcd"], ["y", "m", "v"], name="the_node", training_mode=1
        )
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ("n", 2))
    model = helper.make_model(helper.make_graph([node], "g", [image], [output], entries))
    with pytest.raises(ParityError, match=f"the_node \\({kind}, .* is in training mode"):
        graph.require_evaluation_mode(model)


def test_batch_norms_are_folded_and_no_path_is_kept(exported: Artefacts) -> None:
    model = onnx.load(exported.onnx)
    assert graph.unfolded_batch_norms(model) == []
    assert not any(node.op_type == "BatchNormalization" for node in model.graph.node)
    for artefact in (exported.onnx, exported.pt2):
        content = artefact.read_bytes()
        assert str(Path(models.__file__).parent).encode() not in content
        assert b"site-packages" not in content


def test_unfolded_batch_norm_would_be_seen() -> None:
    helper = onnx.helper
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"]),
        helper.make_node("BatchNormalization", ["y", *"abcd"], ["z"], name="loose"),
    ]
    model = helper.make_model(helper.make_graph(nodes, "g", [], []))
    assert graph.unfolded_batch_norms(model) == ["loose"]


def large_faces(folder: Path, count: int = 12) -> Path:
    """Sharp pictures of 160 x 160, so that how they are resized matters."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        pixels = rng.integers(0, 256, (160, 160), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


def test_resize_by_another_library_is_caught(
    exported: Artefacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchvision's resize without antialias in the runtime's place."""
    from torchvision.transforms.v2 import functional

    def load(source: images.Source, spec: InputSpec) -> images.Pixels:
        wide = InputSpec(height=160, width=160, channels=1, mean=(0.5,), std=(0.5,))
        tensor = torch.from_numpy(images.load(source, wide).copy())
        resized: torch.Tensor = functional.resize(tensor, [48, 48], antialias=False)
        return resized.numpy()

    folder = large_faces(tmp_path / "faces")
    assert verify(exported.checkpoint, exported.onnx, ExportOptions(images=folder))
    other = SimpleNamespace(load=lambda source, spec, **_: load(source, spec))
    monkeypatch.setattr(whole, "images", other)
    report = verify(exported.checkpoint, exported.onnx, ExportOptions(images=folder)).report
    assert len(report.failures) == 1
    assert report.failures[0].startswith("from file to") and "resizing" in report.failures[0]


def test_labels_swapped_in_the_runtime_are_caught(
    exported: Artefacts, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swapped(name: str, labels: tuple[str, ...], *rest: Any, **more: Any) -> Row:
        more["columns"] = plain_columns(tuple(reversed(labels)))
        return Row(name, labels, *rest, **more)

    monkeypatch.setattr(row_batch, "Row", swapped)
    options = ExportOptions(images=dataset / "test")
    report = verify(exported.checkpoint, exported.onnx, options).report
    assert any("get another label than the graph gives" in text for text in report.failures)


def test_export_is_compared_on_cuda_too_where_there_is_one(
    exported: Artefacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that seems to have CUDA, on which the graph's first logit is off."""
    original = to_onnx.runner

    def onnx_on(path: Path, provider: str = "cpu") -> runners.Runner:
        run = original(path)
        off = np.float32(0.1 if provider == "cuda" else 0)

        def shifted(pixels: np.ndarray) -> runners.Arrays:
            named = run(pixels)
            named["logits"][:, 0] += off
            return named

        return shifted

    monkeypatch.setitem(PROVIDERS, "cuda", PROVIDERS["cuda"]._replace(diagnosis=list))
    monkeypatch.setattr(to_onnx, "runner", onnx_on)
    with pytest.raises(ParityError, match=r"on CUDA, logits differ by up to 0\.1"):
        exporter.export(exported.checkpoint, "onnx", tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.gpu
def test_artefact_verifies_on_cuda(exported: Artefacts, dataset: Path) -> None:
    options = ExportOptions(images=dataset / "test")
    assert verify(exported.checkpoint, exported.onnx, options, provider="cuda")


@pytest.mark.gpu
def test_tf32_is_caught() -> None:
    """A reference that rounds to TF32 differs from one that does not by more than the tolerance."""
    torch.manual_seed(0)
    net = nn.Sequential(*[nn.Conv2d(64, 64, 3, padding=1) for _ in range(4)]).cuda().eval()
    pixels = torch.rand(2, 64, 32, 32, device="cuda")
    outputs = []
    for allowed in (False, True):
        torch.backends.cudnn.allow_tf32 = allowed
        with torch.inference_mode():
            outputs.append(net(pixels).double().cpu())
    torch.backends.cudnn.allow_tf32 = False
    difference = (outputs[0] - outputs[1]).abs().max() / outputs[0].std()
    assert difference > 1e-4


def test_spec_of_other_preprocessing_is_caught(exported: Artefacts, tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    target.write_bytes(exported.onnx.read_bytes())
    spec = inspection.read_spec(target)
    to_onnx.embed(target, spec.replace(temperature=2.0))
    report = verify(exported.checkpoint, target).report
    assert report.failures[0].startswith(
        "the spec's temperature: 2.0 instead of the checkpoint's 1.0"
    )
