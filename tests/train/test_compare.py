"""A comparison varies the given options, survives failing runs, and continues where it stopped."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fer_runtime.errors import DataError
from fer_train import compare as comparing
from fer_train import outcomes, results
from fer_train.cli import app
from fer_train.outcomes import Comparison
from fer_train.recipe import Recipe

SMALL = Recipe(architecture="simple_cnn", width=8, epochs=2, batch_size=20, augment="none")


@pytest.fixture(scope="module")
def finished(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparison]:
    """Two activations and two learning rates, of which one lets every run fail."""
    output = tmp_path_factory.mktemp("compare") / "runs"
    vary = ["activation=relu,tanh", "lr=0.01,1e6"]
    comparison = comparing.compare(dataset, output, SMALL, vary, [0, 1], command="as typed")
    results.write(output, comparison, "A title")
    return output, comparison


def test_background_b1_one_factor_all_else_and_the_seed_fixed() -> None:
    found = comparing.settings_of(["dropout=0,0.3,0.5"])
    assert found == [{"dropout": 0.0}, {"dropout": 0.3}, {"dropout": 0.5}]


def test_background_d3_a_grid_is_every_combination() -> None:
    found = comparing.settings_of(["batch-size=16,32", "optimizer=sgd,adam"])
    assert [tuple(each.values()) for each in found] == [
        (16, "sgd"), (16, "adam"), (32, "sgd"), (32, "adam"),
    ]  # fmt: skip
    assert comparing.settings_of(["freeze-until=layer4,"])[1] == {"freeze_until": ""}
    assert comparing.settings_of(["batch-norm=yes,no"])[1] == {"batch_norm": False}


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ([], "Pass what to vary"),
        (["dropout"], r"write it as dropout=0,0\.3,0\.5"),
        (["drop=0,1"], "has no 'drop'"),
        (["lr=0.1,fast"], "lr is 'fast'; it must be a float"),
        (["lr=0.1", "lr=0.2"], "is given twice"),
        (["lr=0.01,0.010"], "gives a value twice"),
        (["seed=0,1"], "varied by --seeds"),
    ],
)
def test_wrong_factors_are_named(vary: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        comparing.settings_of(vary)


def test_failed_runs_are_rows_and_not_the_end(finished: tuple[Path, Comparison]) -> None:
    _, comparison = finished
    failed = [outcome for outcome in comparison.outcomes if outcome.error]
    assert len(comparison.outcomes) == 8
    assert {outcome.settings["lr"] for outcome in failed} == {1e6} and len(failed) == 4
    assert all("try --lr 1" in str(outcome.error) for outcome in failed)
    assert all(0 < o.figures["accuracy"] < 1 for o in comparison.outcomes if not o.error)


def test_rows_are_means_and_spreads_over_the_seeds(finished: tuple[Path, Comparison]) -> None:
    """Background B6b: the table shows the best epoch and the gap to training."""
    _, comparison = finished
    rows = outcomes.rows(comparison.outcomes)
    assert [row.name for row in rows] == [
        "activation=relu lr=0.01", "activation=relu lr=1e+06",
        "activation=tanh lr=0.01", "activation=tanh lr=1e+06",
    ]  # fmt: skip
    first, second = comparison.outcomes[:2]
    low, high = sorted(o.figures["accuracy"] for o in (first, second))
    assert rows[0].seeds == [0, 1]
    assert rows[0].means["accuracy"] == pytest.approx((low + high) / 2)
    assert rows[0].spreads["accuracy"] == pytest.approx((high - low) / 2**0.5)
    assert rows[0].means["best_epoch"] == (first.best_epoch + second.best_epoch) / 2
    assert first.gap is not None and second.gap is not None
    assert rows[0].means["gap"] == pytest.approx((first.gap + second.gap) / 2)
    assert rows[0].means["parameters"] == first.parameters > 100_000
    assert len(rows[1].errors) == 2


def test_files_contain_the_outcomes(finished: tuple[Path, Comparison]) -> None:
    output, comparison = finished
    assert Comparison.load(output / "compare.json").outcomes == comparison.outcomes
    with open(output / "compare.csv", newline="", encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    for row, outcome in zip(table, comparison.outcomes, strict=True):
        assert row["error"] == (outcome.error or "")
        if not outcome.error:
            assert float(row["accuracy"]) == outcome.figures["accuracy"]
    text = (output / "compare.md").read_text(encoding="utf-8")
    assert text.startswith("# A title\n\n```\nas typed\n```")
    assert "| `--activation relu --lr 0.01 --seed 0` |" in text
    assert "failed: The loss is" in text and "2 (2 failed)" in text
    assert (output / "compare.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_resume_keeps_what_is_done_and_adds_settings(
    dataset: Path, tmp_path: Path, finished: tuple[Path, Comparison]
) -> None:
    before = comparing.compare(dataset, tmp_path / "runs", SMALL, ["lr=0.01"], [0])
    best = tmp_path / "runs" / "lr=0.01" / "seed-0" / "best.pt"
    stamp = best.stat().st_mtime_ns
    with pytest.raises(DataError, match="pass --resume"):
        comparing.compare(dataset, tmp_path / "runs", SMALL, ["lr=0.01"], [0])
    after = comparing.compare(dataset, tmp_path / "runs", SMALL, ["lr=0.01,0.02"], [0], resume=True)
    assert best.stat().st_mtime_ns == stamp
    assert after.outcomes[0] == before.outcomes[0] and len(after.outcomes) == 2
    other = Recipe(**{**SMALL.to_dict(), "epochs": 3})
    with pytest.raises(DataError, match=r"made with another epochs \(2\)"):
        comparing.compare(dataset, tmp_path / "runs", other, ["lr=0.01"], [0], resume=True)


def test_resume_needs_the_same_images(dataset: Path, tmp_path: Path) -> None:
    comparing.compare(dataset, tmp_path / "runs", SMALL, ["lr=0.01"], [0])
    shutil.copytree(dataset, tmp_path / "faces")
    next((tmp_path / "faces" / "test" / "sad").iterdir()).unlink()
    with pytest.raises(DataError, match="was made on other images"):
        comparing.compare(
            tmp_path / "faces", tmp_path / "runs", SMALL, ["lr=0.01"], [0], resume=True
        )


def test_error_of_the_machine_is_tried_again(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise RuntimeError("CUDA out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(comparing.fit, "run", full)
        first = comparing.compare(dataset, tmp_path / "runs", SMALL, ["lr=0.01"], [0])
    assert first.outcomes[0].error == "CUDA out of memory"
    again = comparing.compare(dataset, tmp_path / "runs", SMALL, ["lr=0.01"], [0], resume=True)
    assert again.outcomes[0].error is None


def test_values_that_differ_late_have_folders_of_their_own() -> None:
    names = {outcomes.slug({"lr": value}) for value in (0.1, 0.1000001, 0.01, 1e-9)}
    assert names == {"lr=0.1", "lr=0.1000001", "lr=0.01", "lr=1e-09"}


def test_interrupted_run_continues_and_ends_where_an_unbroken_one_does(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = comparing.compare(dataset, tmp_path / "a", SMALL, ["lr=0.01,0.02"], [0])

    class Killed(BaseException):
        """What a test can survive of a kill."""

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(comparing, "_succeeded", killed)
        with pytest.raises(Killed):
            comparing.compare(dataset, tmp_path / "b", SMALL, ["lr=0.01,0.02"], [0])
    resumed = comparing.compare(dataset, tmp_path / "b", SMALL, ["lr=0.01,0.02"], [0], resume=True)
    for one, other in zip(unbroken.outcomes, resumed.outcomes, strict=True):
        assert one.figures == other.figures


def test_wrong_data_ends_a_comparison(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no training split"):
        comparing.compare(tmp_path, tmp_path / "runs", SMALL, ["lr=0.01"], [0])
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_command_prints_the_table_and_page_gathers_comparisons(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = CliRunner()
    monkeypatch.setattr("sys.argv", ["fer-train", "compare", "--seeds", "0,3"])
    options = ["--architecture", "simple_cnn", "--width", "8", "--epochs", "1", "--threads", "1"]
    outcome = runner.invoke(
        app,
        ["compare", "--data", str(dataset), "--output", str(tmp_path / "batch_size"), *options,
         "--vary", "batch-size=20,70", "--seeds", "0,3"],
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    assert "batch_size=20" in outcome.stdout and "±" in outcome.stdout
    record = json.loads((tmp_path / "batch_size" / "compare.json").read_text(encoding="utf-8"))
    assert record["command"] == "fer-train compare --seeds 0,3"
    (tmp_path / "begin.md").write_text("# Begin\n\nWords.\n", encoding="utf-8")
    outcome = runner.invoke(
        app,
        ["results", str(tmp_path / "batch_size" / "compare.json"), "--introduction",
         str(tmp_path / "begin.md"), "-o", str(tmp_path / "RESULTS.md")],
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    text = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert text.startswith("# Begin\n\nWords.\n\n## Batch size\n")
    assert "| `--batch-size 70 --seed 3` |" in text
    before = (tmp_path / "begin.md").read_text(encoding="utf-8")
    outcome = runner.invoke(
        app,
        ["results", str(tmp_path / "batch_size" / "compare.json"), "--introduction",
         str(tmp_path / "begin.md"), "-o", str(tmp_path / "begin.md")],
    )  # fmt: skip
    assert outcome.exit_code == 2
    assert (tmp_path / "begin.md").read_text(encoding="utf-8") == before


@pytest.mark.parametrize("seeds", ["", "a", "0,0", "1.5"])
def test_wrong_seeds_are_named(dataset: Path, tmp_path: Path, seeds: str) -> None:
    arguments = ["compare", "--data", str(dataset), "--output", str(tmp_path / "x")]
    outcome = CliRunner().invoke(app, [*arguments, "--vary", "lr=0.1", "--seeds", seeds])
    assert isinstance(outcome.exception, DataError)
    assert "different whole numbers" in str(outcome.exception)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"outcomes": [{"a": 1}]}'])
def test_other_json_is_not_a_comparison(tmp_path: Path, content: str) -> None:
    (tmp_path / "compare.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"cannot be read as a compare\.json"):
        Comparison.load(tmp_path / "compare.json")
