"""Labels that no model believes, and what a run leaves out of its training split."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from fer_runtime.errors import DataError
from fer_train import label_file, labels, splits
from fer_train.cli import app
from fer_train.compare import compare
from fer_train.data import Split
from fer_train.fit import RunOptions, prepare
from fer_train.recipe import Recipe

SMALL = Recipe(architecture="simple_cnn", width=8, epochs=3, batch_size=20, lr=0.05)
QUIET = RunOptions(show=False)


def pool(counts: tuple[int, ...] = (9, 6), seed: int = 0) -> Split:
    """Random images of two classes."""
    total = sum(counts)
    pixels = np.random.default_rng(seed).integers(0, 256, (total, 1, 8, 8), np.uint8)
    targets = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    names = tuple(f"train/{t}/{i}.png" for i, t in enumerate(targets.tolist()))
    return Split("train", torch.from_numpy(pixels), targets, ("0", "1"), names)


def test_each_image_is_held_out_once_and_copies_stay_together() -> None:
    whole = pool()
    whole.images[1] = whole.images[0]
    made = splits.folds(whole, 3, seed=1)
    held_out = [name for fold in made for name in fold.validation.names]
    assert sorted(held_out) == sorted(whole.names)
    for fold in made:
        assert not set(fold.validation.names) & set(fold.train.names)
        assert len(fold.train) + len(fold.validation) == len(whole)
        assert all(fold.validation.counts().values())
        assert ("train/0/0.png" in fold.train.names) == ("train/0/1.png" in fold.train.names)


@pytest.mark.parametrize(("count", "words"), [(1, "two are the least"), (9, "too few images")])
def test_folds_that_cannot_be_made_are_refused(count: int, words: str) -> None:
    with pytest.raises(DataError, match=words):
        splits.folds(pool(), count)


@pytest.fixture(scope="module")
def found(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of `fer-train labels` on the data set."""
    folder = tmp_path_factory.mktemp("labels") / "out"
    command = ["labels", "--data", str(dataset), "--output", str(folder), "--folds", "2"]
    more = ["--architecture", "simple_cnn", "--width", "8", "--epochs", "3", "--batch-size", "20"]
    outcome = CliRunner().invoke(app, [*command, *more])
    assert outcome.exit_code == 0, outcome.output
    assert "below 0.05" in outcome.stdout
    return folder


def test_labels_csv_has_each_training_image_once_the_least_believed_first(
    found: Path, dataset: Path
) -> None:
    with open(found / "labels.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    files = {str(path.relative_to(dataset)) for path in (dataset / "train").rglob("*.*")}
    assert {row["image"] for row in rows} == files and len(rows) == len(files)
    probabilities = [float(row["label_probability"]) for row in rows]
    assert probabilities == sorted(probabilities)
    for row in rows:
        assert row["label"] == Path(row["image"]).parent.name
        assert float(row["predicted_probability"]) >= float(row["label_probability"])
    for name in ("confusion.png", "predictions.png"):
        assert (found / name).exists()


def test_finished_folds_are_kept_on_resume(found: Path, dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(found, tmp_path / "again")
    prepared = prepare(dataset, SMALL)
    times = [path.stat().st_mtime_ns for path in sorted((tmp_path / "again").glob("*/best.pt"))]
    options = RunOptions(show=False, resume=True)
    result = labels.out_of_fold(prepared, tmp_path / "again", SMALL, options, folds=2)
    after = [path.stat().st_mtime_ns for path in sorted((tmp_path / "again").glob("*/best.pt"))]
    assert times == after
    assert (tmp_path / "again" / "labels.csv").read_text() == (found / "labels.csv").read_text()
    np.testing.assert_allclose(result.probabilities.sum(1), 1, atol=1e-4)
    with pytest.raises(DataError, match="contains a run already"):
        labels.out_of_fold(prepared, tmp_path / "again", SMALL, QUIET, folds=2)


def test_a_run_leaves_out_improbable_labels_only_of_training(found: Path, dataset: Path) -> None:
    file = found / "labels.csv"
    known = label_file.read(file)
    least = float(np.quantile(list(known.values()), 0.2))
    recipe = Recipe(label_probabilities=str(file), min_label_probability=least)
    before, after = prepare(dataset, Recipe()).data, prepare(dataset, recipe).data
    assert set(after.train.names) == {name for name, value in known.items() if value >= least}
    assert 0 < len(after.train) < len(before.train)
    assert after.validation.names == before.validation.names


def test_a_comparison_leaves_them_out_where_its_setting_says_so(
    found: Path, dataset: Path, tmp_path: Path
) -> None:
    file = found / "labels.csv"
    least = float(np.quantile(list(label_file.read(file).values()), 0.2))
    recipe = replace(SMALL, label_probabilities=str(file))
    vary = [f"min-label-probability=0,{least}"]
    whole, less = compare(dataset, tmp_path / "runs", recipe, vary, [0]).outcomes
    assert whole.figures["loss"] != less.figures["loss"]


def test_a_file_that_does_not_fit_is_refused(found: Path, dataset: Path, tmp_path: Path) -> None:
    def refused(file: Path, words: str, least: float = 0.05) -> None:
        recipe = Recipe(label_probabilities=str(file), min_label_probability=least)
        with pytest.raises(DataError, match=words):
            prepare(dataset, recipe)

    refused(tmp_path / "missing.csv", "cannot be read as labels.csv")
    refused(found / "labels.csv", "no training image of angry remains of", least=1.0)
    rows = (found / "labels.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "short.csv").write_text("\n".join(rows[:-1]) + "\n", encoding="utf-8")
    refused(tmp_path / "short.csv", "has no row for 1 of")
    (tmp_path / "other.csv").write_text("image,split\na.png,train\n", encoding="utf-8")
    refused(tmp_path / "other.csv", "cannot be read as labels.csv")


def test_images_of_validation_and_test_can_be_left_out_of_training(
    dataset: Path, tmp_path: Path
) -> None:
    root = tmp_path / "faces"
    shutil.copytree(dataset, root)
    for split in ("validation", "test"):
        for folder in (root / split).iterdir():
            path = sorted(folder.iterdir())[0]
            shutil.copy(path, root / "train" / folder.name / f"{split}-{path.name}")
    kept = prepare(root, Recipe(skip_duplicates=True)).data.train
    assert set(kept.names) == set(prepare(dataset, Recipe()).data.train.names)
    assert len(prepare(root, Recipe()).data.train) == len(kept) + 14
