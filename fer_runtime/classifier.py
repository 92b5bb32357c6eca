"""Images in, Predictions out: the Python API of the runtime."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fer_runtime import images
from fer_runtime.columns import plain_columns
from fer_runtime.errors import FerError, ImageError
from fer_runtime.fork_lock import ForkLock
from fer_runtime.items import Item, named
from fer_runtime.pipeline import Pipeline
from fer_runtime.rows import Prediction, Row
from fer_runtime.session import Session
from fer_runtime.shipped import find_model
from fer_runtime.spec import ModelSpec

if TYPE_CHECKING:
    from fer_runtime.columns import Columns
    from fer_runtime.faces.options import FaceOptions
    from fer_runtime.providers import ProviderOptions
    from fer_runtime.stages.base import Stage
    from fer_runtime.workers.pool import WorkerPool

MAX_WAIT = 0.02
"""Seconds that `rows` lets an image wait for others to fill its batch."""


class Classifier:
    """Classifies image files, encoded bytes, uint8 arrays, Pillow images and open binary files.

    >>> from fer_runtime import Classifier
    >>> classifier = Classifier.load("compact_cnn")  # comes with the package
    >>> pixels = np.full((48, 48), 128, np.uint8)  # or a path: classifier.predict("face.jpg")
    >>> prediction = classifier.predict(pixels)
    >>> prediction.label in classifier.spec.labels
    True

    A prediction is about the apparent expression in a picture, not about what a person feels.
    Threads may share a classifier: each call works on its own buffers. It works in a forked process
    too (fork while no other thread is in a call), is pickled as its configuration (the model is
    opened again where it is unpickled), and is a context manager that closes it; not closing it is
    fine.

    Args:
        session: an opened model.
        batch_size: images per run of the session in `predict_batch`, `stream` and `rows`.
        threads: threads that decode and run batches there; default: the session's.
        workers: processes that do it instead of threads, for many images on many cores. They are
            started by the first call that needs them, and end with `close`, or with the program.
        min_probability: a less probable prediction gets the label "uncertain".

    Raises:
        ValueError: `batch_size` or `threads` below 1, `workers` below 0, or `min_probability` not
            from 0 to 1.
        DataError: `min_probability` for a model that itself has a label "uncertain".
    """

    def __init__(
        self,
        session: Session,
        *,
        batch_size: int = 32,
        threads: int | None = None,
        workers: int = 0,
        min_probability: float = 0.0,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size}; it must be at least 1")
        if threads is not None and threads < 1:
            raise ValueError(f"threads={threads}; it must be at least 1")
        if workers < 0:
            raise ValueError(f"workers={workers}; it must be 0 or more")
        self.session = session
        self.batch_size = batch_size
        self.workers = workers
        self._columns = plain_columns(session.spec.labels, min_probability)
        self._pool: WorkerPool | None = None
        self.threads = threads or session.threads
        self._single: Session | None = None
        self._face_stages: dict[FaceOptions, Stage] = {}
        self._lock = ForkLock()

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        provider: str = "auto",
        threads: int | None = None,
        batch_size: int = 32,
        spec: ModelSpec | None = None,
        workers: int = 0,
        provider_options: ProviderOptions | None = None,
        min_probability: float = 0.0,
    ) -> Classifier:
        """Open a model.

        Args:
            path: an ONNX file, or the name of a shipped model ("compact_cnn", "accurate_cnn",
                or "compact_cnn.int8"); default: what `find_model` finds.
            provider: "cpu", "cuda", "openvino" or "tensorrt" (or an error, never a silent
                fallback), or "auto".
            threads: CPU threads; default: the cores that this process may use.
            batch_size: images per run of the session.
            spec: only for an ONNX file that contains no ModelSpec.
            workers: processes for many images, as for `Classifier`.
            provider_options: how the provider computes; default: `ProviderOptions()`.
            min_probability: a less probable prediction gets the label "uncertain".

        Raises:
            ModelFileError: a file that is missing, broken, not ONNX, or contradicts its spec.
            ModelSpecError: a file without a spec where none was given, or with another one.
            ProviderError: a provider that cannot run here, or does not take one of the options.
            ValueError: an option out of range.
        """
        session = Session.open(
            find_model(path), provider=provider, threads=threads, spec=spec,
            provider_options=provider_options,
        )  # fmt: skip
        return cls(session, batch_size=batch_size, workers=workers, min_probability=min_probability)

    def __enter__(self) -> Classifier:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        return _opened, (
            self.session, self.batch_size, self.threads, self.workers, self.min_probability,
        )  # fmt: skip

    def warm_up(self, batch_size: int | None = None) -> None:
        """Run once on zeros, so that the first image does not pay for what is made at first.

        Args:
            batch_size: images of that run; default: 1, as `predict` has it.

        Raises:
            ValueError: `batch_size` below 1.
        """
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size={batch_size}; it must be at least 1")
        self.session.warm_up(batch_size or 1)

    @property
    def spec(self) -> ModelSpec:
        """What the model expects, and its labels."""
        return self.session.spec

    @property
    def min_probability(self) -> float:
        """What a prediction's probability must be at least; others have the label "uncertain"."""
        return self._columns.min_probability

    @property
    def provider(self) -> str:
        """The provider that runs the model, as "cpu" or "cuda"."""
        return self.session.provider

    def predict(self, image: images.Source) -> Prediction:
        """Classify one image.

        Args:
            image: a path, the bytes of an image file, an open binary file, a Pillow image, or a
                uint8 array (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4); it is never written to.

        Raises:
            ImageError: an image that cannot be read or decoded.
        """
        pixels = self._pixels(image)
        probabilities = self.session.run(pixels[None]).probabilities[0]
        return Prediction.of(self.spec.labels, probabilities, self.min_probability)

    def _pixels(self, image: images.Source) -> images.Pixels:
        """(C, H, W) uint8 as the model takes it; raises ImageError that names a file."""
        try:
            return images.load(image, self.spec.input)
        except ImageError as error:
            if isinstance(image, str | os.PathLike):
                raise ImageError(f"{os.fspath(image)}: {error}") from None
            raise

    def predict_batch(self, many: Iterable[images.Source]) -> list[Prediction]:
        """Classify images of any kind and number -> one Prediction each, in order.

        Raises:
            ImageError: naming the first image that cannot be read.
        """
        return [row.prediction() for rows in self._batches(many) for row in rows]

    def stream(self, many: Iterable[images.Source]) -> Iterator[Prediction]:
        """Like `predict_batch`, but lazily, for any number of images: reads some batches ahead."""
        return (row.prediction() for row in self.rows(many))

    def rows(
        self, many: Iterable[Item | images.Source], *, max_wait: float = MAX_WAIT
    ) -> Iterator[Row]:
        """Like `stream`, but one Row per image: one that cannot be read is a row with an error.

        `pandas.DataFrame(classifier.rows(paths))` is a table with the columns of a CSV file.

        Args:
            many: images of any kind, of a generator too; it is read on a thread of its own.
            max_wait: seconds that an image waits for others to fill its batch. Rows are handed
                over as soon as they are ready. Worker processes get full batches in any case.
        """
        batches = self._batches(many) if self.workers else None
        for rows in batches or self.pipeline().run(many, max_wait=max_wait):
            yield from rows

    def close(self) -> None:
        """End the worker processes, if there are any; the next call would start others."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None and pool.process == os.getpid():  # of a parent that forked it is not
            pool.close()

    def _batches(self, many: Iterable[Item | images.Source]) -> Iterator[Sequence[Row]]:
        """The rows of full batches, from threads or worker processes."""
        pipeline = self.pipeline()
        if not self.workers:
            yield from pipeline.run(many)
            return
        from fer_runtime.workers.running import Running

        running = Running(pipeline, count=self.workers)
        with self._lock:
            if self._pool is None or self._pool.process != os.getpid():
                self._pool = running.pool()
            pool = self._pool
        yield from running.rows_of(pool, many)

    def features(self, many: Iterable[images.Source]) -> npt.NDArray[np.float32]:
        """Images of any kind -> (N, D) float32: what the model's last layer takes, one row each.

        Close features say that pictures look alike to the model, and nothing else.

        Raises:
            ModelFileError: the file has no output `features`; `fer-export onnx best.pt --features`
                makes one that has.
            ImageError: naming the first image that cannot be read.
        """
        found: list[npt.NDArray[np.float32]] = []
        sources = iter(many)
        while batch := [self._pixels(image) for image in islice(sources, self.batch_size)]:
            found.append(self.session.features(np.stack(batch)))
        if not found:  # a graph may not take an empty batch
            blank = np.zeros((1, *self.spec.input.shape), np.uint8)
            return self.session.features(blank)[:0]
        return np.concatenate(found)

    def predict_faces(
        self, image: images.Source, *, options: FaceOptions | None = None
    ) -> list[Prediction]:
        """Find the faces in a photograph and classify each -> predictions, the largest face first.

        >>> classifier = Classifier.load("compact_cnn")
        >>> [found.face.box for found in classifier.predict_faces(np.zeros((200, 300), np.uint8))]
        []

        Args:
            image: as `predict`.
            options: size of detection, smallest face and score; default: `FaceOptions()`.

        Returns:
            Predictions with `face` (box, landmarks, score, in pixels of the upright picture); none
            where there is no face.

        Raises:
            ImageError: an image that cannot be read or decoded.
            ValueError: an option out of range.
        """
        from fer_runtime.faces.options import FaceOptions

        chosen = (options or FaceOptions()).checked()
        with self._lock:
            if chosen not in self._face_stages:
                pipeline = Pipeline(self.session, threads=1, faces=chosen, columns=self._columns)
                self._face_stages[chosen] = pipeline.stage
        rows = self._face_stages[chosen].rows(list(named([image])))
        return [row.prediction() for row in rows if row.note is None]

    def pipeline(
        self,
        *,
        max_pixels: int = images.MAX_PIXELS,
        faces: FaceOptions | None = None,
        columns: Columns | None = None,
        thumbnails: bool = False,
    ) -> Pipeline:
        """What streams many images through this model, on every core; see `Pipeline`."""
        return Pipeline(
            self._pipeline_session(), threads=self.threads, batch_size=self.batch_size,
            max_pixels=max_pixels, faces=faces, columns=columns or self._columns,
            thumbnails=thumbnails,
        )  # fmt: skip

    def _pipeline_session(self) -> Session:
        """A session of one thread: n threads that call it are faster than one that uses n."""
        if self.session.threads == 1 or not self.session.in_workers:
            return self.session
        with self._lock:
            if self._single is None:
                try:
                    self._single = self.session.reopen(threads=1)
                except FerError:  # the file is gone meanwhile; the open session runs all the same
                    self._single = self.session
            return self._single


def _opened(
    session: Session, batch_size: int, threads: int, workers: int, min_probability: float
) -> Classifier:
    """A classifier from its pickle."""
    return Classifier(
        session, batch_size=batch_size, threads=threads, workers=workers,
        min_probability=min_probability,
    )  # fmt: skip
