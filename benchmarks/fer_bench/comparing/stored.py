"""Two stored runs, of other days or machines, each measured against the same reference work."""

from __future__ import annotations

from typing import NamedTuple

from fer_bench import reference
from fer_bench.comparing.verdict import CHANGED, NOISY, UNCHANGED
from fer_bench.reporting.record import Record

LEAST_NOISE = 0.05
"""Two runs of one program on a quiet machine differ by as much now and then."""
MOST_NOISE = 0.25
"""Beyond this nothing can be said."""


class Difference(NamedTuple):
    """One benchmark in both runs.

    Attributes:
        group: what was measured.
        engine: what of.
        ratio: the second's time over the first's, as if the machines had been equally fast.
        noise: the share by which it may be off.
        kind: CHANGED, UNCHANGED or NOISY.
    """

    group: str
    engine: str
    ratio: float
    noise: float
    kind: str


class Scale(NamedTuple):
    """How the machines compare, by the reference work.

    Attributes:
        factor: the second's time over the first's.
        spread: by how much the kinds of reference work disagree about it.
        drift: the larger of what each machine changed during its own run.
    """

    factor: float
    spread: float
    drift: float

    @property
    def noise(self) -> float:
        """The share by which a scaled ratio may be off because of the machines."""
        return max(LEAST_NOISE, self.spread, self.drift)


def scale(first: Record, second: Record) -> Scale:
    """How much longer the second's machine took for the same work."""
    one, other = (_middle(record) for record in (first, second))
    factor, spread = reference.scale(other, one)
    return Scale(factor, spread, max(first.drift(), second.drift()))


def differences(first: Record, second: Record) -> list[Difference]:
    """Each benchmark that both have, the largest difference first."""
    machines = scale(first, second)
    before = {each.key: each for each in first.measurements}
    found = []
    for each in second.measurements:
        old = before.get(each.key)
        if old is None or old.batch_size != each.batch_size:
            continue
        ratio = each.milliseconds["p50"] / old.milliseconds["p50"] / machines.factor
        change = max(ratio, 1 / ratio) - 1
        if machines.noise > MOST_NOISE:
            kind = NOISY
        elif change > 2 * machines.noise:
            kind = CHANGED
        else:
            kind = UNCHANGED if machines.noise <= LEAST_NOISE * 2 else NOISY
        found.append(Difference(*each.key, ratio, machines.noise, kind))
    return sorted(found, key=lambda one: -max(one.ratio, 1 / one.ratio))


def _middle(record: Record) -> dict[str, float]:
    """The reference work's seconds, between before and after the run."""
    before, after = (each["reference_seconds"] for each in (record.before, record.after))
    return {kind: (before[kind] * after[kind]) ** 0.5 for kind in before if kind in after}
