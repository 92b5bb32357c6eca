"""The card of a shipped model: what it is for, what it is not for, and the figures of `ship`."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from fer_runtime.machine import processor
from fer_runtime.shipped import MODELS

if TYPE_CHECKING:
    from fer_export.precision.reduction import Reduced
    from fer_runtime.spec import ModelSpec
    from fer_train.checkpoint import Checkpoint
    from fer_train.cropping import Cropping
    from fer_train.evaluate import Evaluation


@dataclass(frozen=True)
class Figures:
    """What a card shows: the evaluation as shipped, and that without the fitted temperature."""

    shipped: Evaluation
    uncalibrated: Evaluation
    parameters: int
    multiply_adds: int
    parity: dict[str, Any]
    bytes: int
    stored: str
    reduced: Reduced
    cropping: Cropping


def card(
    name: str, loaded: Checkpoint, figures: Figures, epochs: list[dict[str, str]], machine: str
) -> str:
    """The model card as Markdown."""
    spec = loaded.spec
    hours = sum(float(row.get("seconds") or 0) for row in epochs) / 3600
    return CARD_TEMPLATE.format(
        name=name,
        about=MODELS[name],
        storage=STORAGE[figures.stored],
        architecture=spec.architecture,
        arguments=json.dumps(dict(spec.architecture_args)),
        size=f"{spec.input.height} x {spec.input.width}",
        labels=", ".join(spec.labels),
        parameters=f"{figures.parameters / 1e6:.2f} M",
        multiply_adds=f"{figures.multiply_adds / 1e6:.1f} M",
        megabytes=f"{figures.bytes / 1e6:.1f} MB",
        command=_command(spec),
        versions=", ".join(f"{k} {v}" for k, v in spec.provenance.versions.items()),
        machine=machine,
        epochs=len(epochs),
        hours=f"{hours:.1f}",
        created=spec.provenance.created or "unknown",
        temperature=f"{spec.temperature:.3f}",
        table=_table(figures.shipped),
        calibration=_calibration(figures),
        coverage=_coverage(figures.shipped),
        cropping=_cropping(figures.cropping),
        confusion=_confusion(figures.shipped),
        parity=f"{figures.parity['smallest_tolerance']:.1e}",
        allowed=f"{figures.parity['tolerance']:g}",
        parity_images=f"{figures.parity['images']:,}",
        precisions=_precisions(figures.reduced),
        float_layers=_float_layers(figures.reduced),
        processor=processor(),
    )


def _command(spec: ModelSpec) -> str:
    """`fer-train fit` with every choice that is not the default, and what was done after it."""
    from fer_train.averaging import AVERAGED, MEASURED
    from fer_train.outcomes import options_of
    from fer_train.recipe import Recipe

    recorded = spec.provenance.recipe
    chosen = {
        entry.name: recorded[entry.name]
        for entry in fields(Recipe)
        if entry.name in recorded and recorded[entry.name] != entry.default
    }
    lines = [f"fer-train fit --data fer2013 --output run {options_of(chosen)}"]
    if averaged := recorded.get(AVERAGED):
        others = f" and {len(averaged) - 1} more" if len(averaged) > 1 else ""
        lines.append(f"# then, of this best.pt{others}:")
        read = spec.input.interpolation
        changed = "" if read == "bilinear" else f" --interpolation {read}"
        changed += "" if MEASURED in recorded else " --no-statistics"
        lines.append(f"fer-train average BEST.PT… --data fer2013{changed} -o averaged.pt")
    return "\n".join(lines)


def _table(evaluation: Evaluation) -> str:
    report = evaluation.to_dict()
    without = report["without_training_images"]
    lines = [
        f"| | all {report['metrics']['count']:,.0f} images | the "
        f"{without['metrics']['count']:,.0f} whose content is not in Training |",
        "|---|---|---|",
    ]
    for name in report["intervals_95"]:
        cells = []
        for each in (report, without):
            low, high = each["intervals_95"][name]
            cells.append(f"{each['metrics'][name]:.4f} ({low:.4f} to {high:.4f})")
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _calibration(figures: Figures) -> str:
    lines = ["| | expected calibration error | loss (nats) |", "|---|---|---|"]
    for name, evaluation in (
        ("before (temperature 1)", figures.uncalibrated),
        ("after, as shipped", figures.shipped),
    ):
        found = evaluation.summary()
        lines.append(f"| {name} | {found['calibration_error']:.4f} | {found['loss']:.4f} |")
    return "\n".join(lines)


def _coverage(evaluation: Evaluation) -> str:
    lines = ["| least probability | images with a label | of these right |", "|---:|---:|---:|"]
    for point in evaluation.coverage:
        right = "" if point["accuracy"] is None else f"{point['accuracy']:.1%}"
        lines.append(f"| {point['min_probability']:g} | {point['coverage']:.1%} | {right} |")
    return "\n".join(lines)


def _cropping(crops: Cropping) -> str:
    heading, *rows = crops.rows()
    lines = [f"| {' | '.join(heading)} |", "|---|" + "---:|" * (len(heading) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _precisions(reduced: Reduced) -> str:
    from fer_export.report.text import precision_rows

    lines = [f"| | {' | '.join(reduced.bytes)} |", "|---|" + "---:|" * len(reduced.bytes)]
    lines += [f"| {' | '.join(row)} |" for row in precision_rows(reduced)]
    return "\n".join(lines)


def _float_layers(reduced: Reduced) -> str:
    found = reduced.float_layers
    kept = [str(layer) for layer in found.layers if layer.kept] if found else []
    return "; ".join(kept) or "none"


def _confusion(evaluation: Evaluation) -> str:
    lines = [
        "| labelled \\ predicted | " + " | ".join(evaluation.labels) + " |",
        "|---|" + "---:|" * len(evaluation.labels),
    ]
    for label, row in zip(evaluation.labels, evaluation.confusion.tolist(), strict=True):
        lines.append(f"| {label} | " + " | ".join(map(str, row)) + " |")
    return "\n".join(lines)


STORAGE = {
    "fp32": "",
    "fp16-weights": ", its weights stored as fp16 and computed as fp32",
}

CARD_TEMPLATE = """\
# Model card: {name}

