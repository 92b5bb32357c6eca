"""Video files: their frames as items, decoded with PyAV (extra `video`)."""

from __future__ import annotations

from collections.abc import Iterator

from fer_runtime.columns import Column
from fer_runtime.errors import ImageError
from fer_runtime.images import MAX_PIXELS
from fer_runtime.items import Item, require_regular
from fer_runtime.sources.table import SourceKind, SourceOptions
from fer_runtime.video.decoding import Decoder, Frame, open_video, pyav
from fer_runtime.video.sampling import Every, Sampler, parse_every

FRAME = (Column("frame", "integer"), Column("time", "number"))
"""What items of a video have beside their pixels: the frame's number, and its time in seconds."""


def frames(
    path: str,
    every: str | Every | None = None,
    *,
    threads: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[Item]:
    """The frames of a video as items with (H, W, 3) RGB uint8 pixels, upright, in order.

    Name and path of an item are the video's path, `extra` has the frame's number from 0 and its
    time in seconds from the start, and `stream` is the path. Frames that are not wanted are decoded
    (others depend on them) but not converted. A damaged video yields what can be decoded, and ends
    with an item whose error has what is wrong and where.

    Args:
        path: the file.
        every: "0.5s" for the first frame at or after each multiple of half a second, "10f" for
            every tenth frame; None for every frame.
        threads: threads that decode; None for as many as this process may use.
        max_pixels: larger frames are items with an error.

    Raises:
        DataError: the file is not a video that can be read, `every` is not of this form, or PyAV is
            not installed.
    """
    sampler = Sampler(parse_every(every) if isinstance(every, str) else every or Every())
    with open_video(path, threads=threads) as video:
        for frame in video.frames():
            if sampler.wants(frame.number, frame.time):
                yield item_of(path, frame, max_pixels)
        yield from end_of(path, video)


def item_of(path: str, frame: Frame, max_pixels: int) -> Item:
    """A frame as an item, with an error where it has too many pixels."""
    extra = {"frame": frame.number, "time": float(frame.time)}
    try:
        pixels = frame.pixels(max_pixels=max_pixels)
    except ImageError as error:
        return Item(path, path, str(error), extra=extra, stream=path)
    return Item(path, path, content=pixels, extra=extra, stream=path)


def end_of(path: str, video: Decoder) -> Iterator[Item]:
    """An item whose error has what is wrong with a video that was read; none where nothing is."""
    if video.damage is not None:
        extra = {"frame": max(video.index - 1, 0), "time": float(video.time)}
        yield Item(path, path, video.damage, extra=extra, stream=path)


def frame_columns(path: str, options: SourceOptions) -> tuple[tuple[Column, ...], tuple[()]]:
    """The columns after `path`; a video has none that are passed through."""
    return FRAME, ()


def _read(path: str, options: SourceOptions) -> Iterator[Item]:
    return frames(path, options.every)


def _check(path: str, options: SourceOptions) -> None:
    require_regular(path)
    parse_every(options.every or "1f")
    pyav(path)


VIDEO = SourceKind(_read, frame_columns, whole=True, check=_check)
