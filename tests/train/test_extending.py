"""A finished run is extended by --resume with more epochs, or replaced by --overwrite."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from fer_runtime.errors import DataError, TrainingError
from fer_train import checkpoint, evaluate
from fer_train.fit import FitResult, RunOptions, fit
from fer_train.recipe import Recipe

SMALL = {"architecture": "simple_cnn", "width": 8, "batch_size": 20, "lr": 0.01}


def train(root: Path, output: Path, epochs: int, recipe: Any = (), **options: Any) -> FitResult:
    """A run in this process, which therefore has a result."""
    chosen = Recipe(**{**SMALL, **dict(recipe), "epochs": epochs})
    result = fit(root, output, chosen, RunOptions(**{"show": False, **options}))
    assert result is not None
    return result


def weights(output: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(output / "last.pt", weights_only=True)["state_dict"]
    return found


def assert_equal(one: Path, other: Path) -> None:
    for name, tensor in weights(one).items():
        assert torch.equal(tensor, weights(other)[name]), name


@pytest.fixture(scope="module")
def three(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of three epochs under the default schedule, onecycle."""
    output = tmp_path_factory.mktemp("three") / "run"
    train(dataset, output, 3)
    return output


@pytest.mark.parametrize(
    "scheduler",
    ["none", *(pytest.param(each, marks=pytest.mark.slow) for each in ("step", "plateau"))],
)
def test_extended_run_equals_one_of_that_many_epochs_where_the_schedule_allows_it(
    dataset: Path, tmp_path: Path, scheduler: str
) -> None:
    recipe = {"scheduler": scheduler, "step_size": 1, "gamma": 0.5}
    train(dataset, tmp_path / "extended", 2, recipe)
    extended = train(dataset, tmp_path / "extended", 4, recipe, resume=True)
    straight = train(dataset, tmp_path / "straight", 4, recipe)
    assert [row["epoch"] for row in extended.history] == [1, 2, 3, 4]
    assert_equal(tmp_path / "extended", tmp_path / "straight")
    assert [row["lr"] for row in extended.history] == [row["lr"] for row in straight.history]
    recorded = checkpoint.load(extended.best).spec.provenance.recipe
    assert "schedule_restarted_after" not in recorded


