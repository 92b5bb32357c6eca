"""Video files: their frames as items, decoded with PyAV (extra `video`)."""

from __future__ import annotations

from collections.abc import Iterator

from fer_runtime.errors import ImageError
from fer_runtime.images import MAX_PIXELS
from fer_runtime.items import Item
from fer_runtime.video.decoding import Decoder, Frame, open_video
from fer_runtime.video.sampling import Every, Sampler, parse_every

ENDINGS = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts"),
    *(".wmv", ".asf", ".flv", ".3gp", ".ogv", ".vob"),
)
"""Of a video's file name, in lower case."""


def frames(
    path: str,
    every: str | Every | None = None,
    *,
    threads: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[Item]:
    """The frames of a video as items with (H, W, 3) RGB uint8 pixels, upright, in order.

    Name and path of an item are the video's path, `values` are the frame's number from 0 and its
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
    values = {"frame": frame.number, "time": float(frame.time)}
    try:
        pixels = frame.pixels(max_pixels=max_pixels)
    except ImageError as error:
        return Item(path, path, str(error), values=values, stream=path)
    return Item(path, path, content=pixels, values=values, stream=path)


def end_of(path: str, video: Decoder) -> Iterator[Item]:
    """An item whose error has what is wrong with a video that was read; none where nothing is."""
    if video.damage is not None:
        values = {"frame": max(video.index - 1, 0), "time": float(video.time)}
        yield Item(path, path, video.damage, values=values, stream=path)
