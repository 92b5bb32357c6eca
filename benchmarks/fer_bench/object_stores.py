"""Object stores: the same rows, shares that are killed, and long listings.

`fer-bench object-stores COMMAND`; an S3 server of this machine (moto) stands for the store.
"""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from fer_bench import subprocesses
from fer_runtime.sources import Files

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
Data = Annotated[Path, typer.Argument(help="Folder of images.")]
Model = Annotated[str, typer.Option(help="ONNX file or shipped model.")]
SHARES = 8
LISTING = Path(__file__).parent / "store_runs" / "listing_server.py"
LISTS = """
import sys
from pathlib import Path
from fer_runtime.sources import Sources
for count, item in enumerate(Sources([sys.argv[1]]), 1):
    if count % (int(sys.argv[2]) // 10) == 0:
        status = Path("/proc/self/status").read_text()
        print(count, int(status.split("VmRSS:")[1].split()[0]) // 1024, flush=True)
"""


@app.command()
def same(
    data: Data,
    objects: Annotated[int, typer.Option(min=1)] = 10_000,
    model: Model = "compact_cnn.int8",
) -> None:
    """Rows of objects against rows of the same files here; status 1 if they differ."""
    from fer_bench.store_runs import s3

    with tempfile.TemporaryDirectory() as name, s3.server():
        folder = Path(name)
        files = _linked(data, folder / "here", objects)
        s3.upload(f"{s3.BUCKET}/set/", files, objects)
        rates = {}
        for place, source in (("here", str(folder / "here")), ("store", f"{s3.BUCKET}/set/")):
            output = folder / f"{place}.csv"
            done = subprocesses.run(source, "--model", model, "-o", output, "--provider", "cpu")
            rates[place] = objects / done.seconds
            print(f"{place}: {objects:,} images in {done.seconds:.1f} s, status {done.status}")
        here, store = (
            [[os.path.basename(row[0]), *row[1:]] for row in _rows(folder / f"{place}.csv")]
            for place in ("here", "store")
        )
    equal = sorted(here) == sorted(store)
    print(f"{len(store) - 1:,} rows; equal: {equal}")
    raise typer.Exit(0 if equal and len(store) == objects + 1 else 1)


@app.command()
def kills(
    data: Data,
    objects: Annotated[int, typer.Option(min=1)] = 10_000,
    minutes: Annotated[float, typer.Option(min=0.1)] = 3,
    model: Model = "compact_cnn.int8",
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Eight shares that are killed and started again; status 1 if a row is lost or doubled."""
    from fer_bench.store_runs import s3
    from fer_runtime.object_stores.addresses import parse
    from fer_runtime.object_stores.stores import list_keys, read

    generator = random.Random(seed)
    with tempfile.TemporaryDirectory() as name, s3.server():
        folder = Path(name)
        files = _linked(data, folder / "here", objects)
        s3.upload(f"{s3.BUCKET}/set/", files, objects)
        infer = ("--model", model, "--provider", "cpu", "--threads", 1)
        subprocesses.run(f"{s3.BUCKET}/set/", *infer, "-o", folder / "whole.csv")
        whole = {tuple(row) for row in _rows(folder / "whole.csv")[1:]}
        output = f"{s3.BUCKET}/out/"
        running: dict[int, subprocess.Popen[bytes]] = {}
        killed, until = 0, time.monotonic() + 60 * minutes

        def start(index: int) -> subprocess.Popen[bytes]:
            return subprocesses.start(
                f"{s3.BUCKET}/set/", *infer, "-o", output, "--part-format", "csv",
                "--part-images", 64, "--resume", "--shard", f"{index}/{SHARES}",
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip

        for index in range(1, SHARES + 1):
            running[index] = start(index)
        while time.monotonic() < until:
            time.sleep(generator.uniform(0.2, 1.0))
            index = generator.randint(1, SHARES)
            if running[index].poll() is None:
                running[index].send_signal(signal.SIGKILL)
                killed += 1
            running[index].wait()
            running[index] = start(index)
        statuses = Counter(process.wait() for process in running.values())
        statuses = Counter(start(index).wait() for index in running)  # whatever is left
        found: list[tuple[str, ...]] = []
        for key, _ in list_keys(parse(output)):
            if key.endswith(".csv"):
                text = read(f"{s3.BUCKET}/{key}").decode()
                found += [tuple(row) for row in list(csv.reader(text.splitlines()))[1:]]
    doubled = len(found) - len(set(found))
    lost = len(whole - set(found))
    print(f"{killed} kills of {SHARES} shares in {minutes:g} min; last statuses {dict(statuses)}")
    print(f"{len(found):,} rows: {lost} lost or changed, {doubled} doubled")
    raise typer.Exit(1 if lost or doubled or len(found) != objects else 0)


@app.command()
def listing(keys: Annotated[int, typer.Option(min=10)] = 1_000_000) -> None:
    """Resident memory while keys are listed; status 1 if it grows by more than a tenth."""
    from fer_bench.store_runs import s3

    with subprocess.Popen([sys.executable, LISTING, str(keys)], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        s3.point_at(int(server.stdout.readline()))
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", LISTS, "s3://bench/faces/", str(keys)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        seconds = time.perf_counter() - started
        server.kill()
    lines = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    if not lines:
        print(done.stderr)
        raise typer.Exit(1)
    for count, memory in (lines[0], lines[-1]):
        print(f"{count:,} keys: {memory} MB")
    print(f"{lines[-1][0] / seconds:,.0f} keys/s")
    raise typer.Exit(0 if lines[-1][0] == keys and lines[-1][1] < 1.1 * lines[0][1] else 1)


def _linked(data: Path, folder: Path, count: int) -> list[Path]:
    """Links to images under the names of the objects -> the images in their order."""
    images = [Path(item.path).resolve() for item in Files([data])]
    for n in range(count):
        path = images[n % len(images)]
        target = folder / path.parent.name / f"{n:07}{path.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path)
    return images


def _rows(path: Path) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))
