"""Tar shards in folders, and braces as users of WebDataset write them."""

from __future__ import annotations

import os
import shutil
import subprocess
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_runtime.errors import DataError
from fer_runtime.sources import Files, Sources
from fer_runtime.sources.patterns import expand, is_pattern
from tests.runtime.command import Infer, read_csv
from tests.runtime.shards import archive, names, png, touch


def test_a_folder_yields_its_images_and_those_in_its_shards(tmp_path: Path) -> None:
    touch(tmp_path, "b.png", "d/e.png", "._c.tar", "notes.txt")
    archive(tmp_path / "c.tar", ("1.png", png(1)), ("readme.txt", b"-"), ("0.png", png(0)))
    archive(tmp_path / "d" / "a.TAR", ("x/2.png", png(2)))
    sources = Sources([tmp_path])
    expected = ["b.png", "c.tar/1.png", "c.tar/0.png", "d/a.TAR/x/2.png", "d/e.png"]
    assert names(tmp_path, sources) == expected
    assert sources.skipped == 3, "._c.tar, notes.txt and the shard's readme.txt"
    assert sources.total() is None
    assert names(tmp_path, Files([tmp_path])) == ["b.png", "d/e.png"], "as training lists them"


def test_the_number_of_a_folders_images_is_known_without_shards(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{n}.png" for n in range(7)), "x.txt")
    assert Sources([tmp_path, tmp_path / "1.png"]).total() == 8
    assert [Sources([tmp_path], shard=(n, 3)).total() for n in (1, 2, 3)] == [3, 2, 2]


def test_a_folder_named_as_a_shard_is_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a.tar/1.png")
    assert names(tmp_path, Sources([tmp_path])) == ["a.tar/1.png"]
    assert names(tmp_path, Sources([tmp_path / "a.tar"])) == ["a.tar/1.png"]


def test_a_broken_shard_in_a_folder_is_an_error_and_the_others_are_read(tmp_path: Path) -> None:
    archive(tmp_path / "a.tar", ("1.png", png(1)))
    (tmp_path / "b.tar").write_bytes(b"not a tar archive" * 100)
    os.mkfifo(tmp_path / "c.tar")
    archive(tmp_path / "d.tar", ("2.png", png(2)))
    items = list(Sources([tmp_path]))
    assert names(tmp_path, items) == ["a.tar/1.png", "b.tar", "c.tar", "d.tar/2.png"]
    assert items[1].error == "cannot be read as a tar archive: invalid header"
    assert items[2].error == "is not a regular file"
    assert items[0].error is None and items[3].error is None


def test_shares_of_a_folder_with_shards_are_disjoint(tmp_path: Path) -> None:
    touch(tmp_path, "0.png", "z.png")
    archive(tmp_path / "a.tar", *((f"{n}.png", png(n)) for n in range(5)))
    shares = [names(tmp_path, Sources([tmp_path], shard=(n, 3))) for n in (1, 2, 3)]
    assert shares[0] == ["0.png", "a.tar/2.png", "z.png"]
    assert sorted(chain(*shares)) == sorted(names(tmp_path, Sources([tmp_path])))


def test_braces_name_shards_in_the_order_written(tmp_path: Path) -> None:
    for n in range(12):
        archive(tmp_path / f"{n:03}.tar", ("1.png", png(n)))
    touch(tmp_path, "b/2.png", "b/1.png", "a/3.png")
    assert names(tmp_path, Sources([tmp_path / "{009..011}.tar"])) == [
        f"{n:03}.tar/1.png" for n in (9, 10, 11)
    ]
    assert names(tmp_path, Sources([tmp_path / "{b,a}/*.png"])) == ["b/1.png", "b/2.png", "a/3.png"]
    assert names(tmp_path, Sources([tmp_path / "{b,00{2,0}.tar}"])) == [
        *("b/1.png", "b/2.png", "002.tar/1.png", "000.tar/1.png")
    ]
    assert Sources([tmp_path / "{009..011}.tar"]).total() is None


def test_a_missing_shard_is_named_before_any_work(tmp_path: Path) -> None:
    touch(tmp_path, "000.tar", "001.tar", "003.tar", "a1.png")
    sources = Sources([tmp_path / "{000..003}.tar"])
    with pytest.raises(DataError, match=r"/002\.tar does not exist \(.*\{000\.\.003\}\.tar incl"):
        sources.check()
    with pytest.raises(DataError, match=r"000\.tar cannot be read"):
        list(sources)
    for missing in ("{a,b}1.png", "{a,b}*.png", "{1..2}{1..9999999999999}.tar"):
        with pytest.raises(DataError, match=r"does not exist|no file matches"):
            Sources([tmp_path / missing]).check()


def test_a_file_whose_name_has_braces_goes_first(tmp_path: Path) -> None:
    touch(tmp_path, "{1,2}.png", "1.png", "2.png", "x{1}.png")
    assert names(tmp_path, Sources([tmp_path / "{1,2}.png"])) == ["{1,2}.png"]
    assert names(tmp_path, Sources([tmp_path / "x{1}.png"])) == ["x{1}.png"]
    gone = list(Sources([tmp_path / "y{1}.png"]))
    assert names(tmp_path, gone) == ["y{1}.png"], "it is an image that cannot be read, as any"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("{a,b}{1..3}", "a1 a2 a3 b1 b2 b3"),
        ("{08..11}", "08 09 10 11"),
        ("{8..11}", "8 9 10 11"),
        ("{3..1}", "3 2 1"),
        ("{0..8..3}", "0 3 6"),
        ("{-1..1}", "-1 0 1"),
        ("{c..a}", "c b a"),
        ("{a,b{1,2},}x", "ax b1x b2x x"),
        ("{a}{b{1,2}}", "{a}{b1} {a}{b2}"),
        ("{,}", " "),
        ("{a,b", "{a,b"),
        ("a}{1,2}{", "a}1{ a}2{"),
        ("{}{..}{a..}", "{}{..}{a..}"),
        ("{*,?}.tar", "*.tar ?.tar"),
    ],
)
def test_braces_worked_out_by_hand(pattern: str, expected: str) -> None:
    assert list(expand(pattern)) == expected.split(" ")
    assert is_pattern(f"/nowhere/{pattern}") == (list(expand(pattern)) != [pattern])


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash to compare with")
def test_braces_are_those_of_bash() -> None:
    patterns = [
        *("{1..3}{a,b}", "{01..3}", "{-05..5..5}", "{a..e..2}x", "x{a,b{c,d}e,f}", "{a,{b,c}}"),
        *("{1..3..0}", "{10..1..4}", "{a,b}{", "}{a,b}", "{{a,b}}", "{a,b}}", "{1..a}", "{Z..W}"),
    ]
    done = subprocess.run(
        ["bash", "-c", "".join(f"echo {pattern};" for pattern in patterns)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for pattern, line in zip(patterns, done.stdout.splitlines(), strict=True):
        assert list(expand(pattern)) == line.split(), pattern


@given(st.text("ab{},.0123*-", max_size=24))
def test_any_text_expands_to_an_end(text: str) -> None:
    found = expand(text)
    first = [name for _, name in zip(range(200), found, strict=False)]
    assert first
    if "{" not in text:
        assert first == [text]
    assert is_pattern(f"/nowhere/{text}") == ("*" in text or first != [text])


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 4))
def test_a_range_has_all_numbers_with_their_width(first: int, last: int, width: int) -> None:
    found = list(expand(f"s-{{{first:0{width}d}..{last:0{width}d}}}.tar"))
    numbers = [int(name[2:-4]) for name in found]
    step = 1 if first <= last else -1
    assert numbers == list(range(first, last + step, step))
    assert found[0] == f"s-{first:0{len(found[0]) - 6}d}.tar"
    if width > max(len(str(first)), len(str(last))):
        assert {len(name) for name in found} == {width + 6}


