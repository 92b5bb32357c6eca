"""One factor (or a grid of several) varied, all else fixed, over several seeds.

Every run has its own folder, `OUTPUT/<settings>/seed-<n>`, as `fit` writes it, with an
`outcome.json` beside; the table, the report and the picture are made from those alone.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import torch

from fer_runtime.errors import (
    DataError,
    FerError,
    ModelFileError,
    ModelSpecError,
    TrainingError,
)
from fer_runtime.machine import processor
from fer_train import data, fit, models
from fer_train.callbacks import BEST, LAST
from fer_train.outcomes import OUTCOME, RECORD, Comparison, Outcome, slug
from fer_train.recipe import DATA, Recipe
from fer_train.resuming import plain

DATA_FIELDS = tuple(each.name for each in fields(Recipe) if each.metadata["panel"] == DATA)
"""Fields of a recipe that determine what is read; runs that agree in them share it."""


def settings_of(vary: Sequence[str]) -> list[dict[str, Any]]:
    """["lr=0.1,0.01", "optimizer=sgd,adam"] -> every combination, as fields of a recipe.

    Raises:
        DataError: no factor, one that the recipe does not have, or a value that is not of its kind.
    """
    factors: dict[str, list[Any]] = {}
    for text in vary:
        name, equals, values = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise DataError(f"--vary is {text!r}; write it as dropout=0,0.3,0.5.")
        if name == "seed":
            raise DataError("The seed is varied by --seeds.")
        if name in factors:
            raise DataError(f"--vary {name} is given twice; give all its values at once.")
        factors[name] = [Recipe.parse(name, value.strip()) for value in values.split(",")]
        if len(set(factors[name])) < len(factors[name]):
            raise DataError(f"--vary {text} gives a value twice.")
    if not factors:
        raise DataError("Pass what to vary, as --vary dropout=0,0.3,0.5.")
    return [dict(zip(factors, values, strict=True)) for values in product(*factors.values())]


def compare(
    root: Path,
    output: Path,
    recipe: Recipe,
    vary: Sequence[str],
    seeds: Sequence[int],
    *,
    command: str = "",
    resume: bool = False,
    threads: int | None = None,
    progress: data.Progress | None = None,
    report: Callable[[str], None] = lambda line: None,
    show: bool = False,
) -> Comparison:
    """Train every setting with every seed and write OUTPUT/compare.{json,csv}; a failure is a row.

    With `resume` finished runs are kept, an interrupted one continues from its last epoch, and new
    settings or seeds may be added.

    Args:
        root: a data set, see `data`.
        output: the folder of the comparison.
        recipe: what all runs have in common.
        vary: "FIELD=A,B,…"; given twice, every combination is run.
        seeds: each setting is run with each of them.
        command: what was typed, for the record.
        resume: continue the comparison in `output`.
        threads: CPU threads; default: PyTorch's.
        progress: called with (done, total) images decoded.
        report: called with one line for each finished run.
        show: print the progress of each run on stderr.

    Returns:
        The settings and outcomes of all runs, as in compare.json.

    Raises:
        DataError: unusable data or settings, or an `output` that contains another comparison.
    """
    settings = settings_of(vary)
    recipes = [replace(recipe, **each, seed=seed) for each in settings for seed in seeds]
    _check_output(output, recipe, resume)
    reader = _Reader(root, progress)
    first = reader(recipes[0])  # wrong data ends here, before anything is written
    _check_data(output, first.dataset_sha256)
    output.mkdir(parents=True, exist_ok=True)
    comparison = _empty(command, recipe, first, threads)
    if not (output / RECORD).exists():
        _write(output, comparison)
    for index, chosen in enumerate(recipes):
        changes = settings[index // len(seeds)]
        folder = output / slug(changes) / f"seed-{chosen.seed}"
        outcome = _finished(folder) if resume else None
        if outcome is None:
            options = fit.RunOptions(resume=_can_resume(folder), threads=threads, show=show)
            outcome = _run(reader, folder, changes, chosen, options)
        comparison = replace(comparison, outcomes=(*comparison.outcomes, outcome))
        _write(output, comparison)
        report(f"{index + 1}/{len(recipes)}  {_line(outcome)}")
    return comparison


def _empty(command: str, recipe: Recipe, prepared: fit.Prepared, threads: int | None) -> Comparison:
    """A comparison without outcomes yet."""
    return Comparison(
        command=command,
        recipe=plain(recipe.to_dict()),
        dataset=prepared.dataset,
        dataset_sha256=prepared.dataset_sha256,
        machine=_machine(threads),
        versions={name: version(name) for name in ("fer-runtime", "torch")},
        outcomes=(),
    )


def _machine(threads: int | None) -> str:
    """The GPU where there is one, else the processor and its threads."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    used = threads or torch.get_num_threads()
    return f"{processor()}, {used} thread{'s' if used > 1 else ''}"


