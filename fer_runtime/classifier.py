"""Images in, Predictions out: the Python API of the runtime."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fer_runtime import images
from fer_runtime.errors import ImageError, ModelFileError
from fer_runtime.pipeline import Pipeline, Row
from fer_runtime.session import Session
from fer_runtime.spec import ModelSpec

MODEL_VARIABLE = "FER_MODEL"
LOCAL_MODEL = "best.onnx"
SHIPPED = Path(__file__).parent / "models" / "compact_cnn.onnx"
"""The model that comes with the package; models/MODEL_CARD.md says what it is and is not for."""


@dataclass(frozen=True)
class Prediction:
    """The most probable label of one image, its probability, and those of all labels.

    It describes the *apparent* expression in a picture, not what a person feels.
    """

    label: str
    probability: float
    probabilities: Mapping[str, float]

    @classmethod
    def of(cls, labels: tuple[str, ...], row: npt.NDArray[np.float32]) -> Prediction:
        """(K,) float32 probabilities in label order -> Prediction."""
        values = row.tolist()
        best = int(row.argmax())
        return cls(labels[best], values[best], dict(zip(labels, values, strict=True)))

    def top(self, count: int) -> list[tuple[str, float]]:
        """The `count` most probable labels with their probabilities, best first."""
        ranked = sorted(self.probabilities.items(), key=lambda pair: -pair[1])
        return ranked[:count]


class Classifier:
    """Classifies image files, encoded bytes and uint8 arrays in batches."""

    def __init__(self, session: Session, *, batch_size: int = 32) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size}; it must be at least 1")
        self.session = session
        self.batch_size = batch_size

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        provider: str = "auto",
        threads: int | None = None,
        batch_size: int = 32,
        spec: ModelSpec | None = None,
    ) -> Classifier:
        """Open a model; without a path, the one that `find_model` finds.

        `provider` is "cpu", "cuda" or "auto"; `threads` defaults to the cores this process may use.

        Raises:
            ModelFileError, ModelSpecError: a model that cannot be used.
            ProviderError: a provider that cannot run here; never a silent fallback.
        """
        model = find_model(path)
        session = Session.open(model, provider=provider, threads=threads, spec=spec)
        return cls(session, batch_size=batch_size)

    @property
    def spec(self) -> ModelSpec:
        """What the model expects and says."""
        return self.session.spec

    @property
    def provider(self) -> str:
        """The provider that runs: "cpu" or "cuda"."""
        return self.session.provider

    def predict(self, image: images.Source) -> Prediction:
        """One path, encoded bytes or (H, W[, C]) uint8 array -> Prediction; raises ImageError."""
        try:
            pixels = images.load(image, self.spec.input)
        except ImageError as error:
            if isinstance(image, str | os.PathLike):
                raise ImageError(f"{os.fspath(image)}: {error}") from None
            raise
        row = self.session.run(pixels[None]).probabilities[0]
        return Prediction.of(self.spec.labels, row)

    def predict_batch(self, many: Iterable[images.Source]) -> list[Prediction]:
        """Images of any kind and number -> one Prediction each, in order.

        Raises:
            ImageError: names the first image that cannot be read.
        """
        return list(self.stream(many))

    def stream(self, many: Iterable[images.Source]) -> Iterator[Prediction]:
        """Like `predict_batch`, but lazily, for any number of images: reads some batches ahead."""
        for row in self.rows(many):
            if row.probabilities is None:
                raise ImageError(f"{row.name}: {row.error}")
            yield Prediction.of(self.spec.labels, row.probabilities)

    def rows(self, many: Iterable[images.Source]) -> Iterator[Row]:
        """Like `stream`, but one Row an image: what cannot be read is a row with an `error`."""
        pipeline = Pipeline(self.session, workers=self.session.threads, batch_size=self.batch_size)
        for rows in pipeline.run(many):
            yield from rows


def find_model(path: str | os.PathLike[str] | None = None) -> Path:
    """The model to use: `path`, else $FER_MODEL, else ./best.onnx, else the shipped one.

    A name without an ending that is no file here may be a shipped model's: "compact_cnn" or
    "compact_cnn.int8".

    Raises:
        ModelFileError: none of them is there, or $FER_MODEL names none.
    """
    given = path if path is not None else os.environ.get(MODEL_VARIABLE)
    if given:
        shipped = SHIPPED.parent / f"{os.fspath(given)}.onnx"
        named = os.path.basename(given) == os.fspath(given) and not os.path.exists(given)
        if named and shipped.is_file():
            return shipped
        if path is None and not os.path.exists(given):
            raise ModelFileError(
                f"{MODEL_VARIABLE} is set to {given}, which does not exist; unset it for the "
                "shipped model, or say --model."
            )
        return Path(given)
    if Path(LOCAL_MODEL).is_file():
        return Path(LOCAL_MODEL)
    if SHIPPED.is_file():
        return SHIPPED
    raise ModelFileError(
        f"No model: say --model FILE, set {MODEL_VARIABLE}, or put {LOCAL_MODEL} in this folder "
        "(`fer-export onnx best.pt` makes it)."
    )
