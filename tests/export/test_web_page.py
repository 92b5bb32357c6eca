"""The web page as a file: what is in it, and that nothing in it asks a network for anything."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fer_export.cli import app
from fer_export.homes.web import page, runtime
from fer_export.precision.table import beside
from fer_runtime.errors import DataError
from fer_runtime.session import Session
from fer_runtime.shipped import find_model
from tests.export.page_scripts import needs_node

INT8 = find_model("compact_cnn.int8")


@pytest.fixture(scope="module")
def html() -> str:
    return page.html(INT8)


def test_it_is_one_file_that_asks_for_nothing(html: str) -> None:
    assert len(html) < 7_000_000
    assert "connect-src 'none'" in html and "default-src 'none'" in html
    outside = r'(?:src|href|action)\s*=\s*"(?!data:)[^"]+"|url\(|@import'
    assert not re.search(outside, html[: html.index('<script type="text/plain"')])


def test_it_says_what_a_prediction_is_not_and_carries_the_licences(html: str) -> None:
    text = " ".join(re.sub(r"<[^>]+>", " ", html[: html.index('<script type="')]).split())
    assert "not what the person feels" in text and "no picture leaves" in text
    assert text.count("MIT License") == 2 and "Microsoft" in text and "Shiqi Yu" in text
    assert hashlib.sha256(INT8.read_bytes()).hexdigest() in text
    assert f"{Session.open(INT8).spec.provenance.metrics['validation']['accuracy']:.1%}" in text


def test_its_data_is_the_spec(html: str) -> None:
    (text,) = re.findall(r'id="data">(.*?)</script>', html)
    data = json.loads(text)
    spec = Session.open(INT8).spec
    assert data["labels"] == list(spec.labels)
    assert data["spec"] == spec.replace(parity=None).to_dict()
    assert data["options"]["columns"]["faces"][:3] == ["path", "face", "left"]


@needs_node
def test_its_scripts_are_javascript(html: str, tmp_path: Path) -> None:
    scripts = re.findall(
        r"<script(?: type=\"text/plain\" id=\"worker\")?>(.*?)</script>", html, re.S
    )
    assert len(scripts) == 2
    for script in scripts:
        file = tmp_path / "script.js"
        file.write_text(script, encoding="utf-8")
        command = ["node", "--check", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_onnxruntime_web_is_the_recorded_one() -> None:
    web = runtime.read()
    assert f"ONNX Runtime Web v{web.version}" in web.loader
    assert web.wasm[:4] == b"\0asm" and gzip.decompress(web.packed) == web.wasm


@pytest.mark.parametrize("name", [runtime.LOADER, runtime.COMPRESSED, runtime.RECORD])
def test_a_changed_or_missing_file_is_an_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "runtime"
    shutil.copytree(runtime.FOLDER, copy)
    monkeypatch.setattr(runtime, "FOLDER", copy)
    if name == runtime.LOADER:
        (copy / name).write_text("changed", encoding="utf-8")
    else:
        (copy / name).unlink()
    with pytest.raises(DataError, match="install fer-runtime again"):
        runtime.read()


def test_the_int8_file_beside_is_used_where_it_is_the_same_model(tmp_path: Path) -> None:
    fp32 = find_model("compact_cnn")
    assert beside(fp32, "int8") == INT8 and beside(INT8, "int8") is None
    copy = tmp_path / "best.onnx"
    shutil.copyfile(fp32, copy)
    assert beside(copy, "int8") is None
    (tmp_path / "best.int8.onnx").write_bytes(b"not a model")
    assert beside(copy, "int8") is None


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["web", "compact_cnn"])
    assert (
        done.exit_code == 0 and "compact_cnn.int8.onnx, which has the same weights" in done.stderr
    )
    assert [each.name for each in tmp_path.iterdir()] == ["compact_cnn.int8.html"]
    assert (tmp_path / "compact_cnn.int8.html").read_text(encoding="utf-8").startswith("<!doctype")


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "missing" / "page.html"
    with pytest.raises(DataError, match="cannot be written"):
        page.write(INT8, target)
    assert not list(tmp_path.iterdir())
    with pytest.raises(DataError, match="end of a script"):
        page._script_text("</SCRIPT>")
