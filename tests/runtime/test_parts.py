"""Folders of parts: the rows of one run, whatever was interrupted, and nothing twice."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fer_runtime import infer
from fer_runtime.errors import DataError
from fer_runtime.parts.folder import LocalFolder
from fer_runtime.parts.outputs import whole_batches
from tests.runtime.command import INFER, environment

SIZE = 32


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, faces: npt.NDArray[np.uint8]) -> Path:
    """100 images, two of which cannot be read."""
    folder = tmp_path_factory.mktemp("images")
    for n in range(98):
        Image.fromarray(faces[n % len(faces), 0]).save(folder / f"{n:03}.png")
    (folder / "0505.jpg").write_bytes(b"no image")
    (folder / "0707.jpg").write_bytes(b"")
    return folder


@pytest.fixture
def options(tiny_model: Path) -> dict[str, Any]:
    """Parts of 32 images as CSV."""
    return {"model": tiny_model, "provider": "cpu", "part_images": SIZE, "ending": ".csv"}


def folder_of(path: Path) -> str:
    return f"{path}/"


def rows(*parts: Path) -> list[dict[str, str]]:
    """The rows of CSV files, one after the other."""
    found = []
    for part in parts:
        with open(part, newline="", encoding="utf-8") as stream:
            found += list(csv.DictReader(stream))
    return found


def parts_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*"))


@pytest.fixture
def expected(images: Path, tiny_model: Path, tmp_path: Path) -> list[dict[str, str]]:
    """The rows of one file."""
    infer([images], tmp_path / "whole.csv", model=tiny_model, provider="cpu", workers=0)
    return rows(tmp_path / "whole.csv")


def test_the_parts_have_the_rows_of_one_file(
    images: Path, options: dict[str, Any], tmp_path: Path, expected: list[dict[str, str]]
) -> None:
    folder = tmp_path / "out"
    result = infer([images], folder_of(folder), **options)
    assert (result.rows, result.errors, result.finished_rows) == (100, 2, 0)
    assert [part.name for part in parts_of(folder)] == [f"part-{n:05}.csv" for n in range(4)]
    assert rows(*parts_of(folder)) == expected
    record = json.loads((folder / "_parts" / "part-00003.json").read_text())
    assert (record["images"], record["rows"], record["errors"]) == (4, 4, 0)
    left = {path.name for path in folder.iterdir()} - {part.name for part in parts_of(folder)}
    assert left == {"_run.json", "_parts"}


def test_resume_writes_what_is_missing_and_nothing_else(
    images: Path, options: dict[str, Any], tmp_path: Path, expected: list[dict[str, str]]
) -> None:
    folder = tmp_path / "out"
    infer([images], folder_of(folder), **options)
    (folder / "_parts" / "part-00001.json").unlink()  # killed before the record was written
    (folder / "part-00001.csv").write_text("half a part")
    before = {part.name: part.stat().st_mtime_ns for part in parts_of(folder)}
    with pytest.raises(DataError, match="pass --resume"):
        infer([images], folder_of(folder), **options)
    result = infer([images], folder_of(folder), resume=True, **options)
    assert (result.rows, result.finished_rows, result.finished_errors) == (32, 68, 1)
    after = {part.name: part.stat().st_mtime_ns for part in parts_of(folder)}
    assert {name for name in after if after[name] != before[name]} == {"part-00001.csv"}
    assert rows(*parts_of(folder)) == expected
    again = infer([images], folder_of(folder), resume=True, **options)
    assert (again.rows, again.finished_rows) == (0, 100)


def test_shares_write_side_by_side(
    images: Path, options: dict[str, Any], tmp_path: Path, expected: list[dict[str, str]]
) -> None:
    folder = tmp_path / "out"
    for index in (2, 1, 3):
        infer([images], folder_of(folder), shard=(index, 3), **options)
    found = {row["path"]: row for row in rows(*parts_of(folder))}
    assert found == {row["path"]: row for row in expected}
    assert len(rows(*parts_of(folder))) == len(expected)
    with pytest.raises(DataError, match="shard of 3, not of 2"):
        infer([images], folder_of(folder), shard=(1, 2), **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 16}, "batch_size 32, not 16"),
        ({"part_images": 64}, "part_images 32, not 64"),
        ({"ending": ".jsonl"}, "top_k None, not 3"),
        ({"max_pixels": 99}, "max_pixels"),
    ],
)
def test_another_run_is_refused(
    images: Path, options: dict[str, Any], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    folder = tmp_path / "out"
    infer([images], folder_of(folder), **options)
    with pytest.raises(DataError, match=message):
        infer([images], folder_of(folder), resume=True, **options | changes)


def test_sources_that_changed_are_refused(
    images: Path, options: dict[str, Any], tmp_path: Path
) -> None:
    copy = tmp_path / "images"
    shutil.copytree(images, copy)
    infer([copy], folder_of(tmp_path / "out"), **options)
    (copy / "0101.png").write_bytes((copy / "000.png").read_bytes())
    with pytest.raises(DataError, match="The sources have changed"):
        infer([copy], folder_of(tmp_path / "out"), resume=True, **options)
    shutil.rmtree(copy)
    copy.mkdir()
    shutil.copy(images / "000.png", copy)
    with pytest.raises(DataError, match="The sources have changed"):
        infer([copy], folder_of(tmp_path / "out"), resume=True, **options)


def test_a_folder_with_other_files_is_left_alone(
    images: Path, options: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(DataError, match="has other files"):
        infer([images], folder_of(tmp_path), **options)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(DataError, match="is a file; name a folder"):
        infer([images], f"{tmp_path / 'mine.txt'}/", **options)


def test_a_draft_of_a_killed_run_is_no_obstacle(
    images: Path, options: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "._run.json.123").write_text("{")
    assert infer([images], folder_of(tmp_path / "out"), **options).rows == 100


def test_faces_have_several_rows_a_picture(tmp_path: Path, options: dict[str, Any]) -> None:
    from fer_runtime.shipped import SHIPPED

    photograph = Path(__file__).parents[1] / "data" / "astronaut.jpg"
    for n in range(6):
        shutil.copy(photograph, tmp_path / f"{n}.jpg")
    options |= {"model": SHIPPED, "part_images": 4, "faces": True}
    result = infer([tmp_path], folder_of(tmp_path / "out"), **options)
    assert (result.pictures, result.faces) == (6, 6)
    assert [len(rows(part)) for part in parts_of(tmp_path / "out")] == [4, 2]


def test_parquet_is_the_default(
    images: Path, options: dict[str, Any], tmp_path: Path, expected: list[dict[str, str]]
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra `parquet` is missing")
    del options["ending"]
    infer([images], folder_of(tmp_path / "out"), **options)
    table = parquet.read_table(tmp_path / "out")  # names with _ in front are left out
    assert table["path"].to_pylist() == [row["path"] for row in expected]
    assert table["label"].to_pylist() == [row["label"] or None for row in expected]


def test_an_empty_source_leaves_no_part(options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="no image files there"):
        infer([tmp_path / "nothing"], folder_of(tmp_path / "out"), **options)
    assert not parts_of(tmp_path / "out")


def test_what_parts_cannot_be(images: Path, options: dict[str, Any], tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "out")
    for changes, message in (
        ({"ending": ".txt"}, "parts are .parquet, .csv, .jsonl"),
        ({"on_error": "fail"}, "omit on_error"),
    ):
        with pytest.raises(DataError, match=message):
            infer([images], folder, **options | changes)
    with pytest.raises(ValueError, match="part_images=0"):
        infer([images], folder, **options | {"part_images": 0})
    assert whole_batches(100, 32) == 128
    assert not (tmp_path / "out").exists()


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*INFER, *arguments, "--provider", "cpu"], capture_output=True, text=True, check=False,
        env=environment(), timeout=60,
    )  # fmt: skip


def test_the_command(images: Path, tiny_model: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "out")
    base = [str(images), "--model", str(tiny_model), "-o", folder, "--part-format", "csv"]
    done = command(*base, "--part-images", "64")
    assert done.returncode == 3, done.stderr
    assert len(parts_of(tmp_path / "out")) == 2
    assert "100 images" in done.stderr
    done = command(*base, "--part-images", "64", "--resume")
    assert done.returncode == 3, done.stderr
    done = command(*base, "--summary")
    assert done.returncode == 2
    assert "--gallery need one" in " ".join(done.stderr.replace("│", "").split())
    done = command(str(images), "-o", str(tmp_path / "rows.csv"), "--ray", "local")
    assert done.returncode == 6
    assert "end the name with a slash" in done.stderr


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder that cannot be written."""
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o500)
    yield folder
    folder.chmod(0o700)


def test_a_folder_that_cannot_be_written(read_only: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    with pytest.raises(DataError, match="cannot be written: Permission denied"):
        LocalFolder(f"{read_only}/").put("part", b"data")
    assert not list(read_only.iterdir())