One of the models that fer-runtime ships: {about} (`fer-infer --model {name}`).

The architecture `{architecture}` with {arguments}: {size} grey pixels in, seven classes out
({labels}). {parameters} parameters, {multiply_adds} multiply-adds per image,
one ONNX file of {megabytes}{storage}; the same as int8 beside it (`fer-infer --model {name}.int8`).
Written by `fer-bench ship --name {name}`, which measured every figure below.

**The weights are for research and evaluation only.** FER2013 was collected from the web without its
subjects' consent and under unclear terms, so they are not covered by the code's licence.

## Intended use

It names the *apparent* expression of a face in a picture that is cropped to the face, in FER2013's
seven categories. It does not know what a person feels, thinks or intends; the categories are a
convention, and people do not agree on them. Use it to try the runtime, to compare with, to teach
and to evaluate.

Not for decisions about people: not for hiring, work, school, insurance or policing. In the European
Union, inferring emotions at work and in education is prohibited (AI Act, Article 5(1)(f)). Its bias
between groups of people (age, sex, skin colour, culture, glasses, beards, scarves) is
**unmeasured**: FER2013 carries no such labels, and its pictures are not a fair sample of any group.
Faces turned away, covered, or badly lit, and pictures without a face, also get a label and
a probability.

## Data

FER2013 (Goodfellow et al. 2013): trained on the Training split (28,709 images), every choice made
on PublicTest (3,589; the epoch, the recipe and the temperature), PrivateTest not looked at. So the
figures on PublicTest are somewhat too good. 280 of PublicTest's images are also in Training, 7 of
them under another label (`fer-train stats`); the second column omits them. The labels are
noisy: people asked to repeat them agree with 65 ± 5 % (Goodfellow et al. 2013).

## Training

```
{command}
```

That run: {epochs} epochs, {hours} hours on {machine}
({versions}), {created}. The commands that made the checkpoints named here, and what else
was tried, are in train/RESULTS.md of the repository.

## Evaluation on PublicTest

One pass per image, no test-time augmentation; 95 % bootstrap intervals over the images.

{table}

### Calibration

Temperature {temperature}, fitted on PublicTest by least cross-entropy and part of the graph; it
changes probabilities, never labels.

{calibration}

### Images without a label

`fer-infer --min-probability 0.7` gives the label `uncertain` where the most probable label is less
probable. What remains, and how much of it is right:

{coverage}

### Other crops

A face detector crops a face a little differently each time. The same images cropped anew
(`fer-train cropping`: bicubic interpolation, edges repeated beyond the image); the last row draws
size, shift and angle for each image, five times:

{cropping}

### Confusion matrix (images)

{confusion}

## Export

ONNX, uint8 pixels in, logits and probabilities out, normalisation inside. Parity with PyTorch on
{parity_images} inputs, noise and faces: the smallest tolerance that would have passed is {parity}
of the logits' standard deviation (allowed: {allowed}). The result is embedded in the file:
`fer-export inspect` prints it.

int8 is static and per channel, calibrated on at most 512 images of Training (without those that are
in PublicTest too); of three calibration methods, the one with the best macro-F1 on
PublicTest was kept. Layers that are faster in float stayed in float: {float_layers}.
Speed is the session's alone, on one core of this machine ({processor}), alternating:

{precisions}
"""
