"""Parquet with images: which columns are what, what is passed through, broken files."""

from __future__ import annotations

import datetime
import decimal
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_runtime.columns import Column
from fer_runtime.errors import DataError
from fer_runtime.items import Item
from fer_runtime.sources import SourceOptions, Sources
from fer_runtime.sources.labels import CLASS_NUMBER
from tests.runtime.command import Infer, read_csv
from tests.runtime.shards import png

pa = pytest.importorskip("pyarrow", reason="pyarrow is missing (the extra parquet)")
pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is missing (the extra parquet)")

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
NESTED = pa.struct([("t", pa.timestamp("ns")), ("k", pa.list_(pa.int8()))])
FEATURES = {
    "image": {"_type": "Image"},
    "label": {"_type": "ClassLabel", "names": ["angry", "happy"]},
}


def save(path: Path, columns: dict[str, Any], features: Any = None, **options: Any) -> Path:
    """A Parquet file; `features` are what Hugging Face's `datasets` writes into the schema."""
    table = pa.table(columns)
    if features is not None:
        text = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": text})
    pq.write_table(table, path, **options)
    return path


def images(count: int) -> list[bytes]:
    return [png(value) for value in range(count)]


def read(path: Path, **options: Any) -> list[Item]:
    return list(Sources([path], options=SourceOptions(**options)))


def test_a_file_of_bytes(tmp_path: Path) -> None:
    path = save(tmp_path / "x.parquet", {"age": [3, 4], "png": images(2), "note": ["a", None]})
    assert read(path) == [
        Item(f"{path}:0", path=str(path), content=png(0), extra={"age": 3, "note": "a"}),
        Item(f"{path}:1", path=str(path), content=png(1), extra={"age": 4, "note": None}),
    ]
    age, note = Column("age", "integer", pa.int64()), Column("note", "text", pa.string())
    assert Sources([path]).columns() == ((), (age, note))


def test_a_hugging_face_data_set(tmp_path: Path) -> None:
    """Names of classes are in the schema; the names of the images are those that they had."""
    rows = [{"bytes": png(n), "path": path} for n, path in enumerate(("a.png", None, "", "d.png"))]
    columns = {"image": pa.array(rows, IMAGE), "label": [1, 0, -1, 7], "mask": images(4)}
    path = save(tmp_path / "x.parquet", columns, FEATURES)
    items = read(path, columns=())
    assert [item.name for item in items] == ["a.png", f"{path}:1", f"{path}:2", "d.png"]
    assert [item.label for item in items] == ["happy", "angry", None, None]
    assert [item.extra for item in items] == [None, None, None, {CLASS_NUMBER: 7}]
    assert [item.content for item in items] == images(4), "the column marked as image, not mask"


def test_the_columns_that_options_name(tmp_path: Path) -> None:
    columns = {"a": images(2), "b": images(3)[1:], "id": [10, None], "who": ["sad", " happy "]}
    path = save(tmp_path / "x.parquet", columns)
    items = read(path, image_column="b", id_column="id", label_column="who", columns=("who",))
    assert [(i.name, i.label, i.content, i.extra) for i in items] == [
        ("10", "sad", png(1), {"who": "sad"}),
        (f"{path}:1", "happy", png(2), {"who": " happy "}),
    ]
    kept = Sources([path], options=SourceOptions(image_column="b", id_column="id")).columns()[1]
    assert [column.name for column in kept] == ["a", "who"]


