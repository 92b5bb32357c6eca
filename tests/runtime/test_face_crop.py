"""FaceCrop: its defaults by alignment, and its text as options have it."""

from __future__ import annotations

import dataclasses

import pytest

from fer_runtime.errors import ModelSpecError
from fer_runtime.face_crop import FaceCrop
from tests.properties import given, settings
from tests.runtime.spec_strategies import face_crops


@pytest.mark.parametrize(
    ("text", "crop"),
    [
        ("level", FaceCrop()),
        ("level:1.1", FaceCrop(scale=1.1, up=0.0)),
        ("eyes:3", FaceCrop(align="eyes", scale=3.0, up=0.05)),
        ("eyes:2.7:0", FaceCrop(align="eyes", scale=2.7, up=0.0)),
        ("box", FaceCrop(align="box")),
        (" box:1.3 ", FaceCrop(align="box", scale=1.3, up=0.0)),
        ("box:1.3:-0.1", FaceCrop(align="box", scale=1.3, up=-0.1)),
    ],
)
def test_text_becomes_a_rule(text: str, crop: FaceCrop) -> None:
    assert FaceCrop.parse(text) == crop


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is not a face crop; pass ALIGN, ALIGN:SCALE or ALIGN:SCALE:UP with one of level,"),
        ("nose:2", "'nose:2' is not a face crop"),
        ("eyes:", "'eyes:' is not a face crop"),
        ("eyes:2.9:0.05:1", "'eyes:2.9:0.05:1' is not a face crop"),
        ("box:wide", "as level:0.9 or box:1.3"),
        ("box:0", "input.face_crop.scale is 0.0; it must be from 0.1 to 20."),
        ("box:nan", "input.face_crop.scale is nan; it must be a finite number."),
        ("eyes:2:7", "input.face_crop.up is 7.0; it must be from -1 to 1."),
    ],
)
def test_text_that_is_not_a_rule_is_refused(text: str, said: str) -> None:
    with pytest.raises(ModelSpecError) as caught:
        FaceCrop.parse(text)
    assert said in str(caught.value)


@settings(deadline=None, max_examples=100)
@given(face_crops)
def test_text_and_plain_values_are_read_back(crop: FaceCrop) -> None:
    assert FaceCrop.parse(str(crop)) == crop
    assert FaceCrop.from_dict(dataclasses.asdict(crop)) == crop
    assert hash(crop) == hash(dataclasses.replace(crop))


def test_the_rule_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        FaceCrop().scale = 2.0  # type: ignore[misc]
