"""What a comparison writes: outcomes of runs, their means and spreads; plain values, no torch."""

from __future__ import annotations

import csv
import json
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from fer_runtime.errors import DataError

OUTCOME, RECORD = "outcome.json", "compare.json"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One run: its settings and its result; with an `error` the figures are empty.

    `retry` marks an error of the machine (a full disk, no memory), which `--resume` tries again.
    `gap` is training minus validation accuracy in the best epoch (training's is measured on
    augmented images, with dropout); `seconds` are those of all epochs together.
    """

    settings: Mapping[str, Any]
    seed: int
    error: str | None = None
    figures: Mapping[str, float]
    best_epoch: int = 0
    gap: float | None = None
    seconds: float | None = None
    parameters: int = 0
    multiply_adds: int = 0
    remarks: Sequence[str] = ()
    retry: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "remarks", tuple(self.remarks))  # JSON knows lists only

    @property
    def name(self) -> str:
        """The settings as text, as in a table's first column."""
        return describe(self.settings)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A finished comparison: its command line, where it ran, and every outcome."""

    command: str
    recipe: Mapping[str, Any]
    dataset: str
    dataset_sha256: str
    machine: str
    versions: Mapping[str, str]
    outcomes: Sequence[Outcome]

    @classmethod
    def load(cls, path: Path) -> Comparison:
        """Read a compare.json.

        Raises:
            DataError: no such file, or not one that `compare` wrote.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            outcomes = tuple(Outcome(**outcome) for outcome in values.pop("outcomes"))
            return cls(**values, outcomes=outcomes)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} cannot be read as a {RECORD}: {error}") from None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One setting over its seeds: mean and standard deviation of what its runs reached."""

    name: str
    seeds: Sequence[int]
    errors: Sequence[str]
    means: Mapping[str, float]
    spreads: Mapping[str, float]


MEANS = ("accuracy", "macro_f1", "best_epoch", "gap", "seconds", "parameters", "multiply_adds")


def rows(outcomes: Sequence[Outcome]) -> list[Row]:
    """The outcomes by setting, in their order; figures over the runs that did not fail."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.name, []).append(outcome)
    return [_row(name, group) for name, group in groups.items()]


def _row(name: str, group: Sequence[Outcome]) -> Row:
    values: dict[str, list[float]] = {key: [] for key in MEANS}
    for outcome in group:
        if outcome.error is None:
            for key in MEANS:
                value = outcome.figures[key] if key in outcome.figures else getattr(outcome, key)
                values[key] += [] if value is None else [float(value)]
    return Row(
        name=name,
        seeds=[outcome.seed for outcome in group],
        errors=[outcome.error for outcome in group if outcome.error],
        means={key: fmean(found) if found else math.nan for key, found in values.items()},
        spreads={
            key: stdev(found) if len(found) > 1 else math.nan for key, found in values.items()
        },
    )


def describe(settings: Mapping[str, Any]) -> str:
    """{"batch_norm": False} -> "batch_norm=no"."""
    return " ".join(f"{name}={_text(value)}" for name, value in settings.items())


def options_of(settings: Mapping[str, Any]) -> str:
    """{"batch_norm": False, "lr": 0.1} -> "--no-batch-norm --lr 0.1", as `fit` takes them."""
    words = []
    for name, value in settings.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            text = _text(value)
            words.append(f"--{option} {shlex.quote(text) if text else chr(34) * 2}")
    return " ".join(words)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return str(value)


def slug(settings: Mapping[str, Any]) -> str:
    """A folder name for a setting: "lr=0.1,optimizer=sgd"."""
    text = ",".join(f"{name}={_text(value)}" for name, value in settings.items())
    return re.sub(r"[^A-Za-z0-9_.,=+-]", "_", text)


def history(output: Path, outcome: Outcome) -> list[dict[str, float]]:
    """The epochs of one run, from its history.csv; empty where it failed before the first."""
    path = output / slug(outcome.settings) / f"seed-{outcome.seed}" / "history.csv"
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as stream:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(stream)]
