"""MLPerf's load generator on a session: it sends the queries, takes the times, and gives a verdict.

The rules of MLPerf Inference are followed as far as they fit a small model on one machine; no
result here is one of MLPerf, whose name is not claimed. Pixels are decoded before, as the rules
allow. Latency counts from the moment at which a query was due.
"""

from __future__ import annotations

import json
import queue
import re
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fer_runtime.errors import FerError
from fer_runtime.session import Session

BATCH = 32
SAMPLES_PER_QUERY = 8
"""Of MultiStream."""
MILLISECONDS = 1_000_000
"""Nanoseconds in one."""
ACCURACY_RATE = 500.0
"""Server's images/s in an accuracy run, where time does not count."""
ACCURACY_LOG = "mlperf_log_accuracy.json"
SUMMARY_LOG = "mlperf_log_summary.txt"


class Length(NamedTuple):
    """How long a run takes at least, as MLPerf's rules set it or shorter.

    Attributes:
        seconds: of a run.
        queries: scenario -> queries.
    """

    seconds: float
    queries: dict[str, int]


QUICK = Length(5, {"SingleStream": 1000, "MultiStream": 200, "Server": 2000, "Offline": 1})
FULL = Length(600, {"SingleStream": 1024, "MultiStream": 1024, "Server": 270_336, "Offline": 1})
SCENARIOS = tuple(QUICK.queries)


class Outcome(NamedTuple):
    """What the load generator found.

    Attributes:
        scenario: as MLPerf calls it.
        valid: its verdict: whether its constraints were met.
        why_not: its reasons, where they were not.
        samples_per_second: images/s.
        milliseconds: percentiles of a query's latency, from when it was due; by name.
        target: images/s that were sent, of Server.
    """

    scenario: str
    valid: bool
    why_not: tuple[str, ...]
    samples_per_second: float
    milliseconds: dict[str, float]
    target: float | None = None


