"""Three moving faces in a video, followed: `fer-bench video FOLDER`.

Makes a video of 1920 x 1080 pixels, 30 frames a second: the astronaut of tests/data and two faces
of a FER2013 folder, each of which becomes another image of its label every few seconds. They move
on smooth paths that come near one another and never cross. `fer-infer --faces --every 0.2s` runs
over all of it and over its first third. Prints the tracks of each face, and how much of the face's
frames the longest one covers; whether rows are in order; seconds of video for each second; and the
peak memory of both, which should be the same. Faces that the detector does not find in a still
picture are not taken, because this is about following them.
"""

from __future__ import annotations

import csv
import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from PIL import Image

from fer_bench import subprocesses
from fer_bench.face_pictures import astronaut, clouds, fer2013_heads, placed
from fer_runtime.errors import FerError
from fer_runtime.faces import FaceDetector
from fer_runtime.images import Pixels
from fer_runtime.machine import usable_threads
from fer_runtime.video.encoding import Encoder

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
WIDTH, HEIGHT, RATE = 1920, 1080, 30
HEAD = 260
"""Height of a head in pixels."""
GRAIN, GRAINS = 3.0, 8
"""Noise of the sensor in grey levels, and how many frames of it take turns."""
LABELS = ("happy", "surprise")
IMAGES = 6
"""Images of each face that take turns."""
SHOWN, FADE = 5.0, 0.5
"""Seconds for which an image is shown, the last ones of them fading into the next."""
SHARE = 0.95
"""Of a face's frames that one track must cover."""

Face = Sequence[Image.Image]
"""One face of the video: RGBA heads of the same size that take turns."""


class Followed(NamedTuple):
    """How well one face was followed: its tracks, and the share of its frames in the longest."""

    tracks: int
    share: float


