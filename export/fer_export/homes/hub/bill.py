"""A bill of materials in CycloneDX 1.6: the model, its data set, and what it was made with.

https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from fer_runtime.spec import ModelSpec

SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"


def bill(name: str, spec: ModelSpec, version: str, sha256: Mapping[str, str]) -> dict[str, Any]:
    """The bill as plain values; equal for equal files.

    Args:
        name: of the model.
        spec: its spec.
        version: of fer-runtime, which wrote the folder.
        sha256: hash of each file of the folder.
    """
    provenance = spec.provenance
    identity = " ".join([name, *sorted(sha256.values())])
    found: dict[str, Any] = {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, identity)}",
        "version": 1,
        "metadata": {
            "tools": {
                "components": [{"type": "application", "name": "fer-runtime", "version": version}]
            },
            "component": {
                "type": "machine-learning-model",
                "bom-ref": "model",
                "name": name,
                "modelCard": _card(spec),
                "components": [_file(*each) for each in sorted(sha256.items())],
            },
        },
        "components": [
            {"type": "library", "bom-ref": f"made-with-{library}", "name": library,
             "version": str(used)}
            for library, used in sorted(provenance.versions.items())
        ],
    }  # fmt: skip
    if provenance.dataset:
        found["components"].append(_dataset(provenance.dataset, provenance.dataset_sha256))
    depends = [component["bom-ref"] for component in found["components"]]
    found["dependencies"] = [{"ref": "model", "dependsOn": depends}]
    return found


def _card(spec: ModelSpec) -> dict[str, Any]:
    metrics = [
        {"type": metric, "value": f"{value:.6g}", "slice": split}
        for split, values in spec.provenance.metrics.items()
        for metric, value in values.items()
    ]
    card: dict[str, Any] = {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": "image classification",
            "modelArchitecture": spec.architecture or "unknown",
            "inputs": [{"format": "picture of one face"}],
            "outputs": [{"format": ", ".join(spec.labels)}],
        },
        "considerations": {
            "useCases": ["naming the apparent expression of a face in a picture"],
            "technicalLimitations": [
                "A prediction is about a picture, not about what a person feels, thinks or intends."
            ],
            "ethicalConsiderations": [
                {
                    "name": "Decisions about people",
                    "mitigationStrategy": "Do not use it for hiring, work, school or policing.",
                }
            ],
        },
    }
    if metrics:
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    return card


def _file(name: str, sha256: str) -> dict[str, Any]:
    hashes = [{"alg": "SHA-256", "content": sha256}]
    return {"type": "file", "bom-ref": f"file-{name}", "name": name, "hashes": hashes}


def _dataset(name: str, sha256: str | None) -> dict[str, Any]:
    """A data set; its hash is over the names and contents of its images."""
    found: dict[str, Any] = {
        "type": "data", "bom-ref": "dataset", "name": name, "data": [{"type": "dataset"}],
    }  # fmt: skip
    if sha256:
        found["properties"] = [{"name": "fer-runtime:dataset-sha256", "value": sha256}]
    return found
