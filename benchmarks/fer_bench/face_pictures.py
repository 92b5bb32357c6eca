"""Pictures with faces, made with a seed: what the face benchmarks and their tests run on.

Heads (the astronaut of tests/data, and faces of a FER2013 folder where there is one) are resized,
turned and pasted on drawn backgrounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from fer_runtime.errors import DataError
from fer_runtime.images import Pixels
from fer_runtime.sources import Files

ASTRONAUT = Path(__file__).parents[2] / "tests" / "data" / "astronaut.jpg"
HEAD = (138, 8, 308, 228)
"""The part of it that is her head: left, top, right, bottom."""
ENLARGED = 4
"""Faces of FER2013 are 48 pixels wide, and enlarged so many times."""
SKIN = np.array([[38, 24, 20], [255, 222, 198]], np.float32)
"""RGB that black and white of a grey face become."""


def astronaut() -> Image.Image:
    """Her head, RGBA, cut out with a soft edge.

    Raises:
        DataError: outside a checkout of the repository, where the picture is not installed.
    """
    if not ASTRONAUT.is_file():
        raise DataError(f"{ASTRONAUT} is missing; run this in a checkout of the repository.")
    with Image.open(ASTRONAUT) as image:
        return cut_out(image.convert("RGB").crop(HEAD))


def fer2013_heads(folder: Path, count: int, seed: int = 0) -> list[Image.Image]:
    """`count` images of a folder, enlarged and a little coloured, RGBA with a soft edge.

    Raises:
        DataError: the folder contains no images.
    """
    paths = sorted(item.path for item in Files([folder]))
    if not paths:
        raise DataError(f"{folder} contains no images.")
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(paths), min(count, len(paths)), replace=False)
    return [cut_out(_coloured(Path(paths[index]), rng), ellipse=False) for index in chosen]


def _coloured(path: Path, rng: np.random.Generator) -> Image.Image:
    with Image.open(path) as image:
        size = (image.width * ENLARGED, image.height * ENLARGED)
        grey = np.asarray(image.convert("L").resize(size, Image.Resampling.BICUBIC), np.float32)
    dark, light = SKIN * rng.uniform(0.85, 1, (2, 3))
    pixels = dark + (light - dark) * (grey[:, :, None] / 255)
    return Image.fromarray(pixels.astype(np.uint8))


def cut_out(image: Image.Image, *, ellipse: bool = True) -> Image.Image:
    """RGB -> RGBA that fades out towards its edges, along an ellipse or a rectangle."""
    width, height = image.size
    mask = Image.new("L", image.size, 0)
    edge = min(image.size) // 12
    draw = ImageDraw.Draw(mask)
    shape = draw.ellipse if ellipse else draw.rectangle
    shape((edge, edge, width - edge, height - edge), fill=255)
    image = image.copy()
    image.putalpha(mask.filter(ImageFilter.GaussianBlur(edge / 2)))
    return image


def pictures(
    count: int,
    heads: Sequence[Image.Image],
    *,
    seed: int = 0,
    sides: tuple[int, int] = (40, 700),
    faces: tuple[int, int] = (0, 5),
    heights: tuple[int, int] = (14, 330),
) -> Iterator[Pixels]:
    """(H, W, 3) uint8 RGB pictures.

    Args:
        count: how many.
        heads: RGBA; each face is one of them.
        seed: the same seed makes the same pictures.
        sides: least and largest width and height.
        faces: least and largest number of faces pasted.
        heights: least and largest height of a head; small ones are as frequent as large ones.
    """
    rng = np.random.default_rng(seed)
    names = list(BACKGROUNDS)
    for index in range(count):
        height, width = rng.integers(sides[0], sides[1] + 1, 2)
        canvas = Image.fromarray(BACKGROUNDS[names[index % len(names)]](rng, height, width))
        for _ in range(rng.integers(faces[0], faces[1] + 1)):
            size = math.exp(rng.uniform(*np.log(heights)))
            angle = rng.normal(0, 20) if rng.random() < 0.85 else rng.uniform(-180, 180)
            head = placed(heads[int(rng.integers(len(heads)))], size, angle)
            # Some reach beyond the picture.
            left = int(rng.integers(-head.width // 3, max(1, width - head.width * 2 // 3)))
            top = int(rng.integers(-head.height // 3, max(1, height - head.height * 2 // 3)))
            canvas.paste(head, (left, top), head)
        yield np.asarray(canvas)


def placed(head: Image.Image, height: float, angle: float) -> Image.Image:
    """A head of that height in pixels, turned by `angle` degrees."""
    scale = height / head.height
    size = (max(1, round(head.width * scale)), max(1, round(height)))
    small = head.resize(size, Image.Resampling.BICUBIC)
    return small.rotate(angle, Image.Resampling.BICUBIC, expand=True)


def gradient(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """(H, W, 3): from one colour at the left top to others in the corners."""
    corners = rng.uniform(0, 255, (2, 2, 3))
    y, x = np.linspace(0, 1, height)[:, None, None], np.linspace(0, 1, width)[None, :, None]
    top, bottom = (corners[row, 0] * (1 - x) + corners[row, 1] * x for row in (0, 1))
    mixed: Pixels = (top * (1 - y) + bottom * y).astype(np.uint8)
    return mixed


def clouds(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """(H, W, 3): octaves of noise whose amplitude falls with their frequency, as in photographs."""
    picture = np.full((height, width, 3), rng.uniform(70, 180), np.float32)
    for octave in range(1, 9):
        cells = rng.normal(0, 150 * 2 ** (-0.8 * octave), (2**octave, 2**octave, 3))
        layers = [
            Image.fromarray(layer).resize((width, height), Image.Resampling.BICUBIC)
            for layer in cells.astype(np.float32).transpose(2, 0, 1)
        ]
        picture += np.stack([np.asarray(layer) for layer in layers], 2)
    return picture.clip(0, 255).astype(np.uint8)


def grain(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """(H, W, 3): a plain colour with a sensor's noise, weak or strong."""
    colour = rng.uniform(30, 220, 3)
    noisy = colour + rng.normal(0, rng.uniform(2, 60), (height, width, 3))
    return noisy.clip(0, 255).astype(np.uint8)


def stripes(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """(H, W, 3): two colours in waves of some direction and width."""
    y, x = np.mgrid[:height, :width]
    angle, period = rng.uniform(0, math.pi), rng.uniform(4, 80)
    waves = np.sin((x * math.cos(angle) + y * math.sin(angle)) * 2 * math.pi / period)
    one, other = rng.uniform(0, 255, (2, 3))
    share = (waves[:, :, None] + 1) / 2
    mixed: Pixels = (one * share + other * (1 - share)).astype(np.uint8)
    return mixed


def shapes(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """(H, W, 3): ellipses and rectangles of any colour."""
    canvas = Image.fromarray(gradient(rng, height, width))
    draw = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(5, 40)):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        across, down = rng.integers(2, 160, 2).tolist()
        colour = tuple(map(int, rng.integers(0, 256, 3)))
        shape = draw.ellipse if rng.random() < 0.6 else draw.rectangle
        shape((x, y, x + across, y + down), fill=colour)
    return np.asarray(canvas)


BACKGROUNDS: dict[str, Callable[[np.random.Generator, int, int], npt.NDArray[np.uint8]]] = {
    "gradient": gradient,
    "clouds": clouds,
    "grain": grain,
    "stripes": stripes,
    "shapes": shapes,
}
"""Name -> function (random generator, height, width) -> (H, W, 3) uint8."""
