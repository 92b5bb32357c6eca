"""Annotated videos: what is drawn where, on every frame, and no half-written file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av", reason="needs PyAV, the extra video")

from fer_runtime.errors import DataError  # noqa: E402
from fer_runtime.faces import Face  # noqa: E402
from fer_runtime.rows import Row  # noqa: E402
from fer_runtime.sources.video import frames  # noqa: E402
from fer_runtime.video.annotate import Annotator  # noqa: E402
from fer_runtime.video.drawing import COLOURS, Marked, draw  # noqa: E402
from tests.runtime.clips import levels, save_clip  # noqa: E402
from tests.runtime.command import Infer  # noqa: E402

LABELS = ("happy", "sad")
HEIGHT, WIDTH = 240, 320


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """21 grey frames at ten a second, with sound."""
    return save_clip(tmp_path / "in.mp4", levels(21, WIDTH, HEIGHT), rate=10, sound="aac")


def row(frame: int, left: float | None, track: int = 1) -> Row:
    """A row of a face of 60 x 80 pixels; left None for a frame without one."""
    extra = {"frame": frame, "time": frame / 10, "track": None if left is None else track}
    found = None if left is None else np.array([0.9, 0.1], np.float32)
    made = Row("in.mp4", LABELS, found, extra=extra, stream="in.mp4")
    if left is not None:
        made.face, made.number = Face((left, 100, left + 60, 180), ((0, 0),) * 5, 0.9), 1
    return made


def left_edges(path: Path, colour: tuple[int, int, int] = COLOURS[0]) -> list[int | None]:
    """Of each frame: the first column of that colour in the row through the boxes' middles."""
    found: list[int | None] = []
    for item in frames(str(path)):
        assert isinstance(item.content, np.ndarray)
        assert item.content.shape == (HEIGHT, WIDTH, 3)
        away = np.abs(item.content[140].astype(int) - colour).max(1)
        near = np.flatnonzero(away < 60)
        found.append(int(near[0]) if len(near) else None)
    return found


def annotate(clip: Path, output: Path, *pieces: list[Row]) -> None:
    with Annotator([str(clip)], output) as annotator:
        for rows in pieces:
            annotator.add(rows)


