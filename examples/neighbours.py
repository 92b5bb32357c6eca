"""Pictures that look alike to the model: `python examples/neighbours.py best.onnx *.jpg`.

The model has its features as an output: `fer-export onnx best.pt --features`. Close features say
that two pictures look alike to a model of expressions; they do not say who is in them.
"""

from __future__ import annotations

import sys

import numpy as np

from fer_runtime import Classifier


def main(model: str, paths: list[str]) -> None:
    """Print the nearest other picture of each, by the cosine of their features."""
    features = Classifier.load(model).features(paths)
    features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    alike = features @ features.T
    np.fill_diagonal(alike, -1)
    for path, row in zip(paths, alike, strict=True):
        print(f"{path}: {paths[int(row.argmax())]} ({row.max():.2f})")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit("usage: python examples/neighbours.py MODEL.onnx PICTURE PICTURE...")
    main(sys.argv[1], sys.argv[2:])