def test_class_numbers_without_names(tmp_path: Path) -> None:
    columns = {"image": images(3), "label": [0, 1, 2], "class number": [5, 6, 7]}
    path = save(tmp_path / "x.parquet", columns)
    sources = Sources([path])
    items = list(sources)
    assert [item.label for item in items] == [None] * 3
    assert items[0].extra == {"label": 0, "class number": 5, CLASS_NUMBER: 0}
    assert "the labels of 3 images are numbers: pass the names" in sources.label_hint()
    assert [i.label for i in read(path, class_labels=("a", "b"))] == ["a", "b", None]
    named = save(tmp_path / "y.parquet", {"image": images(2), "label": [0, 1]}, FEATURES)
    assert [i.label for i in read(named, class_labels=("a", "b"))] == ["angry", "happy"]


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        (
            {"x": [1], "y": ["a"]},
            {},
            r"no column of images .*its columns are: x \(int64\), y \(str",
        ),
        (
            {"a": [b"-"], "b": [b"-"]},
            {},
            r"2 columns that may be images \(a, b\); .*--image-column",
        ),
        ({"a": [b"-"]}, {"image_column": "c"}, r"no column 'c'; its columns are: a \(binary\)"),
        ({"a": [b"-"], "n": [1]}, {"image_column": "n"}, r"column 'n' is int64; images are binary"),
        ({"a": [b"-"]}, {"id_column": "c"}, "no column 'c'"),
        ({"a": [b"-"]}, {"label_column": "c"}, "no column 'c'"),
        ({"a": [b"-"]}, {"columns": ("c",)}, "no source has a column 'c'; their columns are: none"),
        ({f"c{n}": [n] for n in range(25)}, {}, r"c19 \(int64\) and 5 more"),
    ],
)
def test_what_is_not_clear_is_an_error_before_any_work(
    tmp_path: Path, columns: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    sources = Sources([save(tmp_path / "x.parquet", columns)], options=SourceOptions(**options))
    with pytest.raises(DataError, match=message):
        sources.check()
        sources.columns()


def test_rows_without_an_image(tmp_path: Path) -> None:
    rows = [None, {"bytes": None, "path": "/etc/passwd"}, {"bytes": b"", "path": "b"}]
    path = save(tmp_path / "x.parquet", {"image": pa.array(rows, IMAGE), "n": [0, 1, 2]})
    assert [(i.name, i.error, i.content, i.extra) for i in read(path)] == [
        (f"{path}:0", "no image (null)", None, {"n": 0}),
        ("/etc/passwd", "only the path of an image (/etc/passwd), not its bytes", None, {"n": 1}),
        ("b", None, b"", {"n": 2}),
    ]
    path = save(tmp_path / "y.parquet", {"image": pa.array([None, b"-"], pa.large_binary())})
    assert [i.error for i in read(path)] == ["no image (null)", None]


def test_values_of_every_type_are_plain(tmp_path: Path) -> None:
    """Numbers, times, categories, nested ones; Python's times end at the microsecond."""
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901)
    columns = {
        "image": images(1),
        "flag": [True],
        "f16": np.array([1.5], np.float16),
        "u64": pa.array([2**64 - 1], pa.uint64()),
        "money": pa.array([decimal.Decimal("1.20")], pa.decimal128(9, 2)),
        "when": pa.array([1_767_323_045_678_901_234], pa.timestamp("ns")),
        "late": pa.array([2**62], pa.timestamp("us", "Nowhere/At_all")),
        "kind": pa.array(["x"]).dictionary_encode(),
        "deep": pa.array([[{"t": 1_000, "k": [1, None]}]], pa.list_(NESTED)),
        "none": pa.nulls(1),
        "blob": [b"\x00"],
        "text": pa.array([b"caf\xe9"]).view(pa.string()),
    }  # fmt: skip
    path = save(tmp_path / "x.parquet", columns, store_schema=True)
    (item,) = read(path, image_column="image")
    assert item.extra == {
        "flag": True, "f16": 1.5, "u64": 2**64 - 1, "money": decimal.Decimal("1.20"),
        "when": moment, "late": None, "kind": "x",
        "deep": [{"t": datetime.datetime(1970, 1, 1, 0, 0, 0, 1), "k": [1, None]}],
        "none": None, "blob": b"\x00", "text": "caf\ufffd",
    }  # fmt: skip
    kept = Sources([path], options=SourceOptions(image_column="image")).columns()[1]
    kinds = {column.name: column.kind for column in kept}
    assert kinds == dict.fromkeys(kinds, "text") | {"f16": "number", "u64": "integer"}
    for column in kept:
        array = pa.array([item.extra[column.name]], column.arrow)
        assert array.type == (column.arrow or pa.null()), "a table can be made of them again"


def test_files_with_different_columns_together(tmp_path: Path) -> None:
    save(tmp_path / "1.parquet", {"image": images(1), "a": [1], "c": pa.nulls(1)})
    save(tmp_path / "2.parquet", {"b": ["x"], "jpg": images(2)[1:], "a": [0.5], "c": [7]})
    sources = Sources([tmp_path / "*.parquet"])
    assert sources.columns()[1] == (
        Column("a", "number"), Column("c", "integer", pa.int64()), Column("b", "text", pa.string())
    )  # fmt: skip
    assert [item.extra for item in sources] == [{"a": 1, "c": None}, {"b": "x", "a": 0.5, "c": 7}]
    chosen = Sources([tmp_path / "{2,1}.parquet"], options=SourceOptions(columns=("b", "a")))
    assert [column.name for column in chosen.columns()[1]] == ["b", "a"]
    assert [item.extra for item in chosen] == [{"b": "x", "a": 0.5}, {"a": 1}]


