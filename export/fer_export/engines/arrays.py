"""Arrays in and out of engines, which know neither the spec nor our names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_runtime.session import softmax
from fer_runtime.spec import ModelSpec

Pixels = npt.NDArray[np.uint8]
Outputs = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Ran:
    """What an engine computed.

    Attributes:
        outputs: `logits` and `probabilities` of each batch, (N, K) float32.
        version: of the engine.
        arithmetic: what it computes in, as far as it says so: "f32", "bf16", ...
    """

    outputs: Sequence[Outputs]
    version: str
    arithmetic: str = "f32"


def named_outputs(names: Sequence[str], arrays: Sequence[Any], spec: ModelSpec) -> Outputs:
    """What a graph outputs -> copies of `logits` and `probabilities`, as the runtime has them."""
    found = {name: np.array(array) for name, array in zip(names, arrays, strict=True)}
    logits = found.get("logits", next(iter(found.values())))
    probabilities = found.get("probabilities")
    if probabilities is None:
        probabilities = softmax(logits, spec.temperature)
    return {"logits": logits, "probabilities": probabilities}
