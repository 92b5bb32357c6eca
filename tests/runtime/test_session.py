"""Session: a batch equals a loop, and a file that is no ONNX model, or another one, is refused."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_runtime.classifier import SHIPPED
from fer_runtime.errors import FerError, ModelFileError, ModelSpecError
from fer_runtime.machine import usable_threads
from fer_runtime.session import Session, feed, softmax
from fer_runtime.spec import METADATA_KEY, InputSpec, ModelSpec
from tests.properties import arrays, given, settings, st
from tests.runtime.onnx_writer import FLOAT, node

Pixels = npt.NDArray[np.uint8]
SaveGraph = Any
"""The fixture `save_graph`: (path, nodes, inputs, outputs, weights, metadata) -> path."""


def refusal(path: Path, kind: type[FerError] = ModelFileError, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        Session.open(path, provider="cpu", threads=1, **options)
    return str(caught.value)


# --- running ---------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 2, 3, 17])
def test_any_batch_size_gives_the_rows_of_one_batch(
    tiny_session: Session, faces: Pixels, batch_size: int
) -> None:
    whole = tiny_session.run(faces)
    parts = [
        tiny_session.run(faces[start : start + batch_size])
        for start in range(0, len(faces), batch_size)
    ]
    for name in ("logits", "probabilities"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_allclose(joined, getattr(whole, name), rtol=1e-5, atol=1e-6)


def test_outputs_equal_the_formula(tiny_session: Session, faces: Pixels) -> None:
    """The tiny net again in numpy: /255, convolution with stride 2, relu, mean, head."""
    rng = np.random.default_rng(7)
    filters = rng.normal(size=(6, 1, 5, 5)).astype(np.float32)
    head = rng.normal(scale=8, size=(6, 7)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(faces[:, 0] / 255, (5, 5), axis=(1, 2))
    maps = np.einsum("nyxij,kij->nkyx", windows[:, ::2, ::2], filters[:, 0])
    logits = np.maximum(maps, 0).mean((2, 3)) @ head
    found = tiny_session.run(faces)
    np.testing.assert_allclose(found.logits, logits, rtol=1e-4, atol=1e-4)
    assert np.ptp(found.probabilities, axis=0).max() > 0.1, "the tiny net tells pictures apart"


def test_probabilities_are_the_softmax_of_the_logits(tiny_session: Session, faces: Pixels) -> None:
    logits, probabilities = tiny_session.run(faces)
    assert (logits.shape, probabilities.shape) == ((40, 7), (40, 7))
    assert (logits.dtype, probabilities.dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    exponents = np.exp(logits.astype(np.float64))
    np.testing.assert_allclose(probabilities, exponents / exponents.sum(1, keepdims=True), 1e-5)


def test_outputs_are_the_callers_to_keep_and_to_write(tiny_session: Session, faces: Pixels) -> None:
    first = tiny_session.run(faces[:2])
    kept = first.probabilities.copy()
    tiny_session.run(faces[2:4])
    np.testing.assert_array_equal(first.probabilities, kept)
    first.probabilities[:] = 0
    np.testing.assert_array_equal(tiny_session.run(faces[:2]).probabilities, kept)


def test_any_strides_are_taken(tiny_session: Session, faces: Pixels) -> None:
    expected = tiny_session.run(np.ascontiguousarray(faces[::-2, :, :, ::-1]))
    found = tiny_session.run(faces[::-2, :, :, ::-1])
    np.testing.assert_array_equal(found.logits, expected.logits)


def test_an_empty_batch_has_no_rows(tiny_session: Session) -> None:
    found = tiny_session.run(np.empty((0, 1, 48, 48), np.uint8))
    assert (found.logits.shape, found.probabilities.shape) == ((0, 7), (0, 7))


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, 1, 48, 48), np.float32),
        np.zeros((1, 1, 48, 48), np.int8),
        np.zeros((1, 3, 48, 48), np.uint8),
        np.zeros((1, 1, 48, 47), np.uint8),
        np.zeros((1, 48, 48), np.uint8),
        np.zeros((1, 48, 48, 1), np.uint8),
        np.uint8(1),
    ],
    ids=lambda pixels: f"{pixels.dtype} {pixels.shape}",
)
def test_other_pixels_are_refused(tiny_session: Session, pixels: Any) -> None:
    with pytest.raises(ValueError) as caught:
        tiny_session.run(pixels)
    assert f"{pixels.dtype} {pixels.shape}" in str(caught.value)
    assert "uint8 (N, 1, 48, 48)" in str(caught.value)


def test_warm_up_and_named_outputs(tiny_session: Session, faces: Pixels) -> None:
    tiny_session.warm_up(3)
    named = tiny_session.run_named(faces[:2])
    assert list(named) == ["logits", "probabilities"]
    np.testing.assert_array_equal(named["logits"], tiny_session.run(faces[:2]).logits)


def test_a_session_knows_what_it_is(tiny_model: Path, tiny_spec: ModelSpec) -> None:
    session = Session.open(str(tiny_model), provider="cpu", threads=2)
    assert session.spec == tiny_spec
    assert (session.path, session.threads, session.provider) == (tiny_model, 2, "cpu")
    assert Session.open(tiny_model, provider="cpu").threads == usable_threads()


def test_two_threads_may_run_one_session(tiny_session: Session, faces: Pixels) -> None:
    from concurrent.futures import ThreadPoolExecutor

    expected = tiny_session.run(faces).logits
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: tiny_session.run(faces).logits, range(20)):
            np.testing.assert_array_equal(found, expected)


# --- feed and softmax ------------------------------------------------------------------------

RGB = np.array([[[[0, 51], [102, 255]], [[255, 0], [0, 0]], [[0, 0], [0, 255]]]], np.uint8)
"""(1, 3, 2, 2)."""


def describe(**changes: Any) -> InputSpec:
    values = {"height": 2, "width": 2, "channels": 3, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    return InputSpec(**{**values, **changes})


def test_uint8_pixels_are_fed_as_they_are() -> None:
    assert feed(RGB, describe()) is RGB
    nhwc = feed(RGB, describe(layout="NHWC"))
    np.testing.assert_array_equal(nhwc[0, 0, 0], [0, 255, 0])
    np.testing.assert_array_equal(nhwc[0, 1, 1], [255, 0, 255])
    assert nhwc.shape == (1, 2, 2, 3)
    assert nhwc.flags.c_contiguous


@pytest.mark.parametrize(
    ("changes", "first_channel"),
    [
        ({"value_range": (0, 1)}, [0, 0.2, 0.4, 1]),
        ({"value_range": (-1, 1)}, [-1, -0.6, -0.2, 1]),
        ({"value_range": (0, 255)}, [0, 51, 102, 255]),
        ({"value_range": (0, 1), "mean": (0.5, 0, 0), "std": (0.25, 1, 1)}, [-2, -1.2, -0.4, 2]),
        ({"value_range": (-1, 3), "mean": (0.2, 0, 0), "std": (0.4, 1, 1)}, [-3, -1, 1, 7]),
    ],
)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_float_inputs_are_fed_by_the_formula(
    changes: dict[str, Any], first_channel: list[float], layout: str
) -> None:
    """low + (high - low) * (pixel / 255 - mean) / std, worked out for 0, 51, 102 and 255."""
    tensor = feed(RGB, describe(dtype="float32", layout=layout, **changes))
    assert tensor.dtype == np.float32
    channel = tensor[0, 0] if layout == "NCHW" else tensor[0, :, :, 0]
    np.testing.assert_allclose(channel.ravel(), first_channel, atol=1e-5)


def test_feeding_writes_to_nothing() -> None:
    frozen = RGB.copy()
    frozen.flags.writeable = False
    for dtype in ("uint8", "float32"):
        for layout in ("NCHW", "NHWC"):
            feed(frozen, describe(dtype=dtype, layout=layout))
    np.testing.assert_array_equal(frozen, RGB)


def test_softmax_by_hand() -> None:
    np.testing.assert_allclose(softmax(np.log([[1.0, 3.0]])), [[0.25, 0.75]], rtol=1e-6)
    np.testing.assert_allclose(softmax(np.log([[1.0, 9.0]]), 2), [[0.25, 0.75]], rtol=1e-6)
    np.testing.assert_array_equal(softmax(np.array([[1e4, -1e4]])), [[1, 0]])


@settings(deadline=None, max_examples=60)
@given(
    arrays.arrays(np.float32, (3, 5), elements=st.floats(-1e4, 1e4, width=32)),
    st.floats(0.05, 50),
)
def test_softmax_rows_sum_to_one_and_equal_the_formula(
    logits: npt.NDArray[np.float32], temperature: float
) -> None:
    found = softmax(logits, temperature)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    shifted = (logits - logits.max(1, keepdims=True)).astype(np.float64) / temperature
    exponents = np.exp(shifted)
    np.testing.assert_allclose(found, exponents / exponents.sum(1, keepdims=True), 2e-3, 1e-6)


# --- files that are no model -----------------------------------------------------------------


def test_missing_files_and_folders(tmp_path: Path) -> None:
    missing = refusal(tmp_path / "missing.onnx")
    assert f"{tmp_path / 'missing.onnx'} does not exist" in missing
    assert "fer-export onnx best.pt" in missing
    assert refusal(tmp_path) == f"{tmp_path} is not a file."
    os.mkfifo(tmp_path / "pipe.onnx")
    assert "is not a file" in refusal(tmp_path / "pipe.onnx")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.onnx", b"", "is empty"),
        ("page.onnx", b"<!DOCTYPE html><html>404</html>", "is a web page"),
        ("page.onnx", b"\n\n  <html>", "is a web page"),
        ("old.pt", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "is a PyTorch file, not ONNX"),
        ("noise.onnx", bytes(range(255, 0, -1)) * 4, "cannot be loaded as ONNX"),
        ("text.onnx", b"version https://git-lfs.github.com/spec/v1\n", "cannot be loaded as ONNX"),
        ("zeros.onnx", bytes(1000), "cannot be loaded as ONNX"),
        ("one.onnx", b"\x08", "cannot be loaded as ONNX"),
    ],
)
def test_contents_that_are_no_model(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    message = refusal(path)
    assert said in message
    assert str(path) in message
    assert "Traceback" not in message


def zipped(path: Path) -> Path:
    """A zip as torch.save, torch.jit.save and torch.export.save write them."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
    return path


