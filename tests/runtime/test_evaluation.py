"""Deployed models judged by the folders that their images lie in."""

from __future__ import annotations

import numpy as np
import pytest

from fer_runtime.errors import DataError
from fer_runtime.evaluation import Evaluation, Summary
from fer_runtime.pipeline import Row

LABELS = ("calm", "loud", "none")


def row(name: str, *probabilities: float) -> Row:
    return Row(name, np.array(probabilities, np.float32))


ROWS = [
    row("in/calm/a.png", 0.8, 0.1, 0.1),
    row("shard.tar/calm/b.png", 0.2, 0.7, 0.1),
    row("in/loud/c.png", 0.1, 0.8, 0.1),
    Row("in/loud/d.png", None, "empty file"),
]


def test_figures_by_hand() -> None:
    evaluation = Evaluation(LABELS)
    evaluation.add(ROWS[:2])
    evaluation.add(ROWS[2:])
    text = evaluation.text()
    assert text.startswith("3 labelled images judged; 1 could not be read;")
    assert "accuracy                0.6667 (" in text
    assert "macro-F1                0.6667 (" in text
    assert "recall calm             0.5000 (" in text and "recall loud             1.0000 (" in text
    assert "recall none" not in text, "no image of it"
    assert text.splitlines()[-3].split() == ["calm", "1", "1", "0"]
    assert text.splitlines()[-1].split() == ["none", "0", "0", "0"]


def test_folder_that_is_no_label_is_named() -> None:
    with pytest.raises(DataError, match=r"photos/a\.png: none of its folders is called"):
        Evaluation(LABELS).add([row("photos/a.png", 1, 0, 0)])
    evaluation = Evaluation(LABELS)
    evaluation.add([ROWS[3]])
    with pytest.raises(DataError, match="no image could be judged"):
        evaluation.text()


def test_innermost_folder_with_a_labels_name_counts() -> None:
    evaluation = Evaluation(LABELS)
    evaluation.add([row("loud/2024/calm/person 1/left/a.png", 0.8, 0.1, 0.1)])
    assert "recall calm             1.0000" in evaluation.text()


def test_what_cannot_be_read_needs_no_label() -> None:
    """The error of a broken shard lies in no folder."""
    evaluation = Evaluation(LABELS)
    evaluation.add([*ROWS, Row("shard.tar", None, "the archive ends too early")])
    assert "3 labelled images judged; 2 could not be read" in evaluation.text()


def test_summary_counts_what_was_predicted() -> None:
    summary = Summary(LABELS)
    summary.add(ROWS)
    lines = summary.text().splitlines()
    assert lines[0].split()[-4:-1] == ["33.3%,", "mean", "probability"] and "█" * 15 in lines[0]
    assert lines[1].split()[2:4] == ["2", "66.7%,"] and lines[1].endswith("0.75")
    assert lines[2].split() == ["none", "0", "0.0%"]
    assert Summary(LABELS).text().count("0.0%") == 3
