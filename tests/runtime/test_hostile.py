"""Hundreds of files that mean harm: a row each, and the run goes on, soon and in little memory."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fer_bench import hostile


@pytest.mark.skipif(sys.platform != "linux", reason="needs pipes, sockets and /dev as Linux has")
def test_each_hostile_file_gets_its_one_row(tmp_path: Path, tiny_model: Path) -> None:
    found = hostile.measure(tmp_path, tiny_model)
    assert found["wrong"] == []
    assert found["files"] >= 300 and found["rows"] == found["files"]
    assert 150 < found["errors"] < found["rows"] and found["status"] == 3
    assert found["peak_bytes"] < 600e6
    assert found["seconds"] < 60
