"""Two versions or settings, in turns, in pairs of processes, until it is known which is faster."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from fer_bench.comparing import verdict
from fer_bench.comparing.verdict import Verdict, decide
from fer_runtime.errors import DataError, FerError

SIDE = Path(__file__).with_name("side.py")
SOURCES = ("", "train", "export", "benchmarks")
"""Folders of a clone that are put on PYTHONPATH."""
WARM_UP = 0.15
QUANTUM = 0.02
"""Seconds of work between turns: long beside starting a timer, short beside what disturbs."""
TURNS = 8
"""Of each process, A B B A ..."""
NUMBERS = {"threads": int, "batch_size": int, "slowdown": float}
SETTINGS = ("model", "provider", "what", *NUMBERS)
WHATS = ("session", "predict", "files")


class Way(NamedTuple):
    """One of the two that are compared.

    Attributes:
        text: as it was given.
        source: the clone whose version runs.
        settings: what `side.py` is given.
    """

    text: str
    source: Path
    settings: Mapping[str, Any]


@contextlib.contextmanager
def way(text: str, defaults: Mapping[str, Any], repository: Path) -> Iterator[Way]:
    """A revision of the repository, settings, or both: "HEAD~1", "threads=1,batch_size=8".

    A revision is extracted into a folder of its own, which is removed in the end.

    Raises:
        DataError: an unknown setting, or no such revision.
    """
    settings, revision = dict(defaults), None
    for part in text.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals:
            if revision is not None:
                raise DataError(f"{text}: only one revision, please.")
            revision = name
        elif name not in SETTINGS:
            raise DataError(f"{text}: {name} is not a setting; there are {', '.join(SETTINGS)}.")
        else:
            try:
                settings[name] = NUMBERS.get(name, str)(value)
            except ValueError:
                raise DataError(f"{text}: {name}={value} is not a number.") from None
    if settings["what"] not in WHATS:
        raise DataError(f"{text}: what={settings['what']}; it is one of {', '.join(WHATS)}.")
    if revision in (None, "."):
        yield Way(text, repository, settings)
        return
    with tempfile.TemporaryDirectory() as folder:
        _extract(repository, str(revision), folder)
        yield Way(text, Path(folder).resolve(), settings)


def compare(
    first: Way,
    second: Way,
    *,
    floor: float,
    smallest_seconds: float,
    progress: Callable[[Verdict], None] = lambda found: None,
) -> Verdict:
    """Start pairs of processes until the answer is known, or there were enough of them.

    Args:
        first: A.
        second: B.
        floor: smaller changes than this share of the time are none.
        smallest_seconds: neither are changes of less time of one call.
        progress: is called with what is known at each look.

    Raises:
        FerError: a process cannot do the work.
    """
    ratios: list[float] = []
    shortest = math.inf
    found = None
    for number in range(verdict.LOOKS[-1]):
        ratio, seconds = pair(first, second, second_starts=number % 2 == 1)
        ratios.append(ratio)
        shortest = min(shortest, seconds)
        if len(ratios) in verdict.LOOKS:
            found = decide(ratios, floor=floor, smallest=smallest_seconds / shortest)
            progress(found)
            if found.kind != verdict.NOISY:
                break
    assert found is not None
    return found


def pair(first: Way, second: Way, *, second_starts: bool) -> tuple[float, float]:
    """The median of B's time over A's within one pair of processes, and seconds of a call of A."""
    with contextlib.ExitStack() as stack:
        ways = [second, first] if second_starts else [first, second]
        opened = [stack.enter_context(_Process(each)) for each in ways]
        a, b = reversed(opened) if second_starts else opened
        calls = a.calls_in(QUANTUM)
        b.calls_in(QUANTUM)  # as long a warm-up
        ratios, times = [], []
        for turn in range(TURNS):
            order = (a, b) if turn % 2 == 0 else (b, a)
            seconds = {id(process): process.run(calls) for process in order}
            ratios.append(seconds[id(b)] / seconds[id(a)])
            times.append(seconds[id(a)] / calls)
        return statistics.median(ratios), statistics.median(times)


class _Process:
    """One side's process; leave it as a context manager."""

    def __init__(self, chosen: Way) -> None:
        self.way = chosen
        path = os.pathsep.join(str(chosen.source / folder) for folder in SOURCES)
        self._process = subprocess.Popen(
            [sys.executable, str(SIDE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        try:
            answer = json.loads(self._ask(json.dumps(dict(chosen.settings))))
            if not Path(answer["source"]).is_relative_to(chosen.source):
                raise FerError(
                    f"{chosen.text}: {answer['source']} would be measured instead of the source in "
                    f"{chosen.source}."
                )
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def calls_in(self, seconds: float) -> int:
        """How many calls fit, after a warm-up."""
        calls, spent = 1, 0.0
        while True:
            took = self.run(calls)
            spent += took
            if spent >= WARM_UP and took >= seconds / 4:
                return max(1, round(calls * seconds / took))
            if took < seconds:
                calls = min(calls * 2, max(calls + 1, round(calls * seconds / max(took, 1e-9))))

    def run(self, calls: int) -> float:
        """Seconds of so many calls."""
        return float(self._ask(str(calls)))

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _ask(self, line: str) -> str:
        try:
            stdin = cast("IO[str]", self._process.stdin)
            stdin.write(line + "\n")
            stdin.flush()
        except BrokenPipeError:
            pass
        answer = cast("IO[str]", self._process.stdout).readline()
        if not answer:
            log = cast("IO[str]", self._process.stderr).read().strip().splitlines()
            raise FerError(f"{self.way.text}: {log[-1] if log else 'its process ended'}")
        return answer


def _extract(repository: Path, revision: str, folder: str) -> None:
    try:
        done = subprocess.run(
            ["git", "-C", str(repository), "archive", "--format=tar", revision],
            check=True,
            capture_output=True,
        )
    except OSError:
        raise DataError("git is not installed; compare settings, or stored runs.") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        raise DataError(f"git has no {revision}: {said[0] if said else 'it failed'}") from None
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
