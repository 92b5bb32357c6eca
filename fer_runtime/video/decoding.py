"""The frames of a video file, decoded in the order in which they are shown, and made upright.

The only module that imports PyAV. FFmpeg conceals damage and goes on; what was damaged, and where,
is known when the last frame was read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from fer_runtime.errors import DataError
from fer_runtime.images import MAX_PIXELS, Pixels
from fer_runtime.images.limits import check_size
from fer_runtime.items import require_regular
from fer_runtime.machine import usable_threads
from fer_runtime.video.clock import Clock

_VIDEOS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,asf,flv,ogg,gif,mxf,rm,dv,ivf,"
    "nut,h264,hevc,m4v,mjpeg,wtv"
)
_PICTURES = "image2,jpeg_pipe,png_pipe,webp_pipe,bmp_pipe,tiff_pipe,jpegxl_anim,psd_pipe,pgm_pipe"
_SOUNDS = "mp3,aac,flac,wav,aiff,caf,ac3,w64,amr"
_MISSING = 1
"""Seconds that may be missing at a video's end: headers round, and last frames last."""
_MOST_THREADS = 16


def pyav(what: str) -> Any:
    """The package `av`; raises DataError that names the extra, where it is not installed."""
    try:
        import av
    except ImportError as error:
        raise DataError(
            f"{what}: videos and cameras need PyAV, which cannot be imported ({error}): "
            "pip install '.[video]' (or remove it from the sources)."
        ) from None
    return av


class Frame(NamedTuple):
    """One decoded frame that is not converted yet.

    Attributes:
        number: its number in the video, from 0.
        time: when it is shown, in seconds from the start of the video.
        picture: PyAV's VideoFrame.
        aspect: width of a pixel divided by its height.
    """

    number: int
    time: Fraction
    picture: Any
    aspect: Fraction = Fraction(1)

    def pixels(self, *, max_pixels: int = MAX_PIXELS) -> Pixels:
        """(H, W, 3) RGB uint8, upright and of square pixels: what a player shows.

        Raises:
            ImageError: more than `max_pixels` pixels.
        """
        width = max(1, round(self.picture.width * self.aspect))
        check_size(width, self.picture.height, max_pixels)
        # A file that names no colour space is BT.709 from 720 lines on, as players assume.
        unnamed = self.picture.colorspace == 2
        rgb = self.picture.reformat(
            width=width,
            format="rgb24",
            src_colorspace="ITU709" if unnamed and self.picture.height >= 720 else None,
        )
        pixels: Pixels = rgb.to_ndarray()
        return _turned(pixels, self.picture)


def _turned(pixels: Pixels, picture: Any) -> Pixels:
    """The pixels as the display matrix says: quarter turns and mirrors.

    Source: libavutil/display.h: (p, q) is shown at (a p + c q, b p + d q), rows (a b u), (c d v).
    """
    data = picture.side_data.get("DISPLAYMATRIX")
    if data is None:
        return pixels
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    if abs(b) > abs(a):
        pixels, right, down = pixels.transpose(1, 0, 2), c, b
    else:
        right, down = a, d
    pixels = pixels[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]
    return np.ascontiguousarray(pixels)


class Decoder:
    """The frames of one open video; a context manager. `open_video` and `open_camera` make it.

    One thread at a time; the frames can be read once.

    Attributes:
        container: PyAV's container.
        stream: its stream with the frames.
        aspect: width of a pixel divided by its height.
        index: frames read so far.
        time: the time of the last one, in seconds.
        damage: what is wrong with the video and where; known when all frames were read, None where
            nothing is.
    """

    def __init__(
        self, container: Any, stream: Any, *, expected_end: Fraction | None = None, file: Any = None
    ) -> None:
        """`expected_end`: the video's length in seconds by its header. `file` is closed too."""
        self.container, self.stream, self._file = container, stream, file
        self.aspect = _aspect(stream)
        self.index = 0
        self.time = Fraction(0)
        self.damage: str | None = None
        self._expected_end = expected_end
        self._clock = Clock(container.start_time, stream.average_rate)
        self._bad = 0
        self._first_bad = ""
        self._error: Any = pyav("").FFmpegError

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def start(self) -> Fraction:
        """The time in the file that counts as zero, in seconds; known after the first frame."""
        return self._clock.start

    def close(self) -> None:
        """Close the file or the device."""
        self.container.close()
        if self._file is not None:
            self._file.close()

    def frames(
        self, other: Any = None, handle: Callable[[Any], None] | None = None
    ) -> Iterator[Frame]:
        """Every frame that can be decoded, in the order in which they are shown.

        Args:
            other: another stream of the container, such as its sound.
            handle: called with each packet of it.
        """
        streams = (self.stream,) if other is None else (self.stream, other)
        packets = self.container.demux(*streams)
        reason = None
        while True:
            try:
                packet = next(packets, None)
            except (self._error, OSError) as error:
                reason = str(error.strerror)
                break
            if packet is None:
                break
            if packet.stream.index != self.stream.index:
                if handle is not None:
                    handle(packet)
                continue
            yield from self._decoded(packet)
        if reason is not None:
            yield from self._decoded(None)
        self._describe(reason)

    def _decoded(self, packet: Any) -> Iterator[Frame]:
        """The frames that a packet completes; None for those still in the decoder."""
        try:
            pictures = self.stream.codec_context.decode(packet)
        except self._error:
            self._count_damage()
            return
        if packet is not None and packet.is_corrupt:
            self._count_damage()
        for picture in pictures:
            self.time = self._clock.time(picture)
            yield Frame(self.index, self.time, picture, self.aspect)
            self.index += 1

    def _count_damage(self) -> None:
        self._bad += 1
        self._first_bad = self._first_bad or f"{float(self.time):.1f} s (frame {self.index})"

    def _describe(self, reason: str | None) -> None:
        """Set `damage` from what happened until the last frame."""
        where = f"{float(self.time):.1f} s (frame {max(self.index - 1, 0)})"
        found = []
        if self._bad:
            pieces = "a piece" if self._bad == 1 else f"{self._bad:,} pieces"
            found.append(
                f"the video is damaged: {pieces} could not be decoded, the first near "
                f"{self._first_bad}; frames there are missing or wrong"
            )
        if reason is not None:
            found.append(f"the video cannot be decoded beyond {where}: {reason}")
        elif not self.index:
            found.append("the video contains no frame that can be decoded")
        elif self._expected_end is not None:
            expected = self._expected_end
            if self.container.format.name.startswith("matroska"):
                expected -= self._clock.start  # its length is the time of its end
            if expected - self.time > _MISSING:
                found.append(
                    f"the video cannot be decoded beyond {where}: its header announces "
                    f"{float(expected):.1f} s, and the file is cut off or damaged there"
                )
        self.damage = "; ".join(found) or None


