"""Many machines: the parts of a run as Ray tasks, and the callable for other engines."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fer_runtime import Classifier, infer
from fer_runtime.cluster import BatchClassifier, driver
from fer_runtime.cluster.tasks import Work, write_part
from fer_runtime.errors import DataError
from fer_runtime.hashing import file_sha256
from fer_runtime.parts.plan import chunks
from fer_runtime.run import Run
from fer_runtime.sources import Sources


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, faces: npt.NDArray[np.uint8]) -> Path:
    """Forty images, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("images")
    for n, face in enumerate(faces[:, 0]):
        Image.fromarray(face).save(folder / f"{n:03}.png")
    (folder / "0050.jpg").write_bytes(b"no image")
    return folder


@pytest.fixture
def classify(tiny_model: Path) -> BatchClassifier:
    return BatchClassifier("image", model=tiny_model, provider="cpu")


def test_a_batch_gets_the_columns_of_predictions(
    classify: BatchClassifier, images: Path, tiny_model: Path
) -> None:
    paths = sorted(map(str, images.iterdir()))
    batch = {"image": np.array(paths, dtype=object), "id": np.arange(len(paths))}
    out = classify(batch)
    rows = list(Classifier.load(tiny_model, provider="cpu", threads=1).rows(paths))
    assert set(out) == {"image", "id", *classify.columns}
    assert out["label"].tolist() == [row.label for row in rows]
    assert out["error"].tolist() == [row.error for row in rows]
    for label in classify.labels:
        expected = [np.nan if row.error else row[label] for row in rows]
        np.testing.assert_array_equal(out[label], np.array(expected, np.float32))
    assert out["id"] is batch["id"]
    assert set(batch) == {"image", "id"}


def test_arrays_bytes_and_what_is_no_image(
    classify: BatchClassifier, images: Path, faces: npt.NDArray[np.uint8]
) -> None:
    data = (images / "000.png").read_bytes()
    out = classify({"image": [data, faces[0, 0], None, 7]})
    assert out["label"][0] == out["label"][1]
    assert out["label"].tolist()[2:] == [None, None]
    assert "a NoneType is not an image" in out["error"][2]
    assert np.isnan(out["probability"][3])


def test_a_wrong_batch_is_an_error(classify: BatchClassifier) -> None:
    with pytest.raises(DataError, match="no column 'image'; there are a, b"):
        classify({"a": [], "b": []})
    with pytest.raises(DataError, match="columns of predictions already: label"):
        classify({"image": [], "label": []})
    out = classify({"image": []})
    assert len(out["label"]) == len(out["probability"]) == 0


def test_it_is_pickled_without_the_model(classify: BatchClassifier, images: Path) -> None:
    batch = {"image": [str(images / "001.png")]}
    expected = classify(batch)["label"]
    assert pickle.loads(pickle.dumps(classify))(batch)["label"] == expected
    assert len(pickle.dumps(classify)) < 2000


def test_frames_of_pandas_and_spark(classify: BatchClassifier, images: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame({"image": [str(images / f"{n:03}.png") for n in range(6)]})
    found = classify(frame)
    assert list(found.columns) == ["image", *classify.columns]
    halves = list(classify.map_in_pandas([frame[:3], frame[3:]]))
    pandas.testing.assert_frame_equal(pandas.concat(halves), found)


def test_dask(classify: BatchClassifier, images: Path) -> None:
    frames = pytest.importorskip("dask.dataframe", reason="dask is not installed")
    import pandas

    frame = pandas.DataFrame({"image": [str(path) for path in sorted(images.iterdir())]})
    many = frames.from_pandas(frame, npartitions=3)
    meta = classify(frame[:0])
    found = many.map_partitions(classify, meta=meta).compute(scheduler="threads")
    assert found["label"].tolist() == classify(frame)["label"].tolist()


def test_a_task_writes_the_part_that_a_run_writes(
    images: Path, tiny_model: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"model": tiny_model, "provider": "cpu", "ending": ".csv"}
    infer([images], f"{tmp_path}/here/", part_images=32, **options)
    run = Run([images], f"{tmp_path}/there/", part_images=32, **options)
    work = pickle.loads(pickle.dumps(Work.of(run, file_sha256(tiny_model))))
    model = tiny_model.read_bytes()
    parts = [
        write_part(work, model, index, pickle.loads(pickle.dumps(chunk)))
        for index, chunk in enumerate(chunks(Sources([images]), 32))
    ]
    assert [part.images for part in parts] == [32, 9]
    for name in ("part-00000.csv", "part-00001.csv", "_parts/part-00001.json"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


def test_without_ray_the_error_names_the_extra(
    images: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(DataError, match=r"pip install '.\[ray\]'"):
        infer(
            [images], f"{tmp_path}/out/", model=tiny_model, provider="cpu", ending=".csv",
            ray="local",
        )  # fmt: skip


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "auto"])
def test_an_address_without_a_cluster_is_an_error_at_once(
    images: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    monkeypatch.setattr(driver, "CURRENT", tmp_path / "none")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(DataError, match=f"--ray {address}: no Ray cluster is there"):
        infer(
            [images], f"{tmp_path}/out/", model=tiny_model, provider="cpu", ending=".csv",
            ray=address,
        )  # fmt: skip
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").glob("part-*"))
