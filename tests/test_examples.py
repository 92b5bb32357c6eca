"""Every example runs, with nothing and with pictures, and prints what its text says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from fer_bench.artefacts import Artefacts
from fer_export import exporter
from fer_export.options import ExportOptions
from tests.runtime.command import environment

FOLDER = Path(__file__).parent.parent / "examples"
NEEDS = {
    "pandas_column": "pandas", "torch_dataloader": "torch", "ray_data": "ray",
    "dask_frame": "dask.dataframe", "spark_frame": "pyspark",
}  # fmt: skip
ALONE = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "neighbours")


def run(name: str, *arguments: object) -> str:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"needs {NEEDS[name]}")
    done = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py", *map(str, arguments)],
        capture_output=True, env=environment(), timeout=120, check=False, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"{index}.png" for index in range(3)]
    for index, path in enumerate(paths):
        Image.effect_noise((48, 48), 30 + 30 * index).save(path)
    return paths


def test_each_is_listed() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    for path in FOLDER.glob("*.py"):
        assert f"({path.name})" in text
    assert "not about what a\nperson feels" in text


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name == "ray_data" else name for name in ALONE],
)
def test_it_runs_from_a_checkout_with_nothing(name: str) -> None:
    assert "happy" in run(name)


def test_a_script_goes_on_after_a_broken_picture(pictures: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_text("not a picture")
    lines = run("script", broken, *pictures).splitlines()
    assert [line.partition(": ")[0] for line in lines[:3]] == [str(path) for path in pictures]


def test_a_table_keeps_its_rows(pictures: list[Path]) -> None:
    text = run("pandas_column", *pictures, "missing.png")
    assert all(str(path) in text for path in pictures)
    assert "cannot be read: No such file" in text


def test_a_loader_gives_what_the_classifier_gives(pictures: list[Path]) -> None:
    from fer_runtime import Classifier

    text = run("torch_dataloader", *pictures)
    expected = Classifier.load("compact_cnn").predict_batch(pictures)
    for path, found in zip(pictures, expected, strict=True):
        assert f"'{path}': '{found.label}'" in text


def test_a_service_answers_in_order_and_names_what_is_broken(
    pictures: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_text("not a picture")
    lines = run("asyncio_service", pictures[0], broken, pictures[1]).splitlines()
    assert len(lines) == 3
    assert "not an image" in lines[1] or "cannot" in lines[1]


def test_neighbours_are_by_features(
    exported: Artefacts, pictures: list[Path], tmp_path: Path
) -> None:
    model = tmp_path / "x.onnx"
    exporter.export(exported.checkpoint, "onnx", model, ExportOptions(features=True))
    lines = run("neighbours", model, *pictures, pictures[0]).splitlines()
    assert lines[0] == f"{pictures[0]}: {pictures[0]} (1.00)", "its own copy is the nearest"
    assert len(lines) == 4
