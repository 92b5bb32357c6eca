"""Group photographs against a plain loop of OpenCV: `fer-bench face-photos FOLDER`.

Makes JPEGs of 12 megapixels with 1 to 8 faces of 120 pixels and more (of a FER2013 folder, and the
astronaut of tests/data) on backgrounds with the spectrum of photographs, and classifies every face:
by `fer_runtime.infer(..., faces=True)`, and by the loop that tutorials have (`cv2.imread`,
`cv2.FaceDetectorYN` at full size, a crop by the box, one `session.run` a face). Prints
photographs/s in turns, the ratio, and how many of the faces each found. Needs
opencv-python-headless 5 (extra `dev`).
"""

from __future__ import annotations

import csv
import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from PIL import Image

from fer_bench import timing
from fer_bench.face_pictures import astronaut, clouds, fer2013_heads, placed
from fer_runtime import infer
from fer_runtime.faces.decoding import MOST, OVERLAP
from fer_runtime.faces.detector import SHIPPED as DETECTOR
from fer_runtime.faces.options import DETECT_SIZE, MIN_SCORE, FaceOptions
from fer_runtime.images import Pixels
from fer_runtime.machine import usable_threads
from fer_runtime.session import Session
from fer_runtime.shipped import find_model

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
WIDTH, HEIGHT = 4000, 3000
COARSE = 4
"""The background is made so many times smaller and enlarged; the grain is not."""
GRAIN = 5.0
"""Grey levels; makes files as large as a telephone's, and so the decoder's work."""
FACES = (1, 8)
HEADS = (170, 700)
"""Least and largest height of a head, so that a face's box has 120 pixels and more."""
TRUTH = "truth.json"
OURS, LOOP = "fer_runtime.infer with faces", "plain loop of cv2 and onnxruntime"

Box = Sequence[float]
Boxes = Mapping[str, Sequence[Box]]
"""A photograph's name -> left, top, right, bottom of each face."""


class Found(NamedTuple):
    """Which of the faces that were pasted a way found."""

    faces: int
    others: int
    """Boxes that are on none of them."""


@app.command()
def compare(
    data: Annotated[Path, typer.Argument(help="Folder of face images, such as FER2013's.")],
    count: Annotated[int, typer.Option(help="Photographs to make.", min=1)] = 200,
    repeats: Annotated[int, typer.Option(help="Rounds of both.", min=1)] = 3,
    model: Annotated[str, typer.Option(help="ONNX file or shipped model.")] = "compact_cnn",
    detect_size: Annotated[
        int, typer.Option(help="As of fer-infer: the longer side that faces are looked for in.")
    ] = DETECT_SIZE,
    folder: Annotated[
        Path | None, typer.Option(help="Keep the photographs there, and use what is there.")
    ] = None,
) -> None:
    """Photographs/s of both, the median of the rounds' ratios, and the faces found by each."""
    with tempfile.TemporaryDirectory() as temporary:
        photos = folder or Path(temporary)
        if not (photos / TRUTH).is_file():
            heads = [*fer2013_heads(data, 4 * count), *[astronaut()] * count]
            make(photos, heads, count)
        found = measure(photos, model, FaceOptions(detect_size), repeats)
    size = f"{found['megabytes']:.1f} MB each, {found['faces']} faces"
    print(f"{found['photographs']} JPEGs of {WIDTH} x {HEIGHT}, {size}, {usable_threads()} cores")
    for way in (OURS, LOOP):
        one = found["found"][way]
        share = one.faces / found["faces"]
        print(
            f"  {way:<36}{found['photographs_per_second'][way]:8.2f} photographs/s, "
            f"{one.faces} faces found ({share:.3f}), {one.others} other boxes"
        )
    print(f"  ratio {found['ratio']:.2f}; faces found, ours / loop's {found['found_ratio']:.4f}")


def measure(photos: Path, model: str, options: FaceOptions, repeats: int) -> dict[str, Any]:
    """Photographs/s of both, the median of the rounds' ratios, and what each found."""
    truth: Boxes = json.loads((photos / TRUTH).read_text(encoding="utf-8"))
    paths = [photos / name for name in truth]
    with tempfile.TemporaryDirectory() as folder:
        outputs = {OURS: Path(folder) / "ours.csv", LOOP: Path(folder) / "loop.csv"}
        rounds = timing.alternate(
            {
                OURS: lambda: infer(
                    photos, outputs[OURS], model=model, provider="cpu", faces=options,
                    overwrite=True,
                ),
                LOOP: lambda: plain_loop(paths, model, outputs[LOOP]),
            },
            repeats,
        )  # fmt: skip
        found = {way: evaluate(boxes_in(output), truth) for way, output in outputs.items()}
    return {
        "photographs": len(paths),
        "faces": sum(map(len, truth.values())),
        "megabytes": sum(map(os.path.getsize, paths)) / len(paths) / 1e6,
        "photographs_per_second": {
            way: len(paths) / seconds for way, seconds in timing.medians(rounds).items()
        },
        "ratio": timing.median_ratio(rounds[LOOP], rounds[OURS]),
        "found": found,
        "found_ratio": found[OURS].faces / max(1, found[LOOP].faces),
    }


