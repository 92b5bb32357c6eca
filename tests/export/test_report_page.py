"""The report as one HTML page: whole, self-contained, and written whether parity holds or not."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from fer_bench.artefacts import Artefacts
from fer_export import exporter
from fer_export.options import ExportOptions
from fer_export.parity import Batch, compare
from fer_export.parity.verification import Verification
from fer_export.report import page as report_page
from fer_export.report.html_page import Page
from fer_export.report.page import Entry
from fer_runtime.errors import DataError


class Reader(HTMLParser):
    """Collects what a browser would fetch or run, the open tags, and the text."""

    VOID = ("meta", "img")

    def __init__(self, content: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.fetched += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "data")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(content: str) -> Reader:
    found = Reader(content)
    assert found.open == []
    assert all(address.startswith("data:image/png;base64,") for address in found.fetched)
    assert not {"script", "link", "iframe", "object"} & set(found.tags)
    assert "url(" not in content and "@import" not in content
    return found


def test_page_of_an_export_is_whole_and_self_contained(
    exported: Artefacts, dataset: Path, tmp_path: Path
) -> None:
    options = ExportOptions(images=dataset / "test", precision="fp16", evaluation=dataset / "test")
    done = exporter.export(exported.checkpoint, "onnx", tmp_path / "m.onnx", options)
    target = tmp_path / "report.html"
    report_page.write(target, exported.checkpoint, [Entry("m.onnx", done.path, done.verification)])
    found = read(target.read_text("utf-8"))
    for words in (
        "Passed: every artefact", "same top-1", "smallest tolerance that would have passed",
        "Differences of logits", "Precisions side by side", "images: uint8 (batch, 1, 48, 48)",
        '"labels"', "processor", "onnxruntime", "macro-F1",
    ):  # fmt: skip
        assert words in found.text, words
    assert str(tmp_path) not in target.read_text("utf-8"), "a page is passed on"


def test_changed_labels_are_shown_as_pictures() -> None:
    logits = np.array([[4.0, 0.0], [0.0, 4.0]], np.float32)
    swapped = logits[:, ::-1].copy()
    outputs = [{"logits": each, "probabilities": each} for each in (logits, swapped)]
    report = compare([Batch(("<b>.png", "y"), *outputs)], ("calm", "cross"))
    pixels = np.full((1, 4, 4), 128, np.uint8)
    verification = Verification(
        "fp32", report, None, {"<b>.png": pixels, "y": np.zeros((3, 4, 4), np.uint8)}
    )
    content = report_page.html(Path("best.pt"), [Entry("best.onnx: failed", None, verification)])
    found = read(content)
    assert found.tags.count("img") == 2
    assert "<b>.png: calm became cross" in found.text, "names are escaped"
    assert "Failed: not every artefact" in found.text and "logits differ" in found.text


def test_page_that_cannot_be_written_is_a_clear_message(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"report\.html cannot be written"):
        report_page.write(tmp_path / "none" / "report.html", Path("best.pt"), [])
    (tmp_path / "report.html").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        report_page.write(tmp_path / "report.html", Path("best.pt"), [])
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_bars_and_tables_escape_what_they_are_given() -> None:
    page = Page("a & <b>")
    page.bars({"<i>": 3, "none": 0})
    page.table([["<td>", "&"]], ["<th>", "x"])
    page.items(["<li>"])
    page.code("<pre>")
    found = read(page.html())
    for words in ("a & <b>", "<i>", "<td>", "<th>", "<li>", "<pre>"):
        assert words in found.text


def fer_export(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from fer_export.cli import main; main()", *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_report_is_written_where_parity_fails(exported: Artefacts, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    done = fer_export(
        "pt2",
        exported.checkpoint,
        "-o",
        tmp_path / "m.pt2",
        "--tolerance",
        "-1",
        "--report",
        target,
    )
    assert done.returncode == 5 and "does not compute" in done.stderr
    found = read(target.read_text("utf-8"))
    assert "FAILED" in found.text and "pt2: failed, not written" in found.text
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.slow
def test_report_of_verify_and_of_all(exported: Artefacts, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    done = fer_export("verify", exported.checkpoint, exported.pt2, "--report", target)
    assert done.returncode == 0, done.stderr
    assert "model.pt2" in read(target.read_text("utf-8")).text
    done = fer_export("all", exported.checkpoint, "-o", tmp_path, "--report", target)
    assert done.returncode == 0, done.stderr
    text = read(target.read_text("utf-8")).text
    assert all(f"untrained{ending}" in text for ending in (".onnx", ".torchscript", ".pt2"))
