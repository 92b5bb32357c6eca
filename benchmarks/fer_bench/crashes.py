"""`fer-infer` that is killed, or runs out of disk or readers: `fer-bench crashes FOLDER`.

Kills it by SIGKILL at random moments, resumes it each time with `--resume`, and compares the
result with an unbroken run: bytes of CSV and JSON Lines, tables of Parquet. With `--workers` it
does so with worker processes, and then kills these, one at a time, at random moments. Then lets
the disk run full (a small tmpfs where this process may mount one, else a limit on the size of
files), and closes the pipe it writes to.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from fer_bench import face_pictures, links, subprocesses
from fer_runtime.errors import FerError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
ENDINGS = (".csv", ".jsonl", ".parquet")
LONGEST = 3.5
"""Seconds after which a run is killed at the latest; starting takes a tenth of it."""


@app.command()
def check(
    data: Annotated[Path, typer.Argument(help="Folder of images.")],
    model: Annotated[str, typer.Option(help="ONNX file or shipped model.")] = "compact_cnn",
    images: Annotated[int, typer.Option(help="Links to them that are classified.")] = 20_000,
    kills: Annotated[int, typer.Option(help="Kills for each format.", min=1)] = 50,
    seed: Annotated[int, typer.Option(help="Of the random moments.")] = 0,
    with_faces: Annotated[
        bool, typer.Option("--faces", help="Run with --faces, on pictures made of the images.")
    ] = False,
    workers: Annotated[int, typer.Option(help="Worker processes of each run.", min=0)] = 0,
    endings: Annotated[list[str], typer.Option("--ending", help="Formats.")] = list(ENDINGS),  # noqa: B006
) -> None:
    """Print how each ended; exit status 1 if a row was lost, doubled or changed."""
    with tempfile.TemporaryDirectory(dir=data.parent) as name:
        folder = Path(name)
        faces = folder / "faces"
        faces.mkdir()
        if with_faces:
            _draw_pictures(faces, data, images)
        else:
            links.link(data, faces, images)
        flags = ["--faces"] if with_faces else []
        flags += ["--workers", str(workers)]
        job = (faces, "--model", model, "--provider", "cpu", *flags)
        rng = np.random.default_rng(seed)
        for ending in endings:
            whole = folder / f"whole{ending}"
            if subprocesses.run(*job, "-o", whole).status:
                raise FerError(f"{whole.name}: the unbroken run failed")
            print(f"{ending}: {_killed(job, whole, kills, rng)}", flush=True)
            if workers:
                print(f"{ending}: {_workers_killed(job, whole, kills, rng)}", flush=True)
            print(f"{ending}: {_disk_full(job, whole)}", flush=True)
        if ".csv" in endings:
            print(f"closed pipe: {_closed_pipe(job, folder / 'whole.csv')}")


def _draw_pictures(folder: Path, data: Path, count: int) -> None:
    """Pictures of no face to several."""
    heads = [face_pictures.astronaut(), *face_pictures.fer2013_heads(data, 50)]
    for index, pixels in enumerate(face_pictures.pictures(count, heads)):
        Image.fromarray(pixels).save(folder / f"{index:06}.jpg", quality=90)


def _killed(job: tuple[object, ...], whole: Path, kills: int, rng: np.random.Generator) -> str:
    """Kill and resume `kills` times; each finished file is compared and removed."""
    target = whole.with_stem("killed")
    killed = finished = 0
    while killed < kills or not finished:
        process = subprocesses.start(*job, "-o", target, "--resume", stderr=subprocess.DEVNULL)
        try:
            process.wait(rng.uniform(0, LONGEST) if killed < kills else None)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
            continue
        if process.returncode or not target.exists():
            raise FerError(f"status {process.returncode} after {killed} kills")
        _require_equal(target, whole)
        target.unlink()
        finished += 1
    return f"killed {killed} times, {finished} finished files equal to an unbroken run's"


def _workers_killed(
    job: tuple[object, ...], whole: Path, kills: int, rng: np.random.Generator
) -> str:
    """Kill `kills` workers of running commands; each command must end as if nothing had been."""
    target = whole.with_stem("workers")
    killed = runs = 0
    while killed < kills:
        process = subprocesses.start(*job, "-o", target, stderr=subprocess.PIPE)
        while process.poll() is None:
            time.sleep(rng.uniform(1, 3))
            alive = _children(process.pid)
            if alive and killed < kills:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(rng.choice(alive)), signal.SIGKILL)
                    killed += 1
        _, error = process.communicate()
        if process.returncode:
            raise FerError(f"status {process.returncode}: {error.decode()}")
        _require_equal(target, whole)
        target.unlink()
        runs += 1
    return f"{killed} workers killed in {runs} runs, whose files are equal to an unbroken run's"


def _children(pid: int) -> list[int]:
    """The processes that a process has started (Linux)."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, task.read_text().split())
    return found


def _require_equal(found: Path, whole: Path) -> None:
    if found.suffix == ".parquet":
        from pyarrow import parquet

        equal = parquet.read_table(found).equals(parquet.read_table(whole))
    else:
        equal = found.read_bytes() == whole.read_bytes()
    if not equal:
        raise FerError(f"{found.name} differs from an unbroken run's")


def _disk_full(job: tuple[object, ...], whole: Path) -> str:
    """A disk with a third of the room that it needs; then enough room, and `--resume`."""
    with _small_disk(whole.parent / "small", whole.stat().st_size // 3) as (disk, before, grow):
        target = disk / whole.name
        ended = subprocesses.run(*job, "-o", target, before=before)
        message = ended.stderr.decode().strip().splitlines()[-1]
        if ended.status != 6 or b"Traceback" in ended.stderr or target.exists():
            raise FerError(f"full disk: status {ended.status}, {ended.stderr.decode()}")
        grow()
        again = subprocesses.run(*job, "-o", target, "--resume")
        if again.status:
            raise FerError(f"after a full disk: status {again.status}, {again.stderr.decode()}")
        _require_equal(target, whole)
        before_that = [part for part in again.stderr.decode().split(", ") if "before" in part]
        target.unlink()
    done = before_that[0].split(" ->")[0] if before_that else "nothing finished before"
    return f"full disk: status 6, {message!r}; with room again, {done}, and an equal file"


@contextmanager
def _small_disk(
    folder: Path, size: int
) -> Iterator[tuple[Path, Callable[[], None] | None, Callable[[], object]]]:
    """(folder, what the child calls before it starts, what makes room): a tmpfs, or a limit."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:

        def limit() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        yield folder, limit, lambda: None
        return
    try:
        larger = ["mount", "-o", f"remount,size={size * 30}", str(folder)]
        yield folder, None, lambda: subprocess.run(larger, check=True)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _closed_pipe(job: tuple[object, ...], whole: Path) -> str:
    """A reader that stops after some lines; what it read must be the beginning of the file."""
    process = subprocesses.start(*job, "-o", "-", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    lines = [process.stdout.readline() for _ in range(1000)]
    process.stdout.close()
    started = time.perf_counter()
    error = process.stderr.read()
    status = process.wait()
    seconds = time.perf_counter() - started
    if status or b"Traceback" in error or not whole.read_bytes().startswith(b"".join(lines)):
        raise FerError(f"closed pipe: status {status}, {error.decode()}")
    return f"status 0 after {seconds:.2f} s, its {len(lines):,} lines those of the file"
