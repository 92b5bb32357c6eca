"""Deployed models evaluated by the folders that their images are in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fer_runtime.errors import DataError
from fer_runtime.evaluation import Evaluation, Summary
from fer_runtime.rows import Row

LABELS = ("calm", "loud", "none")


def row(name: str, *probabilities: float) -> Row:
    return Row(name, LABELS, np.array(probabilities, np.float32))


ROWS = [
    row("in/calm/a.png", 0.8, 0.1, 0.1),
    row("shard.tar/calm/b.png", 0.2, 0.7, 0.1),
    row("in/loud/c.png", 0.1, 0.8, 0.1),
    Row("in/loud/d.png", LABELS, None, "empty file"),
]


def test_figures_worked_out_on_paper() -> None:
    evaluation = Evaluation(LABELS)
    evaluation.add(ROWS[:2])
    evaluation.add(ROWS[2:])
    text = evaluation.text()
    assert text.startswith("3 labelled images evaluated; 1 could not be read;")
    assert "accuracy                0.6667 (" in text
    assert "macro-F1                0.6667 (" in text
    assert "recall calm             0.5000 (" in text and "recall loud             1.0000 (" in text
    assert "recall none" not in text, "no image of it"
    assert text.splitlines()[-3].split() == ["calm", "1", "1", "0"]
    assert text.splitlines()[-1].split() == ["none", "0", "0", "0"]


def test_images_without_a_label_are_counted_and_left_out() -> None:
    evaluation = Evaluation(LABELS)
    evaluation.add([row("photos/a.png", 1, 0, 0), *ROWS])
    text = evaluation.text()
    assert text.startswith("3 labelled images evaluated; 1 could not be read; 1 without a label")
    evaluation = Evaluation(LABELS)
    evaluation.add([row("photos/a.png", 1, 0, 0), ROWS[3]])
    with pytest.raises(DataError, match=r"no image with a label was read \(1 images without"):
        evaluation.text()


def test_the_label_that_a_source_knows_comes_before_the_folder() -> None:
    evaluation = Evaluation(LABELS)
    values = np.array([0.1, 0.8, 0.1], np.float32)
    evaluation.add([Row("calm/fer2013.csv:2", LABELS, values, truth="loud")])
    assert evaluation.to_dict()["metrics"]["accuracy"] == 1


def test_images_that_were_trained_on_can_be_excluded(tmp_path: Path) -> None:
    for place, content in (("train/calm/a.png", b"one"), ("test/calm/b.png", b"one"),
                           ("test/calm/c.png", b"two")):  # fmt: skip
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    evaluation = Evaluation(LABELS, exclude_duplicates_of=tmp_path / "train")
    evaluation.add(
        [row(str(tmp_path / "test" / "calm" / n), 0.8, 0.1, 0.1) for n in ("b.png", "c.png")]
    )
    found = evaluation.to_dict()
    assert found["metrics"]["count"] == 1 and found["duplicates_excluded"] == 1
    with pytest.raises(DataError, match="no image files there to exclude"):
        Evaluation(LABELS, exclude_duplicates_of=tmp_path / "none")


def test_innermost_folder_with_a_labels_name_counts() -> None:
    evaluation = Evaluation(LABELS)
    evaluation.add([row("loud/2024/calm/person 1/left/a.png", 0.8, 0.1, 0.1)])
    assert "recall calm             1.0000" in evaluation.text()


def test_what_cannot_be_read_needs_no_label() -> None:
    """The error of a broken shard is in no folder."""
    evaluation = Evaluation(LABELS)
    evaluation.add([*ROWS, Row("shard.tar", LABELS, None, "the archive ends too early")])
    assert "3 labelled images evaluated; 2 could not be read" in evaluation.text()


def test_summary_counts_what_was_predicted() -> None:
    summary = Summary(LABELS)
    summary.add(ROWS)
    lines = summary.text().splitlines()
    assert lines[0].split()[-4:-1] == ["33.3%,", "mean", "probability"] and "█" * 15 in lines[0]
    assert lines[1].split()[2:4] == ["2", "66.7%,"] and lines[1].endswith("0.75")
    assert lines[2].split() == ["none", "0", "0.0%"]
    assert Summary(LABELS).text().count("0.0%") == 3
