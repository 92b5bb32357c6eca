"""POST /predict: an image, or a form with several, in; labels and probabilities out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

import simplejpeg

from fer_runtime import images
from fer_runtime.errors import ImageError
from fer_runtime.images.loading import is_jpeg
from fer_runtime.items import Item
from fer_runtime.serve.answers import Writer
from fer_runtime.serve.endpoint import Answer, Endpoint, Held, Scope, header
from fer_runtime.serve.model import Served
from fer_runtime.serve.multipart import Part, boundary_of, files_of
from fer_runtime.serve.refusals import RefusedError

QUICK_BYTES, QUICK_PIXELS = 16 * 1024, 128 * 128
"""A baseline JPEG up to this size is decoded in the event loop: that takes some 20 us, and handing
it to a thread and back takes longer."""
PROGRESSIVE = b"\xff\xc2"
"""The marker of a progressive JPEG, which may have many scans and take long."""


class Predict(Endpoint):
    """Classifies images; with faces asked for, each face in each image."""

    name: ClassVar[str] = "predict"

    async def answer(self, scope: Scope, body: bytes, held: Held) -> Answer:
        content_type = header(scope, b"content-type") or b""
        boundary = boundary_of(content_type)
        if boundary is None:
            if content_type[:33].lower() == b"application/x-www-form-urlencoded" and _is_form(body):
                raise RefusedError(
                    "media_type", "Send an image's bytes as the body (curl --data-binary "
                    "@face.jpg), or a form with files (curl -F image=@face.jpg).",
                )  # fmt: skip
            parts = [Part(None, body)]
        else:
            parts = files_of(body, boundary, most=self.service.limits.max_images)
        model = self.service.model
        writer = model.writer
        if len(parts) == 1:
            try:
                return Answer(writer.answer([await self._image(model, writer, parts[0])]))
            except ImageError as error:
                name = f"{parts[0].name}: " if parts[0].name else ""
                raise RefusedError("image", f"{name}{error}") from None
        held.count(len(parts) - 1)
        return await self._several(model, writer, parts)

    async def _several(self, model: Served, writer: Writer, parts: Sequence[Part]) -> Answer:
        """Each image has its own prediction or error; an error status if none has a prediction."""

        async def one(part: Part) -> tuple[str, bool]:
            try:
                return await self._image(model, writer, part), True
            except ImageError as error:
                self.service.measures.error("image")
                return writer.error(part.name, str(error)), False

        found = await asyncio.gather(*map(one, parts))
        status = 200 if any(good for _, good in found) else 422
        return Answer(writer.answer([text for text, _ in found]), status)

    async def _image(self, model: Served, writer: Writer, part: Part) -> str:
        """What one image shows, as JSON; raises ImageError."""
        assert model.batches is not None
        if model.pictures is not None:
            found = await self.service.on_thread(
                model.pictures.find, Item("", "", content=part.data)
            )
            if found.error is not None:
                raise ImageError(found.error)
            runs = [model.batches.run(crop[None]) for crop in found.crops]
            each = [output.probabilities[0] for output in await asyncio.gather(*runs)]
            return writer.faces(part.name, found.faces, each)
        if is_quick(part.data):
            pixels = self._decode(model, part.data)
        else:
            pixels = await self.service.on_thread(self._decode, model, part.data)
        outputs = await model.batches.run(pixels[None])
        return writer.image(part.name, outputs.probabilities[0])

    def _decode(self, model: Served, data: bytes) -> images.Pixels:
        max_pixels = self.service.limits.max_pixels
        return images.decode(data, model.session.spec.input, max_pixels=max_pixels)


def is_quick(data: bytes) -> bool:
    """Whether an image takes so little time that the event loop may decode it."""
    if len(data) > QUICK_BYTES or not is_jpeg(data) or PROGRESSIVE in data:
        return False
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return True  # it is refused at once
    return bool(height * width <= QUICK_PIXELS)


def _is_form(body: bytes) -> bool:
    """curl -d says that a body is a form, whatever it is; an image is none."""
    return body[:1].isalnum() and b"=" in body[:256] and body[:256].isascii()