def test_fer_infer_reads_a_folder_of_shards(tmp_path: Path, infer: Infer) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    for number, label in enumerate(("happy", "sad")):
        members = [("1.png", png(number)), ("1.cls", label.encode()), ("1.json", b'{"age": 3}')]
        archive(folder / f"{number}.tar", *members)
    done = infer(folder, "-o", "-", "--columns", "age", "--evaluate")
    assert done.returncode == 0, done.stderr
    rows = read_csv(done.stdout)
    assert [(row["path"], row["age"]) for row in rows] == [
        (f"{folder}/0.tar/1.png", "3"), (f"{folder}/1.tar/1.png", "3")
    ]  # fmt: skip
    assert b"2 labelled images evaluated" in done.stderr
    missing = infer(f"{folder}/{{0..2}}.tar", "-o", "-")
    assert missing.returncode == 6 and b"2.tar does not exist" in missing.stderr


def test_fer_infer_names_what_to_do_about_tables_and_numbers(tmp_path: Path, infer: Infer) -> None:
    folder = tmp_path / "tables"
    touch(folder, "a.csv", "b.csv", "notes.txt")
    done = infer(folder)
    assert done.returncode == 6
    hint = f"2 of them are videos or tables: name them, as {folder}/*.csv."
    assert f"no image files there (3 other files); {hint}" in done.stderr.decode()
    members = [("1.png", png(1)), ("1.cls", b"happy"), ("2.png", png(2)), ("2.cls", b"3")]
    done = infer(archive(tmp_path / "s.tar", *members), "--evaluate")
    assert done.returncode == 0 and b"1 without a label skipped" in done.stderr
    assert b"the labels of 1 image are numbers: pass the names" in done.stderr
