"""Cameras, through FFmpeg's input devices: `camera:/dev/video0`, `camera:FORMAT:NAME`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator

from fer_runtime.errors import DataError
from fer_runtime.video.decoding import Decoder, Frame, pyav

SCHEME = "camera:"
FORMATS = ("avfoundation", "dshow", "gdigrab", "lavfi", "v4l2", "x11grab")
"""FFmpeg's input devices with pictures: cameras, screens, and lavfi, which makes its own."""
_DEFAULT = {"darwin": "avfoundation", "win32": "dshow"}
_END = 2.0
"""Seconds to wait for a camera's last frame before it is closed."""


def device_of(source: str) -> tuple[str, str]:
    """ "camera:/dev/video0" -> (the name of FFmpeg's input device, the name of the camera).

    >>> device_of("camera:lavfi:testsrc=rate=30")
    ('lavfi', 'testsrc=rate=30')

    Raises:
        DataError: no camera is named.
    """
    rest = source.removeprefix(SCHEME)
    device, colon, name = rest.partition(":")
    if not colon or device not in FORMATS:
        device, name = _DEFAULT.get(sys.platform, "v4l2"), rest
    if not name:
        raise DataError(
            f"{source} names no camera; write camera:/dev/video0, or camera:FORMAT:NAME with one "
            f"of {', '.join(FORMATS)}."
        )
    return device, name


def open_camera(source: str) -> Decoder:
    """A camera, open and recording.

    Raises:
        DataError: it cannot be opened, or PyAV is missing.
    """
    device, name = device_of(source)
    av = pyav(source)
    try:
        container = av.open(name, format=device)
        if not container.streams.video:
            raise ValueError("it records sound only")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise DataError(
            f"{source} cannot be opened: {getattr(error, 'strerror', None) or error}. Is it "
            f"connected, free, and readable for you? FFmpeg's input device is {device}; others are "
            "chosen by camera:FORMAT:NAME."
        ) from None
    stream = container.streams.video[0]
    stream.codec_context.thread_type = "SLICE"  # threads that take a frame each add a delay
    return Decoder(container, stream)


def waits_for_reader(source: str) -> bool:
    """Whether a source makes its frames when they are read, so that none are missed."""
    return device_of(source)[0] == "lavfi"


class Newest:
    """The newest of the wanted frames of a camera, read on a thread of its own.

    A frame that nobody took before the next wanted one is dropped, so that who takes them never
    falls behind. Iterate over it once; a context manager.

    Args:
        frames: all frames; read on the thread.
        wants: whether a frame is wanted.
    """

    def __init__(self, frames: Iterator[Frame], wants: Callable[[Frame], bool]) -> None:
        self._frames, self._wants = frames, wants
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._ended = self._stopped = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="fer-camera", daemon=True)

    def __enter__(self) -> Newest:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        self._thread.join(_END)

    @property
    def running(self) -> bool:
        """Whether the thread still waits for a frame, so that the camera must not be closed."""
        return self._thread.is_alive()

    def __iter__(self) -> Iterator[Frame]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._frame is not None or self._ended)
                frame, self._frame = self._frame, None
            if frame is None:
                if self._failure is not None:
                    raise self._failure
                return
            yield frame

    def _read(self) -> None:
        try:
            for frame in self._frames:
                if self._stopped:
                    return
                if self._wants(frame):
                    with self._changed:
                        self._frame = frame
                        self._changed.notify()
        except Exception as error:
            self._failure = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()
