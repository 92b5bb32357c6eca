"""What ratios of times say, and how surely: changed, unchanged, or too noisy to tell.

Each ratio is of one pair of processes. Two processes of one program differ by a few per cent for as
long as they live, by where their memory happens to be, so many runs of one pair would be very sure
of a difference that is none (Kalibera & Jones 2013: repeat at the level that varies most).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

CHANGED, UNCHANGED, NOISY = "changed", "unchanged", "too noisy to tell"
CONFIDENCE = 0.998
"""Of the interval at each look; there are several looks, and an alarm for nothing is expensive."""
LOOKS = (10, 14, 20, 30, 40)
"""Pairs of processes after which it is looked whether the answer is known."""
TRIMMED = 0.2
"""Share of the ratios that is left out at each end: other work falls on some pairs alone."""
SAME = 0.03
"""An interval within plus and minus this share means unchanged."""


class Verdict(NamedTuple):
    """What was found.

    Attributes:
        kind: CHANGED, UNCHANGED or NOISY.
        ratio: the second's time over the first's.
        low: the lower end of the ratio's interval.
        high: the upper end.
        pairs: pairs of processes that were measured.
    """

    kind: str
    ratio: float
    low: float
    high: float
    pairs: int

    def __str__(self) -> str:
        within = f"{self.low - 1:+.1%} to {self.high - 1:+.1%}"
        how = f"({within} at {CONFIDENCE:.1%} confidence, {self.pairs} pairs of processes)"
        if self.kind == CHANGED:
            word = "slower" if self.ratio > 1 else "faster"
            return f"B is {word} than A: {self.ratio - 1:+.1%} time {how}"
        if self.kind == UNCHANGED:
            return f"unchanged: B takes {self.ratio - 1:+.1%} time {how}"
        return f"too noisy to tell: B takes {self.ratio - 1:+.1%} time {how}"


def decide(ratios: Sequence[float], *, floor: float, smallest: float = 0.0) -> Verdict:
    """What the ratios of at least three pairs say, by their trimmed mean (Yuen 1974).

    Args:
        ratios: the second's time over the first's, of each pair of processes.
        floor: smaller changes than this share are none.
        smallest: a further floor, as a share too: a change of so little time matters to nobody.
    """
    logs = sorted(math.log(ratio) for ratio in ratios)
    count = len(logs)
    out = int(TRIMMED * count)
    kept = logs[out : count - out]
    middle = statistics.mean(kept)
    spread = statistics.stdev([kept[0]] * out + kept + [kept[-1]] * out)
    error = spread * math.sqrt((count - 1) / (len(kept) * (len(kept) - 1)))
    half = t_quantile(0.5 + CONFIDENCE / 2, len(kept) - 1) * error
    ratio, low, high = (math.exp(value) for value in (middle, middle - half, middle + half))
    least = max(floor, smallest)
    if (low > 1 or high < 1) and abs(ratio - 1) >= least:
        kind = CHANGED
    elif high - 1 < max(SAME, smallest) and low - 1 > -max(SAME, smallest):
        kind = UNCHANGED
    else:
        kind = NOISY
    return Verdict(kind, ratio, low, high, count)


def t_quantile(probability: float, freedom: int) -> float:
    """Of Student's distribution, by the expansion of Abramowitz & Stegun 26.7.5."""
    z = statistics.NormalDist().inv_cdf(probability)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return math.fsum(term / freedom**power for power, term in enumerate(terms))
