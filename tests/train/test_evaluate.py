"""`fer-train evaluate`: figures with intervals, once more without what was trained on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fer_runtime.errors import DataError
from fer_train import checkpoint, evaluate
from fer_train.cli import app
from fer_train.fit import RunOptions, fit
from fer_train.recipe import Recipe

SMALL = Recipe(architecture="simple_cnn", width=8, epochs=2, batch_size=20)


@pytest.fixture(scope="module")
def leaky(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set with 14 of its training images in validation too, two a class."""
    root = tmp_path_factory.mktemp("leaky") / "faces"
    shutil.copytree(dataset, root)
    for folder in (root / "train").iterdir():
        for path in sorted(folder.iterdir())[:2]:
            shutil.copy(path, root / "validation" / folder.name / f"leaked-{path.name}")
    return root


@pytest.fixture(scope="module")
def best(leaky: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run on the leaky set."""
    result = fit(leaky, tmp_path_factory.mktemp("run"), SMALL, RunOptions(show=False))
    assert result is not None
    return result.best


def test_images_that_were_trained_on_are_left_out_once_more(best: Path, leaky: Path) -> None:
    written = json.loads((best.parent / "metrics.json").read_text(encoding="utf-8"))
    without = written["without_training_images"]
    assert (written["metrics"]["count"], without["metrics"]["count"]) == (84, 70)
    loaded = checkpoint.load(best)
    split, train = evaluate.load_split(loaded, leaky)
    found = evaluate.evaluate_split(loaded.deployable(), split, train)
    assert found.seen is not None
    names = [name for name, seen in zip(split.names, found.seen, strict=True) if seen]
    assert len(names) == 14 and all("leaked-" in name for name in names)
    assert sum(map(sum, without["confusion"])) == 70


def test_background_b9_evaluate_writes_all_metrics_beside_the_checkpoint(
    best: Path, leaky: Path
) -> None:
    outcome = CliRunner().invoke(app, ["evaluate", str(best), "--data", str(leaky)])
    assert outcome.exit_code == 0, outcome.output
    written = json.loads((best.parent / "metrics-validation.json").read_text(encoding="utf-8"))
    assert {"loss", "accuracy", "macro_f1", "calibration_error"} <= set(written["metrics"])
    assert set(written["intervals_95"]) == set(written["metrics"]) - {"count"}
    assert "all 84 images" in outcome.stdout and "70 not in training" in outcome.stdout
    assert (best.parent / "confusion-validation.png").exists()


def test_background_d1_macro_figures_and_recall_beside_accuracy(best: Path, leaky: Path) -> None:
    outcome = CliRunner().invoke(app, ["evaluate", str(best), "--data", str(leaky), "--json"])
    figures = json.loads(outcome.stdout)["metrics"]
    for name in ("macro_f1", "macro_recall", "recall_disgust", "precision_disgust"):
        assert 0 <= figures[name] <= 1


def test_test_split_of_a_run_whose_splits_were_made(dataset: Path, tmp_path: Path) -> None:
    """Background B3: the split is saved so that it can be reused."""
    root = tmp_path / "faces"
    root.symlink_to(dataset / "train")
    recipe = Recipe(**{**SMALL.to_dict(), "split": "0.6,0.2,0.2"})
    result = fit(root, tmp_path / "run", recipe, RunOptions(show=False))
    assert result is not None
    found = checkpoint.load(result.best)
    with pytest.raises(DataError, match=r"contains no test split; .* pass --split-file split\.csv"):
        evaluate.load_split(found, root, "test")
    split, train = evaluate.load_split(found, root, "test", split_file=tmp_path / "run/split.csv")
    assert train is not None and len(split) == 28 and len(train) == 84
    again = Recipe(**{**SMALL.to_dict(), "split_file": str(tmp_path / "run/split.csv")})
    repeated = fit(root, tmp_path / "again", again, RunOptions(show=False))
    assert repeated is not None
    saved = [(tmp_path / run / "split.csv").read_text("utf-8") for run in ("run", "again")]
    assert saved[0] == saved[1]
    other = Recipe(**{**SMALL.to_dict(), "split": "0.6,0.2,0.2", "split_seed": 1})
    assert fit(root, tmp_path / "other", other, RunOptions(show=False))
    with pytest.raises(DataError, match="is not the split that this checkpoint was trained with"):
        evaluate.load_split(found, root, "test", split_file=tmp_path / "other/split.csv")
    with pytest.raises(DataError, match="no split 'dev'; they are train, validation, test"):
        evaluate.load_split(found, root, "dev")
