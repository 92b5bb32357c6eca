"""What runs on the machines of a cluster: one task writes one part.

A worker process is used again for further tasks, and keeps the model that it opened.
"""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fer_runtime.parts.folder import open_folder
from fer_runtime.parts.plan import Part
from fer_runtime.parts.writing import PartWriter

if TYPE_CHECKING:
    from fer_runtime.columns import Columns
    from fer_runtime.faces.options import FaceOptions
    from fer_runtime.items import Item
    from fer_runtime.providers import ProviderOptions
    from fer_runtime.run import Run
    from fer_runtime.spec import ModelSpec


class Work(NamedTuple):
    """How the parts of one run are written; equal values are one run.

    Attributes:
        folder: where the parts go, as every machine can reach it.
        sha256: the hash of the model's file.
        name: the name of that file.
        spec: the model's spec, where its file contains none.
        provider: what it runs on.
        provider_options: how that computes.
        batch_size: images per run of the session.
        max_pixels: larger images are error rows.
        faces: how faces are found; None for whole images.
        columns: the columns of the rows.
        ending: the format of the parts.
        top_k: labels per image in JSON Lines.
        shard: the share that the parts are of.
    """

    folder: str
    sha256: str
    name: str
    spec: ModelSpec | None
    provider: str
    provider_options: ProviderOptions
    batch_size: int
    max_pixels: int
    faces: FaceOptions | None
    columns: Columns
    ending: str
    top_k: int
    shard: tuple[int, int]

    @classmethod
    def of(cls, run: Run, sha256: str) -> Work:
        """What a run that is set up asks for."""
        session = run.classifier.session
        return cls(
            folder=run.output, sha256=sha256, name=session.path.name,
            spec=session.opening["spec"], provider=session.provider,
            provider_options=session.provider_options, batch_size=run.classifier.batch_size,
            max_pixels=run.max_pixels, faces=run.faces, columns=run.columns, ending=run.ending,
            top_k=run.top_k, shard=run.sources.shard,
        )  # fmt: skip


_kept: dict[bytes, PartWriter] = {}
"""The run that this process works on, pickled -> what writes its parts."""


def write_part(work: Work, model: bytes, index: int, chunk: list[Item]) -> Part:
    """Write one part of a run, by the content of the model's file; errors as `PartWriter.write`."""
    from fer_runtime.object_stores.objects import fetched

    key = pickle.dumps(work)
    if key not in _kept:
        _kept.clear()
        _kept[key] = _writer(work, model)
    return _kept[key].write(work.shard, index, chunk, fetched(chunk))


def _writer(work: Work, model: bytes) -> PartWriter:
    """What writes the parts of a run; opens the model."""
    from fer_runtime.pipeline import Pipeline
    from fer_runtime.session import Session

    with tempfile.TemporaryDirectory(prefix="fer-model-") as folder:
        path = Path(folder) / work.name
        path.write_bytes(model)
        session = Session.open(
            path, provider=work.provider, threads=1, spec=work.spec,
            provider_options=work.provider_options,
        )  # fmt: skip
    pipeline = Pipeline(
        session, threads=1, batch_size=work.batch_size, max_pixels=work.max_pixels,
        faces=work.faces, columns=work.columns,
    )  # fmt: skip
    return PartWriter(open_folder(work.folder), pipeline, work.ending, top_k=work.top_k)