def test_a_checkpoint_is_refused_with_the_command_that_exports_it(tmp_path: Path) -> None:
    path = zipped(tmp_path / "best.pt")
    message = refusal(path)
    assert "is a PyTorch file, not ONNX" in message
    assert f"`fer-export onnx {path}`" in message


@pytest.mark.parametrize(
    ("ending", "runs_it"), [(".torchscript", "torch.jit.load"), (".pt2", "torch.export.load")]
)
def test_other_exports_are_refused_with_what_runs_them(tmp_path: Path, ending: str, runs_it: str) -> None:
    message = refusal(zipped(tmp_path / f"best{ending}"))
    assert f"which {runs_it} runs" in message
    assert "fer-runtime runs ONNX without torch" in message


def test_a_truncated_model_is_refused_at_every_cut(tmp_path: Path, tiny_model: Path) -> None:
    data = tiny_model.read_bytes()
    path = tmp_path / "cut.onnx"
    for cut in (1, 2, 10, 64, *range(100, len(data), len(data) // 25), len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(FerError):
            Session.open(path, provider="cpu", threads=1)


def test_an_unreadable_model_is_an_error(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(ModelFileError) as caught:
        Session.open(tiny_model, provider="cpu")
    monkeypatch.undo()
    assert "cannot be read: Permission denied" in str(caught.value)


# --- specs -----------------------------------------------------------------------------------


def foreign(save_graph: SaveGraph, path: Path, layout: str = "NCHW", batch: Any = "N") -> Path:
    """float32 (N, 3, 2, 4) -> 2 scores: the sum of channel 0, and that of channels 1 and 2."""
    nchw = layout == "NCHW"
    shape = [batch, 3, 2, 4] if nchw else [batch, 2, 4, 3]
    nodes = [
        node("ReduceSum", ["pixels", "axes"], ["sums"], keepdims=0),
        node("MatMul", ["sums", "head"], ["scores"]),
    ]
    weights = {
        "axes": np.array([2, 3] if nchw else [1, 2]),
        "head": np.array([[1, 0], [0, 1], [0, 1]], np.float32),
    }
    inputs = [("pixels", FLOAT, shape)]
    outputs = [("scores", FLOAT, [batch, 2])]
    saved: Path = save_graph(path, nodes, inputs, outputs, weights)
    return saved


def foreign_spec(layout: str = "NCHW", **changes: Any) -> ModelSpec:
    values = {
        "name": "pixels",
        "height": 2,
        "width": 4,
        "channels": 3,
        "mean": (0.0,) * 3,
        "std": (1.0,) * 3,
        "layout": layout,
        "dtype": "float32",
        "value_range": (0, 1),
    }
    labels = changes.pop("labels", ("red", "other"))
    temperature = changes.pop("temperature", 1.0)
    return ModelSpec(
        labels=labels, input=InputSpec(**{**values, **changes}), temperature=temperature
    )


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_foreign_float_model_runs_with_a_spec(
    tmp_path: Path, save_graph: SaveGraph, layout: str
) -> None:
    """Channel 0 is all 255, the others 51: eight pixels of 1, and 2 * 8 of 0.2."""
    path = foreign(save_graph, tmp_path / "foreign.onnx", layout)
    session = Session.open(path, provider="cpu", spec=foreign_spec(layout, temperature=4.0))
    pixels = np.full((2, 3, 2, 4), 51, np.uint8)
    pixels[0, 0] = 255
    logits, probabilities = session.run(pixels)
    np.testing.assert_allclose(logits, [[8, 3.2], [1.6, 3.2]], rtol=1e-5)
    np.testing.assert_allclose(probabilities[0, 0], 1 / (1 + np.exp((3.2 - 8) / 4)), rtol=1e-5)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_missing_spec_comes_with_a_template_that_fits(
    tmp_path: Path, save_graph: SaveGraph, layout: str
) -> None:
    path = foreign(save_graph, tmp_path / "foreign.onnx", layout)
    message = refusal(path, ModelSpecError)
    assert f"{path} contains no ModelSpec" in message
    assert "--spec spec.json" in message
    template = ModelSpec.from_json(message[message.index("{") :])
    assert template.labels == ("class 0", "class 1")
    assert template.input == foreign_spec(layout).input
    Session.open(path, provider="cpu", spec=template).warm_up(1)


def test_a_spec_that_contradicts_the_file_is_refused() -> None:
    own = ModelSpec.read(SHIPPED.with_suffix(".json"))
    turned = own.replace(labels=own.labels[::-1])
    with pytest.raises(ModelSpecError, match="the given one has another labels"):
        Session.open(SHIPPED, provider="cpu", spec=turned)
    darker = own.replace(input=dataclasses.replace(own.input, mean=(0.1,)))
    with pytest.raises(ModelSpecError, match="the given one has another input"):
        Session.open(SHIPPED, provider="cpu", spec=darker)
    assert Session.open(SHIPPED, provider="cpu", spec=own).spec == own


def test_a_template_is_made_for_any_signature(tmp_path: Path, save_graph: SaveGraph) -> None:
    nodes = [node("Identity", ["x"], ["y"])]
    for index, shape in enumerate((["N", "C", "H", "W"], ["N", 5, 8, 8], ["N", 4], [7], [])):
        path = save_graph(
            tmp_path / f"{index}.onnx",
            nodes,
            [("x", FLOAT, shape)],
            [("y", FLOAT, shape)],
        )
        message = refusal(path, ModelSpecError)
        ModelSpec.from_json(message[message.index("{") :])


@pytest.mark.parametrize("text", ["{", '{"schema_version": 1}', '{"schema_version": 9}'])
def test_a_broken_embedded_spec_names_the_file(
    tmp_path: Path, save_graph: SaveGraph, text: str
) -> None:
    nodes = [node("Identity", ["images"], ["logits"])]
    shape = ["N", 1, 2, 2]
    path = save_graph(
        tmp_path / "broken.onnx",
        nodes,
        [("images", FLOAT, shape)],
        [("logits", FLOAT, shape)],
        {},
        {METADATA_KEY: text},
    )
    assert str(path) in refusal(path, ModelSpecError)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "images"}, "the spec has the input 'images', but the graph has pixels"),
        (
            {"dtype": "uint8", "value_range": (0, 255)},
            "tensor(uint8) for 'pixels'; the graph takes tensor(float)",
        ),
        ({"height": 4}, "the spec has (N, 3, 4, 4) for 'pixels', but the graph takes"),
        ({"layout": "NHWC"}, "the spec has (N, 2, 4, 3) for 'pixels', but the graph takes"),
        ({"channels": 1, "mean": (0,), "std": (1,)}, "the spec has (N, 1, 2, 4)"),
        ({"labels": ("a", "b", "c")}, "the spec has 3 labels, but the graph outputs 2"),
    ],
)
def test_a_spec_at_odds_with_the_graph_is_refused(
    tmp_path: Path, save_graph: SaveGraph, changes: dict[str, Any], said: str
) -> None:
    path = foreign(save_graph, tmp_path / "foreign.onnx")
    message = refusal(path, spec=foreign_spec(**changes))
    assert said in message
    assert str(path) in message


