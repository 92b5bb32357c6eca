"""The annotated video of a run: boxes, labels and tracks on every frame of the original."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import groupby

from fer_runtime.errors import DataError
from fer_runtime.images.exif import Box
from fer_runtime.rows import Row
from fer_runtime.sources.table import VIDEOS, ending_of
from fer_runtime.video.decoding import Decoder, Frame, open_video
from fer_runtime.video.drawing import Marked, draw
from fer_runtime.video.encoding import Encoder, require_video_name

HOLD = 1.0
"""Seconds for which boxes stay after the last frame that was looked at."""


class Annotator:
    """Draws a run's faces on its video; an observer of the run.

    The video is decoded a second time, in step with the rows, so that memory does not grow. Between
    two frames that were looked at, a face's box moves evenly. Use it as a context manager around a
    run: the file appears when the block ends without an exception.

    Args:
        sources: the run's sources; there must be one, a video file.
        output: FILE.mp4, .m4v, .mov or .mkv.
        overwrite: replace the file if it exists.

    Raises:
        DataError: other sources, an unknown ending, a file that exists, or that cannot be written.
    """

    def __init__(
        self, sources: Sequence[str], output: str | os.PathLike[str], *, overwrite: bool = False
    ) -> None:
        self.output = os.fspath(output)
        self.video = _only_video(sources, self.output)
        require_video_name(self.output)
        if os.path.exists(self.output):
            if os.path.samefile(self.video, self.output):
                raise DataError(f"{self.output} is the video itself; name another file.")
            if not overwrite:
                raise DataError(
                    f"{self.output} exists already; pass --overwrite to replace it, or name "
                    "another output."
                )
        self._decoder: Decoder | None = None
        self._rows: list[Row] = []
        self._known: list[Row] = []
        self._frame: Frame | None = None

    def __enter__(self) -> Annotator:
        self._decoder = decoder = open_video(self.video)
        sound = next(iter(decoder.container.streams.audio), None)
        rate = Fraction(decoder.stream.average_rate or 25)
        try:
            self._encoder = Encoder(self.output, rate=rate, sound=sound)
        except DataError:
            decoder.close()
            raise
        self._frames = decoder.frames(sound, lambda p: self._encoder.copy(p, decoder.start))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._decoder is not None
        with self._decoder:
            try:
                if kind is None:
                    self._finish()
            except BaseException:
                self._encoder.discard()
                raise
            if kind is not None:
                self._encoder.discard()

    def add(self, rows: Iterable[Row]) -> None:
        """Take rows in, and write the frames that lie before the last one of them."""
        self._rows += rows
        frames = [list(group) for _, group in groupby(self._rows, key=_frame_number)]
        for group in frames[:-1]:  # rows of the last frame may still follow
            self._reach(group)
        self._rows = frames[-1] if frames else []

    def _finish(self) -> None:
        if self._rows:
            self._reach(self._rows)
        ended = _time(self._known) + HOLD if self._known else 0.0
        for frame in self._upcoming():
            shown = self._known if frame.time < ended else []
            self._write(frame, [_marked(row, row.face.box) for row in shown if row.face])
        self._encoder.close()

    def _reach(self, rows: list[Row]) -> None:
        """Write the frames before the one that these rows are of."""
        number = _frame_number(rows[0])
        while (frame := self._peek()) is not None and frame.number < number:
            self._frame = None
            self._write(frame, list(_between(self._known, rows, frame.time)))
        self._known = rows

    def _peek(self) -> Frame | None:
        """The next frame, which stays the next one."""
        if self._frame is None:
            self._frame = next(self._frames, None)
        return self._frame

    def _upcoming(self) -> Iterator[Frame]:
        while (frame := self._peek()) is not None:
            self._frame = None
            yield frame

    def _write(self, frame: Frame, faces: list[Marked]) -> None:
        self._encoder.write(draw(frame.pixels(), faces), frame.time)


def _only_video(sources: Sequence[str], output: str) -> str:
    if len(sources) == 1 and ending_of(sources[0]) in VIDEOS and os.path.isfile(sources[0]):
        return sources[0]
    raise DataError(
        f"{output}: one video file can be annotated, and the sources are {', '.join(sources)}; "
        "pass one video file, and run once for each."
    )


def _between(known: list[Row], coming: list[Row], time: Fraction) -> Iterator[Marked]:
    """The faces of `known` at a time before that of `coming`, on their way to their place there."""
    if not known:
        return
    ahead = {row.extra.get("track"): row.face.box for row in coming if row.face}
    start, end = _time(known), _time(coming)
    share = (float(time) - start) / (end - start) if end > start else 0.0
    for row in known:
        if row.face is not None:
            target = ahead.get(row.extra.get("track"), row.face.box)
            yield _marked(row, _moved(row.face.box, target, min(max(share, 0.0), 1.0)))


def _moved(box: Box, target: Box, share: float) -> Box:
    left, top, right, bottom = (
        here + (there - here) * share for here, there in zip(box, target, strict=True)
    )
    return left, top, right, bottom


def _marked(row: Row, box: Box) -> Marked:
    track = int(row.extra.get("track") or row.number or 1)
    return Marked(box, f"{track} {row.label} {row.probability or 0:.0%}", track)


def _frame_number(row: Row) -> int:
    return int(row.extra.get("frame") or 0)


def _time(rows: list[Row]) -> float:
    return float(rows[0].extra.get("time") or 0.0)
