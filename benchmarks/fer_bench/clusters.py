"""Two Ray nodes on this machine: the same rows where one is killed, and the speed of both.

`fer-bench clusters COMMAND`. Each node is a raylet of its own with one CPU, pinned to a core.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from fer_bench import links
from fer_runtime import infer
from fer_runtime.errors import FerError
from fer_runtime.run import Run

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
Data = Annotated[Path, typer.Argument(help="Folder of images.")]
Model = Annotated[str, typer.Option(help="ONNX file or shipped model.")]
PART = 1024


@app.command()
def kills(
    data: Data,
    images: Annotated[int, typer.Option(min=1)] = 60_000,
    times: Annotated[int, typer.Option(min=1)] = 5,
    model: Model = "compact_cnn",
) -> None:
    """Kill one of two nodes while it works; status 1 if the parts differ from one machine's."""
    wrong = 0
    with tempfile.TemporaryDirectory(dir=data.parent) as name:
        folder = Path(name)
        links.link(data, folder / "images", images)
        options: dict[str, Any] = {"model": model, "provider": "cpu", "part_images": PART}
        infer([folder / "images"], f"{folder}/one/", **options)
        expected = _tables(folder / "one")
        generator = random.Random(0)
        for n in range(times):
            output = folder / f"cluster{n}"
            with _nodes(2) as (address, raylets):
                after = generator.uniform(1, 4)
                killer = _Killer(raylets[1], (output / "_parts").exists, after)
                run = Run([folder / "images"], f"{output}/", ray=address, **options)
                result = run.execute()
                killer.join()
            equal = _tables(output) == expected
            wrong += not equal or not killer.killed
            print(
                f"{n + 1}: node killed after {after:.1f} s of work: {killer.killed}; "
                f"{result.rows:,} rows, equal: {equal}; {result.seconds:.0f} s",
                flush=True,
            )
    raise typer.Exit(1 if wrong else 0)


@app.command()
def speed(
    data: Data,
    images: Annotated[int, typer.Option(min=1)] = 60_000,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    model: Model = "compact_cnn",
) -> None:
    """Images per second of two nodes against one, each with a core of its own."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory(dir=data.parent) as name:
        folder = Path(name)
        links.link(data, folder / "images", images)
        options: dict[str, Any] = {"model": model, "provider": "cpu", "part_images": PART}
        for n in range(rounds):
            for nodes, found in rates.items():
                with _nodes(nodes) as (address, _):
                    warm = Run(
                        [folder / "images"], f"{folder}/warm{n}-{nodes}/", ray=address,
                        shard=(1, images // (2 * PART)), **options,
                    )  # fmt: skip
                    warm.execute()  # starts the workers, which open the model
                    run = Run([folder / "images"], f"{folder}/{n}-{nodes}/", ray=address, **options)
                    found.append(run.execute().images_per_second)
    for nodes, found in rates.items():
        print(f"{nodes} node(s): {statistics.median(found):,.0f} images/s")
    ratio = statistics.median(two / one for one, two in zip(rates[1], rates[2], strict=True))
    print(f"two nodes / one: {ratio:.2f}")


@app.command()
def million(
    data: Data,
    images: Annotated[int, typer.Option(min=100)] = 1_000_000,
    model: Model = "compact_cnn.int8",
) -> None:
    """What a sample of a tenth says of the whole run on one machine, and what that takes."""
    with tempfile.TemporaryDirectory(dir=data.parent) as name:
        folder = Path(name)
        links.link(data, folder / "images", images, in_each=2000)
        links.link(data, folder / "sample", images // 10, in_each=2000)
        options: dict[str, Any] = {"model": model, "provider": "cpu"}
        sample = infer([folder / "sample"], f"{folder}/a/", **options)
        predicted = images / sample.images_per_second
        print(f"sample: {sample.rows:,} images, {sample.images_per_second:,.0f} images/s")
        whole = infer([folder / "images"], f"{folder}/b/", **options)
        parts = len(list((folder / "b").glob("part-*")))
    print(
        f"{whole.rows:,} images: predicted {predicted:.0f} s, took {whole.seconds:.0f} s "
        f"({whole.seconds / predicted:.2f} times), {parts} parts"
    )


class _Killer(threading.Thread):
    """Kills a node some seconds after a condition is true."""

    def __init__(self, raylet: int, condition: Callable[[], bool], after: float) -> None:
        super().__init__(daemon=True)
        self.killed = False
        self._raylet, self._condition, self._after = raylet, condition, after
        self.start()

    def run(self) -> None:
        while not self._condition():
            time.sleep(0.05)
        time.sleep(self._after)
        os.kill(self._raylet, signal.SIGKILL)
        self.killed = True


@contextmanager
def _nodes(count: int) -> Iterator[tuple[str, list[int]]]:
    """A cluster of nodes with one CPU, each on a core -> its address, and the raylets' numbers."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        from ray.cluster_utils import Cluster
    except ImportError:
        raise FerError("Ray is not installed: pip install '.[ray]' in a checkout.") from None
    import ray

    cores = sorted(os.sched_getaffinity(0))
    cluster = Cluster()
    raylets = []
    try:
        for n in range(count):
            os.sched_setaffinity(0, {cores[n % len(cores)]})  # what is started inherits it
            node = cluster.add_node(num_cpus=1, object_store_memory=200 * 2**20)
            raylets.append(node.all_processes["raylet"][0].process.pid)
        os.sched_setaffinity(0, cores)
        yield cluster.address, raylets
    finally:
        os.sched_setaffinity(0, cores)
        if ray.is_initialized():
            ray.shutdown()
        cluster.shutdown()  # type: ignore[no-untyped-call]


def _tables(folder: Path) -> list[Any]:
    """The tables of the parts, in order."""
    from pyarrow import parquet

    return [parquet.read_table(part) for part in sorted(folder.glob("part-*"))]
