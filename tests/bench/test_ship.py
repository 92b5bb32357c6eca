"""The model card in the package is what fer_bench.ship writes, but for its figures."""

from __future__ import annotations

import re

from fer_bench.ship import CARD, CARD_TEMPLATE, MODELS


def test_the_shipped_card_has_the_words_of_the_template() -> None:
    card = (MODELS / CARD).read_text(encoding="utf-8")
    pattern = re.sub(r"\\{\w+\\}", ".+?", re.escape(CARD_TEMPLATE))
    assert re.fullmatch(pattern, card, re.DOTALL)
