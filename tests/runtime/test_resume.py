"""After a crash every image has one row, and the file is that of an unbroken run, byte for byte."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_runtime.errors import DataError
from fer_runtime.rows import Row
from fer_runtime.sinks import open_sink, resume, sink_of
from fer_runtime.sinks.resume import Finished, Names, remaining
from fer_runtime.sources import Item

LABELS = ("calm", "loud")
RUN = {"model": "abc", "sources": ["in"]}


def row(index: int) -> Row:
    name = f'{index} "x",\n{index}.png' if index % 3 == 0 else f"{index}.png"
    if index % 5 == 4:
        return Row(name, LABELS, None, 'broken, and "so" on')
    return Row(name, LABELS, np.array([index / 40, 1 - index / 40], np.float32))


def whole(path: Path, count: int = 30) -> bytes:
    with open_sink(str(path), LABELS, run=RUN) as sink:
        sink.write(row(index) for index in range(count))
    assert not resume.record_path(sink.partial).exists()
    return path.read_bytes()


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_cut_at_any_byte_the_whole_rows_stay(tmp_path: Path, ending: str) -> None:
    content = whole(tmp_path / f"o{ending}")
    partial = tmp_path / f"p{ending}.partial"
    seen = set()
    for keep in (*range(0, len(content), 7), len(content)):
        partial.write_bytes(content[:keep])
        finished = sink_of(ending).repair(partial)  # type: ignore[attr-defined]
        kept = partial.read_bytes()
        assert content.startswith(kept) and len(content[:keep]) - len(kept) < 200
        assert finished.rows == 0 or finished.last == row(finished.rows - 1).name
        assert finished.errors == finished.rows // 5, "every fifth row is an error"
        seen.add(finished.rows)
        resume.write_record(partial, RUN)
        with open_sink(str(tmp_path / f"p{ending}"), LABELS, run=RUN, resume=True) as sink:
            assert sink.finished == finished
            sink.write(row(index) for index in range(sink.finished.rows, 30))
        assert (tmp_path / f"p{ending}").read_bytes() == content
    assert seen == set(range(31))


def test_another_run_is_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    partial = tmp_path / "o.csv.partial"
    partial.write_bytes(b"path,label,probability,calm,loud,error\n")
    with pytest.raises(DataError, match=r"o\.csv\.partial\.run\.json beside it is missing"):
        open_sink(str(tmp_path / "o.csv"), LABELS, run=RUN, resume=True)
    resume.write_record(partial, RUN)
    with pytest.raises(DataError, match="was started with model abc, not other"):
        open_sink(str(tmp_path / "o.csv"), LABELS, run={**RUN, "model": "other"}, resume=True)
    with pytest.raises(DataError, match="was started with top_k None, not 3"):
        open_sink(str(tmp_path / "o.csv"), LABELS, run={**RUN, "top_k": 3}, resume=True)
    assert partial.read_bytes() == b"path,label,probability,calm,loud,error\n"


def finished(*names: str) -> Finished:
    every = Names()
    for name in names:
        every.add(name)
    return Finished(len(names), 0, names[-1], every.digest())


def test_what_remains_begins_with_a_whole_batch() -> None:
    items = [Item(f"{index}", "") for index in range(10)]
    rest = remaining(items, finished(*"012345"), 4)
    assert [item.name for item in rest.items] == ["4", "5", "6", "7", "8", "9"]
    assert rest.repeated() == 2
    rest = remaining(items, Finished(), 4)
    assert len(list(rest.items)) == 10 and rest.repeated() == 0
    with pytest.raises(DataError, match="image 6 was x, and would now be 5"):
        list(remaining(items, finished(*"01234x"), 4).items)
    with pytest.raises(DataError, match="or an earlier one differs"):
        list(remaining(items, finished(*"0x2345"), 4).items)
    with pytest.raises(DataError, match="12 images are finished, but only 10 are there"):
        list(remaining(items, finished(*map(str, range(12))), 4).items)


def test_an_unfinished_run_is_not_lost_to_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "o.csv"
    with pytest.raises(KeyboardInterrupt), open_sink(str(path), LABELS, run=RUN) as sink:
        sink.write([row(1)])
        raise KeyboardInterrupt
    content = sink.partial.read_bytes()
    with pytest.raises(
        DataError, match="contains an unfinished run: pass --resume to continue it, or delete"
    ):
        open_sink(str(path), LABELS, run=RUN)
    assert sink.partial.read_bytes() == content


@pytest.mark.skipif(sys.platform == "win32", reason="needs fcntl, which Windows has not")
def test_two_runs_cannot_write_one_file(tmp_path: Path) -> None:
    with open_sink(str(tmp_path / "o.csv"), LABELS, run=RUN) as sink:
        for again in (False, True):
            with pytest.raises(DataError, match="is being written by another run"):
                open_sink(str(tmp_path / "o.csv"), LABELS, run=RUN, resume=again)
        sink.write([row(1)])
    assert (tmp_path / "o.csv").read_bytes().count(b"\n") == 2


@pytest.mark.parametrize(
    ("ending", "garbage"),
    [(".jsonl", b"\0\0\0\n"), (".jsonl", b"[1]\n"), (".csv", b"\n"), (".csv", b"a\rb,c\n")],
)
def test_damaged_rows_are_a_clear_error(tmp_path: Path, ending: str, garbage: bytes) -> None:
    partial = tmp_path / f"o{ending}.partial"
    partial.write_bytes(whole(tmp_path / f"w{ending}") + garbage)
    content = partial.read_bytes()
    resume.write_record(partial, RUN)
    with pytest.raises(DataError, match="cannot be resumed: a row in it is broken"):
        open_sink(str(tmp_path / f"o{ending}"), LABELS, run=RUN, resume=True)
    assert partial.read_bytes() == content


def test_a_damaged_record_is_a_clear_error(tmp_path: Path) -> None:
    partial = tmp_path / "o.csv.partial"
    partial.write_bytes(whole(tmp_path / "w.csv"))
    for text in ("[]", "{", ""):
        resume.record_path(partial).write_text(text)
        with pytest.raises(DataError, match="beside it is missing or broken"):
            open_sink(str(tmp_path / "o.csv"), LABELS, run=RUN, resume=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """900 pictures under 9 contents, every tenth broken."""
    faces = tmp_path / "faces"
    faces.mkdir()
    rng = np.random.default_rng(0)
    for index in range(9):
        Image.fromarray(rng.integers(0, 256, (64, 64), np.uint8)).save(faces / f"{index:04}.png")
    for index in range(9, 900):
        if index % 10 == 9:
            (faces / f"{index:04}.png").write_bytes(b"no image")
        else:
            os.link(faces / f"{index % 9:04}.png", faces / f"{index:04}.png")
    return faces


def has_record(partial: Path) -> bool:
    record = resume.record_path(partial)
    return record.exists() and record.stat().st_size > 0


def start(*arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from fer_runtime.cli.infer import main; main()"]
    return subprocess.Popen(
        [*command, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_killed_at_random_moments_the_file_is_that_of_an_unbroken_run(
    tmp_path: Path, folder: Path, tiny_model: Path, ending: str
) -> None:
    common = (folder, "--model", tiny_model, "--provider", "cpu", "--batch-size", 7)
    done = start(*common, "-o", tmp_path / f"whole{ending}")
    assert done.wait(60) == 3
    rng = np.random.default_rng(1)
    target, partial = tmp_path / f"o{ending}", tmp_path / f"o{ending}.partial"
    killed = 0
    for _ in range(60):
        process = start(*common, "-o", target, "--resume")
        before = partial.stat().st_size if partial.exists() else 0
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            now = not killed or rng.random() < 0.3
            if now and partial.exists() and partial.stat().st_size > before:
                process.send_signal(signal.SIGKILL)
                killed += 1
                break
            time.sleep(0.002)
        process.communicate(timeout=60)
        if target.exists():
            break
    assert target.read_bytes() == (tmp_path / f"whole{ending}").read_bytes()
    assert killed > 0 and not partial.exists()
    again = start(*common, "-o", target, "--resume")
    assert again.wait(60) == 3, "the file has error rows, whichever run reports it"
    assert b"is complete, with 90 error rows; there is nothing to resume" in again.communicate()[1]
    assert not resume.record_path(partial).exists(), "also where a kill came after the rename"


def test_resume_requires_a_file_and_no_figures(
    tmp_path: Path, folder: Path, tiny_model: Path
) -> None:
    for extra in (
        ("--resume",),
        ("--resume", "-o", tmp_path / "o.txt"),
        ("--resume", "-o", tmp_path / "o.csv", "--summary"),
    ):
        process = start(folder, "--model", tiny_model, "--provider", "cpu", *extra)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 2 and b"--resume" in err


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_a_complete_file_of_other_images_is_not_taken_for_this_run(
    tmp_path: Path, folder: Path, tiny_model: Path, ending: str
) -> None:
    if ending == ".parquet":
        pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    target = tmp_path / f"o{ending}"
    common = (folder, "--model", tiny_model, "--provider", "cpu", "-o", target, "--resume")
    assert start(*common, "--shard", "1/2").wait(60) in (0, 3)
    before = target.read_bytes()
    again = start(*common, "--shard", "1/2")
    assert b"there is nothing to resume" in again.communicate(timeout=60)[1]
    other = start(*common, "--shard", "2/2")
    _, err = other.communicate(timeout=60)
    assert other.returncode == 6 and b"is complete, but for other images than these" in err
    assert target.read_bytes() == before


def test_a_foreign_file_is_not_taken_for_complete(
    tmp_path: Path, folder: Path, tiny_model: Path
) -> None:
    for name, words in (
        ("o.jsonl", b"o.jsonl exists, but is not an output of fer-infer"),
        ("o.csv", b"o.csv is complete, but for other images than these"),
        ("o.parquet", b"o.parquet cannot be resumed: o.parquet is broken"),
    ):
        if name == "o.parquet":
            pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
        target = tmp_path / name
        target.write_text("a diary\n")
        run = start(folder, "--model", tiny_model, "--provider", "cpu", "-o", target, "--resume")
        _, err = run.communicate(timeout=60)
        assert run.returncode == 6 and words in err, err
        assert target.read_text() == "a diary\n"


def test_sources_that_changed_are_refused(tmp_path: Path, folder: Path, tiny_model: Path) -> None:
    common = (folder, "--model", tiny_model, "--provider", "cpu", "-o", tmp_path / "o.jsonl")
    done = start(*common)
    assert done.wait(60) == 3
    lines = (tmp_path / "o.jsonl").read_bytes().splitlines(keepends=True)
    first = json.loads(lines[99])["path"]
    record = {}
    (tmp_path / "o.jsonl").unlink()
    interrupted = start(*common)
    partial = tmp_path / "o.jsonl.partial"
    while not has_record(partial):
        time.sleep(0.002)
    record = json.loads(resume.record_path(partial).read_text("utf-8"))
    interrupted.kill()
    interrupted.communicate()
    (tmp_path / "o.jsonl").unlink(missing_ok=True)
    partial.write_bytes(b"".join(lines[:100]))
    resume.write_record(partial, record)
    os.unlink(folder / "0050.png")
    process = start(*common, "--resume")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 6
    assert f"image 100 was {first}".encode() in err
    assert partial.read_bytes() == b"".join(lines[:100])


def test_killed_before_the_rename_there_is_nothing_left_to_run(
    tmp_path: Path, folder: Path, tiny_model: Path
) -> None:
    """All rows are there, a whole number of batches, under the partial name."""
    common = (folder, "--model", tiny_model, "--provider", "cpu", "--batch-size", "9")
    done = start(*common, "-o", tmp_path / "o.csv")
    assert done.wait(60) == 3
    content = (tmp_path / "o.csv").read_bytes()
    interrupted = start(*common, "-o", tmp_path / "p.csv")
    partial = tmp_path / "p.csv.partial"
    while not has_record(partial):
        assert interrupted.poll() is None
        time.sleep(0.001)
    interrupted.kill()
    interrupted.communicate()
    partial.write_bytes(content)
    process = start(*common, "-o", tmp_path / "p.csv", "--resume")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 3, "the finished rows have errors"
    assert b"0 images in" in err and b"900 rows finished before, 90 of these with an error" in err
    assert (tmp_path / "p.csv").read_bytes() == content and not partial.exists()
