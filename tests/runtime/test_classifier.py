"""Classifier: one image equals a batch, streams are lazy, and the right model file is found."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fer_runtime import shipped as module
from fer_runtime.classifier import Classifier, Prediction
from fer_runtime.errors import ImageError, ModelFileError
from fer_runtime.images import Source
from fer_runtime.pipeline import BATCHES_IN_FLIGHT
from fer_runtime.session import Session
from fer_runtime.shipped import find_model
from tests.runtime.tiny import LABELS

Pixels = npt.NDArray[np.uint8]


@pytest.fixture
def classifier(tiny_session: Session) -> Classifier:
    return Classifier(tiny_session, batch_size=3)


def png(pixels: Pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def close(one: Prediction, other: Prediction) -> bool:
    same = all(
        value == pytest.approx(other.probabilities[label], abs=1e-6)
        for label, value in one.probabilities.items()
    )
    return same and one.label == other.label


def test_one_image_equals_a_batch_of_one(classifier: Classifier, faces: Pixels) -> None:
    for face in faces[:5, 0]:
        assert classifier.predict(face) == classifier.predict_batch([face])[0]


def test_a_batch_equals_a_loop(classifier: Classifier, faces: Pixels) -> None:
    together = classifier.predict_batch(list(faces[:, 0]))
    alone = [classifier.predict(face) for face in faces[:, 0]]
    assert len(together) == 40
    assert all(close(one, other) for one, other in zip(together, alone, strict=True))


def test_predictions_are_the_sessions_probabilities(
    classifier: Classifier, tiny_session: Session, faces: Pixels
) -> None:
    rows = tiny_session.run(faces[:3]).probabilities
    for found, row in zip(classifier.predict_batch(list(faces[:3, 0])), rows, strict=True):
        assert list(found.probabilities) == list(LABELS)
        assert list(found.probabilities.values()) == row.tolist()
        assert found.label == LABELS[row.argmax()]
        assert found.probability == row.max()
        assert sum(found.probabilities.values()) == pytest.approx(1)


def test_paths_bytes_and_arrays_may_be_mixed(
    classifier: Classifier, faces: Pixels, tmp_path: Path
) -> None:
    face = faces[0, 0]
    path = tmp_path / "face.png"
    path.write_bytes(png(face))
    mixed: list[Source] = [path, str(path), path.read_bytes(), face, np.stack([face] * 3, 2)]
    found = classifier.predict_batch(mixed)
    assert len(found) == 5
    assert all(close(found[0], other) for other in found)


def test_no_images_give_no_predictions(classifier: Classifier) -> None:
    assert classifier.predict_batch([]) == []
    assert list(classifier.stream(iter(()))) == []


def test_streams_are_lazy_and_read_some_batches_ahead(
    classifier: Classifier, faces: Pixels
) -> None:
    taken = 0

    def endless() -> Iterator[Source]:
        nonlocal taken
        while True:
            taken += 1
            yield faces[taken % 40, 0]

    stream = classifier.stream(endless())
    assert taken == 0
    for index in range(70):
        next(stream)
        ahead = classifier.session.threads * BATCHES_IN_FLIGHT + 2
        assert index < taken <= 3 * (index // 3 + ahead)
    stream.close()  # type: ignore[attr-defined]


def test_the_error_names_the_file(classifier: Classifier, faces: Pixels, tmp_path: Path) -> None:
    path = tmp_path / "broken face.jpg"
    path.write_text("no image")
    with pytest.raises(ImageError, match=r"broken face\.jpg: not an image"):
        classifier.predict_batch([faces[0, 0], path])


def test_the_error_numbers_an_item_without_a_name(classifier: Classifier, faces: Pixels) -> None:
    """The number counts from the first item of all, not from that of the batch (of 3)."""
    items: list[Source] = [*faces[:4, 0], b"no image", faces[4, 0]]
    with pytest.raises(ImageError, match=r"image 4: not an image"):
        classifier.predict_batch(items)


def test_rows_keep_what_cannot_be_read(classifier: Classifier, faces: Pixels) -> None:
    items: list[Source] = [*faces[:4, 0], b"no image", faces[4, 0]]
    rows = list(classifier.rows(item for item in items))
    assert [row.name for row in rows] == [f"image {index}" for index in range(6)]
    assert [row.error is None for row in rows] == [True] * 4 + [False, True]
    assert rows[4].probabilities is None and str(rows[4].error).startswith("not an image")


def test_one_image_in_the_place_of_several_is_said(classifier: Classifier) -> None:
    for one in ("photo.jpg", b"bytes", Path("photo.jpg")):
        with pytest.raises(ImageError, match="this is one image; pass a list of images"):
            classifier.predict_batch(one)  # type: ignore[arg-type]


def test_an_array_may_be_filled_again_by_its_generator(
    classifier: Classifier, faces: Pixels
) -> None:
    frame = np.empty_like(faces[0, 0])

    def camera() -> Iterator[Source]:
        for face in faces[:, 0]:
            frame[:] = face
            yield frame

    expected = classifier.predict_batch(list(faces[:, 0]))
    assert classifier.predict_batch(camera()) == expected


def test_objects_that_are_not_images_are_rows_with_an_error(classifier: Classifier) -> None:
    rows = list(classifier.rows([None, 3.5]))  # type: ignore[list-item]
    assert [row.error and row.error.partition(";")[0] for row in rows] == [
        "a NoneType is not an image", "a float is not an image"
    ]  # fmt: skip


def test_predict_raises_what_is_wrong_with_the_image(classifier: Classifier) -> None:
    with pytest.raises(ImageError, match=r"^gone\.jpg: cannot be read: No such file"):
        classifier.predict("gone.jpg")
    with pytest.raises(ImageError, match="no bytes to decode"):
        classifier.predict(b"")


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_size_that_would_lose_images_is_refused(
    tiny_session: Session, faces: Pixels, batch_size: int
) -> None:
    with pytest.raises(ValueError, match="batch_size"):
        Classifier(tiny_session, batch_size=batch_size).predict_batch([faces[0, 0]])


def test_top_ranks_the_labels() -> None:
    found = Prediction.of(("a", "b", "c"), np.array([0.25, 0.125, 0.625], np.float32))
    assert found == Prediction("c", 0.625, {"a": 0.25, "b": 0.125, "c": 0.625})
    assert found.top(2) == [("c", 0.625), ("a", 0.25)]
    assert found.top(1) == [(found.label, found.probability)]
    assert found.top(0) == []
    assert found.top(9) == [("c", 0.625), ("a", 0.25), ("b", 0.125)]


def test_equal_probabilities_go_to_the_first_label() -> None:
    found = Prediction.of(("a", "b", "c"), np.array([0.25, 0.375, 0.375], np.float32))
    assert found.label == "b"
    assert [label for label, _ in found.top(3)] == ["b", "c", "a"]


def test_load_opens_the_model_with_its_spec(tiny_model: Path, faces: Pixels) -> None:
    loaded = Classifier.load(tiny_model, provider="cpu", threads=1, batch_size=5)
    assert (loaded.provider, loaded.batch_size) == ("cpu", 5)
    assert loaded.spec.labels == LABELS
    assert loaded.session.path == tiny_model
    assert loaded.predict(faces[0, 0]).label in LABELS


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, no $FER_MODEL, and a package that ships no model; returns where
    the shipped one would be."""
    package, current = tmp_path / "package", tmp_path / "current"
    package.mkdir()
    current.mkdir()
    monkeypatch.chdir(current)
    monkeypatch.delenv("FER_MODEL", raising=False)
    monkeypatch.setattr(module, "SHIPPED", package / "shipped.onnx")
    return package