@pytest.mark.parametrize("keep", [0, 3, 200, 0.5, 0.99])
def test_a_file_that_is_cut_off_is_no_parquet_file(tmp_path: Path, keep: float) -> None:
    path = save(tmp_path / "x.parquet", {"image": images(50)})
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    for act in (Sources([path]).check, Sources([path]).columns, lambda: list(Sources([path]))):
        with pytest.raises(DataError, match=r"x\.parquet cannot be read as Parquet: ."):
            act()


def test_a_damaged_row_group_is_an_error_and_the_others_are_read(tmp_path: Path) -> None:
    path = save(tmp_path / "x.parquet", {"image": images(30)}, row_group_size=10)
    chunk = pq.ParquetFile(path).metadata.row_group(1).column(0)
    content = bytearray(path.read_bytes())
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(content)
    items = read(path)
    names = [f"{path}:{row}" for row in (*range(10), *range(20, 30))]
    assert [item.name for item in items if item.error is None] == names
    (broken,) = [item for item in items if item.error is not None]
    assert items.index(broken) == 10 and broken.name == str(path)
    assert str(broken.error).startswith("rows 10 to 19 cannot be read: ")


def test_no_damage_ends_in_anything_but_rows_or_a_data_error(tmp_path: Path) -> None:
    path = save(tmp_path / "x.parquet", {"image": images(20), "n": [1] * 20}, row_group_size=5)
    whole = path.read_bytes()
    places = random.Random(7)
    ends = set()
    for _ in range(100):
        content = bytearray(whole)
        for _ in range(places.randint(1, 4)):
            content[places.randrange(4, len(content) - 8)] = places.randrange(256)
        path.write_bytes(content)
        try:
            errors = [item.error for item in read(path) if item.error is not None]
        except DataError:
            ends.add("not Parquet")
        else:
            assert all("cannot be read" in error or "no image" in error for error in errors)
            ends.add("rows with errors" if errors else "rows")
    assert ends == {"not Parquet", "rows with errors", "rows"}


def test_memory_does_not_grow_with_a_row_group(tmp_path: Path) -> None:
    """60 MB in one row group, of pages as pyarrow writes them for small batches of rows."""
    path = tmp_path / "x.parquet"
    columns = {"image": [bytes([n % 256]) * 200_000 for n in range(300)]}
    save(path, columns, row_group_size=300, write_batch_size=8, compression="none",
         use_dictionary=False)  # fmt: skip
    del columns
    before, most = pa.total_allocated_bytes(), 0

    def watched() -> Iterator[Item]:
        nonlocal most
        for item in Sources([path]):
            most = max(most, pa.total_allocated_bytes() - before)
            yield item

    assert sum(item.content is not None for item in watched()) == 300
    assert most < 30_000_000, f"60 MB went by, {most:,} bytes at once"


def test_shares_are_disjoint_and_together_all(tmp_path: Path) -> None:
    path = save(tmp_path / "x.parquet", {"image": images(11)}, row_group_size=4)
    shares = [[item.name for item in Sources([path], shard=(n, 3))] for n in (1, 2, 3)]
    assert shares[1] == [f"{path}:{row}" for row in (1, 4, 7, 10)]
    assert sorted(name for share in shares for name in share) == sorted(i.name for i in read(path))


def test_without_pyarrow_the_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "x.parquet", {"image": images(1)})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"Parquet needs pyarrow: pip install '\.\[parquet\]'"):
        Sources([path]).check()


def test_predictions_are_joined_to_the_other_columns(tmp_path: Path, infer: Infer) -> None:
    rows = [{"bytes": png(n), "path": f"{n}.png"} for n in range(3)]
    columns = {"image": pa.array(rows, IMAGE), "label": [1, 0, 1], "age": [7, None, 9]}
    path = save(tmp_path / "x.parquet", columns, FEATURES)
    done = infer(path, "-o", "-")
    assert done.returncode == 0, done.stderr
    found = read_csv(done.stdout)
    assert [row["path"] for row in found] == ["0.png", "1.png", "2.png"]
    assert [(row["source label"], row["age"]) for row in found] == [
        ("1", "7"),
        ("0", ""),
        ("1", "9"),
    ]
    evaluated = infer(path, "-o", tmp_path / "out.parquet", "--evaluate", "--columns", "age")
    assert b"3 labelled images evaluated" in evaluated.stdout, evaluated.stderr
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names[-2:] == ["error", "age"]
    assert table["age"].to_pylist() == [7, None, 9] and table.schema.field("age").type == pa.int64()
