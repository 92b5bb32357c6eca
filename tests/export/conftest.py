"""Every test in this folder may use torch, so its settings for tests apply to all of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from fer_bench.artefacts import Artefacts
from fer_export import inspection
from fer_export.formats import to_onnx
from fer_export.options import ExportOptions
from fer_runtime import images


@pytest.fixture(scope="session", autouse=True)
def _small_torch(small_torch: None) -> None:
    """The fixture `small_torch`, for each test."""


@pytest.fixture(scope="module")
def sure(exported: Artefacts, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces in folders named by the fp32 model, where its margin is large: macro-F1 is 1."""
    folder = tmp_path_factory.mktemp("sure")
    run = to_onnx.runner(exported.onnx)
    spec = inspection.read_spec(exported.onnx)
    paths = sorted((dataset / "validation").rglob("*.jpg"))
    logits = run(images.load_batch(paths, spec.input))["logits"]
    ranked = np.sort(logits, axis=1)
    margins = ranked[:, -1] - ranked[:, -2]
    for path, row, margin in zip(paths, logits, margins, strict=True):
        if margin >= np.median(margins):
            target = folder / spec.labels[int(row.argmax())]
            target.mkdir(exist_ok=True)
            shutil.copy(path, target / f"{path.parent.name}-{path.name}")
    assert len(list(folder.iterdir())) > 1 and len(list(folder.rglob("*.jpg"))) == 35
    return folder


@pytest.fixture
def int8_options(dataset: Path, sure: Path) -> ExportOptions:
    return ExportOptions(
        precision="int8", calibration=dataset / "train", evaluation=sure, float_layers="none"
    )
