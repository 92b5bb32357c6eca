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

from fer_runtime import resume
from fer_runtime.errors import DataError
from fer_runtime.pipeline import Row
from fer_runtime.resume import Finished, remaining, repair
from fer_runtime.sinks import Sink
from fer_runtime.sources import Item

LABELS = ("calm", "loud")
RUN = {"model": "abc", "sources": ["in"]}


def row(index: int) -> Row:
    name = f'{index} "x",\n{index}.png' if index % 3 == 0 else f"{index}.png"
    if index % 5 == 4:
        return Row(name, None, 'broken, and "so" on')
    return Row(name, np.array([index / 40, 1 - index / 40], np.float32))


def whole(path: Path, count: int = 30) -> bytes:
    with Sink(str(path), LABELS, run=RUN) as sink:
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
        finished = repair(partial, ending)
        kept = partial.read_bytes()
        assert content.startswith(kept) and len(content[:keep]) - len(kept) < 200
        assert finished.rows == 0 or finished.last == row(finished.rows - 1).name
        assert finished.errors == finished.rows // 5, "every fifth row is an error"
        seen.add(finished.rows)
        resume.write_record(partial, RUN)
        with Sink(str(tmp_path / f"p{ending}"), LABELS, run=RUN, resume=True) as sink:
            assert sink.finished == finished
            sink.write(row(index) for index in range(sink.finished.rows, 30))
        assert (tmp_path / f"p{ending}").read_bytes() == content
    assert seen == set(range(31))


def test_another_run_is_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    partial = tmp_path / "o.csv.partial"
    partial.write_bytes(b"path,label,probability,calm,loud,error\n")
    with pytest.raises(DataError, match=r"o\.csv\.partial\.run\.json beside it is missing"):
        Sink(str(tmp_path / "o.csv"), LABELS, run=RUN, resume=True)
    resume.write_record(partial, RUN)
    with pytest.raises(DataError, match="was begun with model abc, not other"):
        Sink(str(tmp_path / "o.csv"), LABELS, run={**RUN, "model": "other"}, resume=True)
    with pytest.raises(DataError, match="was begun with top_k None, not 3"):
        Sink(str(tmp_path / "o.csv"), LABELS, run={**RUN, "top_k": 3}, resume=True)
    assert partial.read_bytes() == b"path,label,probability,calm,loud,error\n"


def test_what_remains_begins_with_a_whole_batch() -> None:
    items = [Item(f"{index}", "") for index in range(10)]
    rest, repeated = remaining(items, Finished(6, 0, "5"), 4)
    assert [item.name for item in rest] == ["4", "5", "6", "7", "8", "9"] and repeated == 2
    rest, repeated = remaining(items, Finished(), 4)
    assert len(list(rest)) == 10 and repeated == 0
    with pytest.raises(DataError, match="row 6 was other, and would be 5 now"):
        list(remaining(items, Finished(6, 0, "other"), 4)[0])
    with pytest.raises(DataError, match="12 rows are finished, but only 10 images are there"):
        list(remaining(items, Finished(12, 0, "11"), 4)[0])


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


def start(*arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from fer_runtime.cli import infer; infer()"]
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
            if partial.exists() and partial.stat().st_size > before and rng.random() < 0.3:
                process.send_signal(signal.SIGKILL)
                killed += 1
                break
            time.sleep(0.002)
        process.communicate(timeout=60)
        if target.exists():
            break
    assert target.read_bytes() == (tmp_path / f"whole{ending}").read_bytes()
    assert killed > 0 and not partial.exists() and not resume.record_path(partial).exists()
    again = start(*common, "-o", target, "--resume")
    assert again.wait(60) == 0 and b"nothing to resume" in again.communicate()[1]


def test_resume_wants_a_file_and_no_figures(tmp_path: Path, folder: Path, tiny_model: Path) -> None:
    for extra in (
        ("--resume",),
        ("--resume", "-o", tmp_path / "o.txt"),
        ("--resume", "-o", tmp_path / "o.csv", "--summary"),
    ):
        process = start(folder, "--model", tiny_model, "--provider", "cpu", *extra)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 2 and b"--resume" in err


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
    while not resume.record_path(partial).exists():
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
    assert f"row 100 was {first}".encode() in err
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
    while not resume.record_path(partial).exists():
        assert interrupted.poll() is None
        time.sleep(0.001)
    interrupted.kill()
    interrupted.communicate()
    partial.write_bytes(content)
    process = start(*common, "-o", tmp_path / "p.csv", "--resume")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 3, "the finished rows have errors"
    assert b"0 images in" in err and b"900 finished before, 90 of these with an error" in err
    assert (tmp_path / "p.csv").read_bytes() == content and not partial.exists()
