"""Predictions as JSON; written directly, because it is a tenth of a small request's time."""

from __future__ import annotations

import json
from collections.abc import Sequence

from fer_runtime.columns import UNCERTAIN, checked_probability
from fer_runtime.faces.face import Face
from fer_runtime.rows import Probabilities, top1


class Writer:
    """Writes what a model's predictions are.

    >>> import numpy as np
    >>> Writer("tiny", ("happy", "sad")).prediction(np.array([0.75, 0.25], np.float32))
    '"label":"happy","probability":0.750000,"probabilities":[0.750000,0.250000]'

    Args:
        model: the model's name.
        labels: in the order of the probabilities.
        min_probability: a less probable prediction gets the label "uncertain".
    """

    def __init__(self, model: str, labels: Sequence[str], min_probability: float = 0.0) -> None:
        self._labels = [json.dumps(label) for label in labels]
        self._min_probability = checked_probability(min_probability, labels)
        self._start = (
            f'{{"model":{json.dumps(model)},"labels":[{",".join(self._labels)}],"images":['
        )
        self._form = (
            '"label":%s,"probability":%.6f,"probabilities":['
            + ",".join(["%.6f"] * len(labels))
            + "]"
        )

    def answer(self, images: Sequence[str]) -> bytes:
        """The whole answer, of what `image`, `faces` or `error` gave."""
        return f"{self._start}{','.join(images)}]}}".encode()

    def image(self, name: str | None, probabilities: Probabilities) -> str:
        """An image that is the crop of one face: (K,) probabilities."""
        return f"{{{_named(name)}{self.prediction(probabilities)}}}"

    def faces(
        self, name: str | None, faces: Sequence[Face], probabilities: Sequence[Probabilities]
    ) -> str:
        """A photograph: each of its faces with (K,) probabilities, the largest first."""
        found = ",".join(map(self._face, faces, probabilities))
        return f'{{{_named(name)}"faces":[{found}]}}'

    def error(self, name: str | None, message: str) -> str:
        """An image of several that cannot be classified."""
        return f'{{{_named(name)}"error":{json.dumps(message)}}}'

    def prediction(self, probabilities: Probabilities) -> str:
        """The members of an object for (K,) probabilities, without its braces."""
        values = probabilities.tolist()
        best = int(top1(probabilities))
        uncertain = values[best] < self._min_probability
        label = f'"{UNCERTAIN}"' if uncertain else self._labels[best]
        return self._form % (label, values[best], *values)

    def _face(self, face: Face, probabilities: Probabilities) -> str:
        place = {
            "box": [round(value, 1) for value in face.box],
            "landmarks": [[round(x, 1), round(y, 1)] for x, y in face.landmarks],
            "score": round(face.score, 4),
        }
        text = json.dumps(place, separators=(",", ":"))
        return f"{text[:-1]},{self.prediction(probabilities)}}}"


def _named(name: str | None) -> str:
    return "" if name is None else f'"name":{json.dumps(name)},'
