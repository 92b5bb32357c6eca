"""ModelSpec: what is written is read back, and every half-filled value is refused by name."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from fer_runtime.errors import ModelSpecError
from fer_runtime.face_crop import FaceCrop
from fer_runtime.spec import InputSpec, ModelSpec
from tests.properties import given, settings, st
from tests.runtime.spec_strategies import model_specs, plain
from tests.runtime.specs import MINIMAL, refusal, with_changes


@settings(deadline=None, max_examples=60)
@given(model_specs())
def test_json_round_trip_is_the_identity(spec: ModelSpec) -> None:
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert ModelSpec.from_dict(spec.to_dict()) == spec


@settings(deadline=None, max_examples=30)
@given(model_specs())
def test_to_dict_holds_plain_values_only(spec: ModelSpec) -> None:
    def check(value: object) -> None:
        assert type(value) in (dict, list, str, int, float, bool, type(None))
        for inner in value.values() if isinstance(value, dict) else ():
            check(inner)
        for inner in value if isinstance(value, list) else ():
            check(inner)

    check(spec.to_dict())


def test_json_of_the_smallest_spec_is_byte_exact() -> None:
    spec = ModelSpec.from_dict(MINIMAL)
    assert json.loads(spec.to_json()) == {
        "schema_version": 3,
        "labels": ["calm", "loud"],
        "input": {
            "height": 4,
            "width": 6,
            "channels": 1,
            "mean": [0.5],
            "std": [0.25],
            "name": "images",
            "layout": "NCHW",
            "dtype": "uint8",
            "value_range": [0.0, 255.0],
            "resize_mode": "stretch",
            "interpolation": "bilinear",
            "resize_to": None,
            "face_crop": {"align": "level", "scale": 0.9, "up": 0.0},
        },
        "architecture": None,
        "architecture_args": {},
        "temperature": 1.0,
        "provenance": {
            "weights_sha256": None,
            "dataset": None,
            "dataset_sha256": None,
            "recipe": {},
            "metrics": {},
            "versions": {},
            "created": None,
        },
        "parity": None,
    }
    assert spec.to_json().startswith('{\n  "schema_version": 3,\n  "labels": [\n    "calm",')
    assert spec.to_json().endswith("}\n")


def test_resize_to_is_a_tuple_or_a_number() -> None:
    both = ModelSpec.from_dict(with_changes("input", resize_to=[9, 12]))
    assert both.input.resize_to == (9, 12)
    assert both.to_dict()["input"]["resize_to"] == [9, 12]
    short = ModelSpec.from_dict(with_changes("input", resize_mode="short", resize_to=9))
    assert short.to_dict()["input"]["resize_to"] == 9


def test_a_face_crop_may_omit_what_is_the_default() -> None:
    spec = ModelSpec.from_dict(with_changes("input", face_crop={"align": "box"}))
    assert spec.input.face_crop == FaceCrop(align="box", scale=1.0, up=0)
    scale = ModelSpec.from_dict(with_changes("input", face_crop={"scale": 3}))
    assert scale.to_dict()["input"]["face_crop"] == {"align": "level", "scale": 3.0, "up": 0.0}
    with pytest.raises(ModelSpecError, match=r"input\.face_crop is 'box'; it must be a FaceCrop"):
        dataclasses.replace(spec.input, face_crop="box")  # type: ignore[arg-type]


def test_non_ascii_labels_stay_readable_in_json() -> None:
    spec = ModelSpec.from_dict(with_changes(labels=["fröhlich", "悲しい"]))
    assert '"fröhlich"' in spec.to_json()
    assert '"悲しい"' in spec.to_json()


@pytest.mark.parametrize(
    ("section", "named"),
    [(None, "colour"), ("input", "input.colour"), ("provenance", "provenance.colour")],
)
def test_unknown_key_is_named_with_its_level(section: str | None, named: str) -> None:
    message = refusal(with_changes(section, colour=1))
    assert f"Unknown key {named} in the spec" in message
    assert "known here:" in message


@pytest.mark.parametrize("key", ["labels", "input"])
def test_missing_key_is_named(key: str) -> None:
    values = with_changes()
    del values[key]
    assert refusal(values) == f"The spec lacks the key {key}."


@pytest.mark.parametrize("key", ["height", "width", "channels", "mean", "std"])
def test_missing_key_of_the_input_is_named(key: str) -> None:
    values = with_changes()
    del values["input"][key]
    assert refusal(values) == f"The spec lacks the key input.{key}."


@pytest.mark.parametrize(("key", "values"), [("mean", [0.5]), ("std", [0.5])])
def test_normalisation_for_another_channel_count_names_both_numbers(
    key: str, values: list[float]
) -> None:
    """`Normalize((0.5,), (0.5,))` on RGB broadcasts silently in torchvision; here it is refused."""
    rgb = {"channels": 3, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], key: values}
    message = refusal(with_changes("input", **rgb))
    assert f"input.{key} has 1 values" in message
    assert "3 channels" in message


def test_two_means_on_three_channels_name_both_numbers() -> None:
    with pytest.raises(ModelSpecError, match=r"input\.mean has 2 values, .* 3 channels;"):
        InputSpec(height=4, width=4, channels=3, mean=(0.5, 0.5), std=(1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("section", "changes", "said"),
    [
        (None, {"labels": ["a", "b", "a"]}, "labels names a more than once"),
        (None, {"labels": ["a"]}, "at least 2"),
        (None, {"labels": []}, "at least 2"),
        (None, {"labels": "ab"}, "list of names"),
        (None, {"labels": {"a": 0, "b": 1}}, "list of names"),
        (None, {"labels": ["a", 1]}, "labels is 1"),
        (None, {"labels": ["a", "  "]}, "not empty"),
        (None, {"labels": ["a", ["b"]]}, "labels is ['b']"),
        (None, {"labels": None}, "labels is None"),
        (None, {"input": None}, "input is None"),
        (None, {"input": [1]}, "input is [1]"),
        (None, {"architecture": 5}, "architecture is 5"),
        (None, {"architecture": ""}, "architecture is ''"),
        (None, {"architecture_args": []}, "architecture_args is []"),
        (None, {"temperature": 0}, "temperature is 0"),
        (None, {"temperature": -1.5}, "temperature is -1.5"),
        (None, {"temperature": "1"}, "temperature is '1'"),
        (None, {"temperature": True}, "temperature is True"),
        (None, {"temperature": float("nan")}, "temperature is nan"),
        (None, {"temperature": float("inf")}, "temperature is inf"),
        (None, {"temperature": 10**400}, "temperature is"),
        (None, {"parity": "passed"}, "parity is 'passed'"),
        (None, {"provenance": None}, "provenance is None"),
        ("provenance", {"dataset": 3}, "provenance.dataset is 3"),
        ("provenance", {"metrics": [0.9]}, "provenance.metrics is [0.9]"),
        ("provenance", {"recipe": {"lr": float("nan")}}, "that JSON cannot"),
        ("input", {"height": 0}, "input.height is 0"),
        ("input", {"height": 16385}, "input.height is 16385"),
        ("input", {"height": 48.0}, "input.height is 48.0"),
        ("input", {"width": True}, "input.width is True"),
        ("input", {"width": "48"}, "input.width is '48'"),
        ("input", {"channels": 2}, "input.channels is 2"),
        ("input", {"channels": None}, "input.channels is None"),
        ("input", {"channels": 1.0}, "input.channels is 1.0"),
        ("input", {"channels": True}, "input.channels is True"),
        ("input", {"mean": 0.5}, "input.mean is 0.5"),
        ("input", {"mean": ["0.5"]}, "input.mean is '0.5'"),
        ("input", {"mean": "0"}, "input.mean is '0'"),
        ("input", {"mean": [float("nan")]}, "input.mean is nan"),
        ("input", {"std": [0.0]}, "above 0"),
        ("input", {"std": [-0.25]}, "above 0"),
        ("input", {"std": [0.25, 0.25]}, "input.std has 2 values"),
        ("input", {"name": " "}, "input.name"),
        ("input", {"layout": "HWC"}, "allowed: NCHW, NHWC"),
        ("input", {"layout": ["NCHW"]}, "allowed: NCHW, NHWC"),
        ("input", {"dtype": "int8"}, "allowed: uint8, float32"),
        ("input", {"resize_mode": "fit"}, "allowed: stretch, crop, pad, short, long"),
        ("input", {"interpolation": "area"}, "allowed: nearest, bilinear, bicubic, lanczos"),
        ("input", {"value_range": [0, 1]}, "a uint8 input takes (0, 255)"),
        ("input", {"value_range": [0, 0], "dtype": "float32"}, "low must be < high"),
        ("input", {"value_range": [1, -1], "dtype": "float32"}, "low must be < high"),
        ("input", {"value_range": [0, 1, 2], "dtype": "float32"}, "list of 2 numbers"),
        ("input", {"crop_margin": 0.1}, "Unknown key input.crop_margin in the spec"),
        ("input", {"face_crop": "box:1.3"}, "input.face_crop is 'box:1.3'; it must be an object"),
        ("input", {"face_crop": None}, "input.face_crop is None; it must be an object"),
        ("input", {"face_crop": {"colour": 1}}, "Unknown key input.face_crop.colour in the spec"),
        ("input", {"face_crop": {"align": "nose"}}, "align is 'nose'; allowed: level, eyes, box"),
        (
            "input",
            {"face_crop": {"align": ["eyes"]}},
            "align is ['eyes']; allowed: level, eyes, box",
        ),
        ("input", {"face_crop": {"scale": 0}}, "input.face_crop.scale is 0; it must be from 0.1"),
        ("input", {"face_crop": {"scale": 20.5}}, "it must be from 0.1 to 20."),
        ("input", {"face_crop": {"scale": "2"}}, "input.face_crop.scale is '2'"),
        ("input", {"face_crop": {"scale": float("nan")}}, "input.face_crop.scale is nan"),
        ("input", {"face_crop": {"up": 1.5}}, "input.face_crop.up is 1.5; it must be from -1 to 1"),
        ("input", {"face_crop": {"up": True}}, "input.face_crop.up is True"),
        ("input", {"resize_to": 256}, '"stretch" takes (height, width)'),
        ("input", {"resize_to": [256]}, '"stretch" takes (height, width)'),
        ("input", {"resize_to": [256, 0]}, "input.resize_to is 0"),
        ("input", {"resize_to": "256"}, '"stretch" takes (height, width)'),
        ("input", {"resize_mode": "short"}, "needs the pixels of the short side, as 256"),
        ("input", {"resize_mode": "long"}, "needs the pixels of the long side, as 256"),
        ("input", {"resize_mode": "short", "resize_to": [9, 9]}, "pixels of the short side"),
        ("input", {"resize_mode": "long", "resize_to": True}, "input.resize_to is True"),
        ("input", {"resize_mode": "short", "resize_to": 0}, "input.resize_to is 0"),
        ("input", {"resize_mode": "crop", "resize_to": 9}, '"crop" takes none'),
        ("input", {"resize_mode": "pad", "resize_to": [9, 9]}, '"pad" takes none'),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(
    section: str | None, changes: dict[str, Any], said: str
) -> None:
    assert said in refusal(with_changes(section, **changes))


@settings(deadline=None, max_examples=150)
@given(values=plain, key=st.sampled_from(["labels", "input", "temperature", "provenance", "mean"]))
def test_any_json_value_anywhere_is_a_spec_or_a_spec_error(values: object, key: str) -> None:
    changed = with_changes("input" if key == "mean" else None, **{key: values})
    try:
        spec = ModelSpec.from_dict(changed)
    except ModelSpecError:
        return
    assert ModelSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "3", '"spec"', "NaN", "[" * 100_000, "\x00", "<html></html>"]
)
def test_text_that_is_no_spec_is_refused(text: str) -> None:
    with pytest.raises(ModelSpecError):
        ModelSpec.from_json(text)


def test_read_names_the_file(tmp_path: Path) -> None:
    good, broken, binary = (tmp_path / name for name in ("good.json", "broken.json", "bin.json"))
    good.write_text(json.dumps(MINIMAL))
    broken.write_text('{"schema_version": 1, "moods": []}')
    binary.write_bytes(b"\xff\xfe\x00")
    assert ModelSpec.read(good) == ModelSpec.from_dict(MINIMAL)
    for path in (broken, binary, tmp_path / "missing.json", tmp_path):
        with pytest.raises(ModelSpecError) as caught:
            ModelSpec.read(path)
        assert str(path) in str(caught.value)


def test_specs_are_frozen(spec: ModelSpec) -> None:
    for value, name in (
        (spec, "temperature"),
        (spec.input, "height"),
        (spec.provenance, "created"),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, 2)


def test_lists_become_tuples_so_that_specs_compare_and_hash() -> None:
    listed = ModelSpec.from_dict(MINIMAL)
    assert listed.labels == ("calm", "loud")
    assert (listed.input.mean, listed.input.std) == ((0.5,), (0.25,))
    assert listed.input.value_range == (0.0, 255.0)
    assert hash(listed.input) == hash(dataclasses.replace(listed.input))


def test_replace_checks_like_a_new_spec(spec: ModelSpec) -> None:
    assert spec.replace(temperature=2.0).temperature == 2.0
    assert spec.temperature == 1.0
    with pytest.raises(ModelSpecError, match="temperature is 0"):
        spec.replace(temperature=0)
