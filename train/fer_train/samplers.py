"""The table of samplers: in which order an epoch shows its images.

A new one is a function, and one entry here. numpy is imported inside the functions: the table is
read to make the help.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Integers = npt.NDArray[np.int64]


def _shuffled(targets: Integers, rng: np.random.Generator) -> Integers:
    return rng.permutation(len(targets))


def _stratified(targets: Integers, rng: np.random.Generator) -> Integers:
    """Every image once, each class spread evenly over the epoch: batches have its proportions."""
    import numpy as np

    counts = np.bincount(targets)
    return _spread([rng.permutation(np.flatnonzero(targets == k)) for k in _present(counts)], rng)


def _balanced(targets: Integers, rng: np.random.Generator) -> Integers:
    """Classes equally often in an epoch as long as the set: rare images repeat, others wait."""
    import numpy as np

    classes = _present(np.bincount(targets))
    share = -(-len(targets) // len(classes))
    drawn = []
    for label in classes:
        members = np.flatnonzero(targets == label)
        rounds = [rng.permutation(members) for _ in range(-(-share // len(members)))]
        drawn.append(np.concatenate(rounds)[:share])
    return _spread(drawn, rng)[: len(targets)]


def _present(counts: Integers) -> list[int]:
    import numpy as np

    return np.flatnonzero(counts).tolist()


def _spread(by_class: Sequence[Integers], rng: np.random.Generator) -> Integers:
    """Interleave the classes: the i-th of n images of a class comes near (i + u) / n."""
    import numpy as np

    places = [(np.arange(len(each)) + rng.random(len(each))) / len(each) for each in by_class]
    indices = np.concatenate(by_class)
    return indices[np.argsort(np.concatenate(places), kind="stable")]


SAMPLERS: dict[str, Callable[[Integers, np.random.Generator], Integers]] = {
    "shuffle": _shuffled,
    "stratified": _stratified,
    "balanced": _balanced,
}
"""Name -> (N,) class numbers and a generator to (N,) indices in the order of one epoch."""
