"""How fer-infer ends: Ctrl-C, readers that leave, closed streams, and a person who watches."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_runtime import infer
from fer_runtime.rows import Row
from fer_runtime.run import Run
from fer_runtime.sinks.lines import LinesSink
from tests.runtime.command import (
    INFER,
    ROWS,
    Done,
    assert_messy,
    environment,
    read_csv,
)
from tests.runtime.tiny import LABELS


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """4,000 hard links to one photograph: seconds of work, and little disk."""
    folder = tmp_path / "many"
    folder.mkdir()
    photo = folder / "0000.jpg"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
    Image.fromarray(pixels).resize((900, 900)).save(photo)
    for index in range(1, 4000):
        os.link(photo, folder / f"{index:04}.jpg")
    return folder


def start(*arguments: object, stdout: int) -> subprocess.Popen[bytes]:
    """SIGINT is set back to its default, for a job in the background starts with it ignored."""
    return subprocess.Popen(
        [*INFER, *map(str, arguments), "--provider", "cpu"],
        cwd=Path(str(arguments[0])).parent,
        env=environment(),
        stdout=stdout,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )


def test_ctrl_c_is_status_130_and_keeps_what_was_done(
    many: Path, tiny_model: Path, tmp_path: Path
) -> None:
    output, partial = tmp_path / "rows.csv", tmp_path / "rows.csv.partial"
    process = start(many, "--model", tiny_model, "-o", output, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not (partial.exists() and partial.stat().st_size):
        assert time.monotonic() < deadline, "nothing was written in 30 s"
        assert process.poll() is None, "the run was over before it could be interrupted"
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 130, log.decode()
    assert b"Traceback" not in log
    assert f"finished rows are in {partial}" in log.decode()
    assert not output.exists()
    rows = read_csv(partial.read_bytes())
    assert [row["path"] for row in rows] == [str(many / f"{i:04}.jpg") for i in range(len(rows))]
    assert f"interrupted after {len(rows):,} images" in log.decode()
    assert rows[-1]["error"] == ""


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_in_the_middle_of_a_write_waits_for_its_end(
    messy: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal there could tear a row, and the count would not be that of the file."""
    write = LinesSink.write
    after = []

    def interrupted(sink: LinesSink, rows: Iterable[Row]) -> None:
        signal.raise_signal(signal.SIGINT)
        write(sink, rows)
        after.append(sink)

    monkeypatch.setattr(LinesSink, "write", interrupted)
    output = tmp_path / "rows.csv"
    run = Run([messy], output, model=tiny_model, provider="cpu", batch_size=2, workers=0)
    with pytest.raises(KeyboardInterrupt):
        run.execute()
    assert len(after) == 1
    rows = read_csv(output.with_name("rows.csv.partial").read_bytes())
    assert len(rows) == run.result.rows > 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("ctrl_c")
def test_a_run_on_another_thread_leaves_ctrl_c_alone(
    messy: Path, tiny_model: Path, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(infer, [messy], tmp_path / "rows.csv", model=tiny_model)
        assert future.result().rows > 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_reader_that_leaves_ends_the_run_quietly(many: Path, tiny_model: Path) -> None:
    """As `fer-infer … | head -1` does."""
    process = start(many, "--model", tiny_model, "-o", "-", stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline().startswith(b"path,label,probability")
    process.stdout.close()
    _, log = process.communicate(timeout=30)
    assert process.returncode == 0, log.decode()
    assert b"Traceback" not in log
    assert b"Broken" not in log
    assert b"Exception ignored" not in log


def test_a_reader_that_was_never_there_ends_the_run_quietly(messy: Path, tiny_model: Path) -> None:
    """Few rows stay in the buffer until the end, so that only the last flush meets the gap."""
    process = start(messy, "--model", tiny_model, "-o", "-", stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.close()
    _, log = process.communicate(timeout=30)
    assert process.returncode == 0, log.decode()
    assert b"Traceback" not in log
    assert b"Exception ignored" not in log


def test_a_person_who_watches_sees_a_bar_and_gets_the_same_rows(
    messy: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """stderr is a terminal, so that rich draws; what it draws is not the point."""
    import pty

    output = tmp_path / "rows.csv"
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [*INFER, str(messy), "--model", str(tiny_model), "--provider", "cpu", "-o", str(output)],
        cwd=tmp_path, env={**environment(), "TERM": "xterm"}, stdout=subprocess.PIPE,
        stderr=theirs, timeout=60, check=False,
    )  # fmt: skip
    os.close(theirs)
    log = os.read(ours, 100_000)
    os.close(ours)
    assert done.returncode == 3, log.decode()
    assert b"Traceback" not in log
    assert_messy(read_csv(output.read_bytes()), messy)


def shell(command: str, **variables: str) -> Done:
    python = f"{INFER[0]} -c '{INFER[2]}'"
    return subprocess.run(
        ["bash", "-c", command.replace("fer-infer", python)],
        env=environment() | variables, capture_output=True, timeout=60, check=False,
    )  # fmt: skip


def test_closed_streams_and_narrow_terminals(messy: Path, tiny_model: Path, tmp_path: Path) -> None:
    """No traceback, data unharmed, and a status of the table."""
    run = f"fer-infer '{messy}' --model {tiny_model} --provider cpu"
    expected = shell(f"{run} -o -").stdout
    assert len(read_csv(expected)) == len(ROWS)
    for command in (f"{run} -o - 2>&-", f"{run} -o - 2>/dev/full"):
        done = shell(command)
        assert done.returncode == 3 and done.stdout == expected
    done = shell(f"{run} -o - ", PYTHONIOENCODING="ascii")
    assert done.returncode == 3 and done.stdout == expected, "data is UTF-8 everywhere"
    done = shell(run, PYTHONIOENCODING="ascii")
    assert done.returncode == 3 and b"sch\\xf6nes" in done.stdout
    done = shell(f"{run} -o {tmp_path}/o.csv --summary", PYTHONIOENCODING="ascii")
    assert done.returncode == 3 and done.stdout.count(b"%") == len(LABELS)
    done = shell(f"fer-infer - --model {tiny_model} --provider cpu <&-")
    assert done.returncode == 6 and b"There is no standard input" in done.stderr
    done = shell(f"{run} -o {tmp_path}/p.csv --summary | true; exit ${{PIPESTATUS[0]}}")
    assert done.returncode in (0, 3) and b"Traceback" not in done.stderr
    assert (tmp_path / "p.csv").exists()
