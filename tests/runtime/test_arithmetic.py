"""The gate of a less exact arithmetic: it decides as f32 does, or it does not run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from fer_runtime.arithmetic import IMAGES, check_arithmetic, made_pictures
from fer_runtime.errors import ProviderError
from fer_runtime.providers import ProviderOptions
from fer_runtime.session import Outputs, Session

Logits = npt.NDArray[np.float32]


def to_bf16(values: Logits) -> Logits:
    """The upper 16 bits of each float32."""
    return (values.view(np.uint32) & 0xFFFF0000).view(np.float32)


class Rounded:
    """A session whose logits are changed, as an inexact runtime changes them."""

    def __init__(self, session: Session, change: Callable[[Logits], Logits]) -> None:
        self.session, self.change = session, change
        self.path = "model.onnx"
        self.provider_options = ProviderOptions(arithmetic="bf16")

    def run(self, pixels: npt.NDArray[np.uint8]) -> Outputs:
        logits = self.change(self.session.run(pixels).logits)
        return Outputs(logits, logits)


def check(session: Session, change: Callable[[Logits], Logits]) -> None:
    check_arithmetic(cast(Any, Rounded(session, change)), session)


def test_rounding_that_changes_no_decision_passes(tiny_session: Session) -> None:
    check(tiny_session, to_bf16)


def test_decisions_that_differ_are_an_error(tiny_session: Session) -> None:
    def worse(logits: Logits) -> Logits:
        changed = logits.copy()
        changed[:3] = -changed[:3]  # 3 of 512 are 0.6 %
        return changed

    with pytest.raises(ProviderError, match=r"in bf16 than in f32 for 0\.6% of 512 made pictures"):
        check(tiny_session, worse)

    def barely(logits: Logits) -> Logits:
        changed = logits.copy()
        changed[:2] = -changed[:2]
        return changed

    check(tiny_session, barely)


def test_an_overflow_is_an_error(tiny_session: Session) -> None:
    def overflowing(logits: Logits) -> Logits:
        changed = logits.copy()
        changed[0, 0] = np.inf
        return changed

    with pytest.raises(ProviderError, match="overflows in bf16"):
        check(tiny_session, overflowing)


def test_made_pictures_are_always_the_same_and_vary() -> None:
    pictures = made_pictures((1, 16, 12))
    assert pictures.shape == (IMAGES, 1, 16, 12)
    assert np.array_equal(pictures, made_pictures((1, 16, 12)))
    smooth = pictures[IMAGES // 2 :].astype(int)
    assert (
        np.abs(np.diff(smooth, axis=3)).mean()
        < 40
        < np.abs(np.diff(pictures[: IMAGES // 2].astype(int), axis=3)).mean()
    )
    assert len({picture.tobytes() for picture in pictures}) == IMAGES
