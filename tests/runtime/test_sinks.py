"""Sinks: exact bytes, files that are complete or not there, and disks that are full."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from fer_runtime.errors import DataError
from fer_runtime.rows import Row
from fer_runtime.sinks import SINKS, open_sink

LABELS = ("calm", "loud")
CALM = Row("a.png", LABELS, np.array([0.75, 0.25], np.float32))
LOUD = Row("b.png", LABELS, np.array([1 / 3, 2 / 3], np.float32))
BROKEN = Row("c.png", LABELS, None, "empty file")

needs_dev_full = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full"
)


def write(path: Path, *rows: Row, **options: object) -> bytes:
    with open_sink(str(path), LABELS, **options) as sink:  # type: ignore[arg-type]
        sink.write(rows)
    return path.read_bytes()


# --- formats ---------------------------------------------------------------------------------


def test_csv_is_byte_exact(tmp_path: Path) -> None:
    strange = Row('with, comma "quotes"\nand newline.png', LABELS, CALM.probabilities)
    assert write(tmp_path / "out.csv", strange, BROKEN) == (
        b"path,label,probability,calm,loud,error\n"
        b'"with, comma ""quotes""\nand newline.png",calm,0.750000,0.750000,0.250000,\n'
        b"c.png,,,,,empty file\n"
    )


def test_csv_has_six_decimals_and_reads_back(tmp_path: Path) -> None:
    import csv

    path = tmp_path / "out.csv"
    assert b"b.png,loud,0.666667,0.333333,0.666667,\n" in write(path, CALM, LOUD, BROKEN)
    with open(path, newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["path"] for row in rows] == ["a.png", "b.png", "c.png"]
    assert [row["label"] for row in rows] == ["calm", "loud", ""]
    assert [row["error"] for row in rows] == ["", "", "empty file"]


def test_an_error_of_several_lines_stays_one_record(tmp_path: Path) -> None:
    import csv

    path = tmp_path / "out.csv"
    write(path, Row("x", LABELS, None, 'broken,\n"twice"'))
    with open(path, newline="") as stream:
        assert list(csv.reader(stream))[1] == ["x", "", "", "", "", 'broken,\n"twice"']


def test_csv_without_rows_is_a_header(tmp_path: Path) -> None:
    assert write(tmp_path / "out.csv") == b"path,label,probability,calm,loud,error\n"


def test_json_lines_are_byte_exact_and_parse(tmp_path: Path) -> None:
    data = write(tmp_path / "out.jsonl", LOUD, BROKEN)
    assert data == (
        b'{"path": "b.png", "label": "loud", "probability": 0.666667, "probabilities": '
        b'{"calm": 0.333333, "loud": 0.666667}, "top": ["loud", "calm"], "error": null}\n'
        b'{"path": "c.png", "error": "empty file"}\n'
    )
    assert [json.loads(line)["path"] for line in data.splitlines()] == ["b.png", "c.png"]


def test_json_lines_hold_any_name_on_one_line(tmp_path: Path) -> None:
    name = 'schön\n"顔"\\ \u2028\t.png'
    data = write(tmp_path / "out.jsonl", Row(name, LABELS, CALM.probabilities), top_k=1)
    (line,) = data.decode().split("\n")[:-1]
    assert json.loads(line)["path"] == name
    assert json.loads(line)["top"] == ["calm"]


def test_text_is_for_a_person(tmp_path: Path) -> None:
    data = write(tmp_path / "out.txt", CALM, BROKEN, top_k=2)
    assert data.decode() == "a.png: calm 75.0%, loud 25.0%\nc.png: ERROR empty file\n"
    assert write(tmp_path / "out.txt", LOUD, top_k=1) == b"b.png: loud 66.7%\n"


def test_text_shows_a_names_control_characters(tmp_path: Path) -> None:
    """A line feed in a name would forge a row, an escape sequence change the terminal."""
    row = Row("a\nb.png: calm 99.0%\x1b[31m\x9b.png", LABELS, CALM.probabilities)
    data = write(tmp_path / "out.txt", row, top_k=1).decode()
    assert data == "a\\x0ab.png: calm 99.0%\\x1b[31m\\x9b.png: calm 75.0%\n"


@pytest.mark.parametrize("ending", [".csv", ".txt"])
def test_names_that_are_not_utf_8_come_out_with_their_bytes(tmp_path: Path, ending: str) -> None:
    raw = b"caf\xe9 \xff.png"
    row = Row(os.fsdecode(raw), LABELS, CALM.probabilities)
    assert raw in write(tmp_path / f"out{ending}", row)


def test_json_is_utf_8_whatever_the_name(tmp_path: Path) -> None:
    names = [os.fsdecode(b"caf\xe9 \xff.png"), "gr\u00fcn.png"]
    data = write(tmp_path / "o.jsonl", *(Row(name, LABELS, CALM.probabilities) for name in names))
    assert [json.loads(line)["path"] for line in data.decode("utf-8").splitlines()] == names
    assert "gr\u00fcn".encode() in data


def test_a_carriage_return_stays_inside_its_field(tmp_path: Path) -> None:
    """Before Python 3.13 csv does not quote it, and readers see two rows."""
    rows = [
        Row("a\rb.png", LABELS, CALM.probabilities),
        Row("c.png", LABELS, None, "one\rtwo"),
        LOUD,
    ]
    text = write(tmp_path / "o.csv", *rows).decode()
    found = list(csv.reader(io.StringIO(text, newline="")))
    assert [row[0] for row in found[1:]] == ["a\rb.png", "c.png", "b.png"]
    assert found[2][-1] == "one\rtwo" and all(len(row) == 6 for row in found)


def test_labels_named_like_a_column_get_another_column(tmp_path: Path) -> None:
    path = tmp_path / "o.csv"
    labels = ("error", "loud")
    rows = [Row("a.png", labels, CALM.probabilities), Row("c.png", labels, None, "empty file")]
    with open_sink(str(path), labels) as sink:
        sink.write(rows)
    header, calm, broken = csv.reader(path.read_text("utf-8").splitlines())
    assert header == ["path", "label", "probability", "error probability", "loud", "error"]
    assert calm[1:4] == ["error", "0.750000", "0.750000"] and broken[-1] == "empty file"


def test_the_known_endings_in_any_case(tmp_path: Path) -> None:
    assert list(SINKS) == [".csv", ".jsonl", ".parquet", ".txt"]
    assert write(tmp_path / "OUT.CSV", CALM).startswith(b"path,label")


def test_rows_are_written_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with open_sink(str(path), LABELS) as sink:
        sink.write([CALM])
        sink.write([])
        sink.write(iter([LOUD, BROKEN]))
    assert [line[:5] for line in path.read_text().splitlines()[1:]] == ["a.png", "b.png", "c.png"]


# --- files -----------------------------------------------------------------------------------


def test_the_file_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with open_sink(str(path), LABELS) as sink:
        sink.write([CALM])
        assert [entry.name for entry in tmp_path.iterdir()] == ["out.csv.partial"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.csv"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, DataError])
def test_after_an_exception_the_partial_file_stays_with_what_was_done(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "out.csv"
    path.write_text("the one before")

    def fail() -> None:
        with open_sink(str(path), LABELS) as sink:
            sink.write([CALM])
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "the one before"
    assert (tmp_path / "out.csv.partial").read_text().splitlines()[1].startswith("a.png,calm")


def test_an_older_file_and_an_older_partial_file_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old " * 1000)
    (tmp_path / "out.csv.partial").write_text("half " * 1000)
    assert write(path) == b"path,label,probability,calm,loud,error\n"
    assert not (tmp_path / "out.csv.partial").exists()


def test_a_run_without_a_row_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError),
        open_sink(str(tmp_path / "o.csv"), LABELS, run={"model": "x"}),
    ):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def refusal(output: object) -> str:
    with pytest.raises(DataError) as caught:
        open_sink(str(output), LABELS)
    return str(caught.value)


@pytest.mark.parametrize("name", ["out.xlsx", "out", "out.csv.gz", "csv", ".csv"])
def test_unknown_endings_list_the_known_ones(tmp_path: Path, name: str) -> None:
    message = refusal(tmp_path / name)
    assert name in message
    assert ".csv, .jsonl, .parquet, .txt" in message
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_output(tmp_path: Path) -> None:
    folder = tmp_path / "results.csv"
    folder.mkdir()
    assert refusal(folder) == f"{folder} is a folder; name a file."
    assert list(tmp_path.iterdir()) == [folder]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "out.csv"
    assert refusal(path) == f"{path} cannot be written: No such file or directory"


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "Not a directory" in refusal(tmp_path / "file" / "out.csv")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc, which is read-only")
def test_a_folder_that_may_not_be_written_is_an_error() -> None:
    assert "/proc/out.csv cannot be written" in refusal("/proc/out.csv")


@needs_dev_full
@pytest.mark.parametrize("count", [1, 5000], ids=["found on closing", "found on writing"])
def test_a_full_disk_is_an_error_and_leaves_no_file(tmp_path: Path, count: int) -> None:
    """The partial file is a link to /dev/full; a few rows fit the buffer, thousands do not."""
    path = tmp_path / "out.csv"
    (tmp_path / "out.csv.partial").symlink_to("/dev/full")
    with pytest.raises(DataError) as caught, open_sink(str(path), LABELS) as sink:
        for _ in range(count):
            sink.write([CALM])
    assert str(caught.value) == f"{path} cannot be written: No space left on device"
    assert not path.exists()


# --- standard output -------------------------------------------------------------------------


class Stdout(io.TextIOWrapper):
    """A strict UTF-8 stdout whose bytes stay readable."""

    def __init__(self) -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding="utf-8")


def test_a_dash_is_standard_output_which_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = Stdout()
    monkeypatch.setattr(sys, "stdout", stdout)
    with open_sink("-", LABELS, ending=".csv") as sink:
        sink.write([Row(os.fsdecode(b"caf\xe9.png"), LABELS, CALM.probabilities)])
    assert not stdout.closed
    assert stdout.bytes.getvalue() == (
        b"path,label,probability,calm,loud,error\ncaf\xe9.png,calm,0.750000,0.750000,0.250000,\n"
    )


def test_a_reader_that_left_differs_from_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """`| head` ends the run quietly, so the BrokenPipeError must come through as it is."""
    reader, writer = os.pipe()
    os.close(reader)
    stdout = os.fdopen(writer, "w", encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stdout)
    with pytest.raises(BrokenPipeError), open_sink("-", LABELS, ending=".csv") as sink:
        sink.write([CALM])
    monkeypatch.undo()
    stdout.close()  # as Python does when it ends; nothing is left that could fail again


@needs_dev_full
def test_standard_output_on_a_full_disk_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = open("/dev/full", "w", encoding="utf-8")  # noqa: SIM115
    monkeypatch.setattr(sys, "stdout", stdout)
    with (
        pytest.raises(DataError, match="standard output cannot be written: No space left"),
        open_sink("-", LABELS, ending=".csv") as sink,
    ):
        sink.write([CALM])
    monkeypatch.undo()
    stdout.close()


def test_a_process_without_standard_output_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python sets sys.stdout to None where a service manager closed it."""
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(DataError, match="standard output"):
        open_sink("-", LABELS, ending=".csv")
