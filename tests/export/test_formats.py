"""The table of formats: an entry added from outside is a command, and works like the others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fer_bench.artefacts import Artefacts
from fer_export.formats import FORMATS, format_named, format_of
from fer_export.precision import PRECISIONS
from fer_runtime._lazy import resolve
from fer_runtime.errors import DataError, ModelFileError
from fer_runtime.providers.table import PROVIDERS

ENTRY = """
from dataclasses import dataclass

from fer_export.formats import FORMATS, Format
from fer_runtime.cli.options import option


@dataclass(frozen=True)
class Settings:
    packing: str = option("stored", "How entries are packed.", choices=("stored", "deflated"))


FORMATS["statezip"] = Format(
    ending=".statezip", title="state zip", help="Export to a zip of tensors.",
    converter="made_up:convert", embedder="made_up:embed", hasher="made_up:sha256",
    opener="made_up:runner", inspector="made_up:inspect", settings=Settings,
)
"""
MADE_UP = '''
"""State dict and spec in a zip file: a format that the package does not know."""

import hashlib
import io
import zipfile

import torch

from fer_export.formats.runners import eager
from fer_export.inspection import Inspection, spec_from, zip_entries
from fer_train import models


def convert(deployable, spec, path, packing="stored"):
    buffer = io.BytesIO()
    torch.save(deployable.net.state_dict(), buffer)
    _write(path, buffer.getvalue(), spec, packing)


def _write(path, weights, spec, packing="stored"):
    method = {"stored": zipfile.ZIP_STORED, "deflated": zipfile.ZIP_DEFLATED}[packing]
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("made-up/weights.pt", weights)
        archive.writestr("made-up/spec.json", spec.to_json())


def _weights(path):
    with zipfile.ZipFile(path) as archive:
        return archive.read("made-up/weights.pt")


def embed(path, spec):
    _write(path, _weights(path), spec)


def sha256(path):
    return hashlib.sha256(_weights(path)).hexdigest()


def runner(path, provider):
    spec = inspect(path).spec
    net = models.build(
        spec.architecture, spec.input, len(spec.labels), dict(spec.architecture_args)
    )
    net.load_state_dict(torch.load(io.BytesIO(_weights(path)), weights_only=True))
    return eager(models.Deployable(net, spec))


def inspect(path):
    if set(zip_entries(path)) != {"weights.pt", "spec.json"}:
        return None
    with zipfile.ZipFile(path) as archive:
        spec = spec_from(path, archive.read("made-up/spec.json").decode())
        packed = archive.getinfo("made-up/weights.pt").compress_type == zipfile.ZIP_DEFLATED
    return Inspection(path, "state zip", path.stat().st_size, spec, {"packed": packed})

'''


def fer_export(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`fer-export` in a process that adds the format to the table first."""
    (folder / "made_up.py").write_text(MADE_UP, encoding="utf-8")
    (folder / "entry.py").write_text(ENTRY, encoding="utf-8")
    start = f"import sys; sys.path.insert(0, {str(folder)!r}); import entry; "
    return subprocess.run(
        [sys.executable, "-c", start + "from fer_export.cli import main; main()",
         *map(str, arguments)],
        capture_output=True, text=True, check=False, env={"COLUMNS": "200", "PATH": ""},
    )  # fmt: skip


def test_help_lists_a_format_from_outside(tmp_path: Path) -> None:
    text = fer_export(tmp_path, "--help").stdout
    assert "statezip" in text and "Export to a zip of tensors." in text
    assert "onnx, torchscript, pt2, statezip" in text
    own = fer_export(tmp_path, "statezip", "--help").stdout
    assert "--packing" in own and "[stored|deflated]" in own
    assert "--precision" not in own and "--opset" not in own and "--tolerance" in own
    every = fer_export(tmp_path, "all", "--help").stdout
    assert "--packing" in every and "--opset" in every and "--precision" not in every


