"""A column of paths becomes columns of labels: `python examples/pandas_column.py *.jpg`."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from fer_runtime import Classifier

PHOTO = Path(__file__).parent.parent / "tests" / "data" / "astronaut_face.jpg"


def with_predictions(table: pd.DataFrame, column: str, classifier: Classifier) -> pd.DataFrame:
    """The table with label, probability, one column per label, and error."""
    rows = pd.DataFrame(classifier.rows(table[column]), index=table.index)
    return table.join(rows.drop(columns="path"))


def main(paths: list[str]) -> None:
    """Print a table of the pictures, and how often each label is in it."""
    table = pd.DataFrame({"file": paths or [str(PHOTO)], "taken": "2026"})
    found = with_predictions(table, "file", Classifier.load("compact_cnn"))
    print(found[["file", "taken", "label", "probability", "error"]].to_string(index=False))
    print(found["label"].value_counts().to_string())


if __name__ == "__main__":
    main(sys.argv[1:])
