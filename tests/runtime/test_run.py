"""A run as one call: what it writes and returns, what it refuses, and who watches it."""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fer_runtime import Classifier, infer
from fer_runtime.columns import columns
from fer_runtime.errors import DataError, ImageError
from fer_runtime.evaluation import Evaluation, Summary
from fer_runtime.rows import Row
from fer_runtime.run import Run
from fer_runtime.sources import SourceOptions, Sources
from tests.runtime.shards import archive, png

Pixels = npt.NDArray[np.uint8]


@pytest.fixture
def folder(tmp_path: Path, faces: Pixels) -> Path:
    """Twelve faces in two label folders, and one file that is not an image."""
    for index in range(12):
        path = tmp_path / "in" / ("angry", "happy")[index % 2] / f"{index:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(faces[index, 0]).save(path)
    (tmp_path / "in" / "happy" / "notes.txt").write_text("no image")
    return tmp_path / "in"


@pytest.fixture
def options(tiny_model: Path) -> dict[str, Any]:
    return {"model": tiny_model, "provider": "cpu", "batch_size": 5, "threads": 2}


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_one_call_writes_a_file_and_returns_what_was_done(
    folder: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    result = infer([folder], tmp_path / "o.csv", **options)
    assert (result.rows, result.errors, result.skipped) == (12, 0, 1)
    assert (result.output, result.provider) == (str(tmp_path / "o.csv"), "cpu")
    assert result.model == options["model"] and result.seconds > 0 and not result.complete
    rows = read(tmp_path / "o.csv")
    classifier = Classifier.load(options["model"], provider="cpu")
    paths = [row["path"] for row in rows]
    assert paths == sorted(str(path) for path in folder.rglob("*.png"))
    assert [row["label"] for row in rows] == [p.label for p in classifier.predict_batch(paths)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "o.csv"]


def test_one_source_needs_no_list(folder: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    assert infer(str(folder), tmp_path / "a.csv", **options).rows == 12
    assert infer(folder, tmp_path / "b.csv", **options).rows == 12


def test_the_same_call_as_the_command_line(
    folder: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    import subprocess

    infer([folder], tmp_path / "o.csv", **options)
    command = [sys.executable, "-m", "fer_runtime", str(folder), "-o", str(tmp_path / "c.csv")]
    command += ["--model", str(options["model"]), "--provider", "cpu", "--batch-size", "5"]
    subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "o.csv").read_bytes() == (tmp_path / "c.csv").read_bytes()


def test_a_finished_output_is_not_overwritten_unless_asked(
    folder: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    output = tmp_path / "o.csv"
    output.write_text("the one before")
    with pytest.raises(DataError, match=r"o\.csv exists already; pass --overwrite to replace it"):
        infer([folder], output, **options)
    assert output.read_text() == "the one before"
    assert infer([folder], output, overwrite=True, **options).rows == 12
    assert len(read(output)) == 12


def test_resume_continues_checks_and_knows_the_model(
    folder: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    output = tmp_path / "o.csv"

    class Stop:
        def add(self, rows: Sequence[Row]) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        infer([folder], output, observers=[Stop()], resume=True, **options)
    assert not output.exists()
    result = infer([folder], output, resume=True, **options)
    assert (result.rows, result.finished_rows) == (7, 5)
    before = output.read_bytes()
    again = infer([folder], output, resume=True, **options)
    assert again.complete and (again.rows, again.finished_rows) == (0, 12)
    with pytest.raises(DataError, match="complete, but was made with max_pixels"):
        infer([folder], output, resume=True, max_pixels=99_999, **options)
    shipped = {**options, "model": "compact_cnn"}
    with pytest.raises(DataError, match="complete, but was made with another model"):
        infer([folder], output, resume=True, **shipped)
    with pytest.raises(DataError, match="complete, but for other images"):
        infer([folder / "happy"], output, resume=True, **options)
    assert output.read_bytes() == before
    fresh = tmp_path / "fresh.csv"
    infer([folder], fresh, **options)
    assert fresh.read_bytes() == before, "as an unbroken run"


def test_bad_images_are_rows_or_the_end(
    folder: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    (folder / "angry" / "04.png").write_bytes(b"not a picture")
    result = infer([folder], tmp_path / "o.csv", **options)
    assert (result.rows, result.errors) == (12, 1)
    with pytest.raises(ImageError, match=r"04\.png: not an image"):
        infer([folder], tmp_path / "p.csv", on_error="fail", **options)
    assert not (tmp_path / "p.csv").exists()
    with pytest.raises(ValueError, match="on_error='perhaps'; allowed: row, fail"):
        infer([folder], tmp_path / "q.csv", on_error="perhaps", **options)


def test_nothing_to_do_is_an_error_that_leaves_no_file(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no image files there"):
        infer([tmp_path / "empty"], tmp_path / "o.csv", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_observers_see_every_row_in_order(
    folder: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    class Names:
        def __init__(self) -> None:
            self.names: list[str] = []

        def add(self, rows: Sequence[Row]) -> None:
            self.names += [row.name for row in rows]

    labels = Classifier.load(options["model"], provider="cpu").spec.labels
    names, evaluation, summary = Names(), Evaluation(labels), Summary(labels)
    infer([folder], tmp_path / "o.jsonl", observers=[names, evaluation, summary], **options)
    entries = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert names.names == [entry["path"] for entry in entries]
    right = sum(Path(e["path"]).parent.name == e["label"] for e in entries)
    assert evaluation.to_dict()["metrics"]["accuracy"] == pytest.approx(right / 12)
    assert sum(entry["count"] for entry in summary.to_dict().values()) == 12


def test_a_run_can_be_looked_at_before_it_is_executed(
    folder: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    run = Run(Sources([folder], shard=(2, 3)), tmp_path / "o.csv", **options)
    assert run.classifier.session.path == options["model"] and run.result.rows == 0
    assert not (tmp_path / "o.csv.partial").exists(), "nothing is written before it is executed"
    assert run.execute().rows == 4


def test_the_labels_of_a_csv_are_used_by_an_evaluation(
    tmp_path: Path, faces: Pixels, options: dict[str, Any]
) -> None:
    lines = ["emotion,pixels,Usage"]
    lines += [f"{i % 7},{' '.join(map(str, faces[i, 0].ravel()))},Training" for i in range(7)]
    (tmp_path / "fer2013.csv").write_text("\n".join(lines))
    evaluation = Evaluation(Classifier.load(options["model"], provider="cpu").spec.labels)
    infer([tmp_path / "fer2013.csv"], tmp_path / "o.csv", observers=[evaluation], **options)
    found = evaluation.to_dict()
    assert found["metrics"]["count"] == 7 and found["unlabelled"] == 0
    assert np.array(found["confusion"]).sum(1).tolist() == [1] * 7


# --- rows from Python -------------------------------------------------------------------------


@pytest.fixture
def classifier(tiny_model: Path) -> Classifier:
    return Classifier.load(tiny_model, provider="cpu", threads=2, batch_size=32)


def test_rows_are_the_records_of_a_table(classifier: Classifier, faces: Pixels) -> None:
    good, bad = classifier.rows([faces[0, 0], b"not an image"])
    names = columns(classifier.spec.labels)
    assert list(good) == list(bad) == list(names) and len(good) == len(names)
    assert good["path"] == "image 0" and good["label"] == good.label
    assert good["probability"] == max(float(str(good[label])) for label in classifier.spec.labels)
    assert dict(bad) == dict.fromkeys(names) | {"path": "image 1", "error": bad.error}
    with pytest.raises(KeyError):
        good["nonsense"]


def test_pandas_makes_a_table_of_rows(classifier: Classifier, faces: Pixels) -> None:
    pandas = pytest.importorskip("pandas", reason="the package pandas is not installed")
    table = pandas.DataFrame(classifier.rows(list(faces[:3, 0])))
    assert list(table.columns) == list(columns(classifier.spec.labels))
    assert table.path.tolist() == ["image 0", "image 1", "image 2"]


def test_rows_of_a_slow_source_come_as_soon_as_they_are_ready(
    classifier: Classifier, faces: Pixels
) -> None:
    """Each frame is handed over before the next one comes."""
    taken: list[int] = []

    def camera() -> Iterator[Pixels]:
        for index in range(5):
            taken.append(index)
            yield faces[index, 0]
            time.sleep(0.4)

    seen = []
    for row in classifier.rows(camera()):
        seen.append((row.name, len(taken)))
    assert seen == [(f"image {index}", index + 1) for index in range(5)]


def test_rows_equal_a_batch_of_them(classifier: Classifier, faces: Pixels) -> None:
    expected = classifier.predict_batch(list(faces[:, 0]))
    found = [row.prediction() for row in classifier.rows(faces[:, 0])]
    assert [p.label for p in found] == [p.label for p in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.probability == pytest.approx(other.probability, abs=1e-6)


def test_what_a_source_raises_comes_after_its_rows(classifier: Classifier, faces: Pixels) -> None:
    def broken() -> Iterator[Pixels]:
        yield faces[0, 0]
        raise RuntimeError("the camera is gone")

    rows = classifier.rows(broken())
    assert next(rows).name == "image 0"
    with pytest.raises(RuntimeError, match="the camera is gone"):
        next(rows)


def test_leaving_early_stops_reading(classifier: Classifier, faces: Pixels) -> None:
    taken = 0

    def endless() -> Iterator[Pixels]:
        nonlocal taken
        while True:
            taken += 1
            yield faces[0, 0]

    rows = classifier.rows(endless())
    assert next(rows).error is None
    rows.close()  # type: ignore[attr-defined]
    time.sleep(0.2)
    before = taken
    time.sleep(0.3)
    assert taken == before


def test_options_of_sources_are_part_of_the_run(tmp_path: Path, tiny_model: Path) -> None:
    path = archive(tmp_path / "s.tar", ("a.png", png(9)), ("a.json", b'{"age": 31, "id": "x"}'))
    options = {"model": tiny_model, "provider": "cpu", "resume": True}
    output = tmp_path / "rows.csv"
    reading = SourceOptions(columns=("age", "id"))
    infer(path, output, reading=reading, **options)  # type: ignore[arg-type]
    assert output.read_text().splitlines()[1].endswith(",,31,x")
    assert infer(path, output, reading=reading, **options).complete  # type: ignore[arg-type]
    with pytest.raises(DataError, match="was made with"):
        infer(path, output, **options)  # type: ignore[arg-type]