def test_boxes_move_evenly_between_the_frames_that_were_looked_at(
    clip: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.mp4"
    annotate(clip, output, [row(0, 40), row(5, 90)], [row(10, 90)])
    edges = left_edges(output)
    assert len(edges) == 21, "every frame of the original"
    expected = [40, 50, 60, 70, 80, *[90] * 6]
    assert edges[:11] == pytest.approx(expected, abs=2)
    assert edges[11:20] == pytest.approx([90] * 9, abs=2), "they stay for a second"
    assert edges[20] is None
    with av.open(str(output)) as container:
        assert container.streams.video[0].average_rate == 10 and len(container.streams.audio) == 1
        assert sum(frame.samples for frame in container.decode(audio=0)) >= 1.9 * 8000
    assert not (tmp_path / "out.mp4.partial").exists()


def test_pieces_may_end_within_a_frame_and_faces_may_go(clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mkv"
    rows = [row(0, 40), row(0, 200, 2), row(10, None), row(20, 40)]
    annotate(clip, output, rows[:1], rows[1:2], rows[2:3], rows[3:])
    first, second = (left_edges(output, COLOURS[track]) for track in (0, 1))
    assert first[:10] == pytest.approx([40] * 10, abs=2), "a face that is not found next stays"
    assert second[:10] == pytest.approx([200] * 10, abs=2)
    assert first[10:20] == second[10:20] == [None] * 10 and first[20] == pytest.approx(40, abs=2)


def test_without_rows_the_video_is_as_it_was(clip: Path, tmp_path: Path) -> None:
    annotate(clip, tmp_path / "out.mp4")
    assert left_edges(tmp_path / "out.mp4") == [None] * 21


@pytest.mark.parametrize(("sound", "ending", "copied"), [
    ("pcm_s16le", ".mp4", 0), ("pcm_s16le", ".mov", 1), ("flac", ".mov", 0), ("flac", ".mp4", 1),
])  # fmt: skip
def test_sound_is_copied_where_the_format_can_contain_it(
    tmp_path: Path, sound: str, ending: str, copied: int
) -> None:
    clip = save_clip(tmp_path / "in.mkv", levels(10, WIDTH, HEIGHT), rate=10, sound=sound)
    output = tmp_path / f"out{ending}"
    annotate(clip, output, [row(0, 40)])
    with av.open(str(output)) as container:
        assert len(container.streams.audio) == copied
        assert sum(1 for _ in container.decode(video=0)) == 10


@pytest.mark.parametrize("height", [480, 720])
def test_colours_stay_as_they_are(tmp_path: Path, height: int) -> None:
    """Of small videos as of large ones, whose colours are coded in another way."""
    clip = save_clip(tmp_path / "in.mp4", [np.full((height, 640, 3), (200, 50, 30), np.uint8)] * 2)
    annotate(clip, tmp_path / "out.mp4")
    before, after = (next(frames(str(tmp_path / name))).content for name in ("in.mp4", "out.mp4"))
    assert isinstance(before, np.ndarray) and isinstance(after, np.ndarray)
    assert np.abs(before[200].astype(int) - after[200]).max() <= 6


def test_without_h264_it_is_mpeg4(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_runtime.video.encoding.CODECS", ("missing", "mpeg4"))
    annotate(clip, tmp_path / "out.mp4", [row(0, 40)])
    assert left_edges(tmp_path / "out.mp4")[:10] == pytest.approx([40] * 10, abs=3)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"


def test_what_is_drawn() -> None:
    frame = np.full((240, 320, 3), 128, np.uint8)
    frame.flags.writeable = False
    drawn = draw(frame, [Marked((-20.0, 5.0, 50.0, 400.0), "9 happy 90 %", 9)])
    assert (drawn[100, 49] == COLOURS[1]).all(), "colours repeat after the seventh track"
    assert (drawn[220:, :100] < 20).any() and (drawn[220:, :100] > 200).any(), "the caption"
    assert (draw(frame, [])[:200] == 128).all()


def test_errors_leave_no_file(clip: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        Annotator([str(clip)], tmp_path / "out.mp4") as annotator,
    ):
        annotator.add([row(0, 40), row(10, 40)])
        assert (tmp_path / "out.mp4.partial").exists()
        raise KeyboardInterrupt
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4"]
    for sources, output, message in (
        ([str(clip)], "out.gif", "is not the name of a video that can be written"),
        ([str(clip)], "in.mp4", "is the video itself"),
        ([str(clip), "b.mp4"], "out.mp4", "one video file can be annotated"),
        ([str(tmp_path)], "out.mp4", "one video file can be annotated"),
        (["camera:lavfi:testsrc"], "out.mp4", "one video file can be annotated"),
        ([str(clip)], "no/out.mp4", "cannot be written: No such file or directory"),
    ):
        with pytest.raises(DataError, match=message), Annotator(sources, tmp_path / output):
            pass
    (tmp_path / "old.mp4").write_bytes(b"old")
    with pytest.raises(DataError, match="exists already; pass --overwrite"):
        Annotator([str(clip)], tmp_path / "old.mp4")
    with Annotator([str(clip)], tmp_path / "old.mp4", overwrite=True):
        pass
    assert (tmp_path / "old.mp4").stat().st_size > 1000


def test_fer_infer_annotates(infer: Infer, clip: Path, tmp_path: Path) -> None:
    done = infer(clip, "--faces", "--every", "5f", "--annotate", tmp_path / "out.mp4")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 5
    assert len(left_edges(tmp_path / "out.mp4")) == 21
    assert infer(clip, "--annotate", tmp_path / "b.mp4").returncode == 2
    wrong = infer(clip, "--faces", "--every", "0s")
    assert wrong.returncode in (2, 6) and b"--every is '0s'" in wrong.stderr


def test_options_that_leave_rows_out_are_refused(infer: Infer, clip: Path, tmp_path: Path) -> None:
    common = (clip, "--faces", "--annotate", tmp_path / "b.mp4", "-o", tmp_path / "b.csv")
    for more in (["--resume"], ["--shard", "1/2"]):
        done = infer(*common, *more)
        assert done.returncode == 2 and b"it needs every row" in done.stderr
    camera = infer("camera:lavfi:testsrc", "--resume", "-o", tmp_path / "c.csv")
    assert camera.returncode == 6 and b"a camera cannot be resumed" in camera.stderr
