"""The figures in README and docs are those of benchmarks/results."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fer_bench import figures
from fer_bench.documents import blocks
from fer_bench.documents.blocks import BLOCKS, RESULTS, Results
from fer_runtime.errors import DataError


def test_all_figures_are_those_of_the_results() -> None:
    done = CliRunner().invoke(figures.app, ["--check"])
    assert done.exit_code == 0, f"{done.output}; write them with `fer-bench figures`"


def test_every_block_is_on_a_page() -> None:
    pages = [figures.CLONE / "README.md", *(figures.CLONE / "docs").glob("*.md")]
    found = {name for page in pages for _, name, *_ in figures.BLOCK.findall(page.read_text())}
    assert found == set(BLOCKS)


def test_another_result_is_another_figure(tmp_path: Path) -> None:
    shutil.copytree(RESULTS, tmp_path / "results")
    path = tmp_path / "results" / "precisions.json"
    precisions = json.loads(path.read_text(encoding="utf-8"))
    precisions["precisions"]["fp32"]["accuracy"] = 0.9128
    path.write_text(json.dumps(precisions), encoding="utf-8")
    page = "a\n<!-- figures: results -->\nstale\n<!-- end of figures -->\nb\n"
    made = figures.renewed(page, Results(tmp_path / "results"))
    assert "91.3%" in made and "stale" not in made
    assert made.startswith("a\n<!-- figures: results -->\n| what |") and made.endswith("\nb\n")
    path.write_text("no JSON", encoding="utf-8")
    with pytest.raises(DataError, match=r"precisions\.json is not JSON"):
        figures.renewed(page, Results(tmp_path / "results"))
    path.unlink()
    with pytest.raises(DataError, match=r"precisions\.json cannot be read"):
        figures.renewed(page, Results(tmp_path / "results"))


def test_an_unknown_block_is_named() -> None:
    with pytest.raises(DataError, match="nothing is not one of results"):
        figures.renewed("<!-- figures: nothing -->\n<!-- end of figures -->", Results())


def test_wilsons_interval() -> None:
    """Of 10 of 100 it is 0.0552 to 0.1744 (Newcombe 1998)."""
    assert blocks.interval(0.1, 100) == pytest.approx((0.0552, 0.1744), abs=1e-4)
