"""One call for a whole run: sources in, an output file, and a result value.

`fer-infer` is this function with options; a notebook writes a resumable Parquet file with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from fer_runtime.classifier import Classifier
from fer_runtime.columns import TRACK, Columns
from fer_runtime.errors import ImageError
from fer_runtime.images import MAX_PIXELS
from fer_runtime.images.photographs import Sample
from fer_runtime.interrupts import InterruptsHeld
from fer_runtime.machine import usable_threads
from fer_runtime.parts.outputs import (
    PART_IMAGES,
    default_ending,
    is_folder_of_parts,
    require_one_file,
    whole_batches,
)
from fer_runtime.rows import before_error
from fer_runtime.run_batches import RunBatches
from fer_runtime.run_checks import check
from fer_runtime.run_identity import identity_of
from fer_runtime.run_options import Counts, Observer, RunResult
from fer_runtime.session import Session
from fer_runtime.shipped import find_model
from fer_runtime.sinks.encoded import Encoded, Rows
from fer_runtime.sinks.resume import (
    Finished,
    check_complete,
    check_complete_record,
    is_complete,
    remaining,
    remove_record,
)
from fer_runtime.sinks.table import STDOUT, open_sink, sink_of
from fer_runtime.sources.combined import Sources
from fer_runtime.sources.table import SourceOptions
from fer_runtime.spec import ModelSpec

if TYPE_CHECKING:
    from fer_runtime.faces.options import FaceOptions
    from fer_runtime.pipeline import Pipeline
    from fer_runtime.providers import ProviderOptions
    from fer_runtime.run_options import RunOptions
    from fer_runtime.sinks.base import Sink


class Run:
    """A run that is set up: everything is checked and opened, nothing classified yet.

    `infer` is the call for nearly everyone. This class is for programs that show progress: set it
    up, print what was chosen, `execute` it, and read `result` also after an interruption.

    Args and errors are those of `infer`.
    """

    def __init__(
        self,
        sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Sources,
        output: str | os.PathLike[str] = STDOUT,
        *,
        model: str | os.PathLike[str] | None = None,
        spec: ModelSpec | None = None,
        provider: str = "auto",
        threads: int | None = None,
        batch_size: int = 32,
        max_pixels: int = MAX_PIXELS,
        shard: tuple[int, int] = (1, 1),
        on_error: str = "row",
        ending: str | None = None,
        top_k: int = 3,
        min_probability: float = 0.0,
        resume: bool = False,
        overwrite: bool = False,
        faces: bool | FaceOptions = False,
        smooth: float = 0.0,
        reading: SourceOptions | None = None,
        thumbnails: bool = False,
        workers: int | None = None,
        provider_options: ProviderOptions | None = None,
        part_images: int = PART_IMAGES,
        ray: str | None = None,
    ) -> None:
        self.sources = _sources(sources, shard, reading)
        self.output = os.fspath(output)
        self.faces = _face_options(faces)
        self.on_error, self.resume, self.top_k, self.smooth = on_error, resume, top_k, smooth
        self.in_parts, self.ray = is_folder_of_parts(self.output), ray
        self.ending = ending or default_ending(self.output)
        check(self, overwrite=overwrite)
        kind = sink_of(self.ending)
        self._counts, self._sample = Counts(), Sample()
        self.finished = Finished()
        self.complete = resume and not self.in_parts and is_complete(self.output)
        if self.complete:
            self.finished = kind.read_finished(Path(self.output))
            check_complete(self.output, self.finished, self.sources)
        session = Session.open(
            find_model(model), provider=provider, threads=1, spec=spec,
            provider_options=provider_options,
        )  # fmt: skip
        self.classifier = Classifier(
            session, batch_size=batch_size, threads=threads or usable_threads()
        )
        self.max_pixels, self.columns = max_pixels, self._columns(min_probability)
        self.pipeline = self._pipeline(thumbnails)
        self.part_images = whole_batches(part_images, self.pipeline.items_at_once)
        self._repeated: int | None = None
        self._batches = RunBatches(
            self.pipeline, workers=workers, output=(self.ending, top_k), live=self.sources.live,
            stop_at_error=on_error == "fail", smooth=smooth,
        )  # fmt: skip
        resumable = self.output != STDOUT and kind.resumable
        self.identity = identity_of(self) if resumable else None
        if self.complete:
            self._check_record()

    @property
    def result(self) -> RunResult:
        """What was done so far."""
        return RunResult(
            output=self.output,
            rows=self._counts.rows,
            errors=self._counts.errors,
            pictures=self._counts.pictures,
            faces=self._counts.faces,
            skipped=self.sources.skipped,
            finished_rows=self.finished.rows,
            finished_errors=self.finished.errors,
            seconds=self._counts.seconds,
            model=self.classifier.session.path,
            provider=self.classifier.provider,
            arithmetic=self.classifier.session.arithmetic,
            complete=self.complete,
            processes=self._batches.processes,
        )

    def execute(
        self,
        observers: Iterable[Observer] = (),
        *,
        progress: Callable[[int], None] | None = None,
    ) -> RunResult:
        """Classify everything and write the output; errors as `infer`.

        Args:
            observers: objects whose `add(rows)` is called with the rows of each batch.
            progress: called with the number of rows of each batch that was written.
        """
        if self.complete:
            return self.result
        watching = list(observers)
        if self.in_parts:
            self._execute_in_parts(progress)
            return self.result
        with self._counts, self._open() as sink:
            self.finished = sink.finished
            rest = remaining(self.sources, sink.finished, self.pipeline.items_at_once)
            items = self._sample.taken_from(self.sources.read_ahead(rest.items))
            self._repeated = None if sink.finished.rows else 0
            batches = self._batches.run(
                items, only_written=not watching, here=lambda: self._repeated != 0
            )
            # A reader of standard output may wait for ever, and so might Ctrl-C.
            whole = nullcontext() if sink.to_stdout else InterruptsHeld()
            for rows in self._new(batches, rest.repeated):
                before = self._counts.rows
                with whole:
                    self._write(sink, rows)
                if not isinstance(rows, Encoded):
                    for observer in watching:
                        observer.add(rows)
                if progress is not None:
                    progress(self._counts.rows - before)
            if self.sources.shard == (1, 1):
                self._require_images()
        return self.result

    def _execute_in_parts(self, progress: Callable[[int], None] | None) -> None:
        """Write the parts of the folder that are missing."""
        from fer_runtime.parts.running import execute

        with self._counts:
            self.finished = execute(self, self._counts, progress)
            if self.sources.shard == (1, 1):
                self._require_images()

    def photographs(self) -> tuple[int, int]:
        """How many of the first images are much larger than the input, and of how many.

        The model expects a crop of one face, which a photograph is not; (0, 0) with `faces`.
        """
        if self.faces is not None:
            return 0, 0
        return self._sample.much_larger(self.classifier.spec.input)

    def _check_record(self) -> None:
        """The complete output must be of this very run."""
        check_complete_record(self.output, self.identity or {})
        remove_record(Path(f"{self.output}.partial"))  # a kill may have left it

    def _columns(self, min_probability: float) -> Columns:
        """Those of the model, of the sources, and of faces that are followed through a video."""
        leading, kept = self.sources.columns()
        faces = self.faces is not None
        if faces and leading:
            leading = (*leading, TRACK)
            require_one_file(self.output)
        return Columns(
            self.classifier.spec.labels, faces=faces, leading=leading, kept=kept,
            min_probability=min_probability,
        )  # fmt: skip

    def _pipeline(self, thumbnails: bool) -> Pipeline:
        return self.classifier.pipeline(
            max_pixels=self.max_pixels, faces=self.faces, columns=self.columns,
            thumbnails=thumbnails,
        )  # fmt: skip

    def _open(self) -> Sink:
        return open_sink(
            self.output, self.columns, ending=self.ending, top_k=self.top_k,
            run=self.identity, resume=self.resume,
        )  # fmt: skip

    def _new(self, batches: Iterable[Rows], count_repeated: Callable[[], int]) -> Iterator[Rows]:
        """Batches without the first rows, which are finished already."""
        for batch in batches:
            if isinstance(batch, Encoded):
                yield batch
                if batch.failure is not None:
                    raise ImageError(batch.failure)
                continue
            if self._repeated is None:
                self._repeated = count_repeated()
            rows = batch[self._repeated :] if self._repeated else batch
            self._repeated = max(0, self._repeated - len(batch))
            if self.on_error == "fail":
                good, failure = before_error(rows)
                if failure is not None:
                    yield good
                    raise ImageError(failure)
            yield rows

    def _write(self, sink: Sink, rows: Rows) -> None:
        """Write the rows, and only then count them."""
        if isinstance(rows, Encoded):
            sink.append(rows.payload)
            self._counts.add_counted(*rows.counts)
        else:
            sink.write(rows)
            self._counts.add(rows)

    def _require_images(self) -> None:
        if not self._counts.rows + self.finished.rows:
            raise self.sources.no_images()


def _sources(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Sources,
    shard: tuple[int, int],
    reading: SourceOptions | None,
) -> Sources:
    if isinstance(sources, Sources):
        return sources
    if isinstance(sources, str | os.PathLike):
        sources = [sources]  # a string is a sequence too, of its letters
    return Sources(sources, shard=shard, options=reading)


def infer(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Sources,
    output: str | os.PathLike[str] = STDOUT,
    *,
    observers: Iterable[Observer] = (),
    **options: Unpack[RunOptions],
) -> RunResult:
    """Classify everything in `sources` and write a row per image, or per face, to `output`.

    >>> result = infer([face], folder / "rows.parquet", resume=True)
    >>> result.rows, result.errors
    (1, 0)

    A file appears under its name when it is complete; until then it is `NAME.partial`, which
    `resume=True` continues after a crash. Several processes may run side by side with different
    outputs, one `shard` each.

    Args:
        sources: one or several of files, folders, globs, archives and "-" (see
            `fer_runtime.sources.Sources`).
        output: FILE.csv, .jsonl, .parquet or .txt; "-" is standard output. A name that ends in a
            slash, here or in an object store, is a folder of parts, each complete as it appears.
        observers: objects whose `add(rows)` is called with the rows of each batch, such as
            `fer_runtime.evaluation.Evaluation`.
        **options: keyword options, with their defaults:

            - model=None: an ONNX file or a shipped model's name; None as `find_model` does.
            - spec=None: a ModelSpec for an ONNX file that contains none.
            - provider="auto": "cpu", "cuda", "openvino", "tensorrt" or "auto".
            - provider_options=None: how the provider computes; a `fer_runtime.ProviderOptions`.
            - threads=None: CPU threads; None for all that this process may use.
            - batch_size=32: images per run of the session.
            - max_pixels=50_000_000: larger images are error rows.
            - shard=(1, 1): (index, count), every count-th image from the index-th on.
            - on_error="row": an unreadable image is a row with an error; "fail" raises instead.
            - ending=None: the format, where it is not that of the file's name.
            - top_k=3: labels per image in text and JSON Lines.
            - min_probability=0: a less probable prediction gets the label "uncertain".
            - resume=False: continue NAME.partial, or check that a complete file is of this run.
            - overwrite=False: replace an output that exists.
            - faces=False: find the faces in each image and write a row for each; True, or a
              `fer_runtime.FaceOptions` with another size of detection, smallest face or score.
            - smooth=0: seconds over which the probabilities of a face in a video are averaged.
            - reading=None: a `fer_runtime.SourceOptions`: which frames of a video, which columns
              of a table.
            - workers=None: worker processes; 0 for none, None for as many as pay on a long run.
            - part_images=10_240: images of each part, where the output is a folder.
            - ray=None: the address of a Ray cluster that writes the parts, "auto" or "local".
            - thumbnails=False: rows carry a small picture, for observers such as a gallery.

    Returns:
        A value with the rows, errors, seconds and more of this call.

    Raises:
        DataError: sources without images, or an output that cannot be written or exists already.
        ImageError: an unreadable image, with on_error="fail".
        ModelFileError, ModelSpecError, ProviderError: as `Classifier.load`.
    """
    return Run(sources, output, **options).execute(observers)


def _face_options(faces: bool | FaceOptions) -> FaceOptions | None:
    if not faces:
        return None
    from fer_runtime.faces.options import FaceOptions

    return FaceOptions() if isinstance(faces, bool) else faces.checked()
