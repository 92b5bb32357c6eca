"""--features: what the last layer takes, as a third output under the same parity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fer_bench.artefacts import Artefacts
from fer_export import exporter, formats, parity
from fer_export.features import with_features
from fer_export.options import ExportOptions
from fer_export.parity.verify import verify
from fer_runtime import Classifier
from fer_runtime.errors import ImageError, ModelFileError
from fer_runtime.spec import InputSpec, ModelSpec
from fer_train import checkpoint
from fer_train.models import Deployable

SPEC = ModelSpec(
    labels=("a", "b", "c"),
    input=InputSpec(height=8, width=8, channels=1, mean=(0.5,), std=(0.25,)),
)


class TwoLinear(nn.Module):
    """Flatten -> 5 features -> 3 logits; declared in another order than they run in."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.second = nn.Linear(5, 3)
        self.first = nn.Linear(64, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.second(torch.relu(self.first(images.flatten(1))))
        return logits


@pytest.mark.parametrize("name", ["onnx", "torchscript", "pt2"])
def test_every_format_has_them_under_parity(
    exported: Artefacts, name: str, faces: np.ndarray, tmp_path: Path
) -> None:
    target = tmp_path / f"x{formats.format_named(name).ending}"
    done = exporter.export(exported.checkpoint, name, target, ExportOptions(features=True))
    assert done.report.max_feature_difference is not None
    assert done.report.max_feature_difference < 1e-4
    outputs = formats.format_named(name).runner(target)(faces)
    assert list(outputs) == ["logits", "probabilities", "features"]
    net = checkpoint.load(exported.checkpoint).net().eval()
    head = [each for each in net.modules() if isinstance(each, nn.Linear)][-1]
    logits = outputs["features"] @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    np.testing.assert_allclose(logits, outputs["logits"], atol=1e-4)
    assert verify(exported.checkpoint, target)


@pytest.mark.parametrize("precision", ["fp16", pytest.param("int8", marks=pytest.mark.slow)])
def test_lower_precisions_keep_them(
    exported: Artefacts, precision: str, int8_options: ExportOptions, dataset: Path, tmp_path: Path
) -> None:
    options = int8_options if precision == "int8" else ExportOptions(images=dataset / "validation")
    options = ExportOptions(**vars(options) | {"precision": precision, "features": True})
    target = tmp_path / "x.onnx"
    exporter.export(exported.checkpoint, "onnx", target, options)
    found = Classifier.load(target, provider="cpu").features([np.zeros((48, 48), np.uint8)])
    assert found.dtype == np.float32 and np.isfinite(found).all()


def test_the_layer_that_runs_last_is_the_head() -> None:
    deployable = Deployable(TwoLinear(), SPEC).eval()
    changed = with_features(deployable)
    images = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
    logits, probabilities, features = changed(images)
    assert features.shape == (4, 5)
    assert torch.equal(logits, deployable(images)[0])
    assert torch.equal(probabilities, deployable(images)[1])
    shared = {parameter.data_ptr() for parameter in deployable.parameters()}
    assert {parameter.data_ptr() for parameter in changed.parameters()} == shared
    assert isinstance(deployable.net, TwoLinear)
    assert isinstance(deployable.net.second, nn.Linear), "the net itself stays as it is"


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (nn.Sequential(nn.Conv2d(1, 3, 8), nn.Flatten()), "no linear layer.*Conv2d, Flatten"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.Softplus()), "linear layer of this net"),
        (nn.Sequential(nn.Linear(8, 3), nn.Flatten(), nn.Flatten()), "linear layer of this net"),
    ],
)
def test_other_nets_are_refused(net: nn.Module, words: str) -> None:
    with pytest.raises(ModelFileError, match=words):
        with_features(Deployable(net, SPEC).eval())


def test_features_that_differ_fail_parity(faces: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    reference = {
        "logits": rng.normal(size=(8, 3)).astype(np.float32),
        "probabilities": np.full((8, 3), 1 / 3, np.float32),
        "features": rng.normal(size=(8, 5)).astype(np.float32),
    }
    names = tuple("abcdefgh")

    def report(features: np.ndarray, tolerance: float | None = 1e-4) -> parity.ParityReport:
        batch = parity.Batch(names, reference, {**reference, "features": features})
        return parity.compare([batch], "abc", tolerance=tolerance)

    same = report(reference["features"])
    assert same and same.max_feature_difference == 0
    off = reference["features"].copy()
    off[3, 2] += 0.01 * off.std()
    worse = report(off)
    assert not worse
    assert worse.failures == (
        "features differ by up to 0.01 of their standard deviation; allowed is 0.0001",
    )
    assert report(off, tolerance=None), "decisions alone"
    deep = {**reference, "features": off[:, :, None]}
    found = parity.compare([parity.Batch(names, deep, deep)], "abc")
    assert found.failures == ("batch of 8: features is (8, 5, 1), not (images, D)",)
    off[0, 0] = np.nan
    assert any("NaN" in failure for failure in report(off).failures)


def test_a_classifier_returns_them(exported: Artefacts, faces: np.ndarray, tmp_path: Path) -> None:
    target = tmp_path / "x.onnx"
    exporter.export(exported.checkpoint, "onnx", target, ExportOptions(features=True))
    classifier = Classifier.load(target, provider="cpu", batch_size=16)
    found = classifier.features(face[0] for face in faces)
    assert len(found) == len(faces)
    np.testing.assert_allclose(found[17:18], classifier.features([faces[17, 0]]), atol=1e-5)
    assert classifier.features([]).shape == (0, found.shape[1])
    assert [each.label for each in classifier.predict_batch(faces[:3, 0])]
    with pytest.raises(ImageError, match=r"missing\.jpg"):
        classifier.features([faces[0, 0], "missing.jpg"])
    plain = Classifier.load(exported.onnx, provider="cpu")
    with pytest.raises(ModelFileError, match=r"has no output `features`, only logits, prob"):
        plain.features([faces[0, 0]])
