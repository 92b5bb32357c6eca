"""Photographs: the faces in a picture are found, cropped and classified; one row a face."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from fer_runtime.errors import ImageError
from fer_runtime.faces.crops import crop, side
from fer_runtime.faces.detector import FaceDetector
from fer_runtime.faces.face import Face
from fer_runtime.faces.options import FaceOptions
from fer_runtime.images import Pixels
from fer_runtime.images.pictures import Photograph, Picture
from fer_runtime.images.thumbnails import SIDE, Thumbnail, thumbnail
from fer_runtime.items import Item
from fer_runtime.rows import Row, top1
from fer_runtime.stages.base import Stage, source_of

PICTURES_AT_ONCE = 4
"""Pictures a thread takes at a time: few, because each takes tens of milliseconds."""

ENOUGH = 0.75
"""A crop with this part of the pixels that the model takes is enlarged; one with fewer is cropped
from a larger decode. Decoding a photograph twice takes as long as finding its faces."""
MARGIN = 1.5
"""A picture that is decoded again has so many times the pixels that the smallest crop needs."""


class Found(NamedTuple):
    """The faces of one picture: what the rows need once the picture itself is gone."""

    faces: tuple[Face, ...] = ()
    crops: tuple[Pixels, ...] = ()
    thumbnails: tuple[Thumbnail | None, ...] = ()
    note: str | None = None
    error: str | None = None


class FacesOfPictures(Stage):
    """Finds faces at a reduced size and crops them where there are enough pixels.

    A photograph is decoded at the DCT scale that detection needs. It is decoded once more, larger,
    only if a face in it has fewer pixels there than the model takes.

    Args:
        detector: what finds faces; threads share it.
        options: size of detection, smallest face.
        **rest: those of `Stage`.
    """

    def __init__(
        self, session: Any, *, detector: FaceDetector, options: FaceOptions, **rest: Any
    ) -> None:
        super().__init__(session, **rest)
        self.detector = detector
        self.options = options

    @property
    def items_at_once(self) -> int:
        return PICTURES_AT_ONCE

    def rows(self, batch: list[Item]) -> list[Row]:
        found = [self.find(item) for item in batch]
        crops = [each for one in found for each in one.crops]
        predicted = iter(self._classified(crops))
        rows: list[Row] = []
        for item, one in zip(batch, found, strict=True):
            for number, face in enumerate(one.faces, 1):
                row = self.row(item, *next(predicted))
                row.face, row.number = face, number
                row.thumbnail = one.thumbnails[number - 1]
                rows.append(row)
            if not one.faces:
                rows.append(self.row(item, error=one.error))
                rows[-1].note = one.note
                rows[-1].thumbnail = one.thumbnails[0] if one.thumbnails else None
        return rows

    def shrunk(self, item: Item) -> Item:
        """Held as it is: the pixels of small faces would be lost."""
        return item

    def _classified(self, crops: list[Pixels]) -> list[tuple[Any, None, int]]:
        """(probabilities, no error, place of the largest) of each crop."""
        buffer, results = self.buffer(), []
        for start in range(0, len(crops), self.batch_size):
            some = crops[start : start + self.batch_size]
            buffer[: len(some)] = some
            probabilities = self.infer(buffer, len(some))
            best = top1(probabilities).tolist()
            results += [
                (each, None, place) for each, place in zip(probabilities, best, strict=True)
            ]
        return results

    def find(self, item: Item) -> Found:
        """The faces of one picture with their crops, the largest first."""
        try:
            photograph = Photograph(source_of(item), max_pixels=self.max_pixels)
            picture = photograph.at(self.options.detect_size)
            found = self.detector.find(picture.pixels)
            faces = [enlarged(face, 1 / picture.scale) for face in found]
            large = [face for face in faces if _short_side(face) >= self.options.min_face]
            large.sort(key=_area, reverse=True)
            if not large:
                note = _note(len(faces), self.options.min_face)
                return Found(thumbnails=self._thumbnails(picture, [None]), note=note)
            picture = self._with_enough_pixels(photograph, picture, large)
            spec = self.session.spec.input
            crops = [crop(picture.pixels, face, spec, scale=picture.scale) for face in large]
        except ImageError as error:
            return Found(error=str(error))
        return Found(tuple(large), tuple(crops), self._thumbnails(picture, large))

    def _thumbnails(
        self, picture: Picture, faces: Sequence[Face | None]
    ) -> tuple[Thumbnail | None, ...]:
        if not self.thumbnails:
            return (None,) * len(faces)
        return tuple(thumbnail(picture.pixels, face, scale=picture.scale) for face in faces)

    def _with_enough_pixels(
        self, photograph: Photograph, picture: Picture, faces: list[Face]
    ) -> Picture:
        """The picture at a scale where each crop has as many pixels as the model's input."""
        spec = self.session.spec.input
        least = max(spec.height, spec.width, SIDE if self.thumbnails else 0)
        smallest = min(side(face, spec.face_crop) for face in faces)
        if picture.scale >= 1 or smallest * picture.scale >= ENOUGH * least:
            return picture
        return photograph.at(MARGIN * least / smallest * max(picture.height, picture.width))


def _note(count: int, min_face: int) -> str:
    if not count:
        return "no face found"
    return f"no face of {min_face} pixels or more ({count} smaller)"


def enlarged(face: Face, factor: float) -> Face:
    """The face in pixels of a picture that is `factor` times as large."""
    if factor == 1:
        return face

    def moved(value: float) -> float:  # the middle of a pixel is a whole number
        return (value + 0.5) * factor - 0.5

    left, top, right, bottom = map(moved, face.box)
    points = tuple((moved(x), moved(y)) for x, y in face.landmarks)
    return Face((left, top, right, bottom), points, face.score)


def _short_side(face: Face) -> float:
    left, top, right, bottom = face.box
    return min(right - left, bottom - top)


def _area(face: Face) -> float:
    left, top, right, bottom = face.box
    return (right - left) * (bottom - top)
