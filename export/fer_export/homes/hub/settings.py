"""config.json and preprocessor_config.json, as transformers.js and Optimum read them."""

from __future__ import annotations

from typing import Any

from fer_runtime.spec import ModelSpec

MODEL_TYPE = "resnet"
"""Loaders choose a class by it, and know only their own types. This one takes `pixel_values` and
returns `logits`; the graph is not a ResNet, and the weights are not to be loaded as one."""


def config(spec: ModelSpec, version: str, dtype: str) -> dict[str, Any]:
    """The content of config.json: labels, and what a loader needs to choose classes and a file.

    `dtype` is transformers.js' name of the precision that it takes unless it is told another.
    """
    labels = dict(enumerate(spec.labels))
    return {
        "_name_or_path": spec.architecture or "classifier",
        "model_type": MODEL_TYPE,
        "architectures": ["ResNetForImageClassification"],
        "problem_type": "single_label_classification",
        "num_channels": 3,
        "id2label": {str(place): label for place, label in labels.items()},
        "label2id": {label: place for place, label in labels.items()},
        "transformers.js_config": {"dtype": dtype},
        "fer_runtime": {
            "version": version,
            "weights_sha256": spec.provenance.weights_sha256,
            "temperature_in_logits": spec.temperature,
            "input": spec.to_dict()["input"],
        },
    }


def preprocessor() -> dict[str, Any]:
    """The content of preprocessor_config.json: pixels from 0 to 1; the graph does the rest."""
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_convert_rgb": True,
        "do_resize": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": False,
    }
