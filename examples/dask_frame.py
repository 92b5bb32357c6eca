"""A Dask frame of paths gets columns of predictions: `python examples/dask_frame.py *.jpg`."""

from __future__ import annotations

import sys
from pathlib import Path

import dask.dataframe as dd
import pandas as pd

from fer_runtime.cluster import BatchClassifier

PHOTO = Path(__file__).parent.parent / "tests" / "data" / "astronaut_face.jpg"


def main(paths: list[str]) -> None:
    """Print a row per picture; each partition is classified where Dask runs it."""
    classify = BatchClassifier("image", model="compact_cnn", provider="cpu")
    table = pd.DataFrame({"image": paths or [str(PHOTO)]})
    frame = dd.from_pandas(table, npartitions=2)
    found = frame.map_partitions(classify, meta=classify(table[:0])).compute()
    print(found[["image", "label", "probability", "error"]].to_string(index=False))


if __name__ == "__main__":
    main(sys.argv[1:])
