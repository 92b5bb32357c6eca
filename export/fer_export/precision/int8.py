"""int8: static quantisation per channel, in QDQ form, calibrated on images.

onnxruntime's quantiser does the work. Weights take 7 of their 8 bits: CPUs without VNNI add pairs
of products in 16 bits, which 8-bit weights overflow, so that the same file would give other results
there. Activations are uint8, for which onnxruntime's x86 kernels are made (int8 ones measured
slower than fp32).
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx

from fer_export.formats import graph, to_onnx
from fer_export.formats.runners import eager
from fer_export.parity import inputs
from fer_export.precision import accuracy
from fer_export.precision.float_layers import FloatLayers, find
from fer_export.precision.job import Candidate, Job, Made
from fer_runtime import labelled
from fer_runtime.errors import DataError, ParityError
from fer_runtime.hashing import file_sha256
from fer_runtime.labelled import Labelled
from fer_runtime.spec import ModelSpec
from fer_train.models import Deployable

METHODS = ("MinMax", "Percentile", "Entropy")
"""onnxruntime's ways to choose the range of an activation."""
MAX_LOSS = 0.005
"""Macro-F1 that int8 may lose against fp32."""
MAX_CALIBRATION_IMAGES = 512


def make(job: Job) -> Made:
    """Write the int8 model of an fp32 file; the job has calibration images and an evaluation set.

    Raises:
        DataError: calibration images that cannot be used, or that are in the evaluation set.
        ParityError: int8 loses too much macro-F1.
    """
    assert job.calibration is not None and job.known is not None and job.reference is not None
    typical = calibration_batches(
        job.calibration, job.known, job.spec, skip_duplicates=job.skip_duplicates
    )
    job.say(f"quantising with {sum(len(b.names) for b in typical)} calibration images")
    best, tried, floats = quantise(
        job.source, job.target, typical, job.known, job.spec, job.reference, job.say,
        float_layers=job.float_layers,
    )  # fmt: skip
    return Made(best.figures, tried, float_layers=floats)


def is_int8(artefact: Path) -> bool:
    """Whether an ONNX file is quantised."""
    model = onnx.load(artefact, load_external_data=False)
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def accuracy_failures(
    deployable: Deployable, spec: ModelSpec, artefact: Path, evaluation: Path | None
) -> list[str]:
    """What int8 costs on labelled images, if that is too much.

    Raises:
        DataError: no labelled images are given.
    """
    if evaluation is None:
        raise DataError(
            f"{artefact} is int8, which is checked on labelled images: pass --evaluation DIR."
        )
    known = labelled.read(evaluation, spec.labels)
    before = accuracy.measure(eager(deployable), known, spec).macro_f1
    after = accuracy.measure(to_onnx.runner(artefact), known, spec).macro_f1
    if after >= before - MAX_LOSS:
        return []
    return [
        f"macro-F1 is {after:.4f} instead of the checkpoint's {before:.4f}; a loss of {MAX_LOSS} "
        "is allowed"
    ]


def calibration_batches(
    folder: Path, known: Labelled, spec: ModelSpec, *, skip_duplicates: bool = False
) -> list[inputs.InputBatch]:
    """At most 512 images of a folder, evenly spread, none of which is in the evaluation set.

    Raises:
        DataError: no images, or some whose content is in the evaluation set.
        ImageError: an image that cannot be read.
    """
    hashes = {file_sha256(Path(path)) for path in known.paths}
    shared = []

    def fresh(path: str) -> bool:
        if file_sha256(Path(path)) not in hashes:
            return True
        shared.append(path)
        return False

    batches = list(inputs.files(folder, spec.input, limit=MAX_CALIBRATION_IMAGES, wanted=fresh))
    if shared and not skip_duplicates:
        raise DataError(
            f"{len(shared)} of the calibration images are in the evaluation set too, byte for "
            f"byte, the first {shared[0]}. Figures from images that the model was fitted to prove "
            "nothing; use other images, or pass --skip-duplicates to omit those."
        )
    if not batches:
        raise DataError(f"{folder}: every image in it is in the evaluation set too; use others.")
    return batches


