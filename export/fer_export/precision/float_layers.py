"""Which layers of an int8 model are faster in float on this machine.

Not every int8 kernel is faster than its float one: a convolution of one input channel, for example,
may take four times as long, and each border between int8 and float costs a conversion. So whole
graphs are timed, with one layer more in float at a time, and what is clearly faster is kept.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_export.formats import to_onnx
from fer_runtime.machine import processor
from fer_runtime.spec import ModelSpec

BATCHES = (1, 32)
"""Images per run that are timed; the larger one decides, and the smaller one may not lose."""
LEAST_GAIN = 1.03
"""Times faster a layer must be in float, twice: less may be chance, and costs size."""
MOST_LOSS = 0.98
"""Of the speed at batch 1 that is left at least."""
ROUNDS = 9
RUN_SECONDS = 0.02
"""Of one measurement; a round has one for each graph and batch size."""

Seconds = Mapping[int, Sequence[float]]
"""Batch size -> seconds of a run in each round."""
Quantise = Callable[[Sequence[str], Path], None]
"""(layers in float, file to write)."""


@dataclass(frozen=True)
class Layer:
    """A layer that was tried in float, and the time of an image in the whole graph both ways.

    Attributes:
        name: the node's name.
        int8_microseconds: an image at batch 32 with this layer in int8.
        float_microseconds: the same with it in float.
        kept: whether it stayed in float.
    """

    name: str
    int8_microseconds: float
    float_microseconds: float
    kept: bool

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.int8_microseconds:.1f} us an image with it in int8, "
            f"{self.float_microseconds:.1f} in float"
        )


@dataclass(frozen=True)
class FloatLayers:
    """What was found: the layers that were tried, and the processor that was timed."""

    layers: tuple[Layer, ...]
    processor: str

    @property
    def kept(self) -> tuple[str, ...]:
        """The names of the layers that are faster in float."""
        return tuple(layer.name for layer in self.layers if layer.kept)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"processor": self.processor, "layers": [asdict(layer) for layer in self.layers]}

    def summary(self) -> dict[str, Any]:
        """What is written into the artefact: the layers in float, and why."""
        kept = [asdict(layer) for layer in self.layers if layer.kept]
        return {"processor": self.processor, "layers": kept}


def find(
    names: Sequence[str],
    quantise: Quantise,
    folder: Path,
    spec: ModelSpec,
    *,
    say: Callable[[str], None] = lambda _: None,
) -> FloatLayers:
    """The layers that are faster in float: one after the other, as long as there is a clear gain.

    Args:
        names: the layers of the graph.
        quantise: writes the int8 graph with some layers in float.
        folder: for temporary files.
        spec: the model's.
        say: called with a short line as work proceeds.
    """
    kept: list[str] = []
    tried: dict[str, Layer] = {}
    while len(kept) < len(names):
        files = {"": folder / "float-none.onnx"}
        quantise(kept, files[""])
        for number, name in enumerate(names):
            if name not in kept:
                files[name] = folder / f"float-{number}.onnx"
                quantise([*kept, name], files[name])
        say(f"timing {len(files) - 1} layers in int8 and in float")
        seconds = in_turns(files, spec)
        best = fastest(seconds)
        for name in files:
            if name and name not in tried:
                tried[name] = _layer(name, seconds, kept=False)
        if best is None:
            break
        # The best of many is often the luckiest: it must win by itself too.
        again = in_turns({name: files[name] for name in ("", best)}, spec)
        if fastest(again) is None:
            break
        kept.append(best)
        tried[best] = _layer(best, again, kept=True)
        say(f"stays in float, {tried[best]}")
    return FloatLayers(tuple(tried[name] for name in names if name in tried), processor())


def fastest(seconds: Mapping[str, Seconds]) -> str | None:
    """The layer whose graph gains most over the one named ""; None where none gains clearly.

    >>> base = {1: [1.0, 1.0, 1.1], 32: [9.0, 9.1, 9.9]}
    >>> fastest({"": base, "stem": {1: [0.9, 0.9, 1.0], 32: [7.0, 7.2, 7.7]}})
    'stem'
    """
    small, large = BATCHES
    gains = {
        name: (_gain(seconds[""][large], each[large]), _gain(seconds[""][small], each[small]))
        for name, each in seconds.items()
        if name
    }
    enough = {
        name: gain for name, (gain, one) in gains.items() if gain > LEAST_GAIN and one > MOST_LOSS
    }
    return max(enough, key=lambda name: enough[name]) if enough else None


def _gain(before: Sequence[float], after: Sequence[float]) -> float:
    """The median over the rounds, so that what slows down a whole round cancels out."""
    return statistics.median(a / b for a, b in zip(before, after, strict=True))


def _layer(name: str, seconds: Mapping[str, Seconds], *, kept: bool) -> Layer:
    batch = BATCHES[-1]
    times = [statistics.median(seconds[each][batch]) / batch * 1e6 for each in ("", name)]
    return Layer(name, round(times[0], 2), round(times[1], 2), kept)


def in_turns(files: Mapping[str, Path], spec: ModelSpec) -> dict[str, dict[int, list[float]]]:
    """Seconds of a run of each file on one thread, in rounds over all files and batch sizes."""
    rng = np.random.default_rng(0)
    pixels = {n: rng.integers(0, 256, (n, *spec.input.shape), np.uint8) for n in BATCHES}
    runners = {name: to_onnx.timed_runner(path) for name, path in files.items()}
    repeats = {}
    for batch, images in pixels.items():
        for run in runners.values():
            run(images)
        started = time.perf_counter()
        runners[""](images)
        repeats[batch] = max(1, round(RUN_SECONDS / (time.perf_counter() - started)))
    seconds: dict[str, dict[int, list[float]]] = {n: {b: [] for b in BATCHES} for n in files}
    for _ in range(ROUNDS):
        for batch, images in pixels.items():
            for name, run in runners.items():
                started = time.perf_counter()
                for _ in range(repeats[batch]):
                    run(images)
                seconds[name][batch].append((time.perf_counter() - started) / repeats[batch])
    return seconds