def test_a_graph_with_a_second_input_is_refused(tmp_path: Path, save_graph: SaveGraph) -> None:
    """It would open and then fail in its first run, with an error of onnxruntime's own."""
    nodes = [
        node("Mul", ["pixels", "gain"], ["scaled"]),
        node("ReduceMean", ["scaled"], ["scores"], axes=[1, 2], keepdims=0),
    ]
    path = save_graph(
        tmp_path / "two.onnx",
        nodes,
        [("pixels", FLOAT, ["N", 3, 2, 4]), ("gain", FLOAT, [1])],
        [("scores", FLOAT, ["N", 4])],
    )
    assert "gain" in refusal(path, spec=foreign_spec(labels=("a", "b", "c", "d")))


def test_a_fixed_batch_of_one_is_refused_or_run_one_by_one(
    tmp_path: Path, save_graph: SaveGraph
) -> None:
    """Many published models are (1, C, H, W), FER+ among them; three images must not end in an
    onnxruntime exception."""
    path = foreign(save_graph, tmp_path / "fixed.onnx", batch=1)
    try:
        session = Session.open(path, provider="cpu", spec=foreign_spec())
    except ModelFileError as error:
        assert "batch" in str(error)
        return
    logits = session.run(np.full((3, 3, 2, 4), 51, np.uint8)).logits
    np.testing.assert_allclose(logits, [[1.6, 3.2]] * 3, rtol=1e-5)


# --- threads ---------------------------------------------------------------------------------
