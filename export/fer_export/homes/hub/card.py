"""README.md of a hub folder: the model card, with the figures of the spec and how to load it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from fer_runtime.spec import ModelSpec

_CARD = """---
{front}
---

# {name}

Names the *apparent* expression of a face in a picture that is cropped to the face: {labels}.
Written by `fer-export hub` (fer-runtime {version}).

**A prediction is about a picture.** It is not what a person feels, thinks or intends. Do not use it
to decide about people: not for hiring, work, school, insurance or policing. In the European Union,
inferring emotions at work and in education is prohibited (AI Act, Article 5(1)(f)). {often}

## Use

```js
import {{ pipeline }} from "@huggingface/transformers";
const classify = await pipeline("image-classification", "{name}");
console.log(await classify("face.png"));
```

```python
from optimum.onnxruntime import ORTModelForImageClassification
from transformers import AutoImageProcessor, pipeline

model = ORTModelForImageClassification.from_pretrained("{name}")
processor = AutoImageProcessor.from_pretrained("{name}")
classify = pipeline("image-classification", model=model, image_processor=processor)
print(classify("face.png"))
```

Pictures of any size are taken as they are: grey, resize and normalisation are in the graph, with
the pixels of fer-runtime. Pass pictures of different sizes one by one. Faces are not looked for.
`config.json` says `resnet` because loaders choose a class by it; the graph is `{architecture}`.

## Files

{files}

`pixel_values` (float32, RGB from 0 to 1, any size) become `logits`, which the calibrated
temperature ({temperature:.4g}) divides already: a plain softmax gives the model's probabilities.
`sha256sum -c SHA256SUMS` checks the files, `bom.cdx.json` lists what they were made from.

## Figures

{figures}

Data set: {dataset}. Parity with PyTorch: {parity}.
"""


def card(
    name: str, spec: ModelSpec, version: str, files: Sequence[tuple[str, str]], license_id: str
) -> str:
    """The text of README.md; `files` are (name, what it is)."""
    provenance = spec.provenance
    metrics = [
        (split, metric, value)
        for split, values in provenance.metrics.items()
        for metric, value in values.items()
    ]
    rows = [f"| {metric} | {split} | {value:.4f} |" for split, metric, value in metrics]
    table = "\n".join(["| figure | of | value |", "|---|---|---:|", *rows])
    verdict = spec.parity or {}
    accuracy = next((value for _, metric, value in metrics if metric == "accuracy"), None)
    return _CARD.format(
        front=_front_matter(name, spec, license_id),
        name=name,
        labels=", ".join(spec.labels),
        version=version,
        often=""
        if accuracy is None
        else f"On its own data, {1 - accuracy:.0%} of its labels are wrong.",
        architecture=spec.architecture or "another",
        temperature=spec.temperature,
        files="\n".join(f"- `{file}`: {what}" for file, what in files),
        figures=table if rows else "The spec has none.",
        dataset=provenance.dataset or "unknown",
        parity=(
            f"passed on {verdict.get('images'):,} inputs, smallest tolerance that would have "
            f"passed {verdict.get('smallest_tolerance'):.1e}"
            if verdict.get("passed")
            else "the file has no verdict"
        ),
    )


def _front_matter(name: str, spec: ModelSpec, license_id: str) -> str:
    """The YAML that hubs read; JSON's strings are YAML's too."""
    lines = [
        f"license: {json.dumps(license_id)}",
        "library_name: transformers.js",
        "pipeline_tag: image-classification",
        "tags: [onnx, facial-expression-recognition, fer-runtime]",
    ]
    if spec.provenance.dataset:
        lines.append(f"datasets: [{json.dumps(spec.provenance.dataset)}]")
    found = [
        (split, values[metric], metric)
        for split, values in spec.provenance.metrics.items()
        for metric in ("accuracy", "macro_f1")
        if metric in values
    ]
    if found:
        lines += [
            "model-index:", f"- name: {json.dumps(name)}", "  results:", "  - task:",
            "      type: image-classification", "    dataset:",
            f"      name: {json.dumps(spec.provenance.dataset or 'unknown')}",
            "      type: image-folder", f"      split: {json.dumps(found[0][0])}", "    metrics:",
        ]  # fmt: skip
        for _, value, metric in found:
            kind = "f1" if metric == "macro_f1" else metric
            lines.append(f"    - {{type: {kind}, value: {value:.6f}, name: {metric}}}")
    return "\n".join(lines)
