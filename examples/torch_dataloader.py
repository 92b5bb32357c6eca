"""Predictions inside a DataLoader's workers: `python examples/torch_dataloader.py *.jpg`.

The classifier goes to each worker as its configuration (path and options), and opens the model
there: with fork, spawn and forkserver.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from fer_runtime import Classifier

PHOTO = Path(__file__).parent.parent / "tests" / "data" / "astronaut_face.jpg"


class WithExpression(Dataset[tuple[str, torch.Tensor]]):
    """Pictures with the probabilities of their labels, as a training of something else needs."""

    def __init__(self, paths: list[str], classifier: Classifier) -> None:
        self.paths, self.classifier = paths, classifier

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[str, torch.Tensor]:
        found = self.classifier.predict(self.paths[index])
        return self.paths[index], torch.tensor(list(found.probabilities.values()))


def main(paths: list[str]) -> None:
    """Print the batches."""
    classifier = Classifier.load("compact_cnn", provider="cpu", threads=1)
    data = WithExpression(paths or [str(PHOTO)] * 8, classifier)
    for names, probabilities in DataLoader(data, batch_size=4, num_workers=2):
        labels = [classifier.spec.labels[place] for place in probabilities.argmax(1)]
        print(dict(zip(names, labels, strict=True)), tuple(probabilities.shape))


if __name__ == "__main__":
    main(sys.argv[1:])
