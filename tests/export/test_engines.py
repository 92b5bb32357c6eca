"""Artefacts in other engines: each passes with the right file, and catches a changed weight."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from fer_bench.artefacts import Artefacts
from fer_export.cli import app
from fer_export.engines import openvino, verifying
from fer_export.engines.arrays import Pixels, Ran, named_outputs
from fer_export.engines.table import ENGINES, Engine, chosen
from fer_export.engines.verifying import Expected, verify_engines
from fer_export.formats.runners import eager
from fer_export.formats.table import FORMATS
from fer_export.inspection import read_spec
from fer_export.loading import load
from fer_export.parity import inputs
from fer_runtime.errors import DataError
from fer_runtime.spec import ModelSpec


@pytest.fixture(scope="module")
def expected(exported: Artefacts) -> Expected:
    """Little noise, and what PyTorch makes of it."""
    loaded = load(exported.checkpoint)
    batches = [*inputs.noise(loaded.spec.input), inputs.extremes(loaded.spec.input)]
    run = eager(loaded.deployable())
    reference = [run(batch.pixels) for batch in batches]
    spec = loaded.spec
    return Expected(batches, reference, spec.labels, spec.provenance.weights_sha256)


def file_for(name: str, folder: Path) -> Path:
    return (folder / "model.onnx").with_suffix(ENGINES[name].endings[0])


def with_another_weight(exported: Artefacts, folder: Path, times: float = 1) -> Path:
    """A folder with the same files, in which one weight is larger by so many times the largest."""
    loaded = load(exported.checkpoint)
    deployable = loaded.deployable()
    weight = next(each for each in deployable.net.parameters() if each.ndim > 1)
    with torch.no_grad():
        weight.view(-1)[0] += times * weight.abs().max()
    for chosen_format in FORMATS.values():
        target = folder / f"model{chosen_format.ending}"
        chosen_format.convert(deployable, loaded.spec, target, {})
    return folder


@pytest.fixture(scope="module")
def changed(exported: Artefacts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_another_weight(exported, tmp_path_factory.mktemp("changed"))


def needs(name: str) -> None:
    reason = ENGINES[name].why_not()
    if reason:
        pytest.skip(reason)


@pytest.mark.parametrize("name", ENGINES)
def test_it_computes_the_same(name: str, exported: Artefacts, expected: Expected) -> None:
    needs(name)
    file = file_for(name, exported.onnx.parent)
    (verdict,) = verify_engines([name], file, expected, required=True)
    assert verdict, verdict.remark
    assert verdict.outcome == "passed" and verdict.version and verdict.report is not None
    assert verdict.report.images == sum(len(batch.names) for batch in expected.batches)


@pytest.mark.parametrize("name", ENGINES)
def test_a_changed_weight_is_caught(
    name: str, exported: Artefacts, changed: Path, expected: Expected, tmp_path: Path
) -> None:
    needs(name)
    (verdict,) = verify_engines([name], file_for(name, changed), expected, required=True)
    wanted = "logits differ by up to"
    if name == "openvino-default" and "bf16" in verdict.remark:
        # A CPU with bf16: only labels decide there, so it takes more to change one.
        folder = with_another_weight(exported, tmp_path, times=10)
        (verdict,) = verify_engines([name], file_for(name, folder), expected, required=True)
        wanted = "agreement is"
    assert not verdict and verdict.outcome == "FAILED"
    assert wanted in verdict.remark


def fake(**changes: Any) -> Engine:
    """An engine that computes what onnxruntime does, with changes to what it reports."""

    def run(path: Path, spec: ModelSpec, batches: Sequence[Pixels]) -> Ran:
        ran = ENGINES["onnxruntime"].run(path, spec, batches)
        if "noise" in changes:
            rng = np.random.default_rng(0)
            for outputs in ran.outputs:
                outputs["logits"] = outputs["logits"] + rng.normal(
                    0, changes["noise"], outputs["logits"].shape
                ).astype(np.float32)
        return replace(ran, arithmetic=str(changes.get("arithmetic", "f32")))

    return Engine("made up", (".onnx",), run, lambda: str(changes.get("missing", "")))


def verdict_of(
    engine: Engine, artefact: Path, expected: Expected, monkeypatch: pytest.MonkeyPatch,
    *, required: bool = True,
) -> verifying.EngineVerdict:  # fmt: skip
    monkeypatch.setattr(verifying, "ENGINES", {"made-up": engine})
    (verdict,) = verify_engines(["made-up"], artefact, expected, required=required)
    return verdict


def test_bf16_is_named_and_has_its_own_limits(
    exported: Artefacts, expected: Expected, monkeypatch: pytest.MonkeyPatch
) -> None:
    bf16 = fake(arithmetic="bf16", noise=0.002)
    verdict = verdict_of(bf16, exported.onnx, expected, monkeypatch)
    assert verdict and "made up computes in bf16 here, not in f32" in verdict.remark
    lying = verdict_of(fake(noise=0.002), exported.onnx, expected, monkeypatch)
    assert not lying and "logits differ" in lying.remark
    broken = verdict_of(fake(arithmetic="bf16", noise=2.0), exported.onnx, expected, monkeypatch)
    assert not broken and "agreement is" in broken.remark


def test_what_is_not_installed_fails_only_where_it_was_named(
    exported: Artefacts, expected: Expected, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = fake(missing="not installed: pip install it")
    named = verdict_of(absent, exported.onnx, expected, monkeypatch)
    assert (
        not named and named.outcome == "FAILED" and named.remark == "not installed: pip install it"
    )
    listed = verdict_of(absent, exported.onnx, expected, monkeypatch, required=False)
    assert listed and listed.outcome == "not run"


def test_an_engine_that_raises_is_a_failure(
    exported: Artefacts, expected: Expected, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(path: Path, spec: ModelSpec, batches: Sequence[Pixels]) -> Ran:
        raise RuntimeError("no such\n operator")

    engine = Engine("made up", (".onnx",), run, lambda: "")
    verdict = verdict_of(engine, exported.onnx, expected, monkeypatch, required=False)
    assert not verdict and verdict.remark == "cannot run it: RuntimeError: no such operator"


def test_files_of_other_engines_are_looked_for_beside(
    exported: Artefacts, expected: Expected, tmp_path: Path
) -> None:
    artefact = tmp_path / "best.int8.onnx"
    artefact.write_bytes(exported.onnx.read_bytes())
    (missing,) = verify_engines(["torchscript"], artefact, expected, required=True)
    assert not missing and missing.remark == "best.torchscript is not beside best.int8.onnx"
    (tmp_path / "best.torchscript").write_bytes(exported.torchscript.read_bytes())
    (found,) = verify_engines(["torchscript"], artefact, expected, required=True)
    assert found and found.file == tmp_path / "best.torchscript"


def test_weights_of_another_checkpoint_are_caught(exported: Artefacts, expected: Expected) -> None:
    other = replace(expected, weights_sha256="0" * 64)
    (verdict,) = verify_engines(["onnxruntime"], exported.onnx, other, required=True)
    assert not verdict and "has other weights than the checkpoint" in verdict.remark


def test_names() -> None:
    assert chosen("all") == tuple(ENGINES)
    assert chosen("hub, onnxruntime,hub") == ("hub", "onnxruntime")
    for wrong in ("", "tvm", "onnxruntime,tvm"):
        with pytest.raises(DataError, match="is not an engine; allowed: onnxruntime"):
            chosen(wrong)


def test_outputs_without_names_of_ours(exported: Artefacts) -> None:
    spec = read_spec(exported.onnx)
    logits = np.array([[1, 2, 3, 0, 0, 0, 0]], np.float32)
    found = named_outputs(["output_0"], [logits], spec)
    assert found["logits"] is not logits and np.allclose(found["probabilities"].sum(), 1)
    assert openvino.ARITHMETIC["bfloat16"] == "bf16"


def test_command_prints_one_table_and_one_status(exported: Artefacts, tmp_path: Path) -> None:
    arguments = [
        "verify", str(exported.checkpoint), str(exported.onnx), "--engine", "onnxruntime,hub",
    ]  # fmt: skip
    page = tmp_path / "report.html"
    done = CliRunner().invoke(app, [*arguments, "--report", str(page)], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "engines" in done.stdout and done.stdout.count("passed") == 2
    text = page.read_text(encoding="utf-8")
    assert "Other engines" in text and "probabilities by" in text
    as_json = CliRunner().invoke(app, [*arguments, "--json"])
    found = json.loads(as_json.stdout)
    assert [each["outcome"] for each in found["engines"]] == ["passed", "passed"]
    assert found["passed"] is True
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(exported.onnx.read_bytes())
    wrong = CliRunner().invoke(
        app,
        ["verify", str(exported.checkpoint), str(copy), "--engine", "onnxruntime,pt2"],
        env={"COLUMNS": "200"},
    )
    assert wrong.exit_code == 5 and "copy.pt2" in wrong.stdout
