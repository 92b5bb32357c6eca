"""The model that is served, and when a changed file may take its place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fer_runtime.doctor import golden
from fer_runtime.errors import ModelFileError
from fer_runtime.hashing import file_sha256
from fer_runtime.serve.answers import Writer
from fer_runtime.session import Session
from fer_runtime.stages.choice import stage_of

if TYPE_CHECKING:
    from fer_runtime.faces.options import FaceOptions
    from fer_runtime.serve.batching import MicroBatches
    from fer_runtime.stages.faces import FacesOfPictures

NOTHING = 1e-3
"""Logits that vary less than this say nothing."""


class Served:
    """An opened model, with the detector that finds the faces for it.

    Args:
        session: the model.
        sha256: the hash of its file.
        faces: how faces are found; None where images are crops of one face.
        max_pixels: larger images are refused.
        min_probability: a less probable prediction gets the label "uncertain".

    Raises:
        ValueError: `min_probability` is not from 0 to 1.
        DataError: it is more than 0, and the model itself has a label "uncertain".
    """

    def __init__(
        self,
        session: Session,
        sha256: str,
        *,
        faces: FaceOptions | None,
        max_pixels: int,
        min_probability: float = 0.0,
    ) -> None:
        self.session, self.sha256 = session, sha256
        self.name = session.path.name.removesuffix(".onnx")
        self.labels = session.spec.labels
        self.writer = Writer(self.name, self.labels, min_probability)
        self.pictures: FacesOfPictures | None = None
        if faces is not None:
            stage: Any = stage_of(session, faces, batch_size=1, max_pixels=max_pixels)
            self.pictures = stage
        self.batches: MicroBatches | None = None

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        faces: FaceOptions | None,
        max_pixels: int,
        min_probability: float = 0.0,
        **opening: Any,
    ) -> Served:
        """Open a file; errors and `opening` as `Session.open`."""
        before = file_sha256(path) if path.is_file() else ""
        session = Session.open(path, **opening)
        if file_sha256(path) != before:
            raise ModelFileError(f"{path} was replaced while it was opened; try again.")
        return cls(
            session, before, faces=faces, max_pixels=max_pixels, min_probability=min_probability
        )


def require_verdict(session: Session) -> None:
    """Require that a file contains the verdict of its export, and that it passed.

    Raises:
        ModelFileError: there is none, or another one.
    """
    parity = session.spec.parity
    if not parity:
        raise ModelFileError(
            f"{session.path} contains no verdict of an export: it may compute anything. "
            "`fer-export onnx` writes one."
        )
    if parity.get("passed") is not True:
        raise ModelFileError(f"{session.path}: its export did not pass the comparison.")


def require_golden(session: Session) -> None:
    """Require that a model computes here what it computed where it was exported.

    Raises:
        ModelFileError: logits that are not finite, all the same, or other than they were.
    """
    found = golden.logits(session)
    if not np.isfinite(found).all():
        raise ModelFileError(f"{session.path}: its logits of made pictures are not finite.")
    if found.std() < NOTHING:
        raise ModelFileError(f"{session.path}: its logits are the same for every picture.")
    kept = golden.kept(session.spec)
    if kept is None and session.path.parent == golden.FILE.parent:
        name = session.path.name.removesuffix(".onnx")
        kept = golden.read()[name], golden.TOLERANCE[name]
    if kept is None:
        return
    expected, tolerance = kept
    difference = golden.difference(found, expected)
    if difference > tolerance:
        raise ModelFileError(
            f"{session.path}: its logits of made pictures differ by {difference:.3g} standard "
            f"deviations from those that it had where it was exported; {tolerance:g} are allowed."
        )
