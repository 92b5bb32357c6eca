"""A model and faces for the runtime's tests: no torch, no training, known weights, milliseconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from fer_runtime.spec import METADATA_KEY, ModelSpec
from tests.runtime.onnx_writer import FLOAT, UINT8, node, save

LABELS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


def save_classifier(path: Path, spec: ModelSpec) -> Path:
    """uint8 images -> logits, probabilities: cast, /255, convolution, average, head, softmax."""
    rng = np.random.default_rng(7)
    weights = {
        "scale": np.float32(255),
        "filters": rng.normal(size=(6, 1, 5, 5)).astype(np.float32),
        "head": rng.normal(scale=8, size=(6, len(spec.labels))).astype(np.float32),
    }
    nodes = [
        node("Cast", ["images"], ["floats"], to=FLOAT),
        node("Div", ["floats", "scale"], ["scaled"]),
        node("Conv", ["scaled", "filters"], ["maps"], strides=[2, 2]),
        node("Relu", ["maps"], ["positive"]),
        node("GlobalAveragePool", ["positive"], ["means"]),
        node("Flatten", ["means"], ["features"]),
        node("MatMul", ["features", "head"], ["logits"]),
        node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    count = len(spec.labels)
    return save(
        path,
        nodes,
        [("images", UINT8, ["batch", *spec.input.shape])],
        [(name, FLOAT, ["batch", count]) for name in ("logits", "probabilities")],
        weights,
        {METADATA_KEY: spec.to_json()},
    )


def draw_faces(count: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """(count, 1, 48, 48) uint8: a head, two eyes and a curved mouth, no two alike."""
    rng = np.random.default_rng(seed)
    return np.stack([_draw_face(rng) for _ in range(count)])[:, None]


def _draw_face(rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    y, x = np.mgrid[-1:1:48j, -1:1:48j]
    x, y = x - rng.uniform(-0.1, 0.1), y - rng.uniform(-0.1, 0.1)
    background, skin, features = rng.uniform(0, 120), rng.uniform(130, 250), rng.uniform(0, 80)
    shade = np.where((x / 0.75) ** 2 + (y / 0.95) ** 2 < 1, skin - 25 * x, background)
    eye = (np.abs(np.abs(x) - 0.3) / 0.15) ** 2 + ((y + 0.25) / rng.uniform(0.04, 0.14)) ** 2 < 1
    middle, curve, thickness = rng.uniform((0.4, -0.9, 0.03), (0.55, 0.9, 0.12))
    mouth = (np.abs(x) < 0.4) & (np.abs(y - middle + curve * x**2) < thickness)
    noisy = np.where(eye | mouth, features, shade) + rng.normal(0, 6, x.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
