"""OpenCV's dnn module, from the wheel opencv-python-headless."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from fer_export.engines.arrays import Pixels, Ran, named_outputs
from fer_runtime.session import feed
from fer_runtime.spec import ModelSpec


def missing() -> str:
    """Why OpenCV cannot run here; "" where it can."""
    if find_spec("cv2") is None:
        return "OpenCV is not installed: pip install opencv-python-headless"
    return ""


def run(path: Path, spec: ModelSpec, batches: Sequence[Pixels]) -> Ran:
    """Run an ONNX file; OpenCV raises cv2.error for a graph that it does not know."""
    import cv2

    net = cv2.dnn.readNetFromONNX(str(path))
    names = list(net.getUnconnectedOutLayersNames())
    outputs = []
    for batch in batches:
        net.setInput(feed(batch, spec.input))
        outputs.append(named_outputs(names, net.forward(names), spec))
    return Ran(outputs, cv2.__version__)
