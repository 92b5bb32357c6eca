"""What accuracy each way to cut out a face keeps: `fer-bench face-crops DATA [MODEL]`.

DATA is a folder of labelled crops, one folder per label, as FER2013's `validation`. Each crop is
enlarged and put on a background of its own; the faces are detected there, cut out by each rule, and
classified. The bare crops of the same faces are the baseline: all columns are about the same faces.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import typer

from fer_bench import environment
from fer_bench.face_pictures import BACKGROUNDS
from fer_runtime import images, labelled
from fer_runtime.errors import DataError
from fer_runtime.face_crop import FaceCrop
from fer_runtime.faces import Face, FaceDetector, crops
from fer_runtime.images import cutting
from fer_runtime.images.cutting import Square
from fer_runtime.images.fitting import fit
from fer_runtime.images.loading import as_channels
from fer_runtime.session import Session
from fer_runtime.shipped import find_model
from fer_runtime.spec import InputSpec
from fer_runtime.stages.faces import enlarged

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Pixels = npt.NDArray[np.uint8]
Rule = Callable[[Pixels, Face, InputSpec], Pixels]
BATCH = 256
FACE_CROPS = (
    *(
        "level:0.9",
        "level:0.92",
        "level:0.95",
        "level:1",
        "level:1.05",
        "box:0.95",
        "box:1",
        "box:1.2",
    ),
    *("eyes:2.6:0.05", "eyes:2.9:0.05"),
)
"""The rules of `FaceCrop` that are compared by default."""


@dataclass(frozen=True)
class Setting:
    """How the pictures are made.

    Attributes:
        enlarge: the crop's side in the picture, as a multiple of its own.
        turn: degrees; each face is turned by up to so much, to either side.
        width: of the picture in pixels; 0 is 1.4 to 2.6 times the enlarged crop.
        detect_size: long side of the picture that the detector sees; 0 is the picture's own.
        seed: of backgrounds, places and angles.
    """

    enlarge: float = 4.0
    turn: float = 0.0
    width: int = 0
    detect_size: int = 0
    seed: int = 0


class Found(NamedTuple):
    """A face that was detected: which one, where, and where the enlarged crop really is."""

    place: int
    face: Face
    crop: Square


@app.command()
def compare(
    data: Annotated[Path, typer.Argument(help="Folder with one subfolder of crops per label.")],
    model: Annotated[str, typer.Argument(help="A shipped model, or an ONNX file.")] = "compact_cnn",
    enlarge: Annotated[list[float], typer.Option(help="Times; may be repeated.")] = [4.0],  # noqa: B006
    turn: Annotated[float, typer.Option(help="Degrees, to either side.", min=0)] = 0.0,
    width: Annotated[int, typer.Option(help="Of the pictures; default: a few faces.", min=0)] = 0,
    detect_size: Annotated[int, typer.Option(help="Long side to detect at.", min=0)] = 0,
    face_crop: Annotated[
        list[str] | None, typer.Option(help="A rule to compare, as eyes:2.9:0.05; repeatable.")
    ] = None,
    min_score: Annotated[float, typer.Option(help="Of a face.", min=0, max=1)] = 0.6,
    seed: Annotated[int, typer.Option(help="Of backgrounds, places and angles.")] = 0,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON file.")] = None,
) -> None:
    """Print the share of faces found, and the accuracy by rule beside the bare crops'."""
    rules = {text: _by_spec(FaceCrop.parse(text)) for text in face_crop or FACE_CROPS}
    session = Session.open(find_model(model), provider="cpu")
    detector = FaceDetector.load(provider="cpu", min_score=min_score)
    runs = []
    for times in enlarge:
        setting = Setting(times, turn, width, detect_size, seed)
        runs.append(measure(data, session, detector, setting, rules))
        print(_table(runs[-1]), flush=True)
    if output:
        found = {"min_score": min_score, "runs": runs, "machine": environment.machine()}
        output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def measure(
    data: Path, session: Session, detector: FaceDetector, setting: Setting, rules: dict[str, Rule]
) -> dict[str, Any]:
    """The figures of one setting in plain values; raises DataError where no face is found."""
    known = labelled.read(data, session.spec.labels)
    spec = session.spec.input
    found = list(_detected(known.paths, detector, setting))
    if not found:
        raise DataError(f"{data}: no face was found in {len(known.paths):,} pictures.")
    rules = {
        "box, stretched": _stretched_box,
        **rules,
        "five points": _five_points(mean_landmarks(found)),
    }
    cut: dict[str, list[Pixels]] = {name: [] for name in rules}
    for index, face, _ in found:
        picture, _ = make_picture(known.paths[index], setting, index)
        for name, rule in rules.items():
            cut[name].append(rule(picture, face, spec))
    places = [index for index, _, _ in found]
    targets = known.targets[places]
    bare = _outcome(session, [images.load(known.paths[index], spec) for index in places], targets)
    return {
        **asdict(setting),
        "faces": len(known.paths),
        "found": len(found),
        "bare": bare,
        "rules": {name: _outcome(session, pixels, targets) for name, pixels in cut.items()},
    }


