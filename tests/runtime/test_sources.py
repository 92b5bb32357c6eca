"""Sources: every image once, in a stable order, whatever its name and whatever links do."""

from __future__ import annotations

import bz2
import gzip
import inspect
import io
import lzma
import os
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_runtime.errors import DataError
from fer_runtime.images import EXTENSIONS
from fer_runtime.sources import Files, Item, Sources, shard_of


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names(folder: Path, files: Files) -> list[str]:
    return [os.path.relpath(item.name, folder) for item in files]


def test_folders_are_walked_recursively_in_the_order_of_names(tmp_path: Path) -> None:
    touch(tmp_path, "b.png", "a/2.jpg", "a/10.jpg", "a/1.jpg", "a/z/0.png", "c/x.bmp", "B.png")
    files = Files([tmp_path])
    expected = ["B.png", "a/1.jpg", "a/10.jpg", "a/2.jpg", "a/z/0.png", "b.png", "c/x.bmp"]
    assert names(tmp_path, files) == expected
    assert names(tmp_path, files) == expected, "iterating again starts over"
    assert files.total() == 7


def test_order_does_not_depend_on_the_order_of_creation(tmp_path: Path) -> None:
    for folder, order in (("one", (1, 2, 3, 4)), ("two", (4, 2, 3, 1))):
        touch(tmp_path / folder, *(f"{number}.png" for number in order))
    assert names(tmp_path / "one", Files([tmp_path / "one"])) == names(
        tmp_path / "two", Files([tmp_path / "two"])
    )


def test_an_item_carries_its_name_and_its_path(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    path = str(tmp_path / "a.png")
    assert list(Files([str(tmp_path)])) == [Item(name=path, path=path, error=None)]


def test_known_endings_in_any_case_and_the_others_counted(tmp_path: Path) -> None:
    images = [f"{index}{ending.upper()}" for index, ending in enumerate(sorted(EXTENSIONS))]
    touch(tmp_path, *images, "a.Jpg", "notes.txt", "jpg", ".png", "model.onnx", "sub/x.jpg.bak")
    files = Files([tmp_path])
    assert sorted(names(tmp_path, files)) == sorted([*images, "a.Jpg"])
    assert files.skipped == 5
    assert files.total() == len(images) + 1
    assert files.skipped == 5, "counted once, not once per pass"


def test_what_macos_keeps_beside_a_file_is_no_image(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "._1.png", ".2.png")
    assert names(tmp_path, files := Files([tmp_path])) == [".2.png", "1.png"]
    assert files.skipped == 1


def test_the_known_endings() -> None:
    assert sorted(EXTENSIONS) == [
        ".bmp", ".dib", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"
    ]  # fmt: skip


def test_a_file_named_explicitly_is_always_tried(tmp_path: Path) -> None:
    touch(tmp_path, "face.data", "folder/a.png")
    sources = [tmp_path / "face.data", tmp_path / "folder", tmp_path / "missing.jpg"]
    assert names(tmp_path, Files(sources)) == ["face.data", "folder/a.png", "missing.jpg"]


def test_sources_keep_their_order(tmp_path: Path) -> None:
    touch(tmp_path, "z/1.png", "a/1.png")
    found = names(tmp_path, Files([tmp_path / "z", tmp_path / "a"]))
    assert found == ["z/1.png", "a/1.png"]


def test_nothing_gives_nothing(tmp_path: Path) -> None:
    assert list(Files([])) == []
    assert list(Files([tmp_path])) == []


def test_link_cycles_are_visited_once(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b" / "again").symlink_to(tmp_path / "a")
    assert names(tmp_path, Files([tmp_path])) == ["a/1.png", "b/2.png"]


def test_links_are_followed(tmp_path: Path) -> None:
    touch(tmp_path, "outside/1.png", "face.png")
    root = tmp_path / "root"
    root.mkdir()
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "link.png").symlink_to(tmp_path / "face.png")
    (root / "dangling.png").symlink_to("nowhere")
    assert names(root, Files([root])) == ["dangling.png", "folder/1.png", "link.png"]


def test_a_link_to_itself_ends_nothing(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "z.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "loop").symlink_to("loop")
    found = names(tmp_path, Files([tmp_path]))
    assert found[0] == "a.png"
    assert "loop.png" in found
    assert found[-1] == "z.png"


def test_one_folder_given_twice_gives_its_images_once(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png")
    assert names(tmp_path, Files([tmp_path, tmp_path / "a"])) == ["a/1.png"]


def test_a_folder_that_cannot_be_listed_is_an_item_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may list anything, so the refusal is played by a stand-in."""
    touch(tmp_path, "a/1.png", "secret/2.png", "z.png")
    scandir = os.scandir

    def refuse(folder: str) -> object:
        if os.fspath(folder).endswith("secret"):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    items = list(Files([tmp_path]))
    secret = str(tmp_path / "secret")
    assert [item.error for item in items] == [
        None,
        "folder cannot be listed: Permission denied",
        None,
    ]
    assert items[1] == Item(secret, secret, "folder cannot be listed: Permission denied")


def test_folders_may_lie_deeper_than_python_recurses(tmp_path: Path) -> None:
    """A path may have 4,096 bytes, that is 2,048 folders; the recursion limit is 1,000.

    Played at a tenth of that, because shutil.rmtree, which cleans up, recurses as well.
    """
    deep = tmp_path.joinpath(*["d"] * 200, "deep.png")
    touch(tmp_path, str(deep))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 150)
    try:
        (item,) = Files([tmp_path])
    finally:
        sys.setrecursionlimit(limit)
    assert item.name == str(deep)


STRANGE = [
    "with spaces.png",
    "Gesicht – schön.png",
    "顔.png",
    "line\nbreak.png",
    "-n.png",
    "#%'\".png",
]


def test_strange_names_come_out_as_they_are(tmp_path: Path) -> None:
    touch(tmp_path, *STRANGE)
    assert sorted(names(tmp_path, Files([tmp_path]))) == sorted(STRANGE)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a system whose file names are bytes")
def test_names_that_are_not_utf_8_keep_their_bytes(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    with open(path, "wb"):
        pass
    (item,) = Files([tmp_path])
    assert os.fsencode(item.name) == path
    assert os.path.exists(item.path)


# --- globs, lists, archives, CSV, shards -------------------------------------------------------


def png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (8, 8), value).save(stream, "PNG")
    return stream.getvalue()


def archive(path: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w") as target:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            target.addfile(entry, io.BytesIO(content))
    return path


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
    """At a damaged header, or at zeros with more behind them, tarfile stops without a word."""
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
    assert items[0].content is not None and np.array_equal(items[0].content, [[1, 2], [3, 4]])
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
