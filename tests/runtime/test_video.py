"""Videos: which frames, when, which way up, and what becomes of damaged and other files."""

from __future__ import annotations

import os
import subprocess
import sys
import wave
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_runtime.errors import DataError
from fer_runtime.items import Item
from fer_runtime.sources.video import frames
from fer_runtime.video.sampling import Every, Sampler, parse_every

pytest.importorskip("av", reason="PyAV (extra video) is missing, which decodes videos")
from tests.runtime.clips import levels, number_of, save_clip, turn


def numbers(items: list[Item]) -> list[int]:
    """Which frame of `levels` each item shows."""
    return [number_of(item.content) for item in items]  # type: ignore[arg-type]


def extra(items: list[Item], name: str) -> list[float]:
    return [item.extra[name] for item in items if item.extra is not None]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds at 30 frames a second."""
    return save_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", levels(60))


def test_every_frame_with_its_number_and_time(clip: Path) -> None:
    items = list(frames(str(clip)))
    assert numbers(items) == extra(items, "frame") == list(range(60))
    assert extra(items, "time") == pytest.approx([n / 30 for n in range(60)])
    names = {(item.name, item.path, item.stream, item.error) for item in items}
    assert names == {(str(clip), str(clip), str(clip), None)}
    content = items[0].content
    assert isinstance(content, np.ndarray)
    assert content.shape == (48, 64, 3) and content.dtype == np.uint8
    assert content.flags.c_contiguous


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        ("10f", [0, 10, 20, 30, 40, 50]),
        ("60f", [0]),
        ("0.5s", [0, 15, 30, 45]),
        ("0.2s", [0, 6, 12, 18, 24, 30, 36, 42, 48, 54]),
        ("0.35s", [0, 11, 21, 32, 42, 53]),  # 0.35 is after frame 10 (0.333), before 11 (0.367)
        ("9s", [0]),
        (Every(frames=25), [0, 25, 50]),
    ],
)
def test_every_so_often(clip: Path, every: str | Every, expected: list[int]) -> None:
    items = list(frames(str(clip), every))
    assert numbers(items) == extra(items, "frame") == expected


@pytest.mark.parametrize(
    ("name", "codec", "form"),
    [
        ("a.mkv", "libx264", None),
        ("a.mov", "libx264", None),
        ("a.m4v", "libx264", "mp4"),
        ("a.ts", "libx264", "mpegts"),
        ("a.flv", "libx264", "flv"),
        ("a.avi", "mpeg4", None),
        ("a.mpg", "mpeg2video", "mpeg"),
        ("a.wmv", "wmv2", "asf"),
        ("a.webm", "libvpx-vp9", None),
    ],
)
def test_kinds_of_files(tmp_path: Path, name: str, codec: str, form: str | None) -> None:
    path = save_clip(tmp_path / name, levels(24), codec=codec, form=form)
    items = list(frames(str(path), "0.2s"))
    assert [item.error for item in items] == [None] * 4
    assert numbers(items) == [0, 6, 12, 18]
    assert extra(items, "time") == pytest.approx([0, 0.2, 0.4, 0.6], abs=0.001)


def test_a_variable_frame_rate_is_sampled_by_time(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.45, 0.5, 0.52, 1.3, 1.49, 2.6, 2.61]
    path = save_clip(tmp_path / "variable.mp4", levels(9), times=times)
    items = list(frames(str(path), "0.5s"))
    assert extra(items, "time") == pytest.approx([0.0, 0.5, 1.3, 2.6])
    assert numbers(items) == extra(items, "frame") == [0, 3, 5, 7]


def test_times_are_from_the_start_of_the_video(tmp_path: Path) -> None:
    """As in a recording cut out of a longer one."""
    path = save_clip(tmp_path / "late.mkv", levels(3), times=[100.0, 100.5, 101.0])
    assert extra(list(frames(str(path), "0.5s")), "time") == pytest.approx([0, 0.5, 1.0])


CORNERS = np.zeros((48, 64, 3), np.uint8)
CORNERS[:24, :32] = 200, 30, 30
CORNERS[:24, 32:] = 30, 200, 30
CORNERS[24:, :32] = 30, 30, 200
CORNERS[24:, 32:] = 220, 220, 220


@pytest.mark.parametrize(
    ("how", "upright"),
    [
        ("quarter right", np.rot90(CORNERS, -1)),
        ("quarter left", np.rot90(CORNERS)),
        ("half", np.rot90(CORNERS, 2)),
        ("mirrored", CORNERS[:, ::-1]),
    ],
)
def test_frames_are_upright(tmp_path: Path, how: str, upright: np.ndarray) -> None:
    path = turn(save_clip(tmp_path / "turned.mp4", [CORNERS] * 2), how)
    for item in frames(str(path)):
        assert isinstance(item.content, np.ndarray) and item.content.shape == upright.shape
        difference = np.abs(item.content.astype(int) - upright)
        assert np.median(difference) < 4 and difference[4:-4, 4:-4].mean() < 12


def test_pixels_that_are_not_square_are_made_square(tmp_path: Path) -> None:
    path = save_clip(tmp_path / "dv.mp4", levels(2, 64, 48), aspect=Fraction(3, 2))
    assert [item.content.shape for item in frames(str(path))] == [(48, 96, 3)] * 2  # type: ignore[union-attr]


def test_large_videos_are_bt709_where_the_file_does_not_say(tmp_path: Path) -> None:
    """Players assume so. Written as BT.601, red (200, 50, 30) is then shown as (213, 63, 27)."""
    red = np.full((720, 1280, 3), (200, 50, 30), np.uint8)
    path = save_clip(tmp_path / "red.mp4", [red] * 2)
    shown = next(frames(str(path))).content
    assert isinstance(shown, np.ndarray)
    assert shown[300, 300].tolist() == pytest.approx([213, 63, 27], abs=3)


def test_a_file_that_was_cut_off_ends_with_what_is_missing(clip: Path, tmp_path: Path) -> None:
    whole = save_clip(tmp_path / "whole.mkv", levels(75))
    path = tmp_path / "cut.mkv"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    *items, last = frames(str(path))
    assert 10 < len(items) < 45
    assert numbers(items[:10]) == list(range(10))
    where = f"{(len(items) - 1) / 30:.1f} s (frame {len(items) - 1})"
    assert last.content is None and last.error is not None
    assert f"the video cannot be decoded beyond {where}" in last.error
    assert "its header announces 2.5 s" in last.error
    assert last.stream == str(path) and extra([last], "frame") == [len(items) - 1]


def test_damage_in_the_middle_is_passed_over_and_reported(clip: Path, tmp_path: Path) -> None:
    content = bytearray(clip.read_bytes())
    start = content.index(b"mdat") + 4
    middle = start + (content.index(b"moov") - start) // 2
    content[middle : middle + 60] = bytes(range(60))
    path = tmp_path / "damaged.mp4"
    path.write_bytes(content)
    *items, last = frames(str(path))
    assert last.error is not None and "the video is damaged: " in last.error
    assert "could not be decoded, the first near " in last.error
    times = extra(items, "time")
    assert times == sorted(times) and times[-1] > 1.9, "what follows the damage is read"
    assert numbers(items[:10]) == list(range(10))


def test_too_large_frames_are_items_with_an_error(clip: Path) -> None:
    items = list(frames(str(clip), "30f", max_pixels=3000))
    assert [item.content for item in items] == [None, None]
    assert "64 x 48 pixels is over the limit of 3,000" in str(items[0].error)


def test_names_that_are_not_utf8_or_look_like_addresses(clip: Path, tmp_path: Path) -> None:
    for name in (b"\xff.mp4", b"http:x.mp4", b"%03d.mp4", b"-i.mp4"):
        path = os.fsdecode(os.path.join(os.fsencode(tmp_path), name))
        Path(path).write_bytes(clip.read_bytes())
        assert len(list(frames(path))) == 60


def damage(tmp_path: Path, clip: Path, name: str) -> Path:
    """A file of this name that is not a video which can be read."""
    path = tmp_path / name
    match name:
        case "gone.mp4":
            pass
        case "empty.mp4":
            path.touch()
        case "text.mp4":
            path.write_text("Dear diary\n" * 99)
        case "unfinished.mp4":
            path.write_bytes(clip.read_bytes()[:-1000])
        case "codec.mp4":
            path.write_bytes(clip.read_bytes().replace(b"avc1", b"xyz9"))
        case "picture.mp4":
            Image.new("RGB", (32, 32)).save(path, "PNG")
        case "sound.avi":
            with wave.open(str(path), "wb") as sound:
                sound.setnchannels(1)
                sound.setsampwidth(2)
                sound.setframerate(8000)
                sound.writeframes(bytes(16000))
        case "list.mp4":
            path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{clip}\n#EXT-X-ENDLIST")
        case "concat.mp4":
            path.write_text(f"ffconcat version 1.0\nfile '{clip}'\n")
    return path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.mp4", "does not exist"),
        ("empty.mp4", "is empty, where a video is expected"),
        ("text.mp4", "cannot be opened as a video"),
        ("unfinished.mp4", "a recording that was not finished"),
        ("codec.mp4", "there is no decoder for its video; convert it to H.264"),
        ("picture.mp4", "is one picture, not a video"),
        ("sound.avi", "contains sound and no video"),
        ("list.mp4", "cannot be opened as a video"),
        ("concat.mp4", "cannot be opened as a video"),
    ],
)
def test_what_is_not_a_video_is_refused(
    tmp_path: Path, clip: Path, name: str, message: str
) -> None:
    path = damage(tmp_path, clip, name)
    with pytest.raises(DataError, match=message) as raised:
        list(frames(str(path)))
    assert str(path) in str(raised.value)


def test_cover_art_is_not_a_video(tmp_path: Path) -> None:
    import av

    path = tmp_path / "song.m4v"
    with av.open(str(path), "w", format="mp4") as container:
        voice = container.add_stream("aac", rate=8000)
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame(32, 32, "yuvj420p")))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate, silence.pts = 8000, 0
        container.mux(voice.encode(silence))
        container.mux(voice.encode())
    with pytest.raises(DataError, match="contains sound and no video"):
        list(frames(str(path)))


def test_without_pyav_the_error_names_the_extra(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DataError, match=r"need PyAV.*pip install '\.\[video\]'"):
        list(frames(str(clip)))


def test_nothing_is_printed_about_damage(clip: Path, tmp_path: Path) -> None:
    content = clip.read_bytes()
    path = tmp_path / "damaged.mp4"
    path.write_bytes(content[:3000] + bytes(200) + content[3200:])
    code = (
        "import sys; from fer_runtime.sources.video import frames; "
        "items = list(frames(sys.argv[1])); assert items[-1].error, items[-1]"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.5s", Every(seconds=Fraction(1, 2))),
        (".1s", Every(seconds=Fraction(1, 10))),
        (" 2S", Every(seconds=Fraction(2))),
        ("10f", Every(frames=10)),
        ("3.0f", Every(frames=3)),
    ],
)
def test_every_is_a_time_or_a_number_of_frames(text: str, expected: Every) -> None:
    assert parse_every(text) == expected


@pytest.mark.parametrize(
    "text", ["", "0s", "0f", "0.0s", "-1f", "1x", "10", "nan", "infs", "1.5f", "1e3s", "1,5s", "s"]
)
def test_other_distances_are_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"write a time above zero, as 0\.5s, or a whole number"):
        parse_every(text)


def test_a_sampler_takes_the_first_frame_whenever_it_comes() -> None:
    sampler = Sampler(parse_every("1s"))
    times = [Fraction(n, 10) for n in (7, 9, 10, 11, 35, 39, 40, 41)]
    wanted = [float(time) for n, time in enumerate(times) if sampler.wants(n, time)]
    assert wanted == [0.7, 1.0, 3.5, 4.0]
