"""Pictures in, labels out: `python examples/script.py face.jpg other.png`."""

from __future__ import annotations

import sys
from pathlib import Path

from fer_runtime import Classifier

PHOTO = Path(__file__).parent.parent / "tests" / "data" / "astronaut.jpg"


def main(paths: list[str]) -> None:
    """Print the label and its probability of each picture."""
    with Classifier.load("compact_cnn") as classifier:  # or "best.onnx"
        for row in classifier.rows(paths):  # a broken picture is a row with an error
            if row.error is not None:
                print(f"{row.name}: {row.error}", file=sys.stderr)
                continue
            found = row.prediction()
            print(f"{row.name}: {found.label} {found.probability:.0%}")

        # A photograph has faces to be found first.
        for found in classifier.predict_faces(PHOTO):
            assert found.face is not None
            left, top, *_ = found.face.box
            print(f"{PHOTO.name}: a face at {left:.0f}, {top:.0f}: {found.label}")


if __name__ == "__main__":
    main(sys.argv[1:])