class System:
    """What is under test: a session, and a thread for each core that gives it batches.

    A query's samples run as one batch in SingleStream and MultiStream; in Server and Offline each
    thread takes what is waiting, up to `BATCH` samples.

    Args:
        session: on one thread.
        pixels: (N, C, H, W), the samples.
        threads: how many.
    """

    def __init__(self, session: Session, pixels: npt.NDArray[np.uint8], threads: int) -> None:
        self.session, self.pixels, self.threads = session, pixels, threads
        self._waiting: queue.SimpleQueue[list[Any] | None] = queue.SimpleQueue()
        self.failure: BaseException | None = None

    def run(self, scenario: str, length: Length, **settings: Any) -> Outcome:
        """One run, and its outcome; `settings` are those of the load generator.

        Raises:
            FerError: the load generator is not installed.
        """
        with tempfile.TemporaryDirectory() as folder:
            self._start(scenario, Path(folder), length, "PerformanceOnly", settings)
            text = (Path(folder) / SUMMARY_LOG).read_text(encoding="utf-8")
        return outcome(scenario, text, settings.get("server_target_qps"))

    def predictions(self, scenario: str) -> npt.NDArray[np.int32]:
        """The label of each sample, from the load generator's own log of an accuracy run."""
        with tempfile.TemporaryDirectory() as folder:
            self._start(
                scenario, Path(folder), QUICK, "AccuracyOnly", {"server_target_qps": ACCURACY_RATE}
            )
            entries = json.loads((Path(folder) / ACCURACY_LOG).read_text(encoding="utf-8"))
        found = np.full(len(self.pixels), -1, np.int32)
        for entry in entries:
            found[entry["qsl_idx"]] = np.frombuffer(bytes.fromhex(entry["data"]), np.int32)[0]
        if (found < 0).any():
            raise FerError(f"{(found < 0).sum()} samples have no result in the accuracy run.")
        return found

    def _start(
        self, scenario: str, folder: Path, length: Length, mode: str, chosen: dict[str, Any]
    ) -> None:
        generator = _generator()
        settings = generator.TestSettings()
        settings.scenario = getattr(generator.TestScenario, scenario)
        settings.mode = getattr(generator.TestMode, mode)
        settings.min_duration_ms = round(length.seconds * 1000)
        settings.min_query_count = length.queries[scenario]
        settings.multi_stream_samples_per_query = SAMPLES_PER_QUERY
        # From them it decides how many queries to draw before it starts: too many do no harm.
        settings.single_stream_expected_latency_ns = self._nanoseconds(1) // 2
        settings.multi_stream_expected_latency_ns = self._nanoseconds(SAMPLES_PER_QUERY) // 2
        for name, value in chosen.items():
            setattr(settings, name, value)
        logs = generator.LogSettings()
        logs.log_output.outdir = str(folder)
        logs.log_output.copy_summary_to_stdout = False
        at_once = scenario in ("SingleStream", "MultiStream")
        issue = self._compute if at_once else self._hand_out
        workers = [] if at_once else self._workers()
        system = generator.ConstructSUT(issue, lambda: None)
        library = generator.ConstructQSL(
            len(self.pixels), len(self.pixels), lambda samples: None, lambda samples: None
        )
        try:
            generator.StartTestWithLogSettings(system, library, settings, logs)
        finally:
            for _ in workers:
                self._waiting.put(None)
            for worker in workers:
                worker.join()
            generator.DestroyQSL(library)
            generator.DestroySUT(system)
        if self.failure is not None:
            raise self.failure

    def _nanoseconds(self, batch_size: int) -> int:
        """The shortest of some runs; they warm up, too."""
        times = []
        for _ in range(20):
            started = time.perf_counter_ns()
            self.session.run(self.pixels[:batch_size])
            times.append(time.perf_counter_ns() - started)
        return min(times)

    def _workers(self) -> list[threading.Thread]:
        workers = [threading.Thread(target=self._work, daemon=True) for _ in range(self.threads)]
        for worker in workers:
            worker.start()
        return workers

    def _hand_out(self, samples: Sequence[Any]) -> None:
        for start in range(0, len(samples), BATCH):
            self._waiting.put(list(samples[start : start + BATCH]))

    def _work(self) -> None:
        while (samples := self._waiting.get()) is not None:
            ended = False
            while len(samples) < BATCH:  # what is waiting too, but do not wait for more
                try:
                    more = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    ended = True
                    break
                samples += more
            self._compute(samples)
            if ended:
                return

    def _compute(self, samples: Sequence[Any]) -> None:
        generator = _generator()
        try:
            chosen = self.pixels[[sample.index for sample in samples]]
            top = self.session.run(chosen).probabilities.argmax(1).astype(np.int32)
        except BaseException as error:  # it must answer, or the load generator waits for ever
            self.failure = self.failure or error
            top = np.zeros(len(samples), np.int32)
        address, size = top.ctypes.data, top.itemsize
        generator.QuerySamplesComplete(
            [
                generator.QuerySampleResponse(sample.id, address + place * size, size)
                for place, sample in enumerate(samples)
            ]
        )


def highest_valid(
    attempt: Callable[[float], Outcome], start: float, *, step: float = 0.88, tries: int = 12
) -> Outcome:
    """Server's largest rate whose run is valid, from `start` downwards; the last one if none is."""
    rate = start
    for _ in range(tries):
        found = attempt(rate)
        if found.valid:
            return found
        rate *= step
    return found


def outcome(scenario: str, summary: str, target: float | None = None) -> Outcome:
    """The load generator's summary as a value."""
    rates = ("Samples per second", "Completed samples per second")
    figures = dict(re.findall(r"^(\S[^:\n]*?)\s*:\s*([\d.]+)$", summary, re.MULTILINE))
    milliseconds = {
        f"p{number.rstrip('0').rstrip('.')}": int(value) / MILLISECONDS
        for number, value in re.findall(
            r"^([\d.]+) percentile latency \(ns\)\s*:\s*(\d+)$", summary, re.MULTILINE
        )
    }
    rate = next((float(figures[name]) for name in rates if name in figures), None)
    if rate is None:
        mean = float(figures["Mean latency (ns)"]) / 1e9
        rate = (SAMPLES_PER_QUERY if scenario == "MultiStream" else 1) / mean
    return Outcome(
        scenario,
        bool(re.search(r"^Result is\s*:\s*VALID", summary, re.MULTILINE)),
        tuple(line.strip() for line in re.findall(r"^ +\* (.+)$", summary, re.MULTILINE)),
        rate,
        milliseconds,
        target,
    )


def _generator() -> Any:
    try:
        import mlperf_loadgen
    except ImportError:
        raise FerError(
            'mlcommons-loadgen is not installed: pip install "fer-runtime[bench]" (it has wheels '
            "for Python 3.11 to 3.13)."
        ) from None
    return mlperf_loadgen
