"""A least probability: the same everywhere, and nothing else about the rows changes."""

from __future__ import annotations

import csv
import json
import pickle
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fer_runtime import Classifier
from fer_runtime import infer as run_infer
from fer_runtime.columns import UNCERTAIN, Columns
from fer_runtime.errors import DataError
from fer_runtime.gallery.figures import Figures
from fer_runtime.gallery.page import page_data
from fer_runtime.metrics import coverage
from fer_runtime.rows import Prediction, Row
from fer_runtime.serve.answers import Writer
from fer_runtime.spec import ModelSpec
from tests.runtime.command import Infer, read_csv
from tests.runtime.gallery_rows import LABELS as GALLERY_LABELS
from tests.runtime.tiny import save_classifier

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, faces: Pixels) -> Path:
    """A folder of 40 faces and of a file that cannot be read."""
    folder = tmp_path_factory.mktemp("pictures")
    for index, pixels in enumerate(faces[:, 0]):
        Image.fromarray(pixels).save(folder / f"{index:02}.png")
    (folder / "40.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def plain(tiny_model: Path, faces: Pixels) -> list[Prediction]:
    """The predictions without a least probability."""
    return Classifier.load(tiny_model).predict_batch(list(faces[:, 0]))


@pytest.fixture(scope="module")
def least(plain: list[Prediction]) -> float:
    """What half of them reach."""
    return float(np.median([each.probability for each in plain]))


@pytest.fixture(scope="module")
def expected(plain: list[Prediction], least: float) -> list[str]:
    found = [UNCERTAIN if each.probability < least else each.label for each in plain]
    assert found.count(UNCERTAIN) == 20
    return found


@pytest.mark.parametrize("workers", [0, 2])
def test_a_classifier_abstains_and_keeps_the_probabilities(
    tiny_model: Path, faces: Pixels, plain: list[Prediction], least: float, expected: list[str],
    workers: int,
) -> None:  # fmt: skip
    images = list(faces[:, 0])
    with Classifier.load(tiny_model, workers=workers, min_probability=least) as classifier:
        assert classifier.min_probability == least
        found = classifier.predict_batch(images)
        assert [each.label for each in found] == expected
        assert [each.probabilities for each in found] == [each.probabilities for each in plain]
        assert [each.probability for each in found] == [each.probability for each in plain]
        rows = list(classifier.rows(images))
        assert [row["label"] for row in rows] == expected
        assert [row.uncertain for row in rows] == [label == UNCERTAIN for label in expected]
        unsure = expected.index(UNCERTAIN)
        assert classifier.predict(images[unsure]).label == UNCERTAIN
        again: Classifier = pickle.loads(pickle.dumps(classifier))
        assert again.predict(images[unsure]).label == UNCERTAIN


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_every_format_has_the_label(
    tiny_model: Path, pictures: Path, tmp_path: Path, least: float, expected: list[str],
    ending: str, workers: int,
) -> None:  # fmt: skip
    rows = {}
    for name, value in (("plain", 0.0), ("least", least)):
        file = tmp_path / f"{name}.{ending}"
        run_infer(
            pictures, file, model=tiny_model, min_probability=value, workers=workers, batch_size=8
        )
        text = file.read_text(encoding="utf-8")
        rows[name] = (
            list(csv.DictReader(text.splitlines()))
            if ending == "csv"
            else [json.loads(line) for line in text.splitlines()]
        )
    assert [row.get("label") or "" for row in rows["least"]] == [*expected, ""]
    for before, after in zip(rows["plain"], rows["least"], strict=True):
        assert {**before, "label": ""} == {**after, "label": ""}, "only the label differs"


def test_parquet_too(
    tiny_model: Path, pictures: Path, tmp_path: Path, least: float, expected: list[str]
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    run_infer(pictures, tmp_path / "a.parquet", model=tiny_model, min_probability=least)
    assert parquet.read_table(tmp_path / "a.parquet")["label"].to_pylist() == [*expected, None]


def test_text_shows_what_was_uncertain(
    infer: Infer, pictures: Path, least: float, expected: list[str]
) -> None:
    done = infer(pictures, "--min-probability", least, "--top-k", 1)
    lines = done.stdout.decode().splitlines()
    for line, label in zip(lines, expected, strict=False):
        assert (": uncertain (" in line) == (label == UNCERTAIN)
    done = infer(pictures, "--min-probability", least, "-o", "-", "--summary")
    rows = read_csv(done.stdout)
    assert [row["label"] for row in rows] == [*expected, ""]
    assert "uncertain" in done.stderr.decode() and " 20  50.0%" in done.stderr.decode()


def test_it_is_part_of_what_a_run_is(
    tiny_model: Path, pictures: Path, tmp_path: Path, least: float
) -> None:
    file = tmp_path / "a.csv"
    for _ in range(2):
        run_infer(pictures, file, model=tiny_model, min_probability=least, resume=True)
    with pytest.raises(DataError, match="min_probability"):
        run_infer(pictures, file, model=tiny_model, resume=True)


def test_what_it_cannot_be(
    infer: Infer, pictures: Path, tmp_path: Path, tiny_spec: ModelSpec
) -> None:
    assert infer(pictures, "--min-probability", 1.5).returncode == 2
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="from 0 to 1"):
            Columns(("happy", "sad"), min_probability=wrong)
    spec = tiny_spec.replace(labels=(*tiny_spec.labels[:-1], UNCERTAIN))
    model = save_classifier(tmp_path / "unsure.onnx", spec)
    assert Classifier.load(model).spec.labels[-1] == UNCERTAIN
    with pytest.raises(DataError, match="'uncertain', which this model has already"):
        Classifier.load(model, min_probability=0.5)
    done = infer(pictures, "--min-probability", 0.5, model=model)
    assert done.returncode == 6 and b"Traceback" not in done.stderr


def test_an_answer_of_the_server() -> None:
    writer = Writer("tiny", ("happy", "sad"), 0.7)
    values = np.array([[0.75, 0.25], [0.4, 0.6]], np.float32)
    found = [json.loads(f"{{{writer.prediction(each)}}}") for each in values]
    assert [each["label"] for each in found] == ["happy", "uncertain"]
    assert found[1]["probability"] == 0.6 and found[1]["probabilities"] == [0.4, 0.6]


def test_a_gallery_counts_them_apart() -> None:
    columns = Columns(GALLERY_LABELS, min_probability=0.5)
    shares = {"happy/1.jpg": (0.9, 0.1, 0.0), "happy/2.jpg": (0.4, 0.35, 0.25)}
    rows = [
        Row(name, GALLERY_LABELS, np.array(each, np.float32), columns=columns)
        for name, each in shares.items()
    ]
    figures = Figures(GALLERY_LABELS)
    for row in rows:
        figures.add(row)
    assert figures.lines()[:2] == [("images", "2"), ("uncertain", "1")]
    assert int(figures.predicted.sum()) == 1 and int(figures.labelled.sum()) == 1
    data = page_data(rows, figures)
    assert data["predicted"] == [0, -3]
    assert data["counts"] == [1, 0, 0, 0, 0, 1]


def test_coverage_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.45, 0.55]])
    targets = np.array([0, 0, 0, 1])
    assert coverage(probabilities, targets, (0.0, 0.58, 0.8, 0.95)) == [
        {"min_probability": 0.0, "coverage": 1.0, "accuracy": 0.75},
        {"min_probability": 0.58, "coverage": 0.75, "accuracy": pytest.approx(2 / 3)},
        {"min_probability": 0.8, "coverage": 0.5, "accuracy": 0.5},
        {"min_probability": 0.95, "coverage": 0.0, "accuracy": None},
    ]


def test_evaluation_reports_it(
    infer: Infer, tmp_path: Path, faces: Pixels, plain: list[Prediction], least: float
) -> None:
    for index, (pixels, found) in enumerate(zip(faces[:, 0], plain, strict=True)):
        folder = tmp_path / "labelled" / (found.label if index % 4 else "other")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{index:02}.png")
    command = [tmp_path / "labelled", "--evaluate", "--min-probability", least]
    done = infer(*command, "-o", tmp_path / "a.csv", "--json")
    curve = json.loads(done.stdout)["coverage"]
    sure = [index for index in range(40) if index % 4 and plain[index].probability >= least]
    (here,) = (each for each in curve if each["min_probability"] == least)
    assert here == {"min_probability": least, "coverage": len(sure) / 30, "accuracy": 1.0}
    done = infer(*command, "-o", tmp_path / "b.csv")
    assert f"{len(sure) / 30:.1%} of the images, accuracy 1.0000" in done.stdout.decode()
