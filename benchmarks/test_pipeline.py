"""From image files to a CSV file, by kind of source: `pytest benchmarks -k pipeline`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fer_bench.artefacts import Artefacts
from fer_bench.image_files import ImageFiles
from fer_bench.recording import measure_call
from fer_runtime import infer
from fer_runtime.spec import ModelSpec

SMALL, LARGE, PHOTOGRAPHS = 2048, 256, 16
"""Images of each run: about half a second of work."""
SOURCES = (
    "JPEG, 48 pixels", "PNG, 48 pixels", "tar of JPEG, 48 pixels", "pack, 48 pixels",
    "JPEG, 256 pixels", "JPEG, 1024 pixels", "photographs, --faces",
)  # fmt: skip


def source_of(name: str, files: ImageFiles, spec: ModelSpec) -> tuple[Path | None, int]:
    """Where the images are, and how many."""
    kind, _, size = name.partition(", ")
    if kind == "photographs":
        return files.photographs(PHOTOGRAPHS), PHOTOGRAPHS
    side = int(size.split()[0])
    count = SMALL if side == 48 else LARGE
    if kind == "pack":
        return files.packed(count, spec.input), count
    if kind.startswith("tar"):
        return files.archive(side, count), count
    return files.images(side, ".png" if kind == "PNG" else ".jpg", count), count


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.benchmark(group="pipeline, file to row")
def test_pipeline(
    benchmark: Any, exported: Artefacts, files: ImageFiles, spec: ModelSpec, tmp_path: Path,
    name: str,
) -> None:  # fmt: skip
    source, count = source_of(name, files, spec)
    if source is None:
        pytest.skip("no photograph with a face (tests/data of a clone)")
    done: list[Any] = []

    def run() -> None:
        done[:] = [
            infer(
                [source],
                tmp_path / "rows.csv",
                model=exported.onnx,
                overwrite=True,
                faces="--faces" in name,
            )
        ]

    run()
    measure_call(
        benchmark, run, count, seconds=1.5, least=3, engine=name, provider=done[0].provider,
        arithmetic=done[0].arithmetic,
    )  # fmt: skip
    assert (done[0].rows, done[0].errors, done[0].pictures) == (count, 0, count)
