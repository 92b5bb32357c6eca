"""The table of sources: plain readers and kinds, whole files and shards, schemes and columns."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from fer_runtime.columns import Column
from fer_runtime.errors import DataError
from fer_runtime.items import Item
from fer_runtime.sources import SOURCES, SourceKind, SourceOptions, Sources, kind_of
from fer_runtime.sources.found_columns import common

opened: list[str] = []


def reel(path: str, options: SourceOptions) -> Iterator[Item | None]:
    """Three frames of any file, as a video has them."""
    opened.append(path)
    for frame in range(3):
        yield Item(path, path, content=b"", extra={"frame": frame}, stream=path)


def table(path: str, options: SourceOptions) -> Iterator[Item | None]:
    yield Item(f"{path}:0", path, content=b"")
    yield None


def plain(path: str) -> Iterator[Item | None]:
    yield Item(f"{path}!", path, content=b"")


def header(path: str, options: SourceOptions) -> tuple[tuple[Column, ...], tuple[Column, ...]]:
    """The file's text has its columns: `age:integer,name:text`."""
    pairs = [each.split(":") for each in Path(path).read_text().split(",")]
    found = [Column(name, kind) for name, kind in pairs]
    asked = options.columns
    return (), tuple(c for c in found if asked in (None, ("all",)) or c.name in (asked or ()))


def frames(path: str, options: SourceOptions) -> tuple[tuple[Column, ...], tuple[Column, ...]]:
    return (Column("frame", "integer"),), ()


@pytest.fixture(autouse=True)
def entries(monkeypatch: pytest.MonkeyPatch) -> None:
    opened.clear()
    monkeypatch.setitem(SOURCES, ".reel", SourceKind(reel, frames, whole=True))
    monkeypatch.setitem(SOURCES, ".tab", SourceKind(table, header))
    monkeypatch.setitem(SOURCES, ".plain", plain)
    monkeypatch.setitem(SOURCES, "cam:", SourceKind(reel, frames, whole=True))


def touch(folder: Path, *names: str) -> list[str]:
    for name in names:
        (folder / name).touch()
    return [str(folder / name) for name in names]


def test_plain_functions_and_kinds_are_read(tmp_path: Path) -> None:
    one, two = touch(tmp_path, "a.plain", "b.TAB")
    sources = Sources([one, two])
    assert [item.name for item in sources] == [f"{one}!", f"{two}:0"]
    assert sources.skipped == 1 and sources.total() is None
    assert kind_of("x.png") is None and kind_of("x.tab") == SourceKind(table, header)


def test_a_scheme_is_known_by_what_the_name_begins_with(tmp_path: Path) -> None:
    sources = Sources(["cam:/dev/*[0]{1,2}"])
    sources.check()
    assert [item.path for item in sources] == ["cam:/dev/*[0]{1,2}"] * 3
    with pytest.raises(DataError, match=r"b\.tab does not exist"):
        Sources([tmp_path / "b.tab"]).check()


def test_a_file_that_is_named_as_a_scheme_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "cam:1.png")
    assert list(Sources(["cam:1.png"])) == [Item("cam:1.png", "cam:1.png")]


def test_a_whole_file_is_in_one_share_and_no_other_opens_it(tmp_path: Path) -> None:
    names = touch(tmp_path, "1.png", "a.reel", "2.png", "b.reel", "3.png")
    first = [item.path for item in Sources(names, shard=(1, 2))]
    assert first == [names[0], names[2], names[4]] and opened == []
    second = [item.path for item in Sources(names, shard=(2, 2))]
    assert second == [names[1]] * 3 + [names[3]] * 3 and opened == [names[1], names[3]]
    assert [item.path for item in Sources(names)].count(names[1]) == 3


def test_columns_of_several_files_together(tmp_path: Path) -> None:
    for name, text in (("1.tab", "age:integer,id:text"), ("2.tab", "id:integer,age:number,x:text")):
        (tmp_path / name).write_text(text)
    touch(tmp_path, "a.reel", "1.png")
    leading = (Column("frame", "integer"),)
    kept = (Column("age", "number"), Column("id", "text"), Column("x", "text"))
    assert Sources([tmp_path / "*"]).columns() == (leading, kept)
    assert Sources([tmp_path / "1.png"]).columns() == ((), ())
    assert Sources([tmp_path]).columns() == ((), ()), "folders are not searched for tables"
    assert opened == []


def test_columns_that_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "1.tab").write_text("age:integer,id:text")
    chosen = Sources([tmp_path / "1.tab"], options=SourceOptions(columns=("id", "age")))
    assert chosen.columns() == ((), (Column("id"), Column("age", "integer")))
    with pytest.raises(DataError, match="no source has a column 'agee'; their columns are: age, i"):
        Sources([tmp_path / "1.tab"], options=SourceOptions(columns=("agee",))).columns()
    listed = Sources(["-"], options=SourceOptions(columns=("id",)), stdin=io.BytesIO())
    assert listed.columns() == ((), (Column("id"),)), "a list may name a table that has it"


def test_a_list_cannot_add_columns_before_the_label(tmp_path: Path) -> None:
    (name,) = touch(tmp_path, "a.reel")
    alone = list(Sources(["-"], stdin=io.BytesIO(name.encode())))
    why = "has columns of its own (frame): pass it as an argument, not in a list"
    assert alone == [Item(name, name, why)] and opened == []
    both = list(Sources([name, "-"], stdin=io.BytesIO(name.encode())))
    assert [item.error for item in both] == [None] * 6


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (("integer", None), ("integer", None), ("integer", None)),
        (("integer", "int32"), ("integer", "int64"), ("integer", None)),
        (("integer", None), ("number", None), ("number", None)),
        (("number", None), ("text", "string"), ("text", None)),
    ],
)
def test_the_kind_of_a_column_that_two_files_have(
    one: tuple[str, str | None], other: tuple[str, str | None], expected: tuple[str, str | None]
) -> None:
    assert common(Column("x", *one), Column("x", *other)) == Column("x", *expected)
    assert common(Column("x", *other), Column("x", *one)) == Column("x", *expected)


def test_a_folder_names_what_must_be_named(tmp_path: Path) -> None:
    sources = Sources([tmp_path])
    assert list(sources) == [] and sources.hint() == ""
    touch(tmp_path, "1.reel", "notes.txt")
    assert list(sources) == [] and sources.skipped == 2
    assert sources.hint() == f"1 of them is a video or a table: name it, as {tmp_path}/*.reel"
    touch(tmp_path, "2.reel", "3.tab")
    list(sources)
    assert sources.hint().startswith("3 of them are videos or tables: name them, as ")
