"""WebDataset samples: labels and metadata beside an image, in any order, hostile or not."""

from __future__ import annotations

import gc
import io
import json
import tarfile
import tracemalloc
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_runtime.columns import Column
from fer_runtime.items import Item
from fer_runtime.sources import SourceOptions, Sources
from fer_runtime.sources.labels import CLASS_NUMBER, label_of
from fer_runtime.sources.samples import Beside, joined, key_of
from tests.runtime.shards import archive, png

Members = list[tuple[str, bytes]]
SAMPLE: Members = [
    ("a/1.png", png(1)),
    ("a/1.cls", b"happy\n"),
    ("a/1.json", b'{"age": 31, "who": {"name": "Zo\xc3\xab"}, "label": "sad"}'),
    ("a/1.txt", b"a caption"),
]


def read(path: Path, **options: Any) -> tuple[Sources, list[Item]]:
    sources = Sources([path], options=SourceOptions(**options))
    return sources, list(sources)


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_the_members_of_a_sample_come_in_any_order(tmp_path: Path, order: tuple[int, ...]) -> None:
    before, after = ("a/0.png", png(0)), ("b/1.png", png(2))
    path = archive(tmp_path / "s.tar", before, *(SAMPLE[place] for place in order), after)
    sources, items = read(path, columns=("who.name", "age", "missing"))
    assert [item.name for item in items] == [
        f"{path}/{n}" for n in ("a/0.png", "a/1.png", "b/1.png")
    ]
    assert items[1] == Item(
        f"{path}/a/1.png", f"{path}/a/1.png", None, png(1), "happy",
        {"who.name": "Zoë", "age": 31, "missing": None},
    )  # fmt: skip
    assert [(item.label, item.extra) for item in (items[0], items[2])] == [(None, None)] * 2
    assert sources.skipped == 1, "the caption only"


def test_without_columns_the_label_is_still_read(tmp_path: Path) -> None:
    members = [SAMPLE[0], ("a/1.json", b'{"label": "sad"}'), ("2.png", png(2)), ("2.json", b"{}")]
    sources, items = read(archive(tmp_path / "s.tar", *members))
    assert [(item.label, item.extra) for item in items] == [("sad", None), (None, None)]
    assert sources.skipped == 1, "2.json says nothing"


def test_class_numbers_need_names(tmp_path: Path) -> None:
    """Their order is that of the data set, which no file in it gives."""
    members = [("1.cls", b"2"), ("1.png", png(1)), ("2.json", b'{"label": 0}'), ("2.png", png(2))]
    path = archive(tmp_path / "s.tar", *members)
    sources, items = read(path)
    assert [(item.label, item.extra) for item in items] == [
        (None, {CLASS_NUMBER: 2}), (None, {CLASS_NUMBER: 0})
    ]  # fmt: skip
    assert sources.label_hint().startswith("the labels of 2 images are numbers: pass the names")
    sources, items = read(path, class_labels=("angry", "happy", "sad"))
    assert [(item.label, item.extra) for item in items] == [("sad", None), ("angry", None)]
    assert sources.label_hint() == ""
    sources, items = read(path, class_labels=("angry", "happy"))
    assert [item.label for item in items] == [None, "angry"]
    assert "the labels of 1 image are numbers that are not 0 to 1" in sources.label_hint()
    assert read(path, columns=("cls",))[1][0].extra == {"cls": "2", CLASS_NUMBER: 2}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("happy", ("happy", None)), (" happy\n", ("happy", None)), ("", (None, None)),
        ("1", ("b", None)), (1, ("b", None)), (2, (None, 2)), (-1, (None, None)),
        (True, (None, None)), (None, (None, None)), (1.0, (None, None)), ("9" * 99, (None, None)),
    ],
)  # fmt: skip
def test_a_label_is_a_name_or_a_number(value: Any, expected: tuple[str | None, int | None]) -> None:
    assert label_of(value, ("a", "b")) == expected


def test_two_images_of_one_sample_share_what_is_known(tmp_path: Path) -> None:
    members = [("1.left.png", png(1)), ("1.cls", b"sad"), ("1.right.png", png(2))]
    _, items = read(archive(tmp_path / "s.tar", *members))
    assert [(Path(item.name).name, item.label) for item in items] == [
        ("1.left.png", "sad"), ("1.right.png", "sad")
    ]  # fmt: skip


def test_one_key_again_is_another_sample(tmp_path: Path) -> None:
    for order in ((0, 1), (1, 0)):
        pairs = [
            [("1.png", png(n)), ("1.cls", label)] for n, label in enumerate((b"sad", b"happy"))
        ]
        members = [pair[place] for pair in pairs for place in order]
        _, items = read(archive(tmp_path / "s.tar", *members))
        assert [item.label for item in items] == ["sad", "happy"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("s.tar/a.b/1.left.PNG", ("s.tar/a.b/1", ".left.png")),
        ("1.png", ("1", ".png")),
        ("a/.1.png", ("a/.1.png", "")),
        ("a/none", ("a/none", "")),
    ],
)
def test_the_key_is_what_webdataset_takes(name: str, expected: tuple[str, str]) -> None:
    assert key_of(name) == expected


