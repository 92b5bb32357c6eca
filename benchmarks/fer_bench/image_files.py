"""Sets of image files that benchmarks read: drawn faces in several formats and containers."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from fer_bench import artefacts
from fer_bench.clone import CLONE
from fer_runtime.spec import InputSpec

DIFFERENT = 64
"""Images that are drawn; links to them stand for more."""
PHOTOGRAPH = CLONE / "tests" / "data" / "astronaut.jpg"
GRAIN = 4.0
"""Grey levels of noise, so that files are about as large as those of photographs."""


class ImageFiles:
    """Folders, archives and packs below `folder`, each made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def images(self, side: int, ending: str, count: int) -> Path:
        """A folder of `count` faces of side x side pixels as .jpg or .png."""
        return self._made(f"{side}{ending}-{count}", lambda path: _draw(path, side, ending, count))

    def archive(self, side: int, count: int) -> Path:
        """The JPEGs of `images` in a .tar."""

        def make(path: Path) -> None:
            with tarfile.open(path, "w", dereference=True) as tar:
                tar.add(self.images(side, ".jpg", count), arcname="faces")

        return self._made(f"{side}-{count}.tar", make)

    def packed(self, count: int, spec: InputSpec) -> Path:
        """The JPEGs of 48 pixels as a pack for the input of a model."""
        from fer_runtime import pack

        return self._made(
            f"{count}.ferpack", lambda path: pack([self.images(48, ".jpg", count)], path, spec)
        )

    def photographs(self, count: int) -> Path | None:
        """A folder of photographs of 512 x 512 pixels with one face; None outside a clone."""
        if not PHOTOGRAPH.exists():
            return None

        def make(path: Path) -> None:
            path.mkdir()
            first = path / "0000.jpg"
            first.write_bytes(PHOTOGRAPH.read_bytes())
            _link([first], path, count, ".jpg")

        return self._made(f"photographs-{count}", make)

    def _made(self, name: str, make: Callable[[Path], object]) -> Path:
        path = self.folder / name
        if not path.exists():
            make(path)
        return path


def _draw(folder: Path, side: int, ending: str, count: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    faces = artefacts.faces(min(DIFFERENT, count))[:, 0]
    drawn = []
    for number, face in enumerate(faces):
        large = np.asarray(Image.fromarray(face).resize((side, side), Image.Resampling.BICUBIC))
        noisy = large + rng.normal(scale=GRAIN, size=large.shape)
        path = folder / f"{number:04}{ending}"
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(path)
        drawn.append(path)
    _link(drawn, folder, count, ending)


def _link(drawn: list[Path], folder: Path, count: int, ending: str) -> None:
    for number in range(len(drawn), count):
        os.link(drawn[number % len(drawn)], folder / f"{number:04}{ending}")
