"""Parquet: the same rows as in CSV, whole or not there, and resumed part by part."""

from __future__ import annotations

import builtins
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_runtime.errors import DataError
from fer_runtime.rows import Row
from fer_runtime.sinks import Sink, open_sink, resume
from fer_runtime.sinks import parquet as module
from fer_runtime.sinks.parquet import ParquetSink
from fer_runtime.sources import Item

LABELS = ("calm", "loud")
RUN = {"model": "abc"}

pq = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow (extra `parquet`)")


def row(index: int) -> Row:
    if index % 5 == 4:
        return Row(f"{index}.png", LABELS, None, "empty file")
    return Row(f"{index}.png", LABELS, np.array([index / 40, 1 - index / 40], np.float32))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART_ROWS", 4)


def test_rows_and_types(tmp_path: Path) -> None:
    path = tmp_path / "o.parquet"
    with open_sink(str(path), LABELS, run=RUN) as sink:
        assert isinstance(sink, ParquetSink)
        for start in range(0, 30, 7):
            sink.write(row(index) for index in range(start, min(30, start + 7)))
    table = pq.read_table(path)
    assert table.schema.names == ["path", "label", "probability", "calm", "loud", "error"]
    assert table["path"].to_pylist() == [f"{index}.png" for index in range(30)]
    assert table["label"][3].as_py() == "loud" and table["error"][4].as_py() == "empty file"
    assert table["calm"][4].as_py() is None
    assert table["loud"][3].as_py() == pytest.approx(1 - 3 / 40)
    assert [entry.name for entry in tmp_path.iterdir()] == ["o.parquet"]


@pytest.mark.parametrize("stopped", [0, 3, 4, 11, 29])
def test_resumed_table_equals_an_unbroken_one(tmp_path: Path, stopped: int) -> None:
    path = tmp_path / "o.parquet"
    with pytest.raises(KeyboardInterrupt), ParquetSink(str(path), LABELS, run=RUN) as sink:
        sink.write(row(index) for index in range(stopped))
        raise KeyboardInterrupt
    assert not path.exists()
    if stopped:
        (Path(f"{path}.partial") / "draft").write_bytes(b"half a part")
    else:
        assert list(tmp_path.iterdir()) == [], "nothing is left where nothing was done"
    with open_sink(str(path), LABELS, run=RUN, resume=True) as sink:
        assert sink.finished.rows == stopped, "Ctrl-C loses nothing"
        assert sink.finished.errors == sum(row(i).error is not None for i in range(stopped))
        assert sink.finished.last == (f"{stopped - 1}.png" if stopped else None)
        sink.write(row(index) for index in range(stopped, 30))
    with ParquetSink(str(tmp_path / "whole.parquet"), LABELS) as sink:
        sink.write(row(index) for index in range(30))
    assert pq.read_table(path).equals(pq.read_table(tmp_path / "whole.parquet"))
    assert not resume.record_path(Path(f"{path}.partial")).exists()


def test_another_run_a_folder_and_a_missing_package_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "o.parquet"
    with pytest.raises(KeyboardInterrupt), ParquetSink(str(path), LABELS, run=RUN) as sink:
        sink.write([row(0)])
        with pytest.raises(DataError, match="is being written by another run"):
            ParquetSink(str(path), LABELS, run=RUN, resume=True)
        raise KeyboardInterrupt
    with pytest.raises(DataError, match="contains an unfinished run"):
        ParquetSink(str(path), LABELS, run=RUN)
    with pytest.raises(DataError, match="was started with model abc, not other"):
        ParquetSink(str(path), LABELS, run={"model": "other"}, resume=True)
    path.mkdir()
    with pytest.raises(DataError, match="is a folder; name a file"):
        ParquetSink(str(path), LABELS)
    with pytest.raises(DataError, match="cannot be written"):
        ParquetSink(str(tmp_path / "none" / "o.parquet"), LABELS)
    original = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "pyarrow":
            raise ImportError(name)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match=r"pip install '\.\[parquet\]'"):
        ParquetSink(str(tmp_path / "p.parquet"), LABELS)


def test_a_damaged_part_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "o.parquet"
    with pytest.raises(KeyboardInterrupt), ParquetSink(str(path), LABELS, run=RUN) as sink:
        sink.write([row(0)] * 9)
        raise KeyboardInterrupt
    (sink.partial / "00000001.parquet").write_bytes(bytes(100))
    with pytest.raises(DataError, match=r"partial cannot be resumed: 00000001\.parquet is"):
        ParquetSink(str(path), LABELS, run=RUN, resume=True)


def test_killed_while_the_parts_are_removed_the_file_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "o.parquet"
    with ParquetSink(str(path), LABELS, run=RUN) as sink:
        sink.write(row(index) for index in range(9))
    sink.partial.mkdir()
    (sink.partial / "00000002.parquet").write_bytes(path.read_bytes())
    items = [Item(f"{index}.png", "") for index in range(9)]
    found = ParquetSink.read_finished(path)
    resume.check_complete(str(path), found, items)
    assert found.errors == 1
    with ParquetSink(str(path), LABELS, run=RUN) as again:
        again.write([row(1)])
    assert pq.read_table(path).num_rows == 1, "parts without a record are not used"


def test_labels_named_like_a_column_get_another_column(tmp_path: Path) -> None:
    path = tmp_path / "o.parquet"
    with ParquetSink(str(path), ("path", "loud"), run=RUN) as sink:
        sink.write([row(1)])
    assert pq.read_table(path).column_names == [
        "path", "label", "probability", "path probability", "loud", "error"
    ]  # fmt: skip


def test_a_full_disk_is_a_clear_error_and_keeps_the_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "o.parquet"

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match="No space left"), ParquetSink(str(path), LABELS) as sink:
        sink.write([row(0)] * 4)
        monkeypatch.setattr(pq, "write_table", full)
        sink.write([row(1)] * 4)
    parts = list(Path(f"{path}.partial").glob("*.parquet"))
    assert len(parts) == 1 and pq.read_table(parts[0]).num_rows == 4 and not path.exists()


def test_names_of_other_bytes_are_spelled_out(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    path = tmp_path / "o.parquet"
    with ParquetSink(str(path), LABELS) as sink:
        sink.write([Row(name, LABELS, np.array([0.5, 0.5], np.float32))])
    assert pq.read_table(path)["path"].to_pylist() == ["caf\\xe9.png"]


def test_other_endings_stay_with_the_text_sink(tmp_path: Path) -> None:
    assert isinstance(open_sink(str(tmp_path / "o.csv"), LABELS), Sink)
