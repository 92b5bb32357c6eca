"""Facial-expression models at inference: one file, no torch.

>>> from fer_runtime import Classifier
>>> Classifier.load("best.onnx").predict("face.jpg")

A prediction is about the apparent expression in a picture, not about what a person feels.
Names load on first use (PEP 562), so that `fer_runtime.spec` needs no onnxruntime.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fer_runtime._version import __version__

if TYPE_CHECKING:
    from fer_runtime.classifier import Classifier, Prediction
    from fer_runtime.errors import (
        DataError,
        FerError,
        ImageError,
        ModelFileError,
        ModelSpecError,
        ParityError,
        ProviderError,
    )
    from fer_runtime.pipeline import Pipeline, Row
    from fer_runtime.session import Session
    from fer_runtime.spec import InputSpec, ModelSpec

# Official builds of onnxruntime report events to their maker over the network, and write to
# ~/.cache/Microsoft; it is read when onnxruntime is loaded. Set it to 0 to allow that.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOMES = {
    "Classifier": "classifier",
    "Prediction": "classifier",
    "Pipeline": "pipeline",
    "Row": "pipeline",
    "Session": "session",
    "ModelSpec": "spec",
    "InputSpec": "spec",
    "FerError": "errors",
    "ModelSpecError": "errors",
    "ModelFileError": "errors",
    "ProviderError": "errors",
    "ImageError": "errors",
    "DataError": "errors",
    "ParityError": "errors",
}

__all__ = [
    "Classifier",
    "DataError",
    "FerError",
    "ImageError",
    "InputSpec",
    "ModelFileError",
    "ModelSpec",
    "ModelSpecError",
    "ParityError",
    "Pipeline",
    "Prediction",
    "ProviderError",
    "Row",
    "Session",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'fer_runtime' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"fer_runtime.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
