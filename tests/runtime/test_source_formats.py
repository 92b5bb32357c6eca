"""Sources beyond files and folders: globs, lists, archives, FER2013's CSV, shards."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
from pathlib import Path

import numpy as np
import pytest

from fer_runtime.errors import DataError
from fer_runtime.sources import Sources, shard_of
from tests.runtime.shards import archive, names, png, touch


def test_globs_are_sorted_and_a_file_of_that_name_goes_first(tmp_path: Path) -> None:
    touch(tmp_path, "a/2.png", "a/1.png", "b/deep/3.png", "x[1].png", "x1.png")
    assert names(tmp_path, Sources([tmp_path / "*/*.png"])) == ["a/1.png", "a/2.png"]
    every = ["a/1.png", "a/2.png", "b/deep/3.png", "x1.png", "x[1].png"]
    assert sorted(names(tmp_path, Sources([tmp_path / "**/*.png"]))) == every
    assert names(tmp_path, Sources([tmp_path / "x[1].png"])) == ["x[1].png"]
    with pytest.raises(DataError, match=r"y\*: no file matches"):
        list(Sources([tmp_path / "y*"]))


def test_globs_and_lists_take_folders_shards_and_csv_as_arguments_do(tmp_path: Path) -> None:
    touch(tmp_path, "in/a/1.png", "in/b/2.png")
    archive(tmp_path / "in" / "s.tar", ("3.png", png(3)))
    (tmp_path / "in" / "t.csv").write_text("pixels\n1 2 3 4\n")
    every = ["in/a/1.png", "in/b/2.png", "in/s.tar/3.png", "in/t.csv:2"]
    assert names(tmp_path, Sources([tmp_path / "in" / "*"])) == every
    assert names(tmp_path, Sources([tmp_path / "in" / "[st].*"])) == every[2:]
    lines = "".join(f"{tmp_path}/in/{name}\n" for name in ("a", "b", "s.tar", "t.csv"))
    assert names(tmp_path, Sources(["-"], stdin=io.BytesIO(lines.encode()))) == every


def test_what_is_not_there_is_found_before_any_work(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    Sources([tmp_path, tmp_path / "a.png", tmp_path / "gone.png", "-"]).check()
    for missing in ("s.tar", "s.tar.gz", "x*.png", "t.csv"):
        with pytest.raises(DataError, match=r"does not exist|no file matches"):
            Sources([tmp_path, tmp_path / missing]).check()


def test_a_list_on_stdin_is_read_line_by_line(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "folder/b.png")
    lines = f"{tmp_path}/a.png\r\n\n{tmp_path}/folder\n{tmp_path}/gone.png".encode()
    sources = Sources(["-"], stdin=io.BytesIO(lines))
    assert sources.total() is None
    assert names(tmp_path, sources) == ["a.png", "folder/b.png", "gone.png"]
    with pytest.raises(DataError, match="pass - once"):
        Sources(["-", "-"])


def test_tar_shards_are_read_as_streams(tmp_path: Path) -> None:
    path = archive(
        tmp_path / "shard.tar", ("happy/1.png", png(1)), ("happy/1.json", b"{}"), ("2.JPG", b"x")
    )
    sources = Sources([path])
    items = list(sources)
    assert [item.name for item in items] == [f"{path}/happy/1.png", f"{path}/2.JPG"]
    assert [item.content for item in items] == [png(1), b"x"]
    assert sources.skipped == 1 and sources.total() is None


@pytest.mark.parametrize("keep", [0.3, 0.55, 0.9])
def test_tar_that_breaks_off_ends_in_an_error(tmp_path: Path, keep: float) -> None:
    path = archive(tmp_path / "shard.tar", *((f"{i}.png", png(i)) for i in range(9)))
    content = path.read_bytes()[: 9 * 1024]
    path.write_bytes(content[: int(len(content) * keep)])
    *whole, last = Sources([path])
    assert whole and all(item.error is None and item.content == png(i) for i, item in
                         enumerate(whole))  # fmt: skip
    assert last.name == str(path) and last.error is not None


@pytest.mark.parametrize("how", ["header", "zeroed", "two"])
def test_what_tarfile_passes_over_is_an_error(tmp_path: Path, how: str) -> None:
    """At a damaged header, or at zeros with more behind them, tarfile stops silently."""
    path = archive(tmp_path / "s.tar", *((f"{i}.png", png(i)) for i in range(9)))
    content = bytearray(path.read_bytes())
    third = 2 * (512 + 512)
    if how == "header":
        content[third + 10] ^= 8
    elif how == "zeroed":
        content[third : third + 512] = bytes(512)
    path.write_bytes(content * 2 if how == "two" else content)
    *whole, last = Sources([path])
    assert len(whole) == (9 if how == "two" else 2) and all(i.error is None for i in whole)
    assert last.name == str(path) and "or another one follows" in str(last.error)


def test_compressed_tar_shards(tmp_path: Path) -> None:
    """Cut anywhere, what is whole comes out, and then an error, or it is not an archive at all."""
    noise = np.random.default_rng(0)
    members = [(f"{i}.png", noise.bytes(5000)) for i in range(9)]
    plain = archive(tmp_path / "s.tar", *members).read_bytes()
    for ending, pack in (("tar.xz", lzma), ("tar.bz2", bz2), ("tar.gz", gzip), ("TGZ", gzip)):
        path = tmp_path / f"s.{ending}"
        path.write_bytes(pack.compress(plain))
        assert [item.name for item in Sources([path])] == [f"{path}/{i}.png" for i in range(9)]
        assert Sources([path]).total() is None
    broken = set()
    whole = path.read_bytes()
    for cut in range(1, len(whole), 99):
        path.write_bytes(whole[:cut])
        try:
            *_, last = Sources([path])
        except DataError:
            broken.add("no archive")
        else:
            assert last.name == str(path) and last.error is not None
            broken.add("broken off")
    assert broken == {"no archive", "broken off"}


def test_sources_that_are_none_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("not a tar archive" * 100)
    (tmp_path / "other.csv").write_text("path,label\na,b\n")
    os.mkfifo(tmp_path / "pipe.tar")
    os.mkfifo(tmp_path / "pipe.csv")
    for name, message in (
        ("text.tar", "cannot be read as a tar archive"),
        ("gone.tar", "does not exist"),
        ("pipe.tar", "is not a regular file"),
        ("pipe.csv", "is not a regular file"),
        ("other.csv", "has no column 'pixels'"),
    ):
        with pytest.raises(DataError, match=message):
            list(Sources([tmp_path / name]))


def test_csv_rows_are_pixels_or_say_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "fer2013.csv"
    rows = ["0,1 2 3 4,Training", "1,1 2 3,Training", "2,1 2 3 256,Training", "3,a b c d,x", "4"]
    path.write_text("\n".join(["emotion, pixels, Usage", *rows]) + "\n")
    items = list(Sources([path]))
    assert [item.name for item in items] == [f"{path}:{line}" for line in range(2, 7)]
    assert isinstance(items[0].content, np.ndarray)
    assert np.array_equal(items[0].content, [[1, 2], [3, 4]])
    assert [item.error for item in items[1:]] == [
        "3 pixels are not a square image",
        "its pixels are not whole numbers from 0 to 255",
        "its pixels are not whole numbers from 0 to 255",
        "0 pixels are not a square image",
    ]


def test_csv_from_a_spreadsheet(tmp_path: Path) -> None:
    """A mark at the beginning, empty lines; a line beyond any image ends it with an error."""
    path = tmp_path / "x.csv"
    long = b"1 " * (1 << 24)
    path.write_bytes(b"\xef\xbb\xbfpixels,emotion\r\n1 2 3 4,0\r\n\r\n5 6 7 8,1\r\n\r\n")
    assert [(item.name, item.error) for item in Sources([path])] == [
        (f"{path}:2", None),
        (f"{path}:4", None),
    ]
    path.write_bytes(b"pixels\n1 2 3 4\n" + long + b"\n")
    first, last = Sources([path])
    assert first.error is None and "cannot be read further: field larger" in str(last.error)


def test_shards_are_disjoint_and_together_all(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{index:02}.png" for index in range(11)))
    shards = [names(tmp_path, Sources([tmp_path], shard=(i, 3))) for i in (1, 2, 3)]
    assert [len(shard) for shard in shards] == [4, 4, 3]
    assert sorted(name for shard in shards for name in shard) == names(
        tmp_path, Sources([tmp_path])
    )
    assert shard_of("2/3") == (2, 3)
    for text in ("0/3", "4/3", "1", "a/b", "1/", "-1/3"):
        with pytest.raises(DataError, match="write which share"):
            shard_of(text)
