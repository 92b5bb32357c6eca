"""OpenVINO's own runtime: the same rows as onnxruntime's, in an arithmetic that is always said."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fer_runtime import Classifier, infer
from fer_runtime.doctor import golden
from fer_runtime.errors import ModelFileError, ModelSpecError, ProviderError
from fer_runtime.faces.detector import FaceDetector
from fer_runtime.providers import ProviderOptions
from fer_runtime.providers import openvino as own
from fer_runtime.session import Session
from fer_runtime.shipped import SHIPPED
from fer_runtime.spec import ModelSpec
from tests.runtime.conftest import SaveGraph
from tests.runtime.onnx_writer import FLOAT, UINT8, node

pytest.importorskip("openvino", reason="needs the extra openvino")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_logits_are_those_of_onnxruntime(faces: np.ndarray) -> None:
    session = Session.open(SHIPPED, provider="openvino", threads=1)
    expected = Session.open(SHIPPED, provider="cpu", threads=1).run(faces)
    found = session.run(faces)
    assert np.abs(found.logits - expected.logits).max() <= 1e-4 * expected.logits.std()
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)
    assert session.provider == "openvino"
    assert session.provider_reason == "OpenVINO in f32, as requested"
    assert session.arithmetic == "f32"


def test_int8_decides_as_onnxruntime_does() -> None:
    session = Session.open(SHIPPED.with_suffix(".int8.onnx"), provider="openvino", threads=1)
    found, expected = golden.logits(session), golden.read()["compact_cnn.int8"]
    assert golden.difference(found, expected) <= golden.TOLERANCE["compact_cnn.int8"]


def test_rows_are_those_of_the_cpu_with_threads_and_with_workers(
    messy: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """Labels and errors alike; probabilities may differ in the last decimal."""
    rows = {}
    for name, provider, workers in (("a", "cpu", 0), ("b", "openvino", 0), ("c", "openvino", 2)):
        output = tmp_path / f"{name}.csv"
        result = infer(messy, output, model=tiny_model, provider=provider, workers=workers)
        assert (result.provider, result.arithmetic) == (provider, "f32")
        with open(output, encoding="utf-8", errors="surrogateescape", newline="") as stream:
            rows[name] = [(r["path"], r["label"], r["error"]) for r in csv.DictReader(stream)]
    assert rows["a"] == rows["b"] == rows["c"]


def test_threads_get_what_one_gets(tiny_model: Path, faces: np.ndarray) -> None:
    session = Session.open(tiny_model, provider="openvino", threads=1)
    expected = session.run(faces).logits
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: session.run(faces).logits, range(32)):
            assert np.array_equal(found, expected)


FORKED = """
import multiprocessing, sys
import numpy as np
from fer_runtime import Classifier

classifier = Classifier.load(sys.argv[1], provider="openvino", threads=1)
face = np.load(sys.argv[2])
print(classifier.predict(face).label)

def label(pixels):
    return classifier.predict(pixels).label

with multiprocessing.get_context("fork").Pool(1) as pool:
    print(pool.apply_async(label, (face,)).get(timeout=60))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, which Windows lacks")
def test_it_works_after_a_fork(tiny_model: Path, faces: np.ndarray, tmp_path: Path) -> None:
    """In a process of its own: libraries that other tests loaded here may hold locks for ever."""
    expected = Classifier.load(tiny_model, provider="openvino").predict(faces[0, 0]).label
    np.save(tmp_path / "face.npy", faces[0, 0])
    command = [sys.executable, "-c", FORKED, str(tiny_model), str(tmp_path / "face.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.split() == [expected, expected], done.stderr


def test_bf16_is_refused_where_the_cpu_has_none(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "capabilities", lambda: ["FP32", "INT8"])
    with pytest.raises(ProviderError, match="this CPU has no bf16 instructions"):
        Session.open(
            tiny_model, provider="openvino", provider_options=ProviderOptions(arithmetic="bf16")
        )


def test_bf16_is_said(faces: np.ndarray) -> None:
    if "BF16" not in own.capabilities():
        pytest.skip("needs a CPU with bf16 instructions")
    options = ProviderOptions(arithmetic="bf16")
    try:
        session = Session.open(SHIPPED, provider="openvino", provider_options=options)
    except ProviderError as error:  # CPUs differ: on an AMD EPYC three of 512 pictures change
        assert "decides otherwise in bf16 than in f32" in str(error)
        return
    assert session.provider_reason == "OpenVINO in bf16, as requested"
    assert np.isfinite(session.run(faces).logits).all()


def test_auto_never_chooses_it(tiny_model: Path) -> None:
    assert Session.open(tiny_model, provider="auto").provider != "openvino"


def test_engines_are_kept_and_a_broken_one_is_no_error(
    tiny_model: Path, faces: np.ndarray, cache: Path
) -> None:
    expected = Session.open(tiny_model, provider="openvino", threads=1).run(faces).logits
    kept = [path for path in cache.rglob("*") if path.is_file()]
    assert kept
    for path in kept:
        path.write_bytes(b"not an engine")
    again = Session.open(tiny_model, provider="openvino", threads=1).run(faces).logits
    assert np.array_equal(again, expected)


def test_it_runs_without_a_cache(
    tiny_model: Path, faces: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FER_CACHE", "")
    assert Session.open(tiny_model, provider="openvino").run(faces).logits.shape[0] == len(faces)


def test_what_is_not_onnx_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_text("not a model")
    with pytest.raises(ModelFileError, match=r"x\.onnx cannot be loaded as ONNX: Model can't be"):
        Session.open(path, provider="openvino")


def test_a_file_without_a_spec_takes_the_given_one(
    tmp_path: Path, save_graph: SaveGraph, tiny_spec: ModelSpec, faces: np.ndarray
) -> None:
    weights = np.random.default_rng(3).normal(size=(48 * 48, 7)).astype(np.float32)
    path = save_graph(
        tmp_path / "foreign.onnx",
        [
            node("Cast", ["images"], ["floats"], to=FLOAT),
            node("Flatten", ["floats"], ["flat"]),
            node("MatMul", ["flat", "weights"], ["logits"]),
        ],
        [("images", UINT8, ["N", 1, 48, 48])],
        [("logits", FLOAT, ["N", 7])],
        {"weights": weights},
    )
    with pytest.raises(ModelSpecError, match="contains no ModelSpec"):
        Session.open(path, provider="openvino")
    session = Session.open(path, provider="openvino", spec=tiny_spec)
    expected = faces.reshape(len(faces), -1).astype(np.float32) @ weights
    np.testing.assert_allclose(session.run(faces).logits, expected, rtol=1e-3, atol=0.1)


def test_faces_are_found_where_onnxruntime_finds_them() -> None:
    photo = Path(__file__).parent.parent / "data" / "astronaut.jpg"
    (expected,) = FaceDetector.load(provider="cpu").detect(photo)
    (found,) = FaceDetector.load(provider="openvino").detect(photo)
    np.testing.assert_allclose(found.box, expected.box, atol=0.01)
