"""Hypothesis strategies for specs: every value that is allowed, in every combination."""

from __future__ import annotations

from typing import Any

from fer_runtime.face_crop import FaceCrop
from fer_runtime.spec import InputSpec, ModelSpec, Provenance
from tests.properties import st

finite = st.floats(allow_nan=False, allow_infinity=False, width=32)
words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(str.strip)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | finite | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(words, plain, max_size=3)

sides = st.integers(1, 16384)
RESIZE_TO: dict[str, st.SearchStrategy[Any]] = {
    "stretch": st.none() | st.tuples(sides, sides),
    "crop": st.none(),
    "pad": st.none(),
    "short": sides,
    "long": sides,
}
"""What each resize mode takes."""

face_crops = st.builds(
    FaceCrop,
    align=st.sampled_from(["eyes", "box"]),
    scale=st.none() | st.floats(0.1, 20),
    up=st.none() | st.floats(-1, 1),
)


@st.composite
def input_specs(draw: st.DrawFn) -> InputSpec:
    channels = draw(st.sampled_from([1, 3]))
    dtype: Any = draw(st.sampled_from(["uint8", "float32"]))
    low = draw(st.floats(-1e6, 1e6))
    mode: Any = draw(st.sampled_from(["stretch", "crop", "pad", "short", "long"]))
    per_channel: Any = {"min_size": channels, "max_size": channels}
    return InputSpec(
        height=draw(st.integers(1, 16384)),
        width=draw(st.integers(1, 16384)),
        channels=channels,
        mean=tuple(draw(st.lists(finite, **per_channel))),
        std=tuple(draw(st.lists(st.floats(1e-6, 1e6), **per_channel))),
        name=draw(words),
        layout=draw(st.sampled_from(["NCHW", "NHWC"])),
        dtype=dtype,
        value_range=(0.0, 255.0) if dtype == "uint8" else (low, low + draw(st.floats(1e-3, 1e3))),
        resize_mode=mode,
        interpolation=draw(st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos"])),
        resize_to=draw(RESIZE_TO[mode]),
        face_crop=draw(face_crops),
    )


@st.composite
def model_specs(draw: st.DrawFn) -> ModelSpec:
    return ModelSpec(
        labels=tuple(draw(st.lists(words, min_size=2, max_size=9, unique=True))),
        input=draw(input_specs()),
        architecture=draw(st.none() | words),
        architecture_args=draw(objects),
        temperature=draw(st.floats(1e-3, 1e3)),
        provenance=Provenance(
            weights_sha256=draw(st.none() | words),
            dataset=draw(st.none() | words),
            recipe=draw(objects),
            metrics=draw(st.dictionaries(words, st.dictionaries(words, finite), max_size=2)),
            versions=draw(st.dictionaries(words, words, max_size=2)),
        ),
        parity=draw(st.none() | objects),
    )
