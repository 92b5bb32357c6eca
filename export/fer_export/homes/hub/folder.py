"""Writes a hub folder: graphs, configurations, card, weights, bill of materials and hashes."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fer_export.homes.hub import bill, card, graph, settings
from fer_export.parity import inputs
from fer_export.precision.table import beside, precision_of
from fer_runtime import __version__
from fer_runtime.errors import DataError, ModelFileError, ParityError
from fer_runtime.hashing import file_sha256, weights_sha256
from fer_runtime.session import Session, softmax
from fer_runtime.spec import ModelSpec

FILES = {"fp32": "model.onnx", "int8": "model_quantized.onnx", "fp16": "model_fp16.onnx"}
"""What a file computes in -> its name in transformers.js."""
DTYPES = {"fp32": "fp32", "int8": "q8", "fp16": "fp16"}
"""What a file computes in -> what transformers.js calls it."""
TOLERANCE = 1e-4
"""Largest difference of a probability from the model's own, where no resize is needed."""
SUMS, BILL = "SHA256SUMS", "bom.cdx.json"


def write(
    model: Path, folder: Path, *, checkpoint: Path | None = None, license_id: str = "other",
    overwrite: bool = False,
) -> list[str]:  # fmt: skip
    """Write the folder -> the names of its files; it appears when it is complete and compared.

    Files of the same model in other precisions are taken from beside it, if parity holds for them.

    Args:
        model: an ONNX file with its spec.
        folder: to write; its name is the model's on the hub.
        checkpoint: the best.pt with the same weights, for .safetensors; None for no such file.
        license_id: the licence of the weights, as hubs name it.
        overwrite: replace the folder, if it is one that this command wrote.

    Raises:
        ModelFileError: missing, broken, not ONNX, or a checkpoint of other weights.
        ModelSpecError: a file contains no spec.
        ParityError: the converted graph does not compute what the model computes.
        DataError: the folder exists, or cannot be written.
    """
    spec = Session.open(model, provider="cpu", threads=1).spec
    _check_target(folder, overwrite=overwrite)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fer-export-", dir=folder.parent) as name:
            draft = Path(name) / "hub"
            (draft / "onnx").mkdir(parents=True)
            files = _fill(draft, folder.absolute().name, model, spec, checkpoint, license_id)
            if folder.exists():
                shutil.rmtree(folder)
            os.replace(draft, folder)
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {error.strerror or error}") from None
    return files


def _fill(
    draft: Path, name: str, model: Path, spec: ModelSpec, checkpoint: Path | None, license_id: str
) -> list[str]:
    about: dict[str, str] = {}
    sources = _sources(model)
    for precision, source in sources.items():
        file = f"onnx/{FILES[precision]}"
        graph.convert(source, spec, draft / file)
        _compare(source, draft / file)
        about[file] = f"{precision}, made from {source.name}"
    if checkpoint is not None:
        file = f"{spec.architecture or 'weights'}.safetensors"
        _write_weights(checkpoint, spec, draft / file)
        about[file] = "the weights by name, for PyTorch (`fer-export` reads them)"
    _write_json(
        draft / "config.json", settings.config(spec, __version__, DTYPES[next(iter(sources))])
    )
    _write_json(draft / "preprocessor_config.json", settings.preprocessor())
    text = card.card(name, spec, __version__, list(about.items()), license_id)
    (draft / "README.md").write_text(text, encoding="utf-8")
    sums = _sums(draft)
    _write_json(draft / BILL, bill.bill(name, spec, __version__, sums))
    lines = [f"{digest}  {file}\n" for file, digest in _sums(draft).items()]
    (draft / SUMS).write_text("".join(lines), encoding="utf-8")
    return [*about, "config.json", "preprocessor_config.json", "README.md", BILL, SUMS]


def _sources(model: Path) -> Mapping[str, Path]:
    """What they compute in -> files of the same weights: `model` itself, and those beside it."""
    found = {precision_of(model).computes: model}
    if "fp32" in found:
        others = {name: beside(model, name) for name in FILES if name != "fp32"}
        found.update({name: path for name, path in others.items() if path is not None})
    return found


def _compare(source: Path, converted: Path) -> None:
    """The probabilities of noise and of extremes, from both files; raises ParityError."""
    session = Session.open(source, provider="cpu", threads=1)
    run = graph.runner(converted)
    for batch in (*inputs.noise(session.spec.input), inputs.extremes(session.spec.input)):
        found = softmax(run(batch.pixels))
        expected = session.run(batch.pixels).probabilities
        difference = float(np.abs(found - expected).max())
        if not difference <= TOLERANCE:
            raise ParityError(
                f"{source}: with its preprocessing inside, probabilities differ by "
                f"{difference:.2g} on {batch.names[0]}; {TOLERANCE:g} is allowed."
            )


def _write_weights(checkpoint: Path, spec: ModelSpec, target: Path) -> None:
    from safetensors.torch import save_file

    from fer_train import checkpoint as checkpoints

    tensors = checkpoints.load(checkpoint).state_dict
    digest = weights_sha256((name, tensor.numpy()) for name, tensor in tensors.items())
    if spec.provenance.weights_sha256 != digest:
        raise ModelFileError(
            f"{checkpoint} has other weights than the model; pass the checkpoint that it was "
            "exported from, or omit --checkpoint."
        )
    plain = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(plain, target, metadata={"format": "pt"})
    target.chmod(0o644)


def _write_json(path: Path, value: object) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


def _sums(folder: Path) -> dict[str, str]:
    """Relative name -> SHA-256 of each file, sorted."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}


def _check_target(folder: Path, *, overwrite: bool) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DataError(f"{folder} is a file; name a folder.")
    if not any(folder.iterdir()):
        return
    if not (folder / SUMS).is_file():
        raise DataError(f"{folder} has files of something else; name another folder.")
    if not overwrite:
        raise DataError(f"{folder} exists already; pass --overwrite, or name another folder.")
