"""A run learns, writes what it promises, resumes exactly, and never overwrites another."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from fer_runtime.errors import DataError, ModelFileError
from fer_train import checkpoint, data, evaluate
from fer_train import fit as fitting
from fer_train.callbacks import moving_average
from fer_train.fit import FitResult, RunOptions
from fer_train.recipe import Recipe

SMALL = {"stem": 16, "widths": [16, 32], "depths": [1, 1]}


def fit(root: Path, output: Path, chosen: Recipe, **options: Any) -> FitResult:
    """A run in this process, which therefore has a result."""
    result = fitting.fit(root, output, chosen, RunOptions(**{"show": False, **options}))
    assert result is not None
    return result


def recipe(**changes: object) -> Recipe:
    values: dict[str, object] = {
        "net_args": json.dumps(SMALL),
        "epochs": 3,
        "batch_size": 20,
        "augment": "standard",
    }
    return Recipe(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    """A whole small run."""
    return fit(dataset, tmp_path_factory.mktemp("run"), recipe())


def test_run_writes_what_it_promises(run: FitResult) -> None:
    folder = run.best.parent
    assert {path.name for path in folder.iterdir()} == {
        "best.pt", "last.pt", "history.csv", "metrics.json", "curves.png", "confusion.png",
        "predictions.png",
    }  # fmt: skip
    for name in ("curves.png", "confusion.png", "predictions.png"):
        assert (folder / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    with open(folder / "history.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert all(0 <= float(row["val_macro_f1"]) <= 1 for row in rows)


def test_best_epoch_is_the_best_of_the_history(run: FitResult) -> None:
    scores = [row["val_macro_f1"] for row in run.history]
    assert run.best_epoch == scores.index(max(scores)) + 1
    recorded = checkpoint.load(run.best).spec.provenance.metrics["validation"]["macro_f1"]
    assert recorded == pytest.approx(max(scores), abs=1e-6)


def test_metrics_are_those_of_best(run: FitResult, dataset: Path) -> None:
    written = json.loads((run.best.parent / "metrics.json").read_text(encoding="utf-8"))
    best = checkpoint.load(run.best)
    again = evaluate.evaluate_split(best.deployable(), *evaluate.load_split(best, dataset))
    assert written["metrics"] == pytest.approx(again.summary())
    low, high = written["intervals_95"]["accuracy"]
    assert low <= written["metrics"]["accuracy"] <= high
    highest = max(row["val_macro_f1"] for row in run.history)
    assert written["metrics"]["macro_f1"] == pytest.approx(highest, abs=1e-6)


def test_spec_in_best_describes_the_data(run: FitResult, dataset: Path) -> None:
    spec = checkpoint.load(run.best).spec
    split = data.load_split(dataset, "train", spec.input, spec.labels)
    assert split is not None
    assert (spec.input.mean, spec.input.std) == data.mean_and_std(split)
    assert spec.provenance.dataset_sha256 == data.sha256(dataset)
    assert spec.provenance.recipe["epochs"] == 3
    assert spec.parity is None


@pytest.mark.slow
def test_model_learns(dataset: Path, tmp_path: Path) -> None:
    """Without augmentation it fits 140 faces far above the chance of one in seven."""
    result = fit(dataset, tmp_path, recipe(epochs=40, optimizer="adam", lr=5e-3, augment="none"))
    accuracies = [row["train_accuracy"] for row in result.history]
    assert accuracies[0] < 0.35 and accuracies[-1] > 0.6


def test_resumed_run_ends_where_an_unbroken_one_does(
    run: FitResult, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bit-equal weights on the CPU, with augmentation, dropout and the schedule in play."""
    folder = tmp_path / "run"
    broken = _fit_until_killed(dataset, folder)
    assert broken == 9
    result = fit(dataset, folder, recipe(), resume=True, show=True)
    assert len(result.history) == 3
    assert "3/3" in capsys.readouterr().err
    unbroken = torch.load(run.best.parent / "last.pt", weights_only=True)["state_dict"]
    resumed = torch.load(folder / "last.pt", weights_only=True)["state_dict"]
    for name, tensor in unbroken.items():
        assert torch.equal(tensor, resumed[name]), name
    assert [row["val_loss"] for row in result.history] == [row["val_loss"] for row in run.history]


def _fit_until_killed(dataset: Path, folder: Path) -> int:
    """Run `fer-train fit` in a process that kills itself after its first epoch was saved."""
    code = f"""
import os, torch
from pathlib import Path
from typing import Any
from fer_train import callbacks, fit, recipe
torch.set_num_threads(1)
write = callbacks._write_history
def write_and_die(path, history):
    write(path, history)
    os._exit(9)
callbacks._write_history = write_and_die
chosen = recipe.Recipe(net_args={json.dumps(SMALL)!r}, epochs=3, batch_size=20, augment="standard")
fit.fit(Path({str(dataset)!r}), Path({str(folder)!r}), chosen, fit.RunOptions(show=False))
"""
    return subprocess.run([sys.executable, "-c", code], check=False).returncode


def test_run_is_never_overwritten(run: FitResult, dataset: Path) -> None:
    before = run.best.read_bytes()
    with pytest.raises(
        DataError, match="contains a run already; pass --resume to continue it, --overwrite"
    ):
        fit(dataset, run.best.parent, recipe())
    assert run.best.read_bytes() == before


