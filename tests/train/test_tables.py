"""A new entry in a table is all that a new loss, sampler, model and so on needs.

Each test adds a made-up entry from outside, in a separate process before the command line runs,
and uses it by name: in the help, and in a run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

OPTIONS = [
    "--architecture", "simple_cnn", "--epochs", "1", "--batch-size", "20",
    "--threads", "1",
]  # fmt: skip
START = "\nfrom fer_train.cli import main\nmain()\n"


class Entry(NamedTuple):
    """A made-up entry: code that adds it and leaves a mark when it is used, and its options."""

    code: str
    options: tuple[str, ...]
    in_help: str


ENTRIES = {
    "LOSSES": Entry(
        """
from fer_train.losses.table import LOSSES
def squared(logits, targets, *, weight, label_smoothing, power=2.0):
    mark(power)
    wanted = torch.nn.functional.one_hot(targets, logits.shape[1])
    return ((logits.softmax(1) - wanted).abs() ** power).sum(1).mean()
LOSSES["made_up"] = squared
""",
        ("--loss", "made_up", "--loss-args", '{"power": 1.5}'),
        "made_up",
    ),
    "OPTIMIZERS": Entry(
        """
from fer_train.optimizers import OPTIMIZERS
def made_up(groups, recipe):
    mark(recipe.lr)
    return torch.optim.Adagrad(groups, recipe.lr)
OPTIMIZERS["made_up"] = made_up
""",
        ("--optimizer", "made_up", "--lr", "0.001"),
        "made_up",
    ),
    "SCHEDULERS": Entry(
        """
from fer_train.schedulers import SCHEDULERS, Schedule
def made_up(optimizer, recipe, steps):
    mark(steps)
    return torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=steps)
SCHEDULERS["made_up"] = Schedule(made_up, "step", spans_run=True)
""",
        ("--scheduler", "made_up"),
        "made_up",
    ),
    "SAMPLERS": Entry(
        """
from fer_train.samplers import SAMPLERS
def made_up(targets, rng):
    mark(len(targets))
    return rng.permutation(len(targets))[::-1].copy()
SAMPLERS["made_up"] = made_up
""",
        ("--sampler", "made_up"),
        "made_up",
    ),
    "AUGMENTATIONS": Entry(
        """
from fer_train.augment.table import AUGMENTATIONS, PRESETS, Operation, Strength
def invert(images, generator, *, invert, gently):
    mark((invert, gently))
    chosen = torch.rand(len(images), 1, 1, 1, generator=generator) < invert
    return torch.where(chosen, -images, images)
AUGMENTATIONS["invert"] = Operation(
    invert,
    {"invert": Strength("Share of images in negative."), "gently": Strength("Half.", off=False)},
)
PRESETS["made_up"] = {"invert": 0.5}
""",
        ("--augment", "made_up", "--gently"),
        "--invert",
    ),
    "AUGMENTATIONS that mix": Entry(
        """
from fer_train.augment import Mixed
from fer_train.augment.table import AUGMENTATIONS, Operation, Strength
def halves(images, generator, *, halves):
    mark(halves)
    middle = images.shape[3] // 2
    partners = torch.randperm(len(images), generator=generator)
    other = images[partners][..., middle:]
    return Mixed(torch.cat([images[..., :middle], other], 3), 0.5, partners)
AUGMENTATIONS["halves"] = Operation(halves, {"halves": Strength("Two halves.")}, mixes=True)
""",
        ("--halves", "1"),
        "--halves",
    ),
    "ARCHITECTURES": Entry(
        """
from fer_train.nets.table import ARCHITECTURES
def made_up(spec, classes, *, hidden=8):
    mark(hidden)
    inputs = spec.height * spec.width * spec.channels
    return torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(inputs, hidden), torch.nn.Linear(hidden, classes)
    )
ARCHITECTURES["made_up"] = made_up
""",
        ("--architecture", "made_up", "--net-args", '{"hidden": 5}'),
        "made_up",
    ),
    "ACTIVATIONS": Entry(
        """
from fer_train.nets.table import ACTIVATIONS
def made_up():
    mark(1)
    return torch.nn.SiLU()
ACTIVATIONS["made_up"] = made_up
""",
        ("--activation", "made_up"),
        "made_up",
    ),
    "LOGGERS": Entry(
        """
from fer_train.loggers import LOGGERS, Kind
def made_up(output):
    from pytorch_lightning.loggers import CSVLogger
    mark(output.name)
    return CSVLogger(output, name="made_up")
LOGGERS["made_up"] = Kind(made_up)
""",
        ("--logger", "made_up"),
        "made_up",
    ),
}
MARKS = {
    "LOSSES": 1.5, "OPTIMIZERS": 0.001, "SCHEDULERS": 7, "SAMPLERS": 140,
    "AUGMENTATIONS": [0.5, True], "AUGMENTATIONS that mix": 1.0, "ARCHITECTURES": 5,
    "ACTIVATIONS": 1, "LOGGERS": "run",
}  # fmt: skip
"""What the entry notes when it is used, which shows that its options reached it."""


RUNS = (tuple(table for table in ENTRIES if table != "ARCHITECTURES"), ("ARCHITECTURES",))
"""Entries that are used in one run together: a process that trains takes seconds to start."""


def own(table: str, text: str) -> str:
    """Text with a name that is in no other table."""
    first, _, _ = table.partition(" ")
    return text.replace("made_up", f"made_up_{first.lower()}")


def start(tables: tuple[str, ...], marked: Path, arguments: list[str]) -> str:
    """Run `fer-train` with these entries in their tables; returns stdout."""
    begin = f"""
import json, pathlib, sys
import torch
marks = {{}}
def mark(table, value):
    marks[table] = value
    pathlib.Path({str(marked)!r}).write_text(json.dumps(marks))
sys.argv = ["fer-train", *{arguments!r}]
"""
    code = "".join(
        own(name, ENTRIES[name].code).replace("mark(", f"mark({name!r}, ") for name in tables
    )
    done = subprocess.run(
        [sys.executable, "-c", begin + code + START],
        capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("tables", RUNS, ids=len)
def test_made_up_entries_are_in_the_help_and_run(
    tables: tuple[str, ...], dataset: Path, tmp_path: Path
) -> None:
    marked = tmp_path / "marked"
    shown = start(tables, marked, ["fit", "--help"])
    assert [table for table in tables if own(table, ENTRIES[table].in_help) not in shown] == []
    assert not marked.exists()
    options = [own(table, each) for table in tables for each in ENTRIES[table].options]
    run = ["fit", "--data", str(dataset), "--output", str(tmp_path / "run"), *OPTIONS, *options]
    assert "best epoch 1" in start(tables, marked, run)
    found = json.loads(marked.read_text(encoding="utf-8"))
    assert found == {table: MARKS[table] for table in tables}


def test_tables_are_read_without_torch() -> None:
    """`fer-train fit --help` should answer at once."""
    code = (
        "import sys; sys.argv = ['fer-train', 'fit', '--help']\n"
        "from fer_train.cli import app\n"
        "app(standalone_mode=False)\n"
        "print('heavy:', sorted({'torch', 'numpy', 'PIL', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("heavy: []")
