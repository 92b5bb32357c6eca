"""A run that cannot succeed is stopped with its cause; overfitting is named in a remark."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fer_bench import artefacts
from fer_runtime.errors import TrainingError
from fer_runtime.spec import InputSpec, ModelSpec
from fer_train import guards, models
from fer_train.evaluate import Evaluation
from fer_train.fit import RunOptions, fit
from fer_train.module import FerModule
from fer_train.recipe import Recipe

SMALL = json.dumps({"stem": 16, "widths": [16, 32], "depths": [1, 1]})


def test_background_c1_learning_rate_of_ten_stops_within_two_epochs(
    dataset: Path, tmp_path: Path
) -> None:
    chosen = Recipe(net_args=SMALL, epochs=30, batch_size=20, lr=10, scheduler="none")
    with pytest.raises(TrainingError, match=r"learning rate 10 is probably too high; try --lr 1"):
        fit(dataset, tmp_path / "run", chosen, RunOptions(show=False))
    history = tmp_path / "run" / "history.csv"
    assert not history.exists() or len(history.read_text(encoding="utf-8").splitlines()) <= 3


def test_epochs_before_the_stop_are_kept(dataset: Path, tmp_path: Path) -> None:
    """With a learning rate of nothing the model predicts what it predicted at first: one class."""
    chosen = Recipe(
        architecture="simple_cnn", activation="sigmoid", batch_norm=False, epochs=9,
        batch_size=20, lr=1e-9, scheduler="none",
    )  # fmt: skip
    with pytest.raises(TrainingError, match=r"collapsed to one class.*too low; try --lr 1e-08"):
        fit(dataset, tmp_path / "run", chosen, RunOptions(show=False))
    with open(tmp_path / "run" / "history.csv", newline="", encoding="utf-8") as stream:
        assert [row["epoch"] for row in csv.DictReader(stream)] == ["1", "2"]
    assert torch.load(tmp_path / "run" / "last.pt", weights_only=True)["epoch"] == 1


def step(guard: guards.Guard, index: int, loss: float) -> None:
    module: Any = SimpleNamespace(device=torch.device("cpu"))
    trainer: Any = SimpleNamespace(global_step=index)
    guard.on_train_batch_end(trainer, module, {"loss": torch.tensor(loss)}, None, index)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_loss_that_is_not_finite_stops_at_once(loss: float) -> None:
    guard = guards.Guard(Recipe(lr=0.3, gradient_clip=0, precision="16-mixed"), 7, [])
    step(guard, 0, 1.9)
    with pytest.raises(
        TrainingError,
        match=r"loss is (nan|inf) at step 1\. .* --lr 0\.03, or --precision bf16-mixed, or "
        r"--gradient-clip 1",
    ):
        step(guard, 1, loss)


def test_loss_that_explodes_stops_but_one_wild_batch_does_not() -> None:
    guard = guards.Guard(Recipe(), 7, [])
    for index in range(60):
        step(guard, index, 100.0 if index == 30 else 1.9)
    with pytest.raises(TrainingError, match=r"where guessing costs 1\.95"):
        for index in range(60, 90):
            step(guard, index, 60.0)


def test_loss_that_explodes_in_an_epoch_of_few_steps_stops_at_its_end(grey: InputSpec) -> None:
    guard = guards.Guard(Recipe(), 7, [{"epoch": 1, "train_loss": 2.4e7, "val_loss": 20.0}])
    spec = ModelSpec(labels=artefacts.LABELS, input=grey, architecture="simple_cnn")
    net = models.build("simple_cnn", grey, 7, {"width": 8})
    module = FerModule(models.Deployable(net, spec), Recipe(), [10] * 7)
    trainer: Any = None
    with pytest.raises(TrainingError, match=r"loss is 2\.4e\+07 over epoch 1, where guessing"):
        guard.on_train_epoch_end(trainer, module)


CAUSES = [
    ({"train_loss": 9.0, "val_loss": 9.0}, {}, 1.0, "learning rate 0.05 is probably too high"),
    ({"train_loss": 1.9, "val_loss": 1.9}, {}, 0.0001, "too low; try --lr 0.5"),
    ({"train_loss": 1.5, "val_loss": 1.9}, {}, 1.0, "--sampler balanced or --class-weights"),
    (
        {"train_loss": 1.94, "val_loss": 1.94},
        {"activation": "sigmoid", "batch_size": 8, "architecture": "simple_cnn"},
        1.0,
        "try --lr 0.005, or --batch-size 32, or --activation relu",
    ),
]


@pytest.mark.parametrize(("figures", "changes", "moved", "message"), CAUSES)
def test_cause_of_a_collapse_by_what_the_run_shows(
    figures: Mapping[str, float],
    changes: Mapping[str, Any],
    moved: float,
    message: str,
    grey: InputSpec,
) -> None:
    recipe = Recipe(**changes)
    spec = ModelSpec(labels=artefacts.LABELS, input=grey, architecture="simple_cnn")
    net = models.build("simple_cnn", grey, 7, {"width": 8})
    module = FerModule(models.Deployable(net, spec), recipe, [10] * 7)
    module.on_fit_start()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1 + moved)
    module.most_predicted = 3, 1.0
    guard = guards.Guard(recipe, 7, [{"epoch": 1, **figures}])
    trainer: Any = None
    guard.on_train_epoch_end(trainer, module)
    with pytest.raises(TrainingError, match=r"predicts 'happy' for 100\.0% of the") as caught:
        guard.on_train_epoch_end(trainer, module)
    assert message in str(caught.value)
    unguarded = guards.Guard(Recipe(collapse_epochs=0), 7, [{"epoch": 1, **figures}])
    for _ in range(5):
        unguarded.on_train_epoch_end(trainer, module)


def test_count_of_collapsed_epochs_starts_again_after_an_epoch_with_two_classes(
    grey: InputSpec,
) -> None:
    spec = ModelSpec(labels=artefacts.LABELS, input=grey, architecture="simple_cnn")
    net = models.build("simple_cnn", grey, 7, {"width": 8})
    module = FerModule(models.Deployable(net, spec), Recipe(), [10] * 7)
    guard = guards.Guard(Recipe(), 7, [{"epoch": 1, "train_loss": 1.0, "val_loss": 1.0}])
    trainer: Any = None
    for share in (1.0, 0.9, 1.0, 0.9):
        module.most_predicted = 3, share
        guard.on_train_epoch_end(trainer, module)


def history(train: list[float], validation: list[float]) -> list[dict[str, float]]:
    return [
        {"epoch": index + 1, "train_loss": t, "val_loss": v}
        for index, (t, v) in enumerate(zip(train, validation, strict=True))
    ]


def test_background_d3b_overfitting_is_named_with_its_epoch() -> None:
    found = history([1.8, 1.4, 1.1, 0.8, 0.5], [1.7, 1.4, 1.3, 1.4, 1.6])
    (remark,) = guards.remarks(found, best_epoch=3, epochs=5)
    assert remark.startswith(
        "Overfits from epoch 4 on: validation loss rose from 1.300 to 1.600 while training loss "
        "fell from 1.100 to 0.500."
    )
    assert "--patience 3" in remark


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        ([1.8, 1.4, 1.1], [1.7, 1.4, 1.3]),  # still falling
        ([1.8, 1.4, 1.5], [1.7, 1.3, 1.6]),  # both rise: not overfitting
        ([1.8, 1.4, 1.1], [1.7, 1.3, 1.31]),  # within the noise
        ([1.8, 0.4], [1.7, 2.3]),  # too short to tell
    ],
)
def test_other_histories_are_not_overfitting(train: list[float], validation: list[float]) -> None:
    assert guards.overfitting(history(train, validation)) is None


def test_run_that_was_still_improving_is_named() -> None:
    rows = history([1.8, 1.4, 1.1], [1.7, 1.4, 1.3])
    assert guards.remarks(rows, 3, 3) == [
        "Still improving in its last epoch: more epochs may help; continue with --resume "
        "--epochs 6."
    ]
    assert guards.remarks(rows, 2, 3) == []


def test_class_that_is_never_recognised_is_named() -> None:
    """Rows are true, columns predicted: two of three images of b go to a, none is right."""
    targets = np.array([0, 0, 1, 1, 1, 2])
    predicted = np.array([0, 1, 0, 0, 2, 2])
    found = Evaluation(
        "validation", ("a", "b", "c", "d"), np.eye(4, dtype="f4")[predicted], targets
    )
    (remark,) = guards.missed_classes(found)
    assert remark.startswith("Recall 0: no image of b (3) was recognised. Try --sampler balanced")
    right = Evaluation("validation", ("a", "b"), np.eye(2, dtype="f4"), np.array([0, 1]))
    assert guards.missed_classes(right) == []


def test_run_that_misses_a_class_ends_with_a_remark(dataset: Path, tmp_path: Path) -> None:
    chosen = Recipe(
        architecture="simple_cnn", width=8, epochs=1, batch_size=20, lr=1e-9, scheduler="none"
    )
    result = fit(dataset, tmp_path / "run", chosen, RunOptions(show=False))
    assert result is not None
    (remark,) = result.remarks
    assert remark.startswith("Recall 0: no image of ")
    written = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert written["remarks"] == [remark]
