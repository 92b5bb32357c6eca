"""Runs over photographs: a row per face, notes, sizes, resuming, shards, evaluation."""

from __future__ import annotations

import csv
import io
import itertools
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fer_runtime import Classifier, FaceOptions, infer
from fer_runtime.cli.infer_options import FaceFlags
from fer_runtime.errors import ImageError
from fer_runtime.evaluation import Evaluation
from fer_runtime.face_crop import FaceCrop
from fer_runtime.faces import Face
from fer_runtime.faces.crops import crop, side
from fer_runtime.rows import Row
from fer_runtime.sinks.resume import write_record
from fer_runtime.spec import InputSpec
from fer_runtime.stages import faces as stage
from tests.runtime.command import Infer, read_csv
from tests.runtime.pictures import smooth, with_orientation

ASTRONAUT = Path(__file__).parent.parent / "data" / "astronaut.jpg"
HEAD = (140, 20, 320, 220)
"""Where her head is in the picture of 512 x 512."""


def head(size: int) -> Image.Image:
    """Her head, resized to a height of `size` pixels."""
    cropped = Image.open(ASTRONAUT).crop(HEAD)
    return cropped.resize((size * cropped.width // cropped.height, size), Image.Resampling.LANCZOS)


def group(*sizes: int, height: int = 400, width: int = 900) -> Image.Image:
    """Heads of some sizes, from left to right, on a soft background."""
    picture = Image.fromarray(smooth(height, width))
    left = 20
    for size in sizes:
        picture.paste(head(size), (left, (height - size) // 2))
        left += size + 20
    return picture


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine pictures of 0 to 3 faces, and a broken one."""
    folder = tmp_path_factory.mktemp("album")
    faces = [1, 0, 2, 3, 1, 0, 2, 1, 3]
    for index, count in enumerate(faces):
        sizes = [260, 200, 300][:count]
        group(*sizes).save(folder / f"{index}.jpg", quality=92)
    (folder / "5a broken.jpg").write_bytes((folder / "4.jpg").read_bytes()[:2000])
    return folder


def numbers(data: bytes) -> list[tuple[str, str]]:
    return [(Path(row["path"]).stem, row["face"]) for row in read_csv(data)]


EXPECTED = [
    *[
        ("0", "1"),
        ("1", ""),
        ("2", "1"),
        ("2", "2"),
        ("3", "1"),
        ("3", "2"),
        ("3", "3"),
        ("4", "1"),
    ],
    *[("5", ""), ("5a broken", ""), ("6", "1"), ("6", "2"), ("7", "1")],
    *[("8", "1"), ("8", "2"), ("8", "3")],
]


def test_each_face_is_a_row_and_so_is_a_picture_without_one(
    tmp_path: Path, tiny_model: Path, album: Path
) -> None:
    result = infer(album, tmp_path / "rows.csv", model=tiny_model, provider="cpu", faces=True)
    assert (result.pictures, result.faces, result.rows, result.errors) == (10, 13, 16, 1)
    data = (tmp_path / "rows.csv").read_bytes()
    assert numbers(data) == EXPECTED
    for row in read_csv(data):
        assert sum(bool(row[name]) for name in ("label", "error", "note")) == 1
        assert bool(row["label"]) == bool(row["left"]) == bool(row["score"]) == bool(row["face"])
        assert row["note"] in ("", "no face found")
        if row["label"]:
            left, top, right, bottom = (float(row[s]) for s in ("left", "top", "right", "bottom"))
            assert 0 < left < right < 900 and 0 < top < bottom < 400
            assert 0.6 <= float(row["score"]) <= 1
    areas = [
        (float(row["right"]) - float(row["left"])) * (float(row["bottom"]) - float(row["top"]))
        for row in read_csv(data)
        if row["path"].endswith("8.jpg")
    ]
    assert areas == sorted(areas, reverse=True), "the largest face first"


def test_the_shipped_model_sees_her_smile(infer: Infer) -> None:
    done = infer("--faces", ASTRONAUT, model="compact_cnn")
    assert done.returncode == 0
    assert done.stdout.decode().startswith(f"{ASTRONAUT} face 1: happy 9")
    assert b"1 face in 1 image" in done.stderr and b"--faces" not in done.stderr
    done = infer("--faces", ASTRONAUT, "--json", model="compact_cnn")
    entry = json.loads(done.stdout)
    assert entry["face"] == 1 and entry["label"] == "happy" and entry["note"] is None
    assert np.allclose(entry["box"], [178, 62, 269, 177], atol=3) and len(entry["landmarks"]) == 5


def test_a_photograph_without_faces_gets_a_hint(infer: Infer, album: Path) -> None:
    done = infer(ASTRONAUT)
    assert done.returncode == 0 and done.stderr.count(b"pass --faces") == 1
    assert b"this image is much larger than the model's input of 48 x 48 pixels" in done.stderr
    assert b"10 of the first 10 images are much larger" in infer(album).stderr


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_resumed_anywhere_it_equals_an_unbroken_run(
    tmp_path: Path, tiny_model: Path, album: Path, ending: str
) -> None:
    if ending == ".parquet":
        pytest.importorskip("pyarrow", reason="needs pyarrow, the extra parquet")
    whole = tmp_path / f"whole{ending}"
    options = {"model": tiny_model, "provider": "cpu", "faces": True, "threads": 2}
    infer(album, whole, **options)  # type: ignore[arg-type]
    for kept in (1, 5, 9, 15, 16):
        output = tmp_path / f"{kept}{ending}"
        _start(output, whole, kept, album, options)
        result = infer(album, output, resume=True, **options)  # type: ignore[arg-type]
        assert (result.finished_rows, result.rows) == (kept, 16 - kept)
        if ending == ".parquet":
            from pyarrow import parquet

            assert parquet.read_table(output).equals(parquet.read_table(whole))
        else:
            assert output.read_bytes() == whole.read_bytes()
        again = infer(album, output, resume=True, **options)  # type: ignore[arg-type]
        assert again.complete and again.finished_rows == 16


def _start(output: Path, whole: Path, kept: int, album: Path, options: dict[str, object]) -> None:
    """A partial file of the first `kept` rows, as a kill leaves it."""
    from fer_runtime.run import Run

    run = Run(album, output, **options)  # type: ignore[arg-type]
    partial = Path(f"{output}.partial")
    if output.suffix == ".parquet":
        from pyarrow import parquet

        partial.mkdir()
        parquet.write_table(parquet.read_table(whole)[:kept], partial / "00000000.parquet")
    else:
        lines = whole.read_bytes().splitlines(keepends=True)
        partial.write_bytes(b"".join(lines[: kept + (output.suffix == ".csv")]))
    assert run.identity is not None
    write_record(partial, run.identity)


def test_shards_share_out_whole_pictures(tmp_path: Path, tiny_model: Path, album: Path) -> None:
    found = []
    for index in (1, 2, 3):
        output = tmp_path / f"{index}.csv"
        infer(album, output, model=tiny_model, provider="cpu", faces=True, shard=(index, 3))
        found.append(numbers(output.read_bytes()))
    pictures = [[name for name, _ in itertools.groupby(each, key=lambda n: n[0])] for each in found]
    assert pictures == [["0", "3", "5a broken", "8"], ["1", "4", "6"], ["2", "5", "7"]]
    assert sorted(itertools.chain(*found)) == sorted(EXPECTED)


def test_the_smallest_face_and_the_score_are_options(infer: Infer, album: Path) -> None:
    done = infer("--faces", "--min-face", 500, album / "3.jpg")
    assert done.stdout.decode() == f"{album / '3.jpg'}: no face of 500 pixels or more (3 smaller)\n"
    done = infer("--faces", "--face-score", 1, album / "3.jpg")
    assert done.stdout.decode() == f"{album / '3.jpg'}: no face found\n"
    assert infer("--min-face", 5, album).returncode == 2
    assert b"it needs --faces" in infer("--detect-size", 900, album).stderr
    with pytest.raises(ValueError, match="min_score=2"):
        FaceOptions(min_score=2).checked()


def test_a_small_face_of_a_large_photograph_is_cropped_where_it_has_enough_pixels(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[float] = []

    def spy(pixels: Any, face: Face, spec: InputSpec, *, scale: float) -> Any:
        assert max(pixels.shape) == pytest.approx(3200 * scale, abs=8)
        taken.append(side(face, spec.face_crop) * scale)
        return crop(pixels, face, spec, scale=scale)

    monkeypatch.setattr(stage, "crop", spy)
    picture = Image.fromarray(smooth(2400, 3200))
    picture.paste(head(160), (1500, 1100))
    stream = io.BytesIO()
    picture.save(stream, "jpeg", quality=95)
    classifier = Classifier.load(tiny_model, provider="cpu")
    for source in (stream.getvalue(), picture):
        (found,) = classifier.predict_faces(source, options=FaceOptions(detect_size=960))
        assert found.face is not None and side(found.face, FaceCrop()) * 960 / 3200 < 36
    assert len(taken) == 2 and all(48 <= pixels < 130 for pixels in taken)


def test_predict_faces_takes_every_kind_of_image(tiny_model: Path) -> None:
    classifier = Classifier.load(tiny_model, provider="cpu")
    expected = classifier.predict_faces(ASTRONAUT)
    assert len(expected) == 1 and expected[0].label in classifier.spec.labels
    pixels = np.array(Image.open(ASTRONAUT))
    pixels.flags.writeable = False
    assert classifier.predict_faces(pixels)[0].label == expected[0].label
    assert classifier.predict_faces(ASTRONAUT.read_bytes()) == expected
    assert classifier.predict_faces(np.zeros((60, 60), np.uint8)) == []
    with pytest.raises(ImageError, match=r"none\.jpg: cannot be read"):
        classifier.predict_faces("none.jpg")
    with pytest.raises(ValueError, match="detect_size=8"):
        classifier.predict_faces(pixels, options=FaceOptions(detect_size=8))


def test_faces_are_found_upright(tiny_model: Path) -> None:
    picture = Image.open(ASTRONAUT)
    turned = io.BytesIO()
    picture.transpose(Image.Transpose.ROTATE_90).save(
        turned, "jpeg", quality=95, exif=with_orientation(6)
    )
    classifier = Classifier.load(tiny_model, provider="cpu")
    (upright,), (found,) = (classifier.predict_faces(each) for each in (picture, turned.getvalue()))
    assert upright.face is not None and found.face is not None
    assert np.allclose(found.face.box, upright.face.box, atol=2)


def test_the_largest_face_is_the_one_that_is_evaluated(
    tmp_path: Path, tiny_model: Path, album: Path
) -> None:
    evaluation = Evaluation(("a", "b"))
    rows = []
    for number in (1, 2):
        rows.append(Row("b/x.jpg", ("a", "b"), np.array([2 - number, number - 1], np.float32)))
        rows[-1].number = number
    empty = Row("a/y.jpg", ("a", "b"))
    empty.note = "no face found"
    evaluation.add([*rows, empty])
    found = evaluation.to_dict()
    assert found["metrics"]["accuracy"] == 0.0 and found["without_a_face"] == 1
    assert "1 labelled images evaluated; 1 without a face" in evaluation.text()


def test_rows_without_faces_have_the_columns_as_before(
    tmp_path: Path, tiny_model: Path, album: Path
) -> None:
    infer(album, tmp_path / "rows.csv", model=tiny_model, provider="cpu")
    with open(tmp_path / "rows.csv", newline="") as stream:
        header = next(csv.reader(stream))
    assert header[:3] == ["path", "label", "probability"] and header[-1] == "error"
    assert not {"face", "left", "score", "note"} & set(header)


def test_the_help_has_the_defaults_of_the_options() -> None:
    flags = {entry.name: entry.metadata.get("help", "") for entry in fields(FaceFlags)}
    names = {"detect_size": "detect_size", "min_face": "min_face", "face_score": "min_score"}
    for flag, option in names.items():
        assert f"Default: {getattr(FaceOptions(), option):g}." in flags[flag]