def open_video(path: str, *, threads: int | None = None) -> Decoder:
    """A video file, open.

    Args:
        path: the file.
        threads: threads that decode; None for as many as this process may use.

    Raises:
        DataError: no such file, not a video, a codec that is not known, or PyAV is missing.
    """
    require_regular(path)
    av = pyav(path)
    if not os.path.getsize(path):
        raise DataError(f"{path} is empty, where a video is expected; remove it from the sources.")
    source: Any = f"file:{path}"
    file = None
    if not is_utf8(path):
        source = file = open(path, "rb")  # noqa: SIM115
    # Playlists (HLS, concat) may name other files and addresses, so that they are not opened.
    allowed = {
        "format_whitelist": f"{_VIDEOS},{_PICTURES},{_SOUNDS}",
        "protocol_whitelist": "file",
    }
    try:
        container = av.open(source, options=allowed, metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        if file is not None:
            file.close()
        raise DataError(
            f"{path} cannot be opened as a video: {error.strerror}. Its beginning or its index is "
            "damaged or missing (a recording that was not finished), or it is another kind of "
            "file; record or copy it again, or remove it from the sources."
        ) from None
    try:
        stream = _video_stream(path, container)
    except DataError:
        container.close()
        raise
    stream.codec_context.thread_type = "AUTO"
    stream.codec_context.thread_count = min(threads or usable_threads(), _MOST_THREADS)
    return Decoder(container, stream, expected_end=_expected_end(container, stream), file=file)


def is_utf8(path: str) -> bool:
    """Whether a path can be given to FFmpeg as text."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _video_stream(path: str, container: Any) -> Any:
    """The stream with the frames; raises DataError where there is none."""
    if container.format.name in _PICTURES.split(","):
        raise DataError(f"{path} is one picture, not a video; rename it with a picture's ending.")
    streams = [s for s in container.streams.video if not _is_cover(s)]
    if not streams:
        has = "sound and no video" if container.streams.audio else "no video"
        raise DataError(f"{path} contains {has}; remove it from the sources.")
    stream = max(streams, key=lambda s: (_size(s), -s.index))
    if stream.codec_context is None:
        raise DataError(
            f"{path}: there is no decoder for its video; convert it to H.264, as with "
            "`ffmpeg -i video -c:v libx264 converted.mp4`."
        )
    return stream


def _expected_end(container: Any, stream: Any) -> Fraction | None:
    """When the last frame ends by the header, in seconds; None where the header does not say."""
    try:
        hours, minutes, seconds = stream.metadata.get("DURATION", "").split(":")  # Matroska
        return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    except ValueError:
        pass
    if container.format.name.startswith("mpeg"):
        return None  # FFmpeg takes it from the file's last packet, whatever is missing
    if stream.duration and stream.time_base:
        return int(stream.duration) * Fraction(stream.time_base)
    alone = len(container.streams) == 1
    return Fraction(container.duration, 10**6) if alone and container.duration else None


def _is_cover(stream: Any) -> bool:
    """Whether it is a picture beside sound, such as an album's cover."""
    return bool(stream.disposition & type(stream.disposition).attached_pic)


def _size(stream: Any) -> int:
    context = stream.codec_context
    return 0 if context is None else int(context.width * context.height)


def _aspect(stream: Any) -> Fraction:
    """Width of a pixel divided by its height; 1 where the file has none, or an impossible one."""
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    return aspect if Fraction(1, 4) <= aspect <= 4 else Fraction(1)
