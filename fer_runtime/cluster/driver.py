"""The parts of a run as Ray tasks.

Tasks, and not actors: what a lost machine was doing is done again wherever a core is free, while an
actor would wait for a machine of its own. And not Ray Data: it keeps the list of a data set in
memory, hangs in silence where its actors take every CPU (ray#44687), and its order is not that of
the parts, which `--resume` needs. For pipelines of your own there is `BatchClassifier`.
"""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_runtime.errors import DataError, FerError, WorkerError
from fer_runtime.parts.plan import Part

if TYPE_CHECKING:
    from fer_runtime.items import Item
    from fer_runtime.run import Run

LOCAL = "local"
"""In place of an address: a cluster of this machine, for this run alone."""
CURRENT = Path(tempfile.gettempdir()) / "ray" / "ray_current_cluster"
"""Where Ray keeps the address of the cluster that was started last on this machine."""
CONNECTS_WITHIN = 5
TRIES = 5
"""How often a part is tried again whose worker or machine is lost."""
AHEAD = 2
"""Parts per CPU of the cluster that are handed out: bounds the driver's memory."""


def write_parts(run: Run, address: str, todo: Iterable[tuple[int, list[Item]]]) -> Iterator[Part]:
    """Write parts on a cluster -> the parts, as they are finished.

    Args:
        run: a run that is set up.
        address: of Ray's head node; "auto" for the cluster of this machine, or "local".
        todo: (index, images) of each part.

    Raises:
        DataError: Ray is not installed, no cluster is at the address, or a part cannot be written.
        WorkerError: a part whose workers were lost again and again.
    """
    from fer_runtime.cluster.tasks import Work, write_part
    from fer_runtime.hashing import file_sha256

    path = Path(run.classifier.session.path)
    work = Work.of(run, file_sha256(path))
    with _connected(address) as ray:
        settings: dict[str, Any] = {"num_cpus": 1, "max_retries": TRIES}
        if work.provider in ("cuda", "tensorrt"):
            settings["num_gpus"] = 1
        task = ray.remote(**settings)(write_part)
        model = ray.put(path.read_bytes())
        yield from _in_flight(ray, task, work, model, todo)


def _in_flight(
    ray: Any, task: Any, work: Any, model: Any, todo: Iterable[tuple[int, list[Item]]]
) -> Iterator[Part]:
    """Keep the cluster busy; the parts in the order in which they are finished."""
    waiting: dict[Any, int] = {}
    try:
        for index, chunk in todo:
            while len(waiting) >= AHEAD * max(1, _cpus(ray)):
                yield from _finished(ray, waiting)
            waiting[task.remote(work, model, index, chunk)] = index
        while waiting:
            yield from _finished(ray, waiting)
    finally:
        for reference in waiting:
            ray.cancel(reference)


def _finished(ray: Any, waiting: dict[Any, int]) -> Iterator[Part]:
    """Those that are finished when at least one is."""
    done, _ = ray.wait(list(waiting), num_returns=1, timeout=10)
    for reference in done:
        index = waiting.pop(reference)
        try:
            yield ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, FerError | OSError):
                raise DataError(f"part {index}: {cause}") from None
            raise
        except ray.exceptions.RayError as error:
            first = str(error).strip().splitlines()[0]
            raise WorkerError(f"part {index} was lost {TRIES + 1} times: {first}") from None


def _cpus(ray: Any) -> int:
    return int(ray.cluster_resources().get("CPU", 1))


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Ray, connected; a connection that was there before stays."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise DataError("--ray needs Ray: pip install '.[ray]' in a checkout.") from None
    if ray.is_initialized():
        yield ray
        return
    require_cluster(address)
    try:
        ray.init(
            address=address, log_to_driver=False,
            logging_level=logging.ERROR, configure_logging=False,
        )  # fmt: skip
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise DataError(f"--ray {address}: {str(error).splitlines()[0]}") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def require_cluster(address: str) -> None:
    """Require that something listens at an address: Ray itself would wait for it for minutes.

    Raises:
        DataError: nobody does, or "auto" finds no cluster.
    """
    if address == LOCAL:
        return
    found = address
    if address == "auto":
        found = os.environ.get("RAY_ADDRESS", "")
        if not found and CURRENT.is_file():
            found = CURRENT.read_text(encoding="utf-8").strip()
    host, _, port = found.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECTS_WITHIN).close()
    except (OSError, ValueError):
        where = f" (at {found})" if found != address else ""
        raise DataError(
            f"--ray {address}: no Ray cluster is there{where}. Start one with "
            '"ray start --head", or pass --ray local.'
        ) from None
