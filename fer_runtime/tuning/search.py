"""The search: settings in turns, the slow ones dropped, and the best against the defaults."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from fer_runtime.tuning.settings import Settings

BUDGET = 25.0
"""Seconds of the whole search."""
TRIAL = 0.35
"""Seconds of a trial when many are compared; the last comparison has longer ones."""
CLOSE = 0.95
"""Settings below this share of the best are dropped after a round."""
GAIN = 1.02
"""What is less faster than the defaults is noise, and the defaults stay."""

Rate = Callable[[Settings, float], float]


class Found(NamedTuple):
    """What a search found.

    Attributes:
        best: the fastest settings; the defaults where nothing is clearly faster.
        gain: how many times as fast as the defaults it is; 1 for the defaults themselves.
        rates: images a second of all that was tried, the median of its trials.
    """

    best: Settings
    gain: float
    rates: dict[Settings, float]


def search(
    rate: Rate,
    default: Settings,
    batch_sizes: Sequence[int],
    *,
    processes: bool,
    say: Callable[[str], None] = lambda _: None,
    budget: float = BUDGET,
) -> Found:
    """The fastest settings, found in about `budget` seconds at most.

    Args:
        rate: (settings, seconds) -> images a second.
        default: what is used where nothing was tuned.
        batch_sizes: those to try.
        processes: whether worker processes can be tried.
        say: called with a line as work proceeds.
        budget: seconds.
    """
    trials = _Trials(rate, time.perf_counter() + budget, budget)
    plain = default._replace(workers=False)
    say(f"trying {len(batch_sizes)} batch sizes")
    best = trials.compare([plain, *(plain._replace(batch_size=size) for size in batch_sizes)], 4)
    if default.threads >= 4:
        say("trying fewer threads")
        best = trials.compare([best, best._replace(threads=default.threads // 2)], 3)
    reference = plain
    if processes:
        say("trying worker processes")
        best = trials.compare([best, best._replace(workers=True), default], 3)
        # By default a long run finds out by itself whether they pay.
        reference = trials.best_of([plain, default])
    say("comparing the best with the defaults")
    gain = 1.0 if best == reference else trials.gain(best, reference)
    if gain < GAIN:
        return Found(default, 1.0, trials.medians())
    return Found(best, gain, trials.medians())


class _Trials:
    """All trials of a search, and when they must end."""

    def __init__(self, rate: Rate, end: float, budget: float) -> None:
        self._rate, self._end = rate, end
        self._last = end - 0.4 * budget  # the rest is for the comparison with the defaults
        self._found: dict[Settings, list[float]] = {}

    def compare(self, candidates: Iterable[Settings], rounds: int) -> Settings:
        """The best of some settings, tried in turns; those far behind are tried only once."""
        left = list(dict.fromkeys(candidates))
        for _ in range(rounds):
            for each in left:
                if time.perf_counter() < self._last or not self._found:
                    self._try(each, TRIAL)
            best = self.medians()[self.best_of(left)]
            left = [each for each in left if self.medians().get(each, 0) >= CLOSE * best]
        return self.best_of(left)

    def best_of(self, candidates: Iterable[Settings]) -> Settings:
        """The one with the best median; what was not tried counts as 0."""
        medians = self.medians()
        return max(candidates, key=lambda each: medians.get(each, 0))

    def gain(self, best: Settings, reference: Settings) -> float:
        """Of pairs in turns, the median of how many times as fast; 1 where that is not clear."""
        pairs: list[float] = []
        while len(pairs) < 7 and (len(pairs) < 3 or time.perf_counter() < self._end - 4 * TRIAL):
            order = (best, reference) if len(pairs) % 2 else (reference, best)
            rates = {each: self._try(each, 2 * TRIAL) for each in order}
            pairs.append(rates[best] / rates[reference])
        clear = sum(pair > 1 for pair in pairs) >= 0.8 * len(pairs)
        return statistics.median(pairs) if clear else 1.0

    def medians(self) -> dict[Settings, float]:
        """Images a second of all that was tried."""
        return {each: statistics.median(found) for each, found in self._found.items()}

    def _try(self, settings: Settings, seconds: float) -> float:
        found = self._rate(settings, seconds)
        self._found.setdefault(settings, []).append(found)
        return found