def plain_loop(paths: Sequence[Path], model: str, output: Path) -> None:
    """A row a face: what tutorials write."""
    import cv2
    import onnxruntime

    limits = (MIN_SCORE, float(OVERLAP), MOST)
    detector = cv2.FaceDetectorYN.create(str(DETECTOR), "", (WIDTH, HEIGHT), *limits)
    file = find_model(model)
    spec = Session.open(file, provider="cpu", threads=1).spec
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    size = (spec.input.width, spec.input.height)
    with open(output, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "left", "top", "right", "bottom", "label", "probability"])
        for path in paths:
            image: Any = cv2.imread(str(path))
            detector.setInputSize((image.shape[1], image.shape[0]))
            _, faces = detector.detect(image)
            boxes = [] if faces is None else faces[:, :4].tolist()
            for left, top, width, height in boxes:
                rows = slice(max(0, int(top)), int(top + height))
                columns = slice(max(0, int(left)), int(left + width))
                grey = cv2.cvtColor(image[rows, columns], cv2.COLOR_BGR2GRAY)
                pixels = cv2.resize(grey, size)[None, None]
                probabilities = session.run(["probabilities"], {spec.input.name: pixels})[0][0]
                best = int(probabilities.argmax())
                box = (left, top, left + width, top + height)
                writer.writerow([path, *box, spec.labels[best], probabilities[best]])


def boxes_in(output: Path) -> Boxes:
    """The boxes of a CSV file of either way."""
    found: dict[str, list[Box]] = {}
    with open(output, newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row["left"]:
                box = [float(row[side]) for side in ("left", "top", "right", "bottom")]
                found.setdefault(Path(row["path"]).name, []).append(box)
    return found


def evaluate(found: Boxes, truth: Boxes) -> Found:
    """A face is found where a box has its middle on the head, and the head's on the box."""
    faces = others = 0
    for name, heads in truth.items():
        free = list(found.get(name, ()))
        for head in heads:
            hit = next((b for b in free if _on(_middle(b), head) and _on(_middle(head), b)), None)
            if hit is not None:
                free.remove(hit)
                faces += 1
        others += len(free)
    return Found(faces, others)


def _middle(box: Box) -> tuple[float, float]:
    left, top, right, bottom = box
    return (left + right) / 2, (top + bottom) / 2


def _on(point: tuple[float, float], box: Box) -> bool:
    left, top, right, bottom = box
    return left <= point[0] <= right and top <= point[1] <= bottom


def make(
    folder: Path,
    heads: Sequence[Image.Image],
    count: int,
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> None:
    """`count` JPEGs of `size` (width, height), and the heads' boxes in truth.json."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{index:03}.jpg" for index in range(count)]

    def one(index: int) -> list[Box]:
        pixels, boxes = photograph(np.random.default_rng(index), heads, size)
        Image.fromarray(pixels).save(folder / names[index], quality=90)
        return boxes

    with ThreadPoolExecutor(usable_threads()) as pool:
        truth = dict(zip(names, pool.map(one, range(count)), strict=True))
    (folder / TRUTH).write_text(json.dumps(truth), encoding="utf-8")


def photograph(
    rng: np.random.Generator, heads: Sequence[Image.Image], size: tuple[int, int]
) -> tuple[Pixels, list[Box]]:
    """(H, W, 3) uint8 RGB, and the box of each head; no two heads overlap."""
    width, height = size
    coarse = clouds(rng, -(-height // COARSE), -(-width // COARSE))
    canvas = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    boxes: list[Box] = []
    for _ in range(rng.integers(FACES[0], FACES[1] + 1)):
        tall = math.exp(rng.uniform(*np.log(HEADS)))
        head = placed(heads[int(rng.integers(len(heads)))], tall, rng.normal(0, 10))
        for _ in range(100):
            left = int(rng.integers(0, width - head.width))
            top = int(rng.integers(0, height - head.height))
            box = (left, top, left + head.width, top + head.height)
            if not any(_overlap(box, other) for other in boxes):
                canvas.paste(head, (left, top), head)
                boxes.append(box)
                break
    return _grainy(np.array(canvas), rng), boxes


def _grainy(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """The same with a sensor's noise, one row of it moved along for each row of the picture."""
    height, width = pixels.shape[:2]
    noise = rng.normal(0, GRAIN, 4 * width).round().astype(np.int16)
    for row, start in enumerate(rng.integers(0, 3 * width, height)):
        noisy = pixels[row] + noise[start : start + width, None]
        pixels[row] = noisy.clip(0, 255)
    return pixels


def _overlap(one: Box, other: Box) -> bool:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return across > 0 and down > 0