@app.command()
def compare(
    data: Annotated[Path, typer.Argument(help="FER2013's folder, or one of its splits.")],
    seconds: Annotated[float, typer.Option(help="Length of the video.", min=3)] = 60,
    every: Annotated[str, typer.Option(help="As of fer-infer.")] = "0.2s",
    smooth: Annotated[str | None, typer.Option(help="As of fer-infer.")] = None,
    model: Annotated[str, typer.Option(help="ONNX file or shipped model.")] = "compact_cnn",
    annotate: Annotated[bool, typer.Option(help="Time --annotate too.")] = False,
) -> None:
    """Tracks, order, memory and speed; fails where a face has no track over 95 % of its frames."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        videos = {length: folder / f"{length:g}s.mp4" for length in (seconds / 3, seconds)}
        make(videos, faces_of(data))
        print(f"{WIDTH} x {HEIGHT}, {RATE} frames/s, 3 faces, {usable_threads()} cores")
        options: list[object] = ["--every", every, "--model", model]
        options += ["--smooth", smooth] if smooth else []
        for length, video in videos.items():
            rows = folder / f"{length:g}s.csv"
            show(f"{length:g} s of video", length, infer(video, rows, *options))
        followed = check(rows, seconds)
        if annotate:
            options += ["--annotate", folder / "annotated.mp4"]
            show("the same with --annotate", length, infer(video, folder / "b.csv", *options))
    for number, face in enumerate(followed, 1):
        tracks = "1 track" if face.tracks == 1 else f"{face.tracks} tracks"
        print(f"  face {number}: {tracks}, the longest over {face.share:.1%} of its frames")
    if min(face.share for face in followed) < SHARE:
        raise FerError(f"a face has no track over {SHARE:.0%} of its frames.")


def infer(video: Path, rows: Path, *options: object) -> subprocesses.Ended:
    """`fer-infer --faces` in a process of its own; raises FerError where it fails."""
    ended = subprocesses.run(video, "--faces", "--provider", "cpu", "-o", rows, *options)
    if ended.status:
        raise FerError(f"fer-infer: status {ended.status}\n{ended.stderr.decode()}")
    return ended


def show(what: str, length: float, ended: subprocesses.Ended) -> None:
    """A line with what a run cost."""
    print(
        f"  {what}: {ended.seconds:.1f} s, {length / ended.seconds:.2f} times real time, "
        f"peak {ended.peak_bytes / 1e6:.0f} MB"
    )


def check(rows: Path, seconds: float) -> list[Followed]:
    """How each face was followed, from the CSV of a run.

    Raises:
        FerError: rows are not in order, or have an error.
    """
    tracks: list[list[str]] = [[], [], []]
    frames: list[int] = []
    with open(rows, newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row["error"]:
                raise FerError(f"frame {row['frame']}: {row['error']}")
            frames.append(int(row["frame"]))
            if row["track"]:
                x = (float(row["left"]) + float(row["right"])) / 2
                y = (float(row["top"]) + float(row["bottom"])) / 2
                for found, (left, top) in zip(tracks, places(frames[-1] / RATE), strict=True):
                    if left <= x <= left + HEAD and top <= y <= top + HEAD:
                        found.append(row["track"])
    if frames != sorted(frames) or frames[-1] < (seconds - 2) * RATE:
        raise FerError("rows are not in order, or the last ones are missing.")
    count = len(set(frames))
    longest = [max(Counter(found).values(), default=0) for found in tracks]
    return [
        Followed(len(set(found)), length / count)
        for found, length in zip(tracks, longest, strict=True)
    ]


def places(time: float) -> list[tuple[int, int]]:
    """Left and top of each head at a time in seconds.

    They go round in a ring that becomes narrower and wider and moves from side to side. Middles are
    at least 329 pixels apart, which leaves 69 between two heads.
    """
    radius = 290 + 100 * math.sin(0.9 * time)
    middle = WIDTH / 2 + 350 * math.sin(0.23 * time)
    angles = [0.35 * time + number * 2 * math.pi / 3 for number in range(3)]
    return [
        (
            round(middle + radius * math.cos(angle) - HEAD / 2),
            round(HEIGHT / 2 + radius * math.sin(angle) - HEAD / 2),
        )
        for angle in angles
    ]


def faces_of(data: Path) -> list[Face]:
    """The three faces.

    Raises:
        FerError: the folder has too few images with a face that the detector finds.
    """
    folder = next((f for f in (data, data / "validation") if (f / LABELS[0]).is_dir()), None)
    if folder is None:
        raise FerError(f"{data} has no folder {LABELS[0]}; pass FER2013's folder.")
    detector = FaceDetector.load(provider="cpu", min_score=0.8)
    faces: list[Face] = [[_square(astronaut())]]
    for label in LABELS:
        heads = map(_square, fer2013_heads(folder / label, 10 * IMAGES))
        found = [head for head in heads if len(detector.find(_still(head))) == 1]
        if not found:
            raise FerError(f"{folder / label}: no image with a face that the detector finds.")
        faces.append(found[:IMAGES])
    return faces


def _square(head: Image.Image) -> Image.Image:
    """HEAD x HEAD pixels, the head in the middle."""
    square = Image.new("RGBA", (HEAD, HEAD))
    head = placed(head, HEAD, 0)
    square.paste(head, ((HEAD - head.width) // 2, 0))
    return square


def _still(head: Image.Image) -> Pixels:
    """(H, W, 3) the head on plain grey."""
    canvas = Image.new("RGB", (2 * HEAD, 2 * HEAD), (120, 120, 120))
    canvas.paste(head, (HEAD // 2, HEAD // 2), head)
    return np.asarray(canvas)


def make(videos: dict[float, Path], faces: Sequence[Face]) -> None:
    """Write a video of each length in seconds; the shorter ones are beginnings of the longest."""
    encoders = {
        round(length * RATE): Encoder(str(path), rate=Fraction(RATE))
        for length, path in videos.items()
    }
    for number, pixels in enumerate(frames(max(encoders), faces)):
        for count, encoder in encoders.items():
            if number < count:
                encoder.write(pixels, Fraction(number, RATE))
    for encoder in encoders.values():
        encoder.close()


def frames(count: int, faces: Sequence[Face], seed: int = 0) -> Iterator[Pixels]:
    """(H, W, 3) uint8 RGB frames, one after the other."""
    rng = np.random.default_rng(seed)
    background = clouds(rng, HEIGHT, WIDTH).astype(np.float32)
    grainy = [
        (background + rng.normal(0, GRAIN, (HEIGHT, WIDTH, 1))).clip(0, 255).astype(np.uint8)
        for _ in range(GRAINS)
    ]
    for number in range(count):
        canvas = Image.fromarray(grainy[number % GRAINS])
        for face, place in zip(faces, places(number / RATE), strict=True):
            head = shown(face, number / RATE)
            canvas.paste(head, place, head)
        yield np.asarray(canvas)


def shown(face: Face, time: float) -> Image.Image:
    """What a face looks like at a time."""
    turn, since = divmod(time, SHOWN)
    one, other = (face[(int(turn) + later) % len(face)] for later in (0, 1))
    share = (since - SHOWN + FADE) / FADE
    return one if share <= 0 else Image.blend(one, other, share)
