"""Facial-expression models at inference: one file, no torch.

>>> from fer_runtime import Classifier
>>> classifier = Classifier.load("compact_cnn")  # or "best.onnx"
>>> classifier.predict(np.zeros((48, 48), np.uint8)).label in classifier.spec.labels
True

A prediction is about the apparent expression in a picture, not about what a person feels.
Names load on first use (PEP 562), so that `fer_runtime.spec` needs no onnxruntime.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fer_runtime._lazy import lazy_attributes
from fer_runtime._version import __version__

if TYPE_CHECKING:
    from fer_runtime.classifier import Classifier
    from fer_runtime.errors import (
        DataError,
        FerError,
        ImageError,
        ModelFileError,
        ModelSpecError,
        ParityError,
        ProviderError,
        TrainingError,
        WorkerError,
    )
    from fer_runtime.faces.detector import FaceDetector
    from fer_runtime.faces.face import Face
    from fer_runtime.faces.options import FaceOptions
    from fer_runtime.packed.writer import pack
    from fer_runtime.pipeline import Pipeline
    from fer_runtime.providers.options import ProviderOptions
    from fer_runtime.rows import Prediction, Row
    from fer_runtime.run import infer
    from fer_runtime.run_options import RunResult
    from fer_runtime.session import Session
    from fer_runtime.sources.table import SourceOptions
    from fer_runtime.spec import InputSpec, ModelSpec

# Official builds of onnxruntime report events to their maker over the network, and write to
# ~/.cache/Microsoft; it is read when onnxruntime is loaded. Set it to 0 to allow that.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = [
    "Classifier",
    "DataError",
    "Face",
    "FaceDetector",
    "FaceOptions",
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
    "ProviderOptions",
    "Row",
    "RunResult",
    "Session",
    "SourceOptions",
    "TrainingError",
    "WorkerError",
    "__version__",
    "infer",
    "pack",
]

__getattr__ = lazy_attributes(
    __name__,
    {
        "Classifier": "fer_runtime.classifier",
        "Face": "fer_runtime.faces.face",
        "FaceDetector": "fer_runtime.faces.detector",
        "FaceOptions": "fer_runtime.faces.options",
        "Prediction": "fer_runtime.rows",
        "ProviderOptions": "fer_runtime.providers.options",
        "Pipeline": "fer_runtime.pipeline",
        "Row": "fer_runtime.rows",
        "RunResult": "fer_runtime.run_options",
        "Session": "fer_runtime.session",
        "SourceOptions": "fer_runtime.sources.table",
        "ModelSpec": "fer_runtime.spec",
        "InputSpec": "fer_runtime.spec",
        "FerError": "fer_runtime.errors",
        "ModelSpecError": "fer_runtime.errors",
        "ModelFileError": "fer_runtime.errors",
        "ProviderError": "fer_runtime.errors",
        "ImageError": "fer_runtime.errors",
        "DataError": "fer_runtime.errors",
        "ParityError": "fer_runtime.errors",
        "TrainingError": "fer_runtime.errors",
        "WorkerError": "fer_runtime.errors",
        "infer": "fer_runtime.run",
        "pack": "fer_runtime.packed.writer",
    },
)


def __dir__() -> list[str]:
    return __all__
