"""YuNet's outputs -> faces: boxes, landmarks and suppression, as OpenCV computes them.

The same arithmetic in the same precision as `FaceDetectorYN` in OpenCV's
modules/objdetect/src/face_detect.cpp and `NMSBoxes` in modules/dnn/src/nms.cpp, on whole arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fer_runtime.faces.face import Face

Floats = npt.NDArray[np.float32]

STRIDES = (8, 16, 32)
"""Pixels between the cells of the three grids that the model predicts on."""
OVERLAP = np.float32(0.3)
"""A box that shares more than this part of the union with a better one is dropped."""
MOST = 5000
"""So many candidates, the best ones, take part in the suppression."""


class Candidates(NamedTuple):
    """N faces before suppression, float32; coordinates in pixels of the model's input."""

    boxes: Floats
    """(N, 4): left, top, width, height."""
    landmarks: Floats
    """(N, 5, 2): x, y."""
    scores: Floats
    """(N,): 0 to 1."""


_NONE = Candidates(
    np.empty((0, 4), np.float32), np.empty((0, 5, 2), np.float32), np.empty(0, np.float32)
)


def decode(
    outputs: Mapping[str, Floats], columns: Mapping[int, int], min_score: float
) -> Candidates:
    """What the model found with a score of at least `min_score`, grid by grid, row by row.

    A cell predicts the box's centre as an offset in cells, its width and height as logarithms, the
    landmarks as offsets in cells, and the score as the geometric mean of "is a face" and "is an
    object".

    Args:
        outputs: (1, cells, 1), (1, cells, 1), (1, cells, 4) and (1, cells, 10) float32 under
            "cls_8", "obj_8", "bbox_8" and "kps_8", and so for the other strides.
        columns: cells in a row of each stride's grid.
        min_score: 0 to 1.
    """
    least = np.float32(min_score)
    # Both factors are at most 1, so neither is below the square; nearly all cells are.
    bound = 0.99 * least**2 if least > 0 else -np.inf
    parts = []
    for stride in STRIDES:
        found = np.flatnonzero(outputs[f"obj_{stride}"][0, :, 0] >= bound)
        if len(found):
            parts.append(_decode_cells(outputs, found, stride, columns[stride], least))
    if len(parts) < 2:
        return parts[0] if parts else _NONE
    return Candidates(*map(np.concatenate, zip(*parts, strict=True)))


def _decode_cells(
    outputs: Mapping[str, Floats],
    cells: npt.NDArray[np.intp],
    stride: int,
    columns: int,
    least: np.float32,
) -> Candidates:
    kinds = ("cls", "obj", "bbox", "kps")
    faces, objects, boxes, points = (outputs[f"{kind}_{stride}"][0, cells] for kind in kinds)
    scores = np.sqrt(faces[:, 0].clip(0, 1) * objects[:, 0].clip(0, 1))
    good = scores >= least
    row, column = np.divmod(cells[good], columns)
    cell = np.stack([column, row], 1).astype(np.float32)
    step = np.float32(stride)
    size = np.exp(boxes[good, 2:]) * step
    corner = (cell + boxes[good, :2]) * step - size / 2
    landmarks = (points[good].reshape(-1, 5, 2) + cell[:, None]) * step
    return Candidates(np.concatenate([corner, size], 1), landmarks, scores[good])


def suppress(candidates: Candidates, min_score: float) -> npt.NDArray[np.intp]:
    """Indices of the candidates to keep, the best first: no two of them overlap too much.

    OpenCV compares boxes that are truncated to whole pixels. Where there are several candidates,
    it also drops those whose score is exactly `min_score`.
    """
    boxes, _, scores = candidates
    if len(scores) < 2:
        return np.arange(len(scores))
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > np.float32(min_score)][:MOST]
    left, top, width, height = np.trunc(boxes[order].T).astype(np.float64)
    right, bottom, area = left + width, top + height, width * height
    kept, rest = [], np.arange(len(order))
    while len(rest):
        best, rest = rest[0], rest[1:]
        kept.append(best)
        across = np.minimum(right[best], right[rest]) - np.maximum(left[best], left[rest])
        down = np.minimum(bottom[best], bottom[rest]) - np.maximum(top[best], top[rest])
        shared = np.maximum(across, 0) * np.maximum(down, 0)
        union = area[best] + area[rest] - shared
        distance = 1 - shared / np.where(union > 0, union, 1)
        distance[union <= 0] = 0  # two boxes without an area are taken for the same one
        rest = rest[1 - distance.astype(np.float32) <= OVERLAP]
    return order[kept]


def to_faces(candidates: Candidates, kept: npt.NDArray[np.intp]) -> tuple[Face, ...]:
    """The candidates `kept` as plain numbers, in that order."""
    return tuple(
        Face((left, top, left + width, top + height), tuple(map(tuple, points)), score)
        for (left, top, width, height), points, score in zip(
            candidates.boxes[kept].tolist(),
            candidates.landmarks[kept].tolist(),
            candidates.scores[kept].tolist(),
            strict=True,
        )
    )
