"""A video file that is written frame by frame, and appears under its name when it is complete."""

from __future__ import annotations

import contextlib
import io
import os
from fractions import Fraction
from typing import Any

from fer_runtime.errors import DataError
from fer_runtime.images import Pixels
from fer_runtime.video.decoding import pyav

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""Ending -> FFmpeg's name of the format."""
CODECS = ("libx264", "libopenh264", "mpeg4")
"""The first one that this PyAV has is taken."""
TICKS = 60_000
"""Parts of a second that frames' times are written in; MPEG-4's limit is 65,535."""


def require_video_name(output: str) -> str:
    """The format of a file to write; raises DataError for an unknown ending."""
    ending = os.path.splitext(output)[1].lower()
    if ending not in FORMATS:
        raise DataError(
            f"{output} is not the name of a video that can be written; its ending must be one of "
            f"{', '.join(FORMATS)}."
        )
    return FORMATS[ending]


class Encoder:
    """Writes frames to `output`.partial, and renames it when it is closed.

    Not for several threads at once.

    Args:
        output: FILE.mp4, .m4v, .mov or .mkv.
        rate: about how many frames there are per second; each has its own time.
        sound: a stream whose packets are copied, or None.

    Raises:
        DataError: the file cannot be written, its ending is unknown, or PyAV is missing.
    """

    def __init__(self, output: str, *, rate: Fraction, sound: Any = None) -> None:
        self.output = output
        self.partial = f"{output}.partial"
        self._av = pyav(output)
        form = require_video_name(output)
        try:
            open(self.partial, "wb").close()  # FFmpeg opens it with the first frame only
            self._container = self._av.open(self.partial, "w", format=form)
        except (self._av.FFmpegError, OSError) as error:
            raise self._explained(error) from None
        self._stream: Any = None
        self._rate = rate
        self._sound = self._copy_of(sound)
        self._waiting: list[Any] = []

    def write(self, pixels: Pixels, time: Fraction) -> None:
        """Append (H, W, 3) RGB pixels, shown at `time` in seconds; each later than the last.

        An odd row or column at the end is cut off: H.264 stores colours for two pixels at a time.
        """
        height, width = (max(2, side - side % 2) for side in pixels.shape[:2])
        try:
            if self._stream is None:
                self._stream = self._opened(height, width)
            frame = self._av.VideoFrame.from_ndarray(pixels[:height, :width], format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=_colours(height)[0])
            frame.pts, frame.time_base = round(time * TICKS), Fraction(1, TICKS)
            self._container.mux(self._stream.encode(frame))
        except (self._av.FFmpegError, OSError) as error:
            raise self._explained(error) from None

    def copy(self, packet: Any, start: Fraction) -> None:
        """Append a packet of the sound; `start` is the time in seconds that counts as zero."""
        if self._sound is None or packet.dts is None:
            return
        self._waiting.append((packet, start))
        if self._stream is None:
            return  # the file's header, with the size of the frames, comes first
        waiting, self._waiting = self._waiting, []
        try:
            for each, zero in waiting:
                shift = round(zero / each.time_base)
                each.pts = None if each.pts is None else each.pts - shift
                each.dts -= shift
                each.stream = self._sound
                self._container.mux(each)
        except (self._av.FFmpegError, OSError) as error:
            raise self._explained(error) from None

    def close(self) -> None:
        """Complete the file; raises DataError where it cannot be, or has no frame."""
        if self._stream is None:
            self.discard()
            raise DataError(f"{self.output} was not written: there is no frame to write.")
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            os.replace(self.partial, self.output)
        except (self._av.FFmpegError, OSError) as error:
            raise self._explained(error) from None

    def discard(self) -> None:
        """Remove what was written."""
        with contextlib.suppress(self._av.FFmpegError, OSError):
            self._container.close()
        with contextlib.suppress(OSError):
            os.remove(self.partial)

    def _opened(self, height: int, width: int) -> Any:
        known = self._av.codecs_available
        codec = next(name for name in CODECS if name in known)
        stream = self._container.add_stream(codec, rate=self._rate)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        stream.codec_context.colorspace = _colours(height)[1]
        stream.codec_context.color_range = 1  # of 16 to 235, as everywhere in videos
        if codec == "libx264":
            stream.options = {"preset": "veryfast", "crf": "21"}
        else:
            stream.bit_rate = 8 * height * width
        return stream

    def _copy_of(self, sound: Any) -> Any:
        """The stream that sound is copied to; None where this format cannot contain it.

        That is known when a header is written, so one is written into memory first. Sound that is
        not compressed is not copied into MP4: few players take it, and some of it fails at the end.
        """
        form = require_video_name(self.output)
        if sound is None or (form == "mp4" and sound.codec_context.name.startswith("pcm")):
            return None
        try:
            with self._av.open(io.BytesIO(), "w", format=form) as trial:
                trial.add_stream_from_template(sound)
                trial.start_encoding()
            return self._container.add_stream_from_template(sound)
        except (self._av.FFmpegError, ValueError, OSError):
            return None

    def _explained(self, error: Exception) -> DataError:
        reason = getattr(error, "strerror", None) or error
        return DataError(f"{self.output} cannot be written: {reason}.")


def _colours(height: int) -> tuple[str, int]:
    """PyAV's and FFmpeg's names of the colour space that players expect at this height."""
    return ("ITU709", 1) if height >= 720 else ("ITU601", 6)
