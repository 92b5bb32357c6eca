"""An artefact exists only if it passed; tampering is caught and named."""

from __future__ import annotations

import errno
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from fer_bench.artefacts import Artefacts
from fer_export import exporter, formats, inspection, parity
from fer_export.formats import to_onnx, to_torchscript
from fer_export.options import ExportOptions
from fer_export.parity.verify import verify
from fer_runtime.errors import DataError, ModelFileError, ParityError
from fer_runtime.session import Session
from fer_runtime.spec import METADATA_KEY
from fer_train import checkpoint
from fer_train.evaluate import predict

ARTEFACTS = ("onnx", "torchscript", "pt2")
IMAGES = 1 + 2 + 3 + 17 + 3 + 40
"""Noise, extremes, and the largest batch as conftest.py sets it."""


def artefact_of(exported: Artefacts, name: str, folder: Path) -> Path:
    """A copy of an artefact that a test may spoil."""
    source: Path = getattr(exported, name)
    return Path(shutil.copy(source, folder / source.name))


@pytest.mark.parametrize("name", ARTEFACTS)
def test_artefact_carries_spec_and_verdict(exported: Artefacts, name: str) -> None:
    artefact: Path = getattr(exported, name)
    spec = inspection.read_spec(artefact)
    assert spec.replace(parity=None) == checkpoint.load(exported.checkpoint).spec
    assert spec.parity is not None
    assert spec.parity["passed"] is True
    assert spec.parity["batch_sizes"] == [1, 2, 3, 17, 40]
    assert spec.parity["smallest_tolerance"] < 1e-4
    assert spec.parity["artefact_sha256"] == formats.format_of(artefact).sha256(artefact)
    report = json.loads(exporter.report_path(artefact).read_text(encoding="utf-8"))
    assert report["passed"] is True and report["images"] == IMAGES


def test_onnx_graph_takes_uint8_and_outputs_logits_and_probabilities(exported: Artefacts) -> None:
    model = onnx.load(exported.onnx)
    found = inspection.inspect(exported.onnx)
    assert found.facts["inputs"] == ["images: uint8 (batch, 1, 48, 48)"]
    assert found.facts["outputs"] == ["logits: float (batch, 7)", "probabilities: float (batch, 7)"]
    assert not any(entry.external_data for entry in model.graph.initializer)
    assert "BatchNormalization" not in found.facts["operators"]
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("name", ARTEFACTS)
def test_artefact_equals_eager_on_faces(exported: Artefacts, name: str, faces: np.ndarray) -> None:
    deployable = checkpoint.load(exported.checkpoint).deployable()
    expected, _ = predict(deployable, torch.from_numpy(faces.copy()))
    artefact: Path = getattr(exported, name)
    actual = formats.format_of(artefact).runner(artefact)(faces)["logits"]
    np.testing.assert_allclose(actual, expected, atol=1e-4 * expected.std())
    assert np.array_equal(actual.argmax(1), expected.argmax(1))


@pytest.mark.parametrize("name", ARTEFACTS)
def test_verify_passes_on_what_was_exported(exported: Artefacts, name: str, dataset: Path) -> None:
    artefact: Path = getattr(exported, name)
    report = verify(exported.checkpoint, artefact, ExportOptions(images=dataset / "test")).report
    assert report and report.images == IMAGES + 35


def test_swapped_labels_are_caught(exported: Artefacts, tmp_path: Path) -> None:
    artefact = artefact_of(exported, "onnx", tmp_path)
    spec = inspection.read_spec(artefact)
    labels = ("disgust", "angry", *spec.labels[2:])
    to_onnx.embed(artefact, spec.replace(labels=labels))
    report = verify(exported.checkpoint, artefact).report
    assert not report
    assert report.failures[0].startswith("the spec's labels: ('disgust', 'angry'")


def test_verdict_of_another_file_is_caught(exported: Artefacts, tmp_path: Path) -> None:
    artefact = artefact_of(exported, "onnx", tmp_path)
    verdict = inspection.read_spec(exported.torchscript).parity
    to_onnx.embed(artefact, inspection.read_spec(artefact).replace(parity=verdict))
    report = verify(exported.checkpoint, artefact).report
    assert report.failures == ("the verdict inside the artefact is about another file",)


def test_missing_verdict_is_caught(exported: Artefacts, tmp_path: Path) -> None:
    artefact = artefact_of(exported, "torchscript", tmp_path)
    to_torchscript.embed(artefact, inspection.read_spec(artefact).replace(parity=None))
    report = verify(exported.checkpoint, artefact).report
    assert report.failures == ("the artefact carries no verdict of parity",)


def test_artefact_of_other_weights_is_caught(exported: Artefacts, tmp_path: Path) -> None:
    from fer_bench.artefacts import untrained_checkpoint

    other = untrained_checkpoint(tmp_path / "other.pt", seed=1)
    report = verify(other, exported.onnx).report
    assert "the artefact was made from other weights than this checkpoint's" in report.failures


