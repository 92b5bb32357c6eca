"""Session: a batch equals a loop, outputs follow the formulas, inputs are fed as described."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_runtime.errors import FerError, ModelFileError
from fer_runtime.machine import usable_threads
from fer_runtime.session import Session, feed, softmax
from fer_runtime.spec import InputSpec, ModelSpec
from tests.properties import arrays, given, settings, st

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