def test_the_model_is_found_in_order(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each find takes precedence over those before it: shipped, ./best.onnx, $FER_MODEL, given."""
    with pytest.raises(ModelFileError) as caught:
        find_model()
    for hint in ("--model FILE", "FER_MODEL", "best.onnx", "fer-export onnx best.pt"):
        assert hint in str(caught.value)
    (nowhere / "shipped.onnx").touch()
    assert find_model() == nowhere / "shipped.onnx"
    Path("best.onnx").touch()
    assert find_model() == Path("best.onnx")
    monkeypatch.setenv("FER_MODEL", str(nowhere / "named.onnx"))
    (nowhere / "named.onnx").touch()
    assert find_model() == nowhere / "named.onnx"
    assert find_model("given.onnx") == Path("given.onnx")
    assert find_model(Path("given.onnx")) == Path("given.onnx")


def test_an_empty_variable_and_a_folder_named_best_onnx_do_not_count(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nowhere / "shipped.onnx").touch()
    monkeypatch.setenv("FER_MODEL", "")
    Path("best.onnx").mkdir()
    assert find_model() == nowhere / "shipped.onnx"


def test_a_named_model_that_is_missing_is_not_replaced_by_another(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nowhere / "shipped.onnx").touch()
    monkeypatch.setenv("FER_MODEL", "missing.onnx")
    with pytest.raises(ModelFileError, match=r"FER_MODEL is set to missing\.onnx, which does not"):
        Classifier.load()