class _Reader:
    """Reads each data set that the recipes need once."""

    def __init__(self, root: Path, progress: data.Progress | None) -> None:
        self.root, self.progress = root, progress
        self.held: tuple[tuple[Any, ...], fit.Prepared] | None = None

    def __call__(self, recipe: Recipe) -> fit.Prepared:
        key = tuple(getattr(recipe, name) for name in DATA_FIELDS)
        if self.held is None or self.held[0] != key:
            self.held = None  # two at once might not fit into memory
            self.held = key, fit.prepare(self.root, recipe, progress=self.progress)
        return self.held[1]


def _run(
    reader: _Reader,
    folder: Path,
    changes: Mapping[str, Any],
    recipe: Recipe,
    options: fit.RunOptions,
) -> Outcome:
    """One run; what is wrong with it becomes its outcome, unless it is the data."""
    outcome = Outcome(settings=changes, seed=recipe.seed, figures={})
    prepared = None
    try:
        prepared = reader(recipe)
        result = fit.run(prepared, folder, recipe, options)
        assert result is not None
        if result.interrupted:
            raise KeyboardInterrupt
        outcome = _succeeded(outcome, result, recipe, prepared)
    except (FerError, RuntimeError, MemoryError) as error:
        if prepared is None and isinstance(error, DataError):
            raise
        final = isinstance(error, TrainingError | ModelSpecError | ModelFileError)
        outcome = replace(outcome, error=str(error) or type(error).__name__, retry=not final)
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / OUTCOME, asdict(outcome))
    return outcome


def _succeeded(
    outcome: Outcome, result: fit.FitResult, recipe: Recipe, prepared: fit.Prepared
) -> Outcome:
    best = next(row for row in result.history if row["epoch"] == result.best_epoch)
    net = models.build(
        recipe.architecture, prepared.input, len(prepared.labels), recipe.architecture_args()
    )
    return replace(
        outcome,
        figures=result.evaluation.summary(),
        best_epoch=result.best_epoch,
        gap=best["train_accuracy"] - best["val_accuracy"] if "train_accuracy" in best else None,
        seconds=sum(row["seconds"] for row in result.history),
        parameters=sum(p.numel() for p in net.parameters()),
        multiply_adds=models.multiply_adds(net, prepared.input),
        remarks=result.remarks,
    )


def _finished(folder: Path) -> Outcome | None:
    try:
        outcome = Outcome(**json.loads((folder / OUTCOME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return None if outcome.retry else outcome


def _can_resume(folder: Path) -> bool:
    """Whether an interrupted run can be resumed; one without a finished epoch is deleted."""
    if (folder / LAST).exists():
        return True
    if (folder / BEST).exists():
        shutil.rmtree(folder)
    return False


def _check_output(output: Path, recipe: Recipe, resume: bool) -> None:
    record = output / RECORD
    if not record.exists():
        return
    if not resume:
        raise DataError(
            f"{output} contains a comparison already; pass --resume to continue it, or another "
            "--output."
        )
    # A field that was added later had its default.
    before = {**plain(Recipe().to_dict()), **Comparison.load(record).recipe}
    now = plain(recipe.to_dict())
    changed = [name for name in now if before[name] != now[name] and name != "seed"]
    if changed:
        raise DataError(
            f"The comparison in {output} was made with another {changed[0]} "
            f"({before[changed[0]]!r}); resume it with the same options."
        )


def _check_data(output: Path, dataset_sha256: str) -> None:
    record = output / RECORD
    if record.exists() and Comparison.load(record).dataset_sha256 != dataset_sha256:
        raise DataError(
            f"The comparison in {output} was made on other images; resume it with the same --data."
        )


def _write(output: Path, comparison: Comparison) -> None:
    _write_json(output / RECORD, asdict(comparison))
    names = sorted({name for outcome in comparison.outcomes for name in outcome.figures})
    more = ("best_epoch", "gap", "seconds", "parameters", "multiply_adds", "error")
    with open(output / "compare.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("settings", "seed", *names, *more))
        for outcome in comparison.outcomes:
            figures = (outcome.figures.get(name, "") for name in names)
            rest = (getattr(outcome, name) for name in more)
            writer.writerow((outcome.name, outcome.seed, *figures, *rest))


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Written beside and renamed, so that a kill leaves the old file or the new one."""
    temporary = path.with_name(f".{path.name}.partial")
    try:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from None


def _line(outcome: Outcome) -> str:
    title = f"{outcome.name} seed={outcome.seed}"
    if outcome.error is not None:
        return f"{title}  failed: {outcome.error}"
    figures = outcome.figures
    return (
        f"{title}  accuracy {figures['accuracy']:.4f}  macro-F1 {figures['macro_f1']:.4f}  "
        f"best epoch {outcome.best_epoch}  {outcome.seconds:.0f} s"
    )
