"""The face detector that comes with the package: YuNet in onnxruntime, without OpenCV."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_runtime import images, providers
from fer_runtime.errors import ImageError, ModelFileError
from fer_runtime.faces import decoding
from fer_runtime.faces.face import Face
from fer_runtime.faces.options import MIN_SCORE
from fer_runtime.images import pictures
from fer_runtime.session import checked_threads, open_graph

SHIPPED = Path(__file__).parent.parent / "models" / "face_detection_yunet_2026may.onnx"
"""models/FACE_DETECTOR.md says where it comes from, and what it is and is not for."""
MULTIPLE = max(decoding.STRIDES)
"""The model takes pictures whose sides are multiples of this."""
WIDTHS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
OUTPUTS = {f"{kind}_{stride}": WIDTHS[kind] for kind in WIDTHS for stride in decoding.STRIDES}
"""What YuNet outputs: name -> numbers of a cell."""


class FaceDetector:
    """Finds faces in pictures: boxes, five landmarks each, and a score. `load` makes one.

    >>> from fer_runtime import FaceDetector
    >>> detector = FaceDetector.load()  # the detector that comes with the package
    >>> detector.detect(np.zeros((480, 640, 3), np.uint8))  # or a path: detector.detect("a.jpg")
    ()

    It finds the same faces as OpenCV's `FaceDetectorYN` with the same model. It does not recognise
    anyone. Threads may share a detector, and pictures may differ in size from call to call.

    Attributes:
        path: the ONNX file.
        min_score: faces with a lower score are not reported.
        threads: CPU threads of one call.
        provider: the provider that runs it, as "cpu" or "cuda".
        provider_reason: why, in a few words for a person.
    """

    def __init__(
        self, opened: providers.Opened, path: Path, *, threads: int, min_score: float
    ) -> None:
        self.path = path
        self.min_score = min_score
        self.threads = threads
        self.provider = opened.provider
        self.provider_reason = opened.reason
        self._session = opened.session
        self._input = opened.session.get_inputs()[0].name

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        provider: str = "auto",
        threads: int | None = None,
        min_score: float = MIN_SCORE,
        provider_options: providers.ProviderOptions | None = None,
    ) -> FaceDetector:
        """Open a detector.

        Args:
            path: another YuNet as an ONNX file; default: the one that comes with the package.
            provider: as for `Classifier.load`.
            threads: CPU threads of one call; default: the cores that this process may use.
            min_score: report faces from this score on, 0 to 1.
            provider_options: how the provider computes; the detector always does so in f32.

        Raises:
            ValueError: `min_score` outside 0 to 1, or `threads` below 1.
            ModelFileError: a file that is missing, broken, not ONNX, or not a YuNet.
            ProviderError: a provider that cannot run here.
        """
        if not 0 <= min_score <= 1:
            raise ValueError(f"min_score={min_score}; it must be from 0 to 1")
        threads = checked_threads(threads)
        model = SHIPPED if path is None else Path(path)
        if not model.exists():
            raise ModelFileError(
                f"{model} does not exist, so no faces can be found. "
                + (
                    "The installation is incomplete; install fer-runtime again."
                    if path is None
                    else "Pass another file, or none for the detector that comes with the package."
                )
            )
        options = (provider_options or providers.ProviderOptions()).checked()
        request = providers.Request(model, threads, options._replace(arithmetic="f32"))
        opened = open_graph(request, provider=provider)
        _check_signature(opened.session, model)
        return cls(opened, model, threads=threads, min_score=min_score)

    def detect(self, image: images.Source) -> tuple[Face, ...]:
        """The faces of a picture of any kind, best score first, in pixels of the upright picture.

        The picture is searched as it is, at its full size: faces of 10 to 300 pixels are found
        best, and time and memory grow with the number of pixels.

        Args:
            image: a path, the bytes of an image file, an open binary file, a Pillow image, or a
                uint8 array (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4); it is never written to.

        Raises:
            ImageError: an image that cannot be read or decoded.
        """
        try:
            picture = pictures.load_picture(image, long_side=None, max_pixels=images.MAX_PIXELS)
        except ImageError as error:
            if isinstance(image, str | os.PathLike):
                raise ImageError(f"{os.fspath(image)}: {error}") from None
            raise
        return self.find(picture.pixels)

    def find(self, pixels: images.Pixels) -> tuple[Face, ...]:
        """The faces in (H, W, 3) uint8 RGB pixels, best score first, in pixels of that array.

        The array may be read-only, and a view of another one.

        Raises:
            ImageError: an array of another shape or dtype.
        """
        if pixels.dtype != np.uint8 or pixels.shape[2:] != (3,) or 0 in pixels.shape:
            raise ImageError(
                f"array of {pixels.dtype} {pixels.shape}; faces are found in uint8 (H, W, 3) RGB"
            )
        tensor = to_input(pixels)
        results = self._session.run(list(OUTPUTS), {self._input: tensor})
        columns = {stride: tensor.shape[3] // stride for stride in decoding.STRIDES}
        outputs = dict(zip(OUTPUTS, results, strict=True))
        candidates = decoding.decode(outputs, columns, self.min_score)
        return decoding.to_faces(candidates, decoding.suppress(candidates, self.min_score))


def to_input(pixels: images.Pixels) -> npt.NDArray[np.float32]:
    """(H, W, 3) uint8 RGB -> (1, 3, H', W') float32 BGR, 0 to 255, as YuNet takes it.

    H' and W' are the next multiples of 32; the pixels added to the right and below are black.
    """
    height, width = pixels.shape[:2]
    size = (-(-height // MULTIPLE) * MULTIPLE, -(-width // MULTIPLE) * MULTIPLE)
    tensor = np.empty((1, 3, *size), np.float32)
    tensor[:, :, height:] = 0
    tensor[:, :, :height, width:] = 0
    for channel in range(3):  # twice as fast as one assignment of the transposed pixels
        tensor[0, channel, :height, :width] = pixels[:, :, 2 - channel]
    return tensor


def _check_signature(session: Any, model: Path) -> None:
    """The graph's input and outputs must be those of a YuNet that takes pictures of any size."""
    inputs = [(entry.type, len(entry.shape)) for entry in session.get_inputs()]
    sizes = [size for entry in session.get_inputs() for size in entry.shape[1:]]
    outputs = {entry.name: entry.shape[-1:] for entry in session.get_outputs()}
    missing = [name for name, width in OUTPUTS.items() if outputs.get(name) != [width]]
    if inputs != [("tensor(float)", 4)] or sizes[0] != 3 or missing:
        raise ModelFileError(
            f"{model} is not a YuNet face detector: it takes one float32 input (1, 3, height, "
            "width) and outputs cls, obj, bbox and kps at the strides 8, 16 and 32"
            + (f"; of these {missing[0]} is missing." if missing else ".")
        )
    if any(isinstance(size, int) for size in sizes[1:]):
        raise ModelFileError(
            f"{model} is a YuNet for pictures of {sizes[1]} x {sizes[2]} only; one with free "
            "height and width is required, such as the one that comes with the package."
        )