def make_picture(path: str, setting: Setting, index: int) -> tuple[Pixels, Square]:
    """(H, W, 3): a crop on a background, and where it is; the same for the same index and seed."""
    from PIL import Image

    rng = np.random.default_rng([setting.seed, index])
    with Image.open(path) as opened:
        crop = opened.convert("RGB")
    side = setting.enlarge * max(crop.size)
    turned = math.radians(rng.uniform(-setting.turn, setting.turn))
    around = side * (abs(math.cos(turned)) + abs(math.sin(turned)))
    times = rng.uniform(1.4, 2.6)
    width = max(setting.width or round(times * around), math.ceil(around))
    height = max(round(width * rng.uniform(0.6, 1.0)), math.ceil(around))
    x, y = (
        round(rng.uniform(around / 2, size - around / 2)) if turned == 0 else
        rng.uniform(around / 2, size - around / 2)
        for size in (width, height)
    )  # fmt: skip
    square = Square(x, y, side, turned)
    draw = list(BACKGROUNDS.values())[int(rng.integers(len(BACKGROUNDS)))]
    picture = Image.fromarray(draw(rng, height, width))
    pasted, mask = _placed(crop, square, (width, height))
    picture.paste(pasted, (0, 0), mask)
    return np.asarray(picture), square


def _placed(crop: Any, square: Square, size: tuple[int, int]) -> tuple[Any, Any]:
    """The crop enlarged to a square of a picture of (width, height), and the mask of it."""
    from PIL import Image

    step = max(crop.size) / square.side
    cos, sin = step * math.cos(square.angle), step * math.sin(square.angle)
    across, down = crop.size[0] / 2, crop.size[1] / 2
    matrix = (
        cos, sin, across - cos * square.x - sin * square.y,
        -sin, cos, down + sin * square.x - cos * square.y,
    )  # fmt: skip
    # A border of the crop's own edge: interpolation at the edge would read black beyond it.
    padded = Image.fromarray(np.pad(np.asarray(crop), ((2, 2), (2, 2), (0, 0)), mode="edge"))
    shifted = (matrix[0], matrix[1], matrix[2] + 2, matrix[3], matrix[4], matrix[5] + 2)
    affine = Image.Transform.AFFINE
    pasted = padded.transform(size, affine, shifted, resample=Image.Resampling.BICUBIC)
    mask = Image.new("L", crop.size, 255).transform(size, affine, matrix)
    return pasted, mask


def _detected(paths: Sequence[str], detector: FaceDetector, setting: Setting) -> Iterator[Found]:
    """The largest face of each picture whose middle is inside of the crop that was put there."""
    for index, path in enumerate(paths):
        picture, square = make_picture(path, setting, index)
        faces = [
            face
            for face in _find(picture, detector, setting.detect_size)
            if math.dist(_middle(face), (square.x, square.y)) < square.side / 2
        ]
        if faces:
            yield Found(index, max(faces, key=lambda face: face.box[2] - face.box[0]), square)


