"""Sources: every image once, in a stable order, whatever its name and whatever links do."""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path

import pytest

from fer_runtime.images import EXTENSIONS
from fer_runtime.sources import Files, Item


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
