"""The whole way from a file's bytes to a label through `fer_runtime`, against the graph alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fer_export import parity
from fer_runtime.classifier import Classifier

ROUNDING = 1e-5
"""Of a probability: the runtime may run other batch sizes."""


def failures(artefact: Path, batches: Sequence[parity.Batch], provider: str = "cpu") -> list[str]:
    """Where `Classifier` on a file differs from the graph on that file's pixels.

    `batches` are named after files, with the graph's outputs as `candidate`. The graph was compared
    on pixels that `fer_runtime.images` made, so a difference here comes from decoding, resizing,
    batching or the order of labels.
    """
    if not batches:
        return []
    classifier = Classifier.load(artefact, provider=provider)
    labels = classifier.spec.labels
    changed, worst, count = [], 0.0, 0
    for batch in batches:
        content = [Path(name).read_bytes() for name in batch.names]
        for name, prediction, row in zip(
            batch.names,
            classifier.predict_batch(content),
            batch.candidate["probabilities"],
            strict=True,
        ):
            count += 1
            ours = np.array([prediction.probabilities[label] for label in labels])
            worst = max(worst, float(np.abs(ours - row).max()))
            expected = labels[int(row.argmax())]
            if prediction.label != expected and np.ptp(np.sort(row)[-2:]) > ROUNDING:
                changed.append((name, expected, prediction.label))
    if changed:
        name, expected, said = changed[0]
        return [
            f"from file to label, {len(changed)} of {count} images get another label than the "
            f"graph gives their pixels, the first {name}: {expected} became {said}; decoding, "
            "resizing or the order of labels differs"
        ]
    if worst > ROUNDING:
        return [
            f"from file to probabilities, the runtime differs by {worst:.2g} from the graph on the "
            "same file's pixels; decoding or resizing differs"
        ]
    return []
