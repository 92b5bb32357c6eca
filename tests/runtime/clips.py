"""Small videos made on the fly; import this after `pytest.importorskip("av")`."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
MATRICES = {
    "quarter right": ((0, 1), (-1, 0)),
    "quarter left": ((0, -1), (1, 0)),
    "half": ((-1, 0), (0, -1)),
    "mirrored": ((-1, 0), (0, 1)),
}
"""How a video is shown -> rows (a b), (c d) of its matrix: x' = a x + c y, y' = b x + d y."""


def levels(count: int, width: int = 64, height: int = 48) -> list[Pixels]:
    """Grey frames; the level of frame n is 20 + 3 n."""
    return [np.full((height, width, 3), 20 + 3 * n, np.uint8) for n in range(count)]


def number_of(pixels: Pixels) -> int:
    """Which frame of `levels` it is; an error of more than a level would show another one."""
    return round((float(pixels.mean()) - 20) / 3)


def save_clip(
    path: Path,
    frames: Iterable[Pixels],
    *,
    rate: int = 30,
    times: Sequence[float] | None = None,
    codec: str = "libx264",
    form: str | None = None,
    aspect: Fraction | None = None,
    options: dict[str, str] | None = None,
    sound: str | None = None,
) -> Path:
    """Write frames as a video, a key frame every ten; `times` in seconds, where not at the rate."""
    with av.open(str(path), "w", format=form, options=options or {}) as container:
        stream = None
        voice = container.add_stream(sound, rate=8000) if sound else None
        for number, pixels in enumerate(frames):
            if stream is None:
                stream = container.add_stream(codec, rate=rate)
                stream.height, stream.width = pixels.shape[:2]
                stream.pix_fmt, stream.gop_size = "yuv420p", 10
                stream.options = {"crf": "10"} if codec == "libx264" else {}
                stream.codec_context.time_base = Fraction(1, 1000 if times else rate)
                if aspect:
                    stream.codec_context.sample_aspect_ratio = aspect
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.time_base = stream.codec_context.time_base
            frame.pts = round(times[number] * 1000) if times else number
            container.mux(stream.encode(frame))
            if voice is not None:
                container.mux(voice.encode(_silence(8000 // rate, number)))
        for each in filter(None, (stream, voice)):
            container.mux(each.encode())
    return path


def _silence(samples: int, number: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.zeros((1, samples), np.int16), "s16", "mono")
    frame.sample_rate, frame.pts = 8000, number * samples
    return frame


def turn(path: Path, how: str) -> Path:
    """Write into an MP4's track header how it is to be shown (ISO/IEC 14496-12, `tkhd`)."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40  # version 0: 40 bytes are before the matrix
    (a, b), (c, d) = MATRICES[how]
    one = 1 << 16
    content[start : start + 36] = struct.pack(
        ">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30
    )
    path.write_bytes(content)
    return path
