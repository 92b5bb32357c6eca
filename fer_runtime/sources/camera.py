"""Cameras: their frames as items, as they come (extra `video`)."""

from __future__ import annotations

from collections.abc import Iterator

from fer_runtime.images import MAX_PIXELS
from fer_runtime.items import Item
from fer_runtime.sources.table import SourceKind, SourceOptions
from fer_runtime.sources.video import end_of, frame_columns, item_of
from fer_runtime.video.camera import Newest, device_of, open_camera, waits_for_reader
from fer_runtime.video.decoding import Frame, pyav
from fer_runtime.video.sampling import Every, Sampler, parse_every


def frames(
    source: str, every: str | Every | None = None, *, max_pixels: int = MAX_PIXELS
) -> Iterator[Item]:
    """The frames of a camera as items, until it ends or the caller stops.

    They are those of `fer_runtime.sources.video.frames`, with the source as name, path and stream,
    and times from the first frame. Where the caller is slower than the camera, frames are dropped:
    the next item is the newest wanted frame. FFmpeg's synthetic sources (`camera:lavfi:...`) wait
    for the caller, so that no frame is dropped.

    Args:
        source: "camera:/dev/video0", or "camera:FORMAT:NAME" with the name of one of FFmpeg's input
            devices, as "camera:lavfi:testsrc=size=640x480:rate=30".
        every: as in `fer_runtime.sources.video.frames`.
        max_pixels: larger frames are items with an error.

    Raises:
        DataError: the camera cannot be opened, `every` is not of this form, or PyAV is not
            installed.
    """
    sampler = Sampler(parse_every(every) if isinstance(every, str) else every or Every())

    def wants(frame: Frame) -> bool:
        return sampler.wants(frame.number, frame.time)

    camera = open_camera(source)
    if waits_for_reader(source):
        with camera:
            for frame in filter(wants, camera.frames()):
                yield item_of(source, frame, max_pixels)
            yield from end_of(source, camera)
        return
    newest = Newest(camera.frames(), wants)
    try:
        with newest:
            for frame in newest:
                yield item_of(source, frame, max_pixels)
        yield from end_of(source, camera)
    finally:
        if not newest.running:
            camera.close()


def _read(source: str, options: SourceOptions) -> Iterator[Item]:
    return frames(source, options.every)


def _check(source: str, options: SourceOptions) -> None:
    device_of(source)
    parse_every(options.every or "1f")
    pyav(source)


CAMERA = SourceKind(_read, frame_columns, whole=True, check=_check, live=True)