def _find(picture: Pixels, detector: FaceDetector, detect_size: int) -> tuple[Face, ...]:
    """The faces, in pixels of the picture, that are found when its long side is `detect_size`."""
    from PIL import Image

    height, width = picture.shape[:2]
    scale = detect_size / max(height, width) if detect_size else 1.0
    if scale >= 1:
        return detector.find(picture)
    size = round(width * scale), round(height * scale)
    small = Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR)
    return tuple(enlarged(face, 1 / scale) for face in detector.find(np.asarray(small)))


def mean_landmarks(found: Sequence[Found]) -> npt.NDArray[np.complex128]:
    """(5,) x + iy: where the landmarks are in the crops, whose middle is 0 and whose side is 1."""
    relative = [
        (_complex(face) - complex(crop.x, crop.y)) / (crop.side * np.exp(1j * crop.angle))
        for _, face, crop in found
    ]
    mean: npt.NDArray[np.complex128] = np.mean(relative, axis=0)
    return mean


def _by_spec(rule: FaceCrop) -> Rule:
    return lambda pixels, face, spec: crops.crop(pixels, face, replace(spec, face_crop=rule))


def _stretched_box(pixels: Pixels, face: Face, spec: InputSpec) -> Pixels:
    """The detector's box as it is, without regard to its aspect ratio."""
    height, width = pixels.shape[:2]
    left, top, right, bottom = (round(value) for value in face.box)
    part = pixels[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    return fit(as_channels(part, spec.channels), spec)


def _five_points(mean: npt.NDArray[np.complex128]) -> Rule:
    """The square that takes the mean landmarks nearest to a face's: a similarity, least squares."""

    def rule(pixels: Pixels, face: Face, spec: InputSpec) -> Pixels:
        points = _complex(face)
        flat, centred = mean - mean.mean(), points - points.mean()
        factor = np.vdot(flat, centred) / np.vdot(flat, flat)
        centre = points.mean() - factor * mean.mean()
        square = Square(centre.real, centre.imag, abs(factor), float(np.angle(factor)))
        return cutting.cut(pixels, square, spec)

    return rule


def _complex(face: Face) -> npt.NDArray[np.complex128]:
    """(5,) landmarks as x + iy from the picture's corner, half a pixel before the first middle."""
    return np.array([complex(x + 0.5, y + 0.5) for x, y in face.landmarks])


def _middle(face: Face) -> tuple[float, float]:
    left, top, right, bottom = face.box
    return (left + right) / 2, (top + bottom) / 2


def _outcome(session: Session, pixels: list[Pixels], targets: Any) -> dict[str, float]:
    """Accuracy, and the mean cross-entropy, which has less noise."""
    probabilities = np.concatenate(
        [
            session.run(np.stack(pixels[start : start + BATCH])).probabilities
            for start in range(0, len(pixels), BATCH)
        ]
    )
    right = probabilities[np.arange(len(targets)), targets]
    return {
        "accuracy": float((probabilities.argmax(1) == targets).mean()),
        "cross_entropy": float(-np.log(right.clip(1e-9)).mean()),
    }


def _table(run: dict[str, Any]) -> str:
    """One setting: the share of faces found, then a line for each rule."""
    bare = run["bare"]
    lines = [
        f"enlarged {run['enlarge']:g} times, turned by up to {run['turn']:g} degrees, detected at "
        f"{run['detect_size'] or 'full size'}: {run['found']:,} of {run['faces']:,} faces found "
        f"({run['found'] / run['faces']:.3f})",
        f"  {'rule':<18}{'accuracy':>10}{'points':>9}{'cross-entropy':>15}",
        f"  {'bare crops':<18}{bare['accuracy']:>10.4f}{'':>9}{bare['cross_entropy']:>15.4f}",
    ]
    for name, found in run["rules"].items():
        points = 100 * (found["accuracy"] - bare["accuracy"])
        lines.append(
            f"  {name:<18}{found['accuracy']:>10.4f}{points:>+9.2f}{found['cross_entropy']:>15.4f}"
        )
    return "\n".join(lines)
