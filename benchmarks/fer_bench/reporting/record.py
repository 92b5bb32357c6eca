"""A stored run: the JSON file that `pytest benchmarks --benchmark-json FILE` writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fer_bench import recording, reference
from fer_runtime.errors import DataError

STEADY = 0.1
"""The machine may have become so much slower or faster during a run, in the reference work."""
MOST_TAKEN = 0.05
"""Share of the machine's CPU time that other programs may take."""
COMMAND = "pytest benchmarks --benchmark-only --benchmark-json run.json"


class Measurement(NamedTuple):
    """One benchmark of a run.

    Attributes:
        group: what was measured, as "throughput, batch 32".
        engine: what of, as "runtime".
        batch_size: images of a round.
        images_per_second: by the median round.
        milliseconds: of a round; "p50", "p90" and "p99".
        rounds: how many there were.
        facts: what ran: provider, arithmetic, threads, versions, and more.
    """

    group: str
    engine: str
    batch_size: int
    images_per_second: float
    milliseconds: Mapping[str, float]
    rounds: int
    facts: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, str]:
        """What two runs have in common."""
        return self.group, self.engine


class Record(NamedTuple):
    """A stored run: its measurements, and where and when they were made."""

    path: Path
    environment: Mapping[str, Any]
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    measurements: tuple[Measurement, ...]
    skipped: tuple[str, ...] = ()

    def of(self, prefix: str) -> list[Measurement]:
        """The measurements of the groups whose name starts like this."""
        return [each for each in self.measurements if each.group.startswith(prefix)]

    def drift(self) -> float:
        """How much the machine's own speed changed during the run, 0.1 for a tenth."""
        factor, _ = reference.scale(
            self.after["reference_seconds"], self.before["reference_seconds"]
        )
        return max(factor, 1 / factor) - 1

    def taken(self) -> float | None:
        """The share of the machine's CPU time that others took during the run; None if unknown.

        Others are programs that the run did not start, and other machines of the same host.
        """
        before, after = self.before["cpu_seconds"], self.after["cpu_seconds"]
        if before is None or after is None:
            return None
        spent = {name: after[name] - before[name] for name in before}
        others = spent["busy"] - spent["own"] + spent["stolen"]
        return float(max(0.0, others) / max(spent["all"], 1e-9))

    def is_steady(self) -> bool:
        """Whether other work left the machine alone, as far as this can be seen."""
        return self.drift() <= STEADY and (self.taken() or 0.0) <= MOST_TAKEN


def read(path: Path) -> Record:
    """A file as a record.

    Raises:
        DataError: no such file, or one that is not a record of the benchmarks.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        about = found["record"]
        if about["schema"] > recording.SCHEMA:
            raise DataError(f"{path} was written by a newer fer-bench (schema {about['schema']}).")
        measurements = tuple(
            Measurement(
                each["group"],
                each["extra_info"]["engine"],
                each["extra_info"]["batch_size"],
                each["extra_info"]["images_per_second"],
                each["extra_info"]["milliseconds"],
                each["stats"]["rounds"],
                each["extra_info"],
            )
            for each in found["benchmarks"]
        )
        return Record(
            path, about["environment"], about["before"], about["after"], measurements,
            tuple(about.get("skipped", ())),
        )  # fmt: skip
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise DataError(
            f"{path} is not a record of the benchmarks; {COMMAND} writes one."
        ) from None