def test_resume_needs_the_same_run(run: FitResult, dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no last\.pt to resume"):
        fit(dataset, tmp_path, recipe(), resume=True)
    with pytest.raises(DataError, match=r"started with another lr \(0\.05\)"):
        fit(dataset, run.best.parent, recipe(lr=0.01), resume=True)


def test_resume_needs_the_same_images(run: FitResult, dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(run.best.parent, tmp_path / "run")
    shutil.copytree(dataset, tmp_path / "faces")
    next((tmp_path / "faces" / "test" / "sad").iterdir()).unlink()
    before = (tmp_path / "run" / "last.pt").read_bytes()
    with pytest.raises(DataError, match="was started on other images"):
        fit(tmp_path / "faces", tmp_path / "run", recipe(), resume=True)
    assert (tmp_path / "run" / "last.pt").read_bytes() == before


def test_made_and_saved_split_exclude_one_another() -> None:
    with pytest.raises(DataError, match="give one of them"):
        recipe(split="0.8", split_file="split.csv")


def test_time_limit_stops_a_run_that_can_be_resumed(dataset: Path, tmp_path: Path) -> None:
    recipe_of_many = recipe(epochs=1000)
    result = fit(dataset, tmp_path, recipe_of_many, time_limit=timedelta(seconds=3))
    first = len(result.history)
    assert 1 <= first < 1000
    again = fit(dataset, tmp_path, recipe_of_many, resume=True, time_limit=timedelta(seconds=1))
    assert len(again.history) > first


def test_early_stopping(dataset: Path, tmp_path: Path) -> None:
    """Background D5: with a learning rate of almost nothing no epoch is better than the first."""
    result = fit(
        dataset, tmp_path,
        recipe(epochs=50, lr=1e-12, scheduler="none", patience=2, monitor="val_accuracy")
    )  # fmt: skip
    assert len(result.history) < 10


SCHEDULERS = ("none", "step", "onecycle", "cosine", "plateau")
OPTIMIZERS = ("sgd", "adam", "adamw", "sam")


@pytest.mark.parametrize(
    ("optimizer", "scheduler"),
    [
        pytest.param(*pair, marks=[] if "sgd" in pair or "onecycle" in pair else pytest.mark.slow)
        for pair in product(OPTIMIZERS, SCHEDULERS)
    ],
)
def test_optimizers_and_schedulers_run(
    dataset: Path, tmp_path: Path, optimizer: str, scheduler: str
) -> None:
    """Background C2."""
    chosen = recipe(epochs=1, optimizer=optimizer, scheduler=scheduler, lr=1e-3)
    assert fit(dataset, tmp_path, chosen).evaluation.summary()["loss"] < 5


def test_ema_weights_are_what_is_saved(dataset: Path, tmp_path: Path) -> None:
    result = fit(dataset, tmp_path, recipe(ema=0.9))
    best = max(row["val_macro_f1"] for row in result.history)
    assert result.evaluation.summary()["macro_f1"] == pytest.approx(best, abs=1e-6)


def test_averaged_weights_leave_the_start_behind(dataset: Path, tmp_path: Path) -> None:
    """The guard against collapse takes a slow average for one: this run was stopped."""
    assert len(fit(dataset, tmp_path, recipe(ema=0.9999)).history) == 3
    average = torch.zeros(1)
    for step in range(1, 101):
        average = moving_average(average, torch.ones(1), torch.tensor(step), decay=0.9999)
    assert average.item() > 0.999
    assert moving_average(average, torch.zeros(1), torch.tensor(10_000), decay=0.5) < 0.51


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("optimizer", "sdg", "allowed: sgd, adam, adamw, sam"),
        ("scheduler", "cyclic", "onecycle"),
        ("monitor", "f1", "val_macro_f1"),
        ("lr", 0.0, "lr is 0.0"),
        ("sam_distance", 0.0, "sam_distance is 0.0"),
        ("epochs", 0, "epochs is 0"),
        ("lr", float("inf"), "lr is inf; it must be a number"),
        ("distillation", 1.5, r"distillation is 1\.5; it must be from 0 to 1"),
        ("ema", 1.0, r"ema is 1\.0; it must be from 0 to below 1"),
    ],
)
def test_wrong_recipes_are_named(field: str, value: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        recipe(**{field: value})


def test_weights_of_a_checkpoint_are_a_start(run: FitResult, dataset: Path, tmp_path: Path) -> None:
    """With a learning rate of almost nothing the model stays as it was."""
    chosen = recipe(weights=str(run.best), epochs=1, lr=1e-12, scheduler="none", augment="none")
    result = fit(dataset, tmp_path, chosen)
    before = checkpoint.load(run.best).state_dict["0.weight"]
    torch.testing.assert_close(checkpoint.load(result.best).state_dict["0.weight"], before)


def test_weights_of_another_model_are_refused(
    run: FitResult, dataset: Path, tmp_path: Path
) -> None:
    other = recipe(weights=str(run.best), architecture="simple_cnn", net_args="{}")
    with pytest.raises(ModelFileError, match="do not fit simple_cnn"):
        fit(dataset, tmp_path, other)


def test_full_disk_while_saving_is_named_and_leaves_no_torn_file(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: object, path: Path) -> None:
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pytorch_lightning.Trainer.save_checkpoint", full)
    with pytest.raises(DataError, match=r"last\.pt cannot be written: No space left on device"):
        fit(dataset, tmp_path / "run", recipe())
    assert not [path for path in (tmp_path / "run").iterdir() if "last" in path.name]