def quantise(
    source: Path,
    target: Path,
    calibration: Sequence[inputs.InputBatch],
    known: Labelled,
    spec: ModelSpec,
    reference: accuracy.Figures,
    say: Any,
    *,
    float_layers: str = "auto",
) -> tuple[Candidate, list[Candidate], FloatLayers | None]:
    """Quantise an fp32 file in several ways and keep the one with the best macro-F1.

    First everything but the layers that are faster in float; if no method stays within 0.005 of
    `reference`, once more with the first and the last layer in float. Returns the chosen candidate,
    all that were tried, and what timing the layers found.

    Args:
        source: the fp32 file.
        target: the file to write.
        calibration: typical images.
        known: the evaluation set.
        spec: the model's.
        reference: fp32's figures.
        say: called with a short line as work proceeds.
        float_layers: "auto" times each layer both ways, "none" leaves none in float for its speed,
            and anything else is their names, with commas.

    Raises:
        DataError: a name in `float_layers` that no layer has.
        ParityError: none stays within 0.005.
    """
    prepared = target.with_name("prepared.onnx")
    _prepare(source, prepared)
    floats = _timed(prepared, calibration, spec, say) if float_layers == "auto" else None
    first = floats.kept if floats is not None else _named(float_layers, prepared)
    tried: list[tuple[Candidate, Path]] = []
    for kept in (first, tuple(dict.fromkeys((*first, *_first_and_last(prepared))))):
        for method in METHODS:
            path = target.with_name(f"{method}-{len(kept)}.onnx")
            _quantise(prepared, path, calibration, method, kept, spec)
            candidate = Candidate(method, kept, accuracy.measure(to_onnx.runner(path), known, spec))
            tried.append((candidate, path))
            say(f"int8, {_describe(candidate)}")
        best, path = max(tried, key=lambda pair: pair[0].figures.macro_f1)
        if best.figures.macro_f1 >= reference.macro_f1 - MAX_LOSS:
            path.replace(target)
            return best, [candidate for candidate, _ in tried], floats
    raise ParityError(
        f"int8 breaks this model: macro-F1 is {reference.macro_f1:.4f} in fp32, and at best "
        f"{best.figures.macro_f1:.4f} in int8 ({_describe(best)}); a loss of {MAX_LOSS} is "
        "allowed. Calibrate on more, or on more typical images, or use fp32."
    )


def _describe(candidate: Candidate) -> str:
    where = f", {' and '.join(candidate.kept)} in float" if candidate.kept else ""
    return f"{candidate.method} calibration{where}: macro-F1 {candidate.figures.macro_f1:.4f}"


class _Reader:
    """Feeds onnxruntime's calibration one image after another, then None."""

    def __init__(self, batches: Sequence[inputs.InputBatch], name: str) -> None:
        # One image at a time: the quantiser's histograms require feeds of one shape.
        self._feeds = ({name: image[None]} for batch in batches for image in batch.pixels)

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)


def _prepare(source: Path, target: Path) -> None:
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with _quiet():
        quant_pre_process(source, target, skip_symbolic_shape=True)


def _quantise(
    source: Path,
    target: Path,
    calibration: Sequence[inputs.InputBatch],
    method: str,
    kept: Sequence[str],
    spec: ModelSpec,
) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    with _quiet():
        quantize_static(
            source,
            target,
            _Reader(calibration, spec.input.name),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod[method],
            nodes_to_exclude=[*kept, *_outside(source, kept)],
        )
    model = onnx.load(target)
    graph.forget_unused_operators(model)
    onnx.save(model, target)


def _outside(path: Path, kept: Sequence[str]) -> list[str]:
    """The names of the nodes that lie before the first int8 layers, or after the last.

    They normalise the pixels, and make probabilities of the logits: in int8 they would only lose
    digits, and each way in and out of int8 costs time.
    """
    nodes = onnx.load(path).graph.node
    layers = {node.name for node in nodes if node.op_type in graph.WEIGHTED} - set(kept)
    after: set[str] = set()  # values that come from an int8 layer
    for node in nodes:
        if node.name in layers or not after.isdisjoint(node.input):
            after.update(node.output)
    before: set[str] = set()  # values that an int8 layer needs
    for node in reversed(nodes):
        if node.name in layers or not before.isdisjoint(node.output):
            before.update(node.input)
    return [
        node.name
        for node in nodes
        if node.name not in layers
        and (after.isdisjoint(node.input) or before.isdisjoint(node.output))
    ]


def _timed(
    prepared: Path, calibration: Sequence[inputs.InputBatch], spec: ModelSpec, say: Any
) -> FloatLayers:
    """Time each layer both ways; ranges do not matter to that, so one image calibrates."""
    first = calibration[0]
    one = [inputs.InputBatch(first.names[:1], first.pixels[:1])]

    def quantise_some(kept: Sequence[str], path: Path) -> None:
        _quantise(prepared, path, one, METHODS[0], kept, spec)
        to_onnx.embed(path, spec)

    return find(_layers(prepared), quantise_some, prepared.parent, spec, say=say)


def _named(float_layers: str, prepared: Path) -> tuple[str, ...]:
    """The layers that an option names."""
    names = [name.strip() for name in float_layers.split(",") if name.strip()]
    if names in (["none"], []):
        return ()
    known = _layers(prepared)
    for name in names:
        if name not in known:
            raise DataError(
                f"--float-layers names {name!r}, which is not a layer; allowed: auto, none, or "
                f"some of {', '.join(known)}."
            )
    return tuple(names)


def _layers(path: Path) -> list[str]:
    """The names of the layers with weights, in order."""
    return [node.name for node in onnx.load(path).graph.node if node.op_type in graph.WEIGHTED]


def _first_and_last(path: Path) -> tuple[str, ...]:
    """The names of the first and the last layer with weights."""
    names = _layers(path)
    return tuple(dict.fromkeys((names[0], names[-1]))) if names else ()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser prints on stdout and through the root logger."""
    logger = logging.getLogger()
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)
