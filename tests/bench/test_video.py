"""The benchmark of videos: where the faces are, what is made, and how tracks are counted."""

from __future__ import annotations

import csv
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_bench import video
from fer_bench.face_pictures import astronaut
from fer_bench.video import HEAD, HEIGHT, RATE, WIDTH, Followed, check, infer, make, places, shown
from fer_runtime.errors import FerError

SECONDS = 10


def test_heads_are_inside_the_picture_and_never_touch() -> None:
    for frame in range(0, 60 * RATE):
        heads = places(frame / RATE)
        assert all(0 <= x <= WIDTH - HEAD and 0 <= y <= HEIGHT - HEAD for x, y in heads)
        for one, other in itertools.combinations(heads, 2):
            assert math.dist(one, other) > HEAD + 60


def test_images_take_turns_and_fade() -> None:
    face = [Image.new("RGBA", (4, 4), (level, level, level, 255)) for level in (0, 200)]
    times = {0: 0, 4.4: 0, 4.75: 100, 5.0: 200, 9.75: 100, 10.0: 0}
    for time, level in times.items():
        assert np.asarray(shown(face, time))[0, 0, 0] == pytest.approx(level, abs=1)


def rows(path: Path, tracks: dict[int, list[str]]) -> Path:
    """A CSV of a run that found faces at their places: frame -> track of each ("" for a miss)."""
    with open(path, "w", newline="", encoding="utf-8") as stream:
        names = ["frame", "track", "left", "top", "right", "bottom", "error"]
        writer = csv.DictWriter(stream, names, restval="")
        writer.writeheader()
        for frame, numbers in tracks.items():
            writer.writerow({"frame": frame})
            for (x, y), track in zip(places(frame / RATE), numbers, strict=True):
                box = {"left": x + 60, "top": y + 60, "right": x + 200, "bottom": y + 220}
                writer.writerow({"frame": frame, "track": track, **box})
    return path


def test_how_faces_were_followed(tmp_path: Path) -> None:
    tracks = {6 * n: ["1", "2", "3"] for n in range(50)}
    assert check(rows(tmp_path / "a.csv", tracks), SECONDS) == [Followed(1, 1.0)] * 3
    for frame in range(0, 60, 6):
        tracks[frame] = ["4", "2", ""]
    found = check(rows(tmp_path / "b.csv", tracks), SECONDS)
    assert found == [Followed(2, 0.8), Followed(1, 1.0), Followed(1, 0.8)]


def test_rows_out_of_order_or_missing_fail(tmp_path: Path) -> None:
    for frames in ([0, 12, 6, 297], [0, 6, 12]):
        path = rows(tmp_path / "a.csv", {frame: ["1", "2", "3"] for frame in frames})
        with pytest.raises(FerError, match="not in order, or the last ones are missing"):
            check(path, SECONDS)


def test_the_faces_of_a_short_video_are_followed(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="PyAV (extra video) is missing, which writes the video")
    path = tmp_path / "clip.mp4"
    make({0.5: path}, [[video._square(astronaut())]] * 3)
    infer(path, tmp_path / "rows.csv", "--every", "5f")
    assert check(tmp_path / "rows.csv", 1) == [Followed(1, 1.0)] * 3
