"""Installs the peers and runs them in turns."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer_bench.clone import CLONE
from fer_bench.peer_runs import deepface_weights
from fer_bench.peer_runs.table import OURS, PEERS, Peer
from fer_runtime import metrics
from fer_runtime.errors import DataError, FerError

PROGRAM = Path(__file__).with_name("program.py")
LOOP_PACKAGES = ("torch", "torchvision", "numpy", "pillow")
"""The packages that the PyTorch loop imports."""
LONGEST = 1800.0
"""Seconds of one run of one peer."""


def python_of(name: str, environments: Path) -> Path:
    """The interpreter that runs a peer."""
    peer = PEERS[name]
    if not peer.packages:
        return Path(sys.executable)
    return environments / (peer.environment or name) / "bin" / "python"


def install(name: str, environments: Path) -> None:
    """Make a peer's environment; one whose installation failed is made anew, as is this checkout's.

    Raises:
        FerError: pip cannot install it.
    """
    python = python_of(name, environments)
    folder = python.parents[1]
    done = folder / "complete"
    packages = PEERS[name].packages
    if not packages or (done.exists() and packages != OURS):
        return
    shutil.rmtree(folder, ignore_errors=True)
    uv = shutil.which("uv")
    if uv:
        _call([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
        command = [uv, "pip", "install", "--quiet", "--python", str(python)]
        # uv keeps the wheel of a checkout for as long as its pyproject.toml stays as it is.
        command += ["--refresh-package", "fer-runtime"]
    else:
        _call([sys.executable, "-m", "venv", str(folder)])
        command = [str(python), "-m", "pip", "install", "--quiet"]
    _call([*command, *packages])
    done.touch()


def installed_bytes(name: str, environments: Path) -> int:
    """What its packages take on disk."""
    if not PEERS[name].packages:
        from importlib import metadata

        files = [file for package in LOOP_PACKAGES for file in metadata.files(package) or ()]
        return sum(
            path.stat().st_size for file in files if (path := Path(str(file.locate()))).exists()
        )
    folder = python_of(name, environments).parents[1] / "lib"
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


class Runs:
    """Runs of the peers on some images, on one core.

    Args:
        paths: the images, below a folder for each label.
        environments: where the peers are installed.
        checkpoint: the weights of the PyTorch loop.
        folder: for files that are needed in between.

    Raises:
        DataError: no image.
    """

    def __init__(
        self, paths: Sequence[Path], environments: Path, checkpoint: Path, folder: Path
    ) -> None:
        if not paths:
            raise DataError("There are no images to classify.")
        self.paths, self.environments, self.checkpoint = paths, environments, checkpoint
        self._folder = folder
        self._listing = folder / "paths.txt"
        self._listing.write_text("\n".join(map(str, paths)), encoding="utf-8")
        self._one = folder / "one.txt"
        self._one.write_text(str(paths[0]), encoding="utf-8")
        self._core = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0

    def run(self, name: str, *, one: bool = False) -> dict[str, Any]:
        """What `program` prints of a peer.

        Raises:
            FerError: it cannot be run, with the last line that it printed.
        """
        environment = dict(os.environ)
        if PEERS[name].packages:
            environment.pop("PYTHONPATH", None)
        else:
            paths = (CLONE, *(CLONE / part for part in ("train", "export")))
            environment["PYTHONPATH"] = os.pathsep.join(map(str, paths))
        if name == "deepface":
            home = self._folder / "deepface"
            if not home.exists():
                deepface_weights.write(home)
            environment["DEEPFACE_HOME"] = str(home)
        listing = self._one if one else self._listing
        command = [
            str(python_of(name, self.environments)), str(PROGRAM), name, str(listing),
            str(self._core), str(self.checkpoint),
        ]  # fmt: skip
        done = _call(command, environment)
        found: dict[str, Any] = json.loads(done.splitlines()[-1])
        return found

    def figures(self, name: str, rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """A peer's rounds as the figures of a record."""
        peer, last = PEERS[name], rounds[-1]
        count = len(self.paths)
        found: dict[str, Any] = {
            "images_per_second": count / statistics.median(one["seconds"] for one in rounds),
            "start_seconds": statistics.median(one["start_seconds"] for one in rounds),
            "installed_bytes": installed_bytes(name, self.environments),
            "note": peer.note,
        }
        if "batched_seconds" in last:
            seconds = statistics.median(one["batched_seconds"] for one in rounds)
            found["batched_images_per_second"] = count / seconds
        if peer.accuracy:
            found |= accuracy(self.paths, last["labels"])
        return found


def accuracy(paths: Sequence[Path], labels: Sequence[str]) -> dict[str, Any]:
    """Accuracy and macro-F1 of labels by the images' folders; other labels are counted apart."""
    names = sorted({path.parent.name for path in paths})
    places = {name: place for place, name in enumerate(names)}
    known = [label in places for label in labels]
    # A label that is none of the folders' is wrong for every image: put it beside the right one.
    truth = np.array([places[path.parent.name] for path in paths], np.int64)
    predicted = np.array(
        [
            places.get(label, (right + 1) % len(names))
            for label, right in zip(labels, truth, strict=True)
        ],
        np.int64,
    )
    matrix = metrics.confusion_matrix(truth, predicted, len(names))
    return {
        "accuracy": metrics.accuracy(matrix),
        "macro_f1": metrics.macro_f1(matrix),
        "without_label": len(labels) - sum(known),
    }


def _call(command: list[str], environment: dict[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, timeout=LONGEST
        )
    except OSError as error:
        raise FerError(f"{command[0]} cannot be run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise FerError(f"it takes longer than {LONGEST / 60:.0f} minutes") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise FerError(said[-1] if said else f"exit status {done.returncode}")
    return done.stdout


def of_table(names: Sequence[str]) -> dict[str, Peer]:
    """Some of the peers; raises DataError for an unknown name."""
    for name in names:
        if name not in PEERS:
            raise DataError(f"{name} is not one of {', '.join(PEERS)}.")
    return {name: PEERS[name] for name in names}
