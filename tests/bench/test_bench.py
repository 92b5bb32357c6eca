"""The benchmarks compare like with like: same images, same weights, same decisions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fer_bench import baseline, demo, end_to_end, precisions, training
from fer_bench.artefacts import Artefacts
from fer_export.precision import int8
from fer_runtime import images
from fer_train import checkpoint


def test_baseline_sees_the_runtimes_pixels(exported: Artefacts, dataset: Path) -> None:
    """On grey files of the input's size torchvision's transforms and ours must not differ."""
    spec = checkpoint.load(exported.checkpoint).spec.input
    loader = baseline.loader(spec, dataset / "test")
    tensor, _ = loader.dataset[3]
    path = Path(loader.dataset.samples[3][0])
    pixels = images.load(path, spec).astype(np.float32) / 255
    expected = (pixels - np.float32(spec.mean[0])) / np.float32(spec.std[0])
    np.testing.assert_allclose(tensor.numpy(), expected, atol=1e-6)


@pytest.mark.slow
def test_end_to_end_agrees_with_the_baseline(
    exported: Artefacts, dataset: Path, tmp_path: Path
) -> None:
    figures = end_to_end.measure(
        exported.checkpoint, {"fp32": exported.onnx}, dataset / "validation", 1, tmp_path
    )
    assert figures["images"] == figures["equal_top1"]["fp32"] == 70
    assert all(ratio > 0 for ratio in figures["ratio_to_baseline"].values())


def test_training_is_measured_against_the_usual_loop(dataset: Path) -> None:
    figures = training.measure(dataset, 128, 32, "simple_cnn", 1)
    ours, usual = (values[0] for values in figures["images_per_second"].values())
    assert figures["images"] == 128 and ours > 0 and usual > 0
    assert figures["ratio"] == pytest.approx(ours / usual)
    assert 0 < figures["data_share"] < 1


def test_demo_takes_labels_from_the_folders_name(tmp_path: Path) -> None:
    rows = ["path,label,probability,error", "d/sad/1.jpg,sad,1,", "d/sad/2.jpg,happy,1,"]
    rows += ["d/happy/3.jpg,happy,1,", "d/happy/4.jpg,happy,1,"]
    (tmp_path / "out.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    outcome = demo._outcome(tmp_path / "out.csv", seconds=2.0)
    assert (outcome.images, outcome.accuracy, outcome.images_per_second) == (4, 0.75, 2.0)
    assert outcome.macro_f1 == pytest.approx((4 / 5 + 2 / 3) / 2)


@pytest.mark.parametrize(("count", "epochs"), [(10, 16), (7_000, 6), (28_709, 2)])
def test_demo_trains_longer_on_less(tmp_path: Path, count: int, epochs: int) -> None:
    folder = tmp_path / "train" / "happy"
    folder.mkdir(parents=True)
    for index in range(count):
        (folder / f"{index}.jpg").touch()
    assert demo._epochs(tmp_path) == epochs


@pytest.mark.slow
def test_precisions_are_set_side_by_side(
    exported: Artefacts, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The untrained model may lose any accuracy; only the figures are compared."""
    monkeypatch.setattr(int8, "MAX_LOSS", 1.0)
    found = precisions.measure(exported.checkpoint, dataset, tmp_path)
    assert found["images"] == 70 and list(found["precisions"]) == ["fp32", "fp16", "int8"]
    fp32, fp16, quantised = found["precisions"].values()
    assert fp32["agreement"] == 1.0 and fp32["speed_ratio"] == fp32["size_ratio"] == 1.0
    assert fp16["agreement"] > 0.98 and 0.4 < fp16["size_ratio"] < 0.6
    assert 0.2 < quantised["size_ratio"] < 0.4 and quantised["images_per_second"] > 0
    assert found["seconds_of_the_fp32_export"] > 0
