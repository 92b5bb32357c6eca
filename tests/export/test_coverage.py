"""torchvision's models export with parity."""

from __future__ import annotations

from pathlib import Path

import pytest

from fer_bench import coverage


@pytest.mark.slow
@pytest.mark.parametrize("net", coverage.NETS)
def test_net_exports_to_every_format(net: str, tmp_path: Path) -> None:
    outcomes = coverage.through_all_formats(net, tmp_path)
    assert [outcome.error for outcome in outcomes] == [None] * 3
    text = coverage.page(outcomes)
    assert f"| {net} | " in text and "failed" not in text


def test_failure_is_named_on_the_page() -> None:
    text = coverage.page([coverage.Outcome("resnet18", "onnx", None, 3.0, 0.0, "no\nsuch op")])
    assert "| resnet18 | **failed** | 3 |" in text and "- resnet18, onnx: no such op" in text