@pytest.mark.parametrize("name", ARTEFACTS)
def test_failed_parity_leaves_nothing_and_keeps_the_old_file(
    exported: Artefacts, name: str, tmp_path: Path
) -> None:
    target = tmp_path / f"model{formats.FORMATS[name].ending}"
    target.write_text("yesterday's artefact")
    with pytest.raises(ParityError, match="was not written") as raised:
        exporter.export(exported.checkpoint, name, target, ExportOptions(tolerance=-1.0))
    assert "logits differ by up to" in str(raised.value)
    assert target.read_text() == "yesterday's artefact"
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_interrupt_leaves_nothing(
    exported: Artefacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> parity.ParityReport:
        raise KeyboardInterrupt

    monkeypatch.setattr(parity, "compare", interrupted)
    with pytest.raises(KeyboardInterrupt):
        exporter.export(exported.checkpoint, "torchscript", tmp_path / "model.torchscript")
    assert list(tmp_path.iterdir()) == []


def test_default_name_is_beside_the_checkpoint(exported: Artefacts, tmp_path: Path) -> None:
    source = Path(shutil.copy(exported.checkpoint, tmp_path / "best.pt"))
    done = exporter.export(source, "torchscript")
    assert done.path == tmp_path / "best.torchscript"
    assert done.report_path == tmp_path / "best.torchscript.parity.json"


def test_bad_images_and_targets_are_named(exported: Artefacts, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist"):
        exporter.export(
            exported.checkpoint, "onnx", options=ExportOptions(images=tmp_path / "nowhere")
        )
    with pytest.raises(DataError, match="contains no images"):
        exporter.export(exported.checkpoint, "onnx", options=ExportOptions(images=tmp_path))
    with pytest.raises(DataError, match="is a folder; name a file"):
        exporter.export(exported.checkpoint, "onnx", tmp_path)
    with pytest.raises(DataError, match="cannot be written"):
        exporter.export(exported.checkpoint, "onnx", tmp_path / "no" / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_checkpoint_with_a_verdict_starts_from_none(exported: Artefacts, tmp_path: Path) -> None:
    loaded = checkpoint.load(exported.checkpoint)
    stale = loaded.spec.replace(parity={"passed": True, "images": 9, "artefact_sha256": "0"})
    checkpoint.save(tmp_path / "best.pt", stale, loaded.state_dict)
    done = exporter.export(tmp_path / "best.pt", "torchscript")
    verdict = inspection.read_spec(done.path).parity
    assert verdict is not None and verdict["images"] == IMAGES


def test_runtime_reads_the_spec_from_the_metadata(exported: Artefacts) -> None:
    assert Session.open(exported.onnx).spec == inspection.read_spec(exported.onnx)
    keys = {prop.key for prop in onnx.load(exported.onnx).metadata_props}
    assert METADATA_KEY in keys


def test_inspecting_executes_nothing(exported: Artefacts, monkeypatch: pytest.MonkeyPatch) -> None:
    def executed(*_: object, **__: object) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(torch.jit, "load", executed)
    found = inspection.inspect(exported.torchscript)
    assert found.kind == "TorchScript" and found.spec is not None
    state_dict = checkpoint.load(exported.checkpoint).state_dict
    facts = inspection.inspect(exported.checkpoint).facts
    assert facts["parameters"] == sum(tensor.numel() for tensor in state_dict.values())


@pytest.mark.parametrize("ending", ["onnx", "torchscript"])
@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\x00" * 300, b"PK\x03\x04 no zip"])
def test_broken_artefacts_are_refused_with_a_message(
    exported: Artefacts, tmp_path: Path, ending: str, content: bytes
) -> None:
    broken = tmp_path / f"model.{ending}"
    broken.write_bytes(content)
    with pytest.raises(ModelFileError, match=f"model.{ending}"):
        inspection.inspect(broken)
    with pytest.raises(ModelFileError, match=f"model.{ending}"):
        verify(exported.checkpoint, broken)


@pytest.mark.parametrize("name", ARTEFACTS)
def test_truncated_artefacts_are_refused_with_a_message(
    exported: Artefacts, tmp_path: Path, name: str
) -> None:
    whole = getattr(exported, name).read_bytes()
    broken = tmp_path / getattr(exported, name).name
    for keep in (200, len(whole) // 2, len(whole) - 30):
        broken.write_bytes(whole[:keep])
        with pytest.raises(ModelFileError):
            verify(exported.checkpoint, broken)


def test_zip_without_a_model_is_an_unknown_kind(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("photos/a.txt", "hello")
    assert inspection.inspect(tmp_path / "photos.zip").kind == "unknown zip archive"


@pytest.mark.parametrize("name", ARTEFACTS)
def test_full_disk_is_a_clear_message(
    exported: Artefacts, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes" if name == "torchscript" else "write_text", full)
    target = tmp_path / f"model{formats.FORMATS[name].ending}"
    with pytest.raises(DataError, match="cannot be written: No space left on device"):
        exporter.export(exported.checkpoint, name, target)
    assert list(tmp_path.iterdir()) == []


def test_weights_beyond_one_file_are_named(
    exported: Artefacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(to_onnx, "MAX_BYTES", 1_000_000)
    with pytest.raises(ModelFileError, match="one ONNX file contains 1,000,000 at most"):
        exporter.export(exported.checkpoint, "onnx", tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
