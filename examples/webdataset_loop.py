"""A WebDataset shard: `python examples/webdataset_loop.py shard-000.tar`.

First in a loop of your own (with the package webdataset you would write
`for sample in wds.WebDataset(url)` and take sample["jpg"]), then as one run.
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fer_runtime import Classifier, infer

PHOTO = Path(__file__).parent.parent / "tests" / "data" / "astronaut_face.jpg"


def pictures(shard: Path) -> Iterator[bytes]:
    """The bytes of each picture in a tar file."""
    with tarfile.open(shard) as archive:
        for member in archive:
            stream = archive.extractfile(member)
            if stream is not None and member.name.endswith((".jpg", ".jpeg", ".png")):
                yield stream.read()


def main(shards: list[str]) -> None:
    """Classify a shard twice."""
    with tempfile.TemporaryDirectory() as folder:
        shard = Path(shards[0]) if shards else make_shard(Path(folder))
        for found in Classifier.load("compact_cnn").stream(pictures(shard)):
            print(found.label, f"{found.probability:.0%}")
        # The same as `fer-infer shard.tar -o rows.csv`: names, labels and errors are kept too.
        result = infer(shard, Path(folder) / "rows.csv", model="compact_cnn")
        print(f"{result.rows} rows, {result.errors} with an error")


def make_shard(folder: Path) -> Path:
    """A shard of two samples."""
    shard = folder / "shard-000.tar"
    with tarfile.open(shard, "w") as archive:
        for key in ("0001", "0002"):
            archive.add(PHOTO, f"{key}.jpg")
    return shard


if __name__ == "__main__":
    main(sys.argv[1:])