@pytest.mark.slow
def test_a_format_from_outside_is_exported_verified_and_inspected(
    exported: Artefacts, tmp_path: Path
) -> None:
    target = tmp_path / "m.statezip"
    done = fer_export(
        tmp_path, "statezip", exported.checkpoint, "-o", target, "--packing", "deflated"
    )
    assert done.returncode == 0, done.stderr
    assert "PASSED" in done.stdout and f"wrote {target}" in done.stderr
    found = json.loads(fer_export(tmp_path, "inspect", target, "--json").stdout)
    assert found["kind"] == "state zip" and found["spec"]["parity"]["passed"] is True
    done = fer_export(tmp_path, "verify", exported.checkpoint, target)
    assert done.returncode == 0, done.stderr
    done = fer_export(tmp_path, "verify", exported.checkpoint, target, "--provider", "cuda")
    assert done.returncode == 4 and "state zip files are compared on cpu" in done.stderr


@pytest.mark.slow
def test_all_exports_a_format_from_outside_into_a_new_folder(
    exported: Artefacts, tmp_path: Path
) -> None:
    folder, report = tmp_path / "new" / "folder", tmp_path / "report.html"
    done = fer_export(tmp_path, "all", exported.checkpoint, "-o", folder, "--report", report)
    assert done.returncode == 0, done.stderr
    written = {path.name for path in folder.iterdir() if path.suffix != ".json"}
    assert written == {f"untrained{ending}" for ending in
                       (".onnx", ".torchscript", ".pt2", ".statezip")}  # fmt: skip
    assert "untrained.statezip" in report.read_text("utf-8")


def test_all_leaves_no_new_folder_where_it_fails(exported: Artefacts, tmp_path: Path) -> None:
    done = fer_export(
        tmp_path, "all", exported.checkpoint, "-o", tmp_path / "a" / "b", "--opset", "11"
    )
    assert done.returncode == 5 and "--opset 11: PyTorch writes" in done.stderr
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").write_text("in the way")
    done = fer_export(tmp_path, "all", exported.checkpoint, "-o", tmp_path / "file")
    assert done.returncode == 6 and "--output of fer-export all is a folder" in done.stderr


def test_version_and_choices_are_in_the_help(tmp_path: Path) -> None:
    assert fer_export(tmp_path, "--version").stdout.startswith("fer-runtime ")
    own = fer_export(tmp_path, "onnx", "--help").stdout
    assert "[fp32|fp16|fp16-weights|int8]" in own and "--install-completion" not in own
    assert "factory(InputSpec, classes, **net_args)" in " ".join(own.replace("│", " ").split())
    assert f"[{'|'.join(PROVIDERS)}]" in fer_export(tmp_path, "verify", "--help").stdout
    done = fer_export(tmp_path, "onnx", "best.pt", "--precision", "int4")
    allowed = "'fp32', 'fp16', 'fp16-weights', 'int8'"
    assert done.returncode == 2 and f"'int4' is not one of {allowed}" in done.stderr


def test_help_imports_neither_torch_nor_onnx(tmp_path: Path) -> None:
    code = (
        "import sys, fer_export.cli; "
        "print({'torch', 'onnx', 'onnxruntime', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", FORMATS)
def test_entries_of_the_tables_can_be_imported(name: str) -> None:
    chosen = FORMATS[name]
    functions: list[Any] = [
        chosen.converter,
        chosen.embedder,
        chosen.hasher,
        chosen.opener,
        chosen.inspector,
    ]
    functions += [entry for entry in (chosen.timed_opener, chosen.bisector) if entry]
    assert all(callable(resolve(entry)) for entry in functions)
    assert set(chosen.precisions) <= set(PRECISIONS)
    for precision in chosen.precisions:
        entry = PRECISIONS[precision]
        given = [entry.maker, entry.detector, entry.accuracy_check]
        assert all(callable(resolve(each)) for each in given if each)
    assert format_of(Path(f"a{chosen.ending}")) is format_named(name) is chosen


def test_unknown_formats_name_those_that_exist() -> None:
    with pytest.raises(ModelFileError, match=r"ends in one of \.onnx, \.torchscript, \.pt2"):
        format_of(Path("model.h5"))
    with pytest.raises(DataError, match="'keras' is not an export format; allowed: onnx, torchs"):
        format_named("keras")
