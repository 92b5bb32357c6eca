"""The model cards in the package are what fer_bench.ship writes, but for their figures."""

from __future__ import annotations

import re

import pytest

from fer_bench.model_card import CARD_TEMPLATE
from fer_runtime.shipped import FOLDER, MODELS


@pytest.mark.parametrize("name", MODELS)
def test_a_shipped_card_has_the_words_of_the_template(name: str) -> None:
    card = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    pattern = re.sub(r"\\{\w+\\}", ".*?", re.escape(CARD_TEMPLATE))
    assert re.fullmatch(pattern, card, re.DOTALL)
