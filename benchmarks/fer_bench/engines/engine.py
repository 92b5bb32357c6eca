"""An opened model, as every engine gives it, and what its process says about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Run = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Engine:
    """A model that is open.

    Attributes:
        run: (N, C, H, W) uint8 pixels -> (N, K) float32 probabilities.
        facts: what a reader needs to understand a figure: the file's hash, the provider, threads,
            arithmetic and version that really ran.
    """

    run: Run
    facts: Mapping[str, Any]


class Opened(NamedTuple):
    """The engine is open; what it said about itself."""

    facts: dict[str, Any]


class Ran(NamedTuple):
    """A run is over; its seconds by the wall clock."""

    seconds: float
