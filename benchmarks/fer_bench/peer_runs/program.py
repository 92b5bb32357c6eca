"""What runs in a peer's environment: `python program.py PEER PATHS CORE`, on one core.

PATHS is a text file of image paths. Each peer is used through its public API, on the whole crop as
the face, so that no detector is timed. The last line on standard output is JSON: seconds from the
first import to the first label, seconds of all images with the model loaded, and their labels.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

STARTED = time.perf_counter()
ONE = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


def fer_runtime(model: str) -> tuple[Any, Any]:
    """One image after the other, and all at once as `fer-infer` does it."""
    from fer_runtime import Classifier

    classifier = Classifier.load(model, provider="cpu", threads=1)

    def many(paths: list[str]) -> list[str | None]:
        return [row.label for row in classifier.rows(paths)]

    return (lambda path: classifier.predict(path).label), many


def fer() -> tuple[Any, Any]:
    """The package fer; offsets=(0, 0) because the face is the whole image."""
    import cv2
    from fer.fer import FER

    detector = FER(offsets=(0, 0))

    def classify(path: str) -> str:
        image: Any = cv2.imread(path)
        height, width = image.shape[:2]
        found = detector.detect_emotions(image, face_rectangles=[(0, 0, width, height)])
        emotions = found[0]["emotions"]
        return max(emotions, key=emotions.get)

    return classify, None


def facex() -> tuple[Any, Any]:
    """The package facex: its classifier on the crop, without its detector."""
    import cv2
    import facex as package

    names = {"anger": "angry", "sadness": "sad", "surprised": "surprise"}
    classifier = package.PoolManager(pool_size=1).get_classifier()

    def classify(path: str) -> str:
        emotions = classifier.detect_emotion(cv2.imread(path, cv2.IMREAD_GRAYSCALE))
        label = max(emotions, key=emotions.get)
        return names.get(label, label)

    return classify, None


def what_the_face() -> tuple[Any, Any]:
    """The package what-the-face-classification; its own detector always runs first."""
    from PIL import Image
    from what_the_face_classification.inference import Image_classifier

    classifier = Image_classifier()
    return (lambda path: classifier.predict(Image.open(path))[0]), None


def deepface() -> tuple[Any, Any]:
    """DeepFace.analyze without a detector."""
    from deepface import DeepFace

    def classify(path: str) -> str:
        found = DeepFace.analyze(
            path, actions=["emotion"], detector_backend="skip", enforce_detection=False, silent=True
        )
        return found[0]["dominant_emotion"]

    return classify, None


def pytorch_loop(checkpoint: str) -> tuple[Any, Any]:
    """The loop that people write: Pillow, torchvision's transforms, PyTorch, an image at a time."""
    import torch
    from PIL import Image
    from torchvision import transforms

    from fer_train import checkpoint as checkpoints

    torch.set_num_threads(1)
    loaded = checkpoints.load(Path(checkpoint))
    net, spec = loaded.net().eval(), loaded.spec.input
    transform = transforms.Compose(
        [
            transforms.Grayscale(spec.channels),
            transforms.Resize((spec.height, spec.width)),
            transforms.ToTensor(),
            transforms.Normalize(spec.mean, spec.std),
        ]
    )

    def classify(path: str) -> str:
        with torch.inference_mode():
            logits = net(transform(Image.open(path))[None])
        return loaded.spec.labels[int(logits.argmax())]

    return classify, None


OPENERS: dict[str, Any] = {
    "fer-runtime": lambda: fer_runtime("compact_cnn"),
    "fer-runtime, int8": lambda: fer_runtime("compact_cnn.int8"),
    "fer": fer,
    "facex": facex,
    "what-the-face-classification": what_the_face,
    "deepface": deepface,
    "PyTorch loop": lambda: pytorch_loop(sys.argv[4]),
}


def main() -> None:
    """Start, classify, and print."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(sys.argv[3])})
    os.environ.update(dict.fromkeys(ONE, "1"), TF_CPP_MIN_LOG_LEVEL="3")
    with open(sys.argv[2], encoding="utf-8") as stream:
        paths = stream.read().splitlines()
    classify, many = OPENERS[sys.argv[1]]()
    classify(paths[0])
    start = time.perf_counter() - STARTED
    for path in paths[:50]:
        classify(path)
    started = time.perf_counter()
    labels = [classify(path) for path in paths]
    seconds = time.perf_counter() - started
    found = {"start_seconds": start, "seconds": seconds, "labels": labels}
    if many is not None:
        started = time.perf_counter()
        labels = many(paths)
        found |= {"batched_seconds": time.perf_counter() - started, "batched_labels": labels}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