HOSTILE = {
    "not an object": (b"[1, 2]", "is not a JSON object"),
    "nothing": (b"", "broken JSON"),
    "not JSON": (b"age: 3", "broken JSON"),
    "not UTF-8": (b'{"age": "\xff\xfe"}', "broken JSON"),
    "10 MB": (b'{"age": "%s"}' % (b"x" * 10_000_000), "more than 4,194,304 bytes"),
    "deep": (b'{"age": %s1%s}' % (b"[" * 100_000, b"]" * 100_000), "nested too deeply"),
    "rather deep": (b'{"age": %s1%s}' % (b"[" * 40, b"]" * 40), "nested more than 32 deep"),
    "a long number": (b'{"age": %s}' % (b"1" * 5000), "broken JSON: Exceeds the limit"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_json_is_an_error_row_and_the_image_is_kept(tmp_path: Path, name: str) -> None:
    content, reason = HOSTILE[name]
    members = [("1.png", png(1)), ("1.json", content), ("2.png", png(2))]
    path = archive(tmp_path / "s.tar", *members)
    sources, (image, broken, last) = read(path, columns=("age",))
    assert (image.error, image.extra) == (None, {"age": None})
    assert broken.name == f"{path}/1.json" and reason in str(broken.error)
    assert last.error is None and sources.skipped == 0
    sources, items = read(path)
    assert [item.error for item in items] == [None, None], "nobody asked for it"
    assert sources.skipped == 1


def test_numbers_and_letters_that_cannot_be_written_are_replaced(tmp_path: Path) -> None:
    content = b'{"a": NaN, "b": [1e999, -Infinity, {"c": NaN}], "d": "\\ud800x", "e": true}'
    path = archive(tmp_path / "s.tar", ("1.png", png(1)), ("1.json", content))
    _, (image,) = read(path, columns=("all",))
    expected = {"a": None, "b": [None, None, {"c": None}], "d": "?x", "e": True}
    assert image.extra == expected
    json.dumps(image.extra, allow_nan=False).encode()


def test_labels_that_are_none(tmp_path: Path) -> None:
    for content in (b"", b" \n", b"\xff\xfe", b"a\0b", b"two\nlines", b"x" * 5000):
        sources, (item,) = read(archive(tmp_path / "s.tar", ("1.png", png(1)), ("1.cls", content)))
        assert (item.label, item.error, sources.skipped) == (None, None, 1), content


def test_all_columns_are_those_of_the_first_images(tmp_path: Path) -> None:
    one = archive(tmp_path / "1.tar", ("x.txt", b""), *SAMPLE)
    two = archive(tmp_path / "2.tar", ("1.png", png(1)), ("1.json", b'{"age": 3, "b": 1}'))
    (tmp_path / "3.tar").write_bytes(b"not an archive" * 99)
    names = ("age", "who", "label", "cls")
    for source, expected in ((one, names), (tmp_path, (*names, "b"))):
        sources = Sources([source], options=SourceOptions(columns=("all",)))
        assert sources.columns() == ((), tuple(map(Column, expected)))
    asked = Sources([two, one], options=SourceOptions(columns=("any.thing",)))
    assert asked.columns() == ((), (Column("any.thing"),))
    assert Sources([tmp_path]).columns() == ((), ())


def test_a_shard_that_breaks_off_loses_no_image_before(tmp_path: Path) -> None:
    members = [
        (f"{n}.{end}", png(n) if end == "png" else b"sad")
        for n in range(9)
        for end in ("cls", "png")
    ]
    path = archive(tmp_path / "s.tar", *members)
    path.write_bytes(path.read_bytes()[: 5 * 2048 + 700])
    *whole, last = read(path)[1]
    assert [(item.label, item.error) for item in whole] == [("sad", None)] * 5
    assert last.name == str(path) and last.error is not None


def film(count: int) -> Any:
    """Images that all have one key, as the frames of a film have."""
    for number in range(count):
        name = f"film.{number:06}.png"
        yield Item(name, name, content=bytes(100_000))


def test_memory_does_not_grow_with_images_of_one_key() -> None:
    gc.collect()
    tracemalloc.start()
    try:
        assert sum(item is not None for item in joined(film(3000), SourceOptions())) == 3000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000, f"300 MB went by, {peak:,} bytes at once"


def test_memory_does_not_grow_with_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w") as target:
        for number in range(300):
            for end, content in (("png", bytes(100_000)), ("json", b'{"a": 1}'), ("cls", b"sad")):
                entry = tarfile.TarInfo(f"{number}.{end}")
                entry.size = len(content)
                target.addfile(entry, io.BytesIO(content))
    tracemalloc.start()
    try:
        sources = Sources([path], options=SourceOptions(columns=("a",)))
        assert sum(item.label == "sad" for item in sources) == 300
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000, f"30 MB went by, {peak:,} bytes at once"


pieces = st.lists(
    st.tuples(
        st.sampled_from(["1", "2", "a/1", ".h"]),
        st.sampled_from(["png", "x.jpg", "cls", "json", "b.json"]),
    ),
    max_size=12,
)


@given(pieces)
def test_every_member_comes_out_once(members: list[tuple[str, str]]) -> None:
    """An image as one item, in the order of the archive; any other as skipped: they say nothing."""
    given_: list[Item | Beside | None] = []
    for key, end in members:
        name = f"s.tar/{key}.{end}"
        if end.endswith(("png", "jpg")):
            given_.append(Item(name, name, content=b"-"))
        else:
            given_.append(Beside(name, b"" if end == "cls" else b"{}"))
    found = list(joined(given_, SourceOptions()))
    images = [item.name for item in found if item is not None]
    assert images == [each.name for each in given_ if isinstance(each, Item)]
    assert len(found) == len(members)
