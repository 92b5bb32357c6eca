"""A run on a Ray cluster of two nodes of this machine: the same parts, also where one is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

pytest.importorskip("ray", reason="the extra `ray` is not installed")

PROGRAM = """
import os, signal, sys
from ray.cluster_utils import Cluster
from fer_runtime import infer

images, out, model, lose = sys.argv[1:]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
second = cluster.add_node(num_cpus=1)
lost = []

def progress(rows):
    if lose == "yes" and not lost:
        lost.append(True)
        os.kill(second.all_processes["raylet"][0].process.pid, signal.SIGKILL)

from fer_runtime.run import Run
run = Run([images], out, model=model, provider="cpu", ending=".csv", part_images=32,
          ray=cluster.address)
result = run.execute(progress=progress)
print(result.rows, result.errors, len(lost))
"""


@pytest.mark.slow
@pytest.mark.parametrize("lose", ["no", "yes"])
def test_two_nodes_write_what_one_process_writes(
    tmp_path: Path, tiny_model: Path, faces: npt.NDArray[np.uint8], lose: str
) -> None:
    from fer_runtime import infer

    images = tmp_path / "images"
    images.mkdir()
    for n in range(400):
        Image.fromarray(faces[n % len(faces), 0]).save(images / f"{n:03}.png")
    options = {"model": tiny_model, "provider": "cpu", "ending": ".csv", "part_images": 32}
    infer([images], f"{tmp_path}/here/", **options)  # type: ignore[arg-type]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(images), f"{tmp_path}/there/", str(tiny_model), lose],
        capture_output=True, text=True, timeout=240, check=False,
        env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split()[-3:] == ["400", "0", "1" if lose == "yes" else "0"]
    here, there = (sorted((tmp_path / name).glob("part-*")) for name in ("here", "there"))
    assert [part.name for part in there] == [part.name for part in here]
    assert [part.read_bytes() for part in there] == [part.read_bytes() for part in here]
