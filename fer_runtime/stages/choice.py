"""Which stage a run has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fer_runtime.stages.whole import WholeImages

if TYPE_CHECKING:
    from fer_runtime.faces.options import FaceOptions
    from fer_runtime.session import Session
    from fer_runtime.stages.base import Stage


def stage_of(session: Session, faces: FaceOptions | None, **options: Any) -> Stage:
    """What is done to each batch; `options` are those of `Stage`.

    Raises:
        ValueError: an option of `faces` out of range.
    """
    if faces is None:
        return WholeImages(session, **options)
    from fer_runtime.faces.detector import FaceDetector
    from fer_runtime.stages.faces import FacesOfPictures

    detector = FaceDetector.load(
        provider=session.provider, threads=session.threads, min_score=faces.checked().min_score,
        provider_options=session.provider_options,
    )  # fmt: skip
    return FacesOfPictures(session, detector=detector, options=faces, **options)
