"""Cameras: FFmpeg's synthetic ones, and what happens when nobody is quick enough."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest

from fer_runtime.errors import DataError
from fer_runtime.sources import camera
from fer_runtime.video.camera import Newest, device_of
from fer_runtime.video.decoding import Frame

CLOCK = "camera:lavfi:testsrc=size=64x48:rate=20"


@pytest.fixture
def _pyav() -> None:
    pytest.importorskip("av", reason="PyAV (extra video) is missing, which opens cameras")


@pytest.mark.usefixtures("_pyav")
def test_a_synthetic_camera_until_its_end() -> None:
    items = list(camera.frames(f"{CLOCK}:duration=1", "0.25s"))
    assert [item.extra for item in items] == [
        {"frame": frame, "time": pytest.approx(frame / 20)} for frame in (0, 5, 10, 15)
    ]
    assert {(item.name, item.stream, item.error) for item in items} == {
        (f"{CLOCK}:duration=1", f"{CLOCK}:duration=1", None)
    }
    shapes = [item.content.shape for item in items if isinstance(item.content, np.ndarray)]
    assert shapes == [(48, 64, 3)] * 4


@pytest.mark.usefixtures("_pyav")
def test_a_camera_without_end_until_the_caller_stops() -> None:
    items = camera.frames(CLOCK, "10f")
    assert [item.extra for item in islice(items, 3)] == [
        {"frame": frame, "time": pytest.approx(frame / 20)} for frame in (0, 10, 20)
    ]
    items.close()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("_pyav")
def test_a_camera_in_real_time_is_read_on_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "waits_for_reader", lambda source: False)
    items = list(camera.frames(f"{CLOCK}:duration=0.3,realtime"))
    found = [item.extra["frame"] for item in items if item.extra is not None]
    assert found == sorted(set(found)) and found[-1] == 5
    assert not [each for each in threading.enumerate() if each.name == "fer-camera"]


@pytest.mark.usefixtures("_pyav")
@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("camera:/dev/none", "No such file or directory. Is it connected"),
        ("camera:v4l2:/dev/null", "Is it connected, free, and readable"),
        ("camera:lavfi:nonsense=1", "input device is lavfi"),
        ("camera:lavfi:sine", "it records sound only"),
    ],
)
def test_cameras_that_cannot_be_opened(source: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as raised:
        next(camera.frames(source))
    assert source in str(raised.value)


@pytest.mark.parametrize(
    ("platform", "source", "expected"),
    [
        ("linux", "camera:/dev/video0", ("v4l2", "/dev/video0")),
        ("darwin", "camera:0", ("avfoundation", "0")),
        ("darwin", "camera:0:none", ("avfoundation", "0:none")),
        ("win32", "camera:video=Integrated Camera", ("dshow", "video=Integrated Camera")),
        ("win32", "camera:gdigrab:desktop", ("gdigrab", "desktop")),
        ("linux", "camera:lavfi:testsrc=size=9x9:rate=1", ("lavfi", "testsrc=size=9x9:rate=1")),
    ],
)
def test_the_device_of_a_camera(
    monkeypatch: pytest.MonkeyPatch, platform: str, source: str, expected: tuple[str, str]
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    assert device_of(source) == expected


@pytest.mark.parametrize("source", ["camera:", "camera:v4l2:"])
def test_a_camera_needs_a_name(source: str) -> None:
    with pytest.raises(DataError, match="names no camera; write camera:/dev/video0"):
        device_of(source)


def recorded(count: int, taken: threading.Semaphore) -> Iterator[Frame]:
    """Frames that come one by one, each when the test lets it."""
    for number in range(count):
        assert taken.acquire(timeout=10)
        yield Frame(number, Fraction(number, 10), None)


def test_frames_that_nobody_took_are_dropped_for_newer_ones() -> None:
    """Every second frame is wanted; five come while the reader is busy with the first."""
    allowed = threading.Semaphore(1)
    read = threading.Event()

    def frames() -> Iterator[Frame]:
        for frame in recorded(8, allowed):
            yield frame
            if frame.number == 5:
                read.set()

    with Newest(frames(), lambda frame: frame.number % 2 == 0) as newest:
        numbers = []
        for frame in newest:
            numbers.append(frame.number)
            if frame.number == 0:
                allowed.release(5)
                assert read.wait(10)
                allowed.release(2)
    assert numbers in ([0, 4, 6], [0, 6]), "2 was dropped; 4 if 6 was there before it was taken"
    assert not newest.running


def test_an_error_of_the_camera_reaches_the_caller() -> None:
    def frames() -> Iterator[Frame]:
        yield Frame(0, Fraction(0), None)
        raise RuntimeError("unplugged")

    with Newest(frames(), lambda frame: True) as newest, pytest.raises(RuntimeError) as raised:
        list(newest)
    assert str(raised.value) == "unplugged"
