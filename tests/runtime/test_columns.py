"""The columns of a run, and how each sink writes rows of faces, videos and tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_runtime.columns import TRACK, Column, Columns, columns, has_faces, kept_name
from fer_runtime.faces import Face
from fer_runtime.rows import Row
from fer_runtime.sinks import open_sink, sink_of

LABELS = ("calm", "loud")
POINTS = ((30.125, 40.0), (50.0, 40.0), (40.0, 50.0), (32.0, 60.0), (48.0, 60.0))
FRAME = (Column("frame", "integer"), Column("time", "number"))
KEPT = (Column("caption"), Column("label", "integer"), Column("tags"))
ALL = Columns(LABELS, faces=True, leading=(*FRAME, TRACK), kept=KEPT)


def found() -> Row:
    extra = {"frame": 3, "time": 0.125, "track": 7, "caption": "a, b", "label": 1, "tags": ["x"]}
    row = Row("clip.mp4", LABELS, np.array([0.25, 0.75], np.float32), columns=ALL, extra=extra)
    row.face, row.number = Face((10.0, 20.5, 60.0, 80.999), POINTS, 0.87654), 2
    return row


def empty() -> Row:
    row = Row("clip.mp4", LABELS, columns=ALL, extra={"frame": 4, "time": 1 / 3, "track": None})
    row.note = "no face found"
    return row


def write(path: Path, *rows: Row, **options: Any) -> bytes:
    with open_sink(str(path), rows[0].columns, **options) as sink:
        sink.write(rows)
    return path.read_bytes()


def test_the_order_of_the_columns() -> None:
    assert columns(LABELS) == ("path", "label", "probability", "calm", "loud", "error")
    assert ALL.names == (
        *("path", "frame", "time", "track", "face", "left", "top", "right", "bottom", "score"),
        *("label", "probability", "calm", "loud", "error", "note"),
        *("caption", "source label", "tags"),
    )
    assert has_faces(ALL.names) and not has_faces(columns(LABELS)) and not has_faces(["path"])
    assert not has_faces(columns(("face", "left", "top", "right", "bottom", "score")))


def test_names_that_are_taken_get_another_one() -> None:
    assert Columns(("left", "path"), faces=True).names.count("left probability") == 1
    assert Columns(("left", "path")).names[3:5] == ("left", "path probability")
    assert kept_name("label", ("label", "source label")) == "source source label"
    names = Columns(LABELS, faces=True, kept=[Column(n) for n in ("calm", "face", "x")]).names
    assert names[-3:] == ("source calm", "source face", "x") and len(set(names)) == len(names)


def test_csv(tmp_path: Path) -> None:
    lines = write(tmp_path / "o.csv", found(), empty()).decode().splitlines()
    assert lines[0] == ",".join(ALL.names)
    assert lines[1] == (
        "clip.mp4,3,0.125,7,2,10.00,20.50,60.00,81.00,0.8765,loud,0.750000,0.250000,0.750000,,,"
        '"a, b",1,"[""x""]"'
    )
    assert lines[2] == "clip.mp4,4,0.333333333,,,,,,,,,,,,,no face found,,,"


def test_json_lines(tmp_path: Path) -> None:
    first, second = map(json.loads, write(tmp_path / "o.jsonl", found(), empty()).splitlines())
    assert first == {
        "path": "clip.mp4", "frame": 3, "time": 0.125, "track": 7, "face": 2,
        "box": [10.0, 20.5, 60.0, 81.0], "score": 0.8765,
        "landmarks": [[30.12, 40.0], [50.0, 40.0], [40.0, 50.0], [32.0, 60.0], [48.0, 60.0]],
        "label": "loud", "probability": 0.75, "probabilities": {"calm": 0.25, "loud": 0.75},
        "top": ["loud", "calm"], "error": None, "note": None,
        "caption": "a, b", "source label": 1, "tags": ["x"],
    }  # fmt: skip
    assert second["face"] is None and second["note"] == "no face found" and "label" not in second


def test_text(tmp_path: Path) -> None:
    assert write(tmp_path / "o.txt", found(), empty()).decode().splitlines() == [
        "clip.mp4 at 0.12 s, track 7: loud 75.0%, calm 25.0%",
        "clip.mp4 at 0.33 s: no face found",
    ]


def test_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow, the extra parquet")
    from pyarrow import parquet

    write(tmp_path / "o.parquet", found(), empty())
    table = parquet.read_table(tmp_path / "o.parquet")
    assert tuple(table.column_names) == ALL.names
    types = {field.name: str(field.type) for field in table.schema}
    assert (types["face"], types["left"], types["frame"]) == ("int32", "float", "int64")
    assert (types["time"], types["source label"], types["caption"]) == ("double", "int64", "string")
    first, second = table.to_pylist()
    assert (first["face"], first["top"], first["loud"], first["tags"]) == (2, 20.5, 0.75, '["x"]')
    assert second["face"] is None and second["label"] is None and second["note"] == "no face found"


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_pictures_are_counted_not_rows(tmp_path: Path, ending: str) -> None:
    if ending == ".parquet":
        pytest.importorskip("pyarrow", reason="needs pyarrow, the extra parquet")
    rows = [found() for _ in range(5)]
    for row, number in zip(rows, (1, 2, 1, 1, 2), strict=True):
        row.number = number
    path = tmp_path / f"o{ending}"
    write(path, rows[0], rows[1], empty(), *rows[2:])
    finished = sink_of(ending).read_finished(path)
    assert finished.per_picture is not None and finished.per_picture.tolist() == [2, 1, 1, 2]
    assert (finished.rows, finished.pictures, finished.rows_from(2)) == (6, 4, 3)


def test_rows_are_mappings_with_every_column() -> None:
    pandas = pytest.importorskip("pandas", reason="the package pandas is not installed")
    table = pandas.DataFrame([found(), empty()])
    assert tuple(table.columns) == ALL.names
    assert table["face"][0] == 2 and table["source label"][0] == 1 and table["bottom"][0] == 80.999
    assert table["note"][1] == "no face found" and pandas.isna(table["left"][1])
    with pytest.raises(KeyError):
        found()["nothing"]
    assert repr(found()) == "Row('clip.mp4' face 2: loud 0.750)"


def test_values_that_json_has_not_are_written_as_it_can(tmp_path: Path) -> None:
    several = Columns(LABELS, kept=[Column(name) for name in "abcde"])
    extra = {
        "a": float("nan"),
        "b": b"\xff\x00",
        "c": [float("inf"), b"x"],
        "d": True,
        "e": {1: None},
    }
    row = Row("x", LABELS, np.array([1, 0], np.float32), columns=several, extra=extra)
    entry = json.loads(write(tmp_path / "o.jsonl", row), parse_constant=pytest.fail)
    assert [entry[name] for name in "abcde"] == [None, "/wA=", [None, "eA=="], True, {"1": None}]
    line = write(tmp_path / "o.csv", row).decode().splitlines()[1]
    assert line.endswith(',nan,/wA=,"[null, ""eA==""]",true,"{""1"": null}"')
