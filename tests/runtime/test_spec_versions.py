"""Specs of older schema versions stay readable; those of newer ones are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fer_runtime.face_crop import FaceCrop
from fer_runtime.spec import SCHEMA_VERSION, ModelSpec
from tests.runtime.specs import refusal, with_changes

VERSION_1 = """{
  "schema_version": 1,
  "labels": ["calm", "loud"],
  "input": {
    "height": 48, "width": 40, "channels": 1, "mean": [0.5], "std": [0.25], "name": "pixels",
    "layout": "NCHW", "dtype": "uint8", "value_range": [0.0, 255.0], "resize_mode": "pad",
    "interpolation": "bicubic", "crop_margin": 0.125
  },
  "architecture": "compact_cnn",
  "architecture_args": {"stem": 16},
  "temperature": 1.5,
  "provenance": {
    "weights_sha256": "00ff", "dataset": "FER2013", "dataset_sha256": null, "recipe": {},
    "metrics": {}, "versions": {"torch": "2.15.0"}, "created": "2026-01-01T00:00:00+00:00"
  },
  "parity": {"passed": true}
}"""
"""As it was written before `resize_to`: such files keep being readable."""


def test_version_1_is_read_and_written_as_the_present_one() -> None:
    spec = ModelSpec.from_json(VERSION_1)
    assert (spec.input.resize_mode, spec.input.resize_to) == ("pad", None)
    assert (str(spec.input.face_crop), spec.temperature) == ("box:1.25:0.0", 1.5)
    expected = json.loads(VERSION_1)
    expected["schema_version"] = SCHEMA_VERSION
    del expected["input"]["crop_margin"]
    expected["input"]["resize_to"] = None
    expected["input"]["face_crop"] = {"align": "box", "scale": 1.25, "up": 0.0}
    assert spec.to_dict() == expected


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("margin", "crop"),
    [(0, "level:0.9:0.0"), (0.0, "level:0.9:0.0"), (0.5, "box:2.0:0.0"), (2, "box:5.0:0.0")],
)
def test_the_margin_of_older_versions_becomes_a_face_crop(
    version: int, margin: float, crop: str
) -> None:
    """0 was the default that nothing read, so it is not a choice; others were the box's border."""
    old = with_changes("input", crop_margin=margin) | {"schema_version": version}
    before = json.dumps(old)
    assert str(ModelSpec.from_dict(old).input.face_crop) == crop
    assert json.dumps(old) == before
    none = with_changes() | {"schema_version": version}
    assert ModelSpec.from_dict(none).input.face_crop == FaceCrop()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"crop_margin": -0.1}, "input.crop_margin is -0.1; it must be from 0 to 2."),
        ({"crop_margin": 2.5}, "input.crop_margin is 2.5; it must be from 0 to 2."),
        ({"crop_margin": "wide"}, "input.crop_margin is 'wide'"),
        (
            {"face_crop": {"align": "box"}},
            "Unknown key input.face_crop in a spec of schema_version 2;",
        ),
        ({"colour": 1}, "Unknown key input.colour in the spec"),
    ],
)
def test_an_older_version_is_checked_too(given: dict[str, Any], said: str) -> None:
    assert said in refusal(with_changes("input", **given) | {"schema_version": 2})


def test_schema_version_is_required_and_a_newer_one_refused() -> None:
    values = with_changes()
    del values["schema_version"]
    assert "no schema_version" in refusal(values)
    newer = refusal(with_changes(schema_version=SCHEMA_VERSION + 1))
    assert "schema_version 4" in newer
    assert "Upgrade fer-runtime" in newer


@pytest.mark.parametrize("version", ["1", 0, -1, 1.5, [1]])
def test_a_schema_version_that_never_was_is_refused(version: object) -> None:
    assert "schema_version" in refusal(with_changes(schema_version=version))


def test_a_newer_schema_is_refused_before_its_unknown_keys() -> None:
    assert "schema_version" in refusal(with_changes(schema_version=SCHEMA_VERSION + 1, moods=[]))