@pytest.mark.parametrize("scheduler", ["onecycle", pytest.param("cosine", marks=pytest.mark.slow)])
def test_schedule_that_spans_a_run_starts_again_for_the_remaining_epochs(
    dataset: Path, tmp_path: Path, scheduler: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = {"scheduler": scheduler}
    train(dataset, tmp_path / "run", 3, recipe)
    capsys.readouterr()
    result = train(dataset, tmp_path / "run", 6, recipe, resume=True, show=True)
    printed = capsys.readouterr().err
    assert f"the {scheduler} schedule and the optimizer start again from the weights" in printed
    assert "of epoch 3, for the remaining 3." in printed and "6/6" in printed
    rates = [row["lr"] for row in result.history]
    assert len(rates) == 6
    assert rates[3:] == pytest.approx(rates[:3])  # one more cycle of three epochs
    best = checkpoint.load(result.best)
    recorded = best.spec.provenance.metrics["validation"]["macro_f1"]
    assert recorded == pytest.approx(max(row["val_macro_f1"] for row in result.history), abs=1e-6)
    again = evaluate.evaluate_split(best.deployable(), *evaluate.load_split(best, dataset))
    assert again.summary() == pytest.approx(result.evaluation.summary())
    if result.best_epoch > 3:
        assert best.spec.provenance.recipe["schedule_restarted_after"] == [3]


@pytest.mark.slow
def test_extended_run_that_is_killed_ends_where_an_unbroken_one_does(
    dataset: Path, tmp_path: Path, three: Path
) -> None:
    shutil.copytree(three, tmp_path / "killed")
    shutil.copytree(three, tmp_path / "unbroken")
    assert _extend_until_killed(dataset, tmp_path / "killed") == 9
    left = torch.load(tmp_path / "killed" / "last.pt", weights_only=True)
    assert (left["epoch"], left["fer_restarts"]) == (3, [3])
    result = train(dataset, tmp_path / "killed", 6, resume=True)
    unbroken = train(dataset, tmp_path / "unbroken", 6, resume=True)
    assert_equal(tmp_path / "killed", tmp_path / "unbroken")
    for name in ("val_loss", "lr", "train_loss"):
        assert [row[name] for row in result.history] == [row[name] for row in unbroken.history]
    again = train(dataset, tmp_path / "killed", 7, resume=True)
    assert len(again.history) == 7
    assert torch.load(again.best.parent / "last.pt", weights_only=True)["fer_restarts"] == [3, 6]


def _extend_until_killed(dataset: Path, output: Path) -> int:
    """Extend a run in a process that kills itself after one more epoch was saved."""
    code = f"""
import os, torch
from pathlib import Path
from fer_train import callbacks, fit, recipe
torch.set_num_threads(1)
write = callbacks._write_history
def write_and_die(path, history):
    write(path, history)
    os._exit(9)
callbacks._write_history = write_and_die
chosen = recipe.Recipe(**{SMALL!r}, epochs=6)
options = fit.RunOptions(show=False, resume=True)
fit.fit(Path({str(dataset)!r}), Path({str(output)!r}), chosen, options)
"""
    return subprocess.run([sys.executable, "-c", code], check=False).returncode


@pytest.mark.slow
def test_averaged_weights_survive_an_extension(dataset: Path, tmp_path: Path) -> None:
    recipe = {"ema": 0.9, "scheduler": "none"}
    train(dataset, tmp_path / "extended", 1, recipe)
    result = train(dataset, tmp_path / "extended", 3, recipe, resume=True)
    straight = train(dataset, tmp_path / "straight", 3, recipe)
    assert [r["val_loss"] for r in result.history] == [r["val_loss"] for r in straight.history]


def test_a_run_is_not_shortened_and_other_options_stay(dataset: Path, three: Path) -> None:
    with pytest.raises(DataError, match=r"another epochs \(3\); pass --epochs 3 to resume it, or"):
        train(dataset, three, 2, resume=True)
    with pytest.raises(DataError, match=r"started with another seed \(0\)"):
        train(dataset, three, 6, {"seed": 1}, resume=True)


def test_overwrite_replaces_what_a_run_wrote_and_nothing_else(
    dataset: Path, three: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    shutil.copytree(three, output)
    (output / "notes.txt").write_text("mine", encoding="utf-8")
    (output / "best.pt.bak").write_text("mine", encoding="utf-8")
    (output / "metrics-test.json").write_text("{}", encoding="utf-8")
    (output / "split.csv").write_text("old", encoding="utf-8")
    result = train(dataset, output, 1, {"lr": 0.005}, overwrite=True)
    assert len(result.history) == 1
    assert checkpoint.load(result.best).spec.provenance.recipe["lr"] == 0.005
    assert {path.name for path in output.iterdir()} == {
        "best.pt", "last.pt", "history.csv", "metrics.json", "curves.png", "confusion.png",
        "predictions.png", "notes.txt", "best.pt.bak",
    }  # fmt: skip
    assert (output / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_overwrite_deletes_nothing_before_the_new_run_can_start(dataset: Path, three: Path) -> None:
    before = {path.name: path.read_bytes() for path in three.iterdir()}
    with pytest.raises(DataError, match="batch size 141 is larger"):
        train(dataset, three, 1, {"batch_size": 141}, overwrite=True)
    with pytest.raises(DataError, match="--resume continues a run and --overwrite replaces it"):
        train(dataset, three, 3, overwrite=True, resume=True)
    with pytest.raises(DataError, match="does not exist"):
        train(dataset / "nowhere", three, 1, overwrite=True)
    assert {path.name: path.read_bytes() for path in three.iterdir()} == before


def test_csv_logger_records_each_epoch(dataset: Path, tmp_path: Path) -> None:
    result = train(dataset, tmp_path / "run", 2, logger="csv")
    rows = _log(tmp_path / "run" / "logs" / "version_0" / "metrics.csv")
    for name in ("train_loss", "val_loss", "val_macro_f1", "lr"):
        assert [float(row[name]) for row in rows] == pytest.approx(
            [row[name] for row in result.history], rel=1e-5
        )
    hparams = (tmp_path / "run" / "logs" / "version_0" / "hparams.yaml").read_text("utf-8")
    assert "lr: 0.01" in hparams
    train(dataset, tmp_path / "run", 3, resume=True, logger="csv")
    assert len(_log(tmp_path / "run" / "logs" / "version_1" / "metrics.csv")) == 1


def _log(path: Path) -> list[dict[str, str]]:
    import csv

    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_logger_that_is_not_installed_is_named_before_anything_is_read(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_train.loggers.find_spec", lambda package: None)
    with pytest.raises(
        TrainingError, match=rf"--logger {name} needs the package {name}.*; run pip install {name}"
    ):
        train(tmp_path / "nowhere", tmp_path / "run", 1, logger=name)
    with pytest.raises(TrainingError, match="'excel' is not a logger; allowed: csv, tensorboard"):
        train(tmp_path / "nowhere", tmp_path / "run", 1, logger="excel")


@pytest.mark.slow
def test_command_line_follows_its_own_advice(dataset: Path, tmp_path: Path) -> None:
    """Train, train longer as advised, then replace the run."""
    output = tmp_path / "run"
    command = [
        sys.executable, "-m", "fer_train", "fit", "--data", str(dataset), "--output", str(output),
        "--architecture", "simple_cnn", "--width", "8", "--batch-size", "20", "--threads", "1",
    ]  # fmt: skip

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *options], capture_output=True, text=True, check=False, env=dict(os.environ)
        )

    assert run("--epochs", "1").returncode == 0
    refused = run("--epochs", "2")
    assert refused.returncode == 6 and "--overwrite to replace it" in refused.stderr
    extended = run("--epochs", "2", "--resume")
    assert extended.returncode == 0 and "start again from the weights of epoch 1" in extended.stderr
    assert len((output / "history.csv").read_text(encoding="utf-8").splitlines()) == 3
    replaced = run("--epochs", "1", "--overwrite", "--lr", "0.005")
    assert replaced.returncode == 0, replaced.stderr
    figures = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    assert figures["metrics"]["count"] == 70
    assert len((output / "history.csv").read_text(encoding="utf-8").splitlines()) == 2
