"""Hundreds of malicious files: a row each, and the run continues, soon and in little memory."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fer_bench import fuzz, hostile


@pytest.mark.skipif(sys.platform != "linux", reason="needs pipes, sockets and /dev as Linux has")
@pytest.mark.parametrize("faces", [False, True])
def test_each_hostile_file_gets_its_one_row(tmp_path: Path, tiny_model: Path, faces: bool) -> None:
    found = hostile.measure(tmp_path, tiny_model, faces=faces)
    assert found["wrong"] == []
    assert found["files"] >= 300 and found["rows"] == found["files"]
    assert 150 < found["errors"] < found["rows"] and found["status"] == 3
    assert found["peak_bytes"] < 600e6
    assert found["seconds"] < 60


def test_what_the_fuzzer_begins_with_is_pixels_or_an_error_for_every_input() -> None:
    for _, data, _ in hostile.contents():
        for choice in range(1, 1 + len(fuzz.INPUTS)):
            fuzz.require_pixels_or_error(data + bytes([choice]))
