"""Columnar batches of rows: the same rows, and the same bytes in a file, as rows one by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_runtime.columns import plain_columns
from fer_runtime.items import Item
from fer_runtime.row_batch import RowBatch
from fer_runtime.rows import Row
from fer_runtime.run_options import Counts
from fer_runtime.sinks.table import SINKS, open_sink, sink_of
from fer_runtime.sinks.text import six_decimals

STRANGE = ("a,b.jpg", 'say "x".png', "line\nfeed.png", "carriage\rreturn", " padded ", "\udcff")
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)
LABELS = ("happy", "sad, or not", "error")


def batch_of(names: list[str], broken: set[int], labels: tuple[str, ...] = LABELS) -> RowBatch:
    """Rows with seeded probabilities; those at the places in `broken` have an error."""
    errors = ['no, "such" file' if place in broken else None for place in range(len(names))]
    random = np.random.default_rng(len(names))
    values = random.dirichlet(np.ones(len(labels)), errors.count(None)).astype(np.float32)
    items = [Item(name, name) for name in names]
    return RowBatch(plain_columns(labels), items, errors if broken else None, values)


@given(
    st.lists(NAMES | st.sampled_from(STRANGE), min_size=1, max_size=5),
    st.sets(st.integers(0, 4), max_size=2),
)
@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".txt"])
def test_a_batch_is_encoded_as_its_rows_are(
    ending: str, names: list[str], broken: set[int]
) -> None:
    rows = batch_of(names, {place for place in broken if place < len(names)})
    encode = sink_of(ending).encoder(rows.columns)
    assert encode is not None
    assert encode(rows) == "".join(str(encode([row])) for row in rows)


@pytest.mark.parametrize("ending", [e for e in SINKS if e != ".parquet"])
def test_what_is_appended_is_what_would_have_been_written(ending: str, tmp_path: Path) -> None:
    rows = batch_of(["a.jpg", "b,c.jpg", "d.jpg"], {1})
    encode = sink_of(ending).encoder(rows.columns)
    assert encode is not None
    with open_sink(str(tmp_path / f"written{ending}"), rows.columns) as sink:
        sink.write(rows)
        sink.write(rows)
    with open_sink(str(tmp_path / f"appended{ending}"), rows.columns) as sink:
        sink.append(encode(rows))
        sink.append(encode(list(rows)))
    written = (tmp_path / f"written{ending}").read_bytes()
    assert (tmp_path / f"appended{ending}").read_bytes() == written
    assert written.count(b"no, ") == 2


def test_parquet_that_is_appended_is_the_same_table(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    rows = batch_of([f"{place}.jpg" for place in range(700)], {1, 699})
    encode = sink_of(".parquet").encoder(rows.columns)
    assert encode is not None
    with open_sink(str(tmp_path / "written.parquet"), rows.columns) as sink:
        for _ in range(30):
            sink.write(rows)
    with open_sink(str(tmp_path / "appended.parquet"), rows.columns) as sink:
        for turn in range(30):
            sink.append(encode(rows)) if turn % 3 else sink.write(rows)
    written = parquet.read_table(tmp_path / "written.parquet")
    assert written.num_rows == 21_000
    assert parquet.read_table(tmp_path / "appended.parquet").equals(written)


@given(
    st.lists(
        st.floats(0, 1, width=32) | st.integers(0, 10**6).map(lambda n: (n + 0.5) / 1e6),
        min_size=1,
        max_size=40,
    )
)
def test_six_decimals_are_those_of_percent_f(values: list[float]) -> None:
    column = np.array(values, np.float32)[:, None].clip(0, 1)
    assert six_decimals(column) == [f",{value:.6f}" for value in column[:, 0].tolist()]


@pytest.mark.parametrize("value", [float("nan"), -0.25, 2.5, float("inf")])
def test_what_is_no_probability_is_written_all_the_same(value: float) -> None:
    assert six_decimals(np.array([[0.5, value]], np.float32)) == [f",0.500000,{value:.6f}"]


def test_rows_are_made_once() -> None:
    rows = batch_of(["a.jpg", "b.jpg", "c.jpg"], {0})
    assert len(rows) == 3
    assert rows[1] is rows[1] is list(rows)[1] is rows[1:][0]
    assert [row.error is None for row in rows] == [False, True, True]
    assert rows[2].probability == max(rows.probabilities[1].tolist())


@pytest.mark.parametrize("as_rows", [list, lambda rows: rows], ids=["objects", "columns"])
def test_counts(as_rows: Callable[[RowBatch], list[Row]]) -> None:
    counts = Counts()
    counts.add(as_rows(batch_of(["a.jpg", "b.jpg", "c.jpg"], {0})))
    assert (counts.rows, counts.errors, counts.pictures, counts.faces) == (3, 1, 3, 0)
