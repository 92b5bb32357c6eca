"""Packs of decoded images: the same rows as the files, written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_runtime import infer, pack
from fer_runtime.errors import DataError
from fer_runtime.packed import writer
from fer_runtime.packed.layout import HEADER, NAMES, NAMES_IN_BLOCK, PIXELS, read_header
from fer_runtime.packed.reader import PackedImage, PackedSet, opened, pixels_of, run_of
from fer_runtime.spec import InputSpec, ModelSpec
from tests.runtime.command import environment, wait_until

PACK = [sys.executable, "-c", "from fer_runtime.cli.pack import main; main()"]


@pytest.fixture
def packed(messy: Path, tiny_spec: ModelSpec, tmp_path: Path) -> Path:
    """The folder `messy` as a pack."""
    result = pack([messy], tmp_path / "messy.ferpack", tiny_spec.input)
    assert (result.images, result.errors, result.skipped) == (7, 4, 1)
    return Path(result.output)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_rows_are_those_of_the_files(
    workers: int, batch_size: int, messy: Path, packed: Path, tiny_model: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"model": tiny_model, "batch_size": batch_size}
    infer([messy], tmp_path / "files.csv", workers=0, **options)
    infer([packed], tmp_path / "packed.csv", workers=workers, **options)
    assert (tmp_path / "packed.csv").read_bytes() == (tmp_path / "files.csv").read_bytes()


def test_whole_batches_are_slices_of_the_map(tmp_path: Path, face: bytes, tiny_spec: Any) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    for index in range(NAMES_IN_BLOCK + 3):
        (folder / f"{index:05}.jpg").write_bytes(face)
    output = pack([folder], tmp_path / "faces.ferpack", tiny_spec.input).output
    found = opened(output)
    assert list(found.names()) == [str(folder / f"{i:05}.jpg") for i in range(found.count)]
    contents: list[object] = [PackedImage(output, place) for place in range(5, 37)]
    run = run_of(contents)
    assert run == (output, 5)
    np.testing.assert_array_equal(
        pixels_of(PackedImage(output, 7)), found.pixels[7].transpose(1, 2, 0)
    )
    contents[3] = PackedImage(output, 3)
    assert run_of(contents) is None
    assert run_of([*contents[:2], None]) is None
    with pytest.raises(ValueError, match="read-only"):
        found.pixels[0, 0, 0, 0] = 1


def test_labels_shards_and_resume(tmp_path: Path, tiny_model: Path, tiny_spec: ModelSpec) -> None:
    table = tmp_path / "fer2013.csv"
    rows = "".join(f"{i % 7},{' '.join([str(9 * i)] * 2304)},Training\n" for i in range(20))
    table.write_text(f"emotion,pixels,Usage\n{rows}")
    output = pack([table], tmp_path / "table.ferpack", tiny_spec.input).output
    emotions = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    assert PackedSet(output).labels() == [emotions[i % 7] for i in range(20)]
    options: dict[str, Any] = {"model": tiny_model, "batch_size": 4}
    whole = infer([table], tmp_path / "whole.csv", **options)
    assert whole.rows == 20
    infer([output], tmp_path / "rows.csv", shard=(2, 3), **options)
    infer([table], tmp_path / "expected.csv", shard=(2, 3), **options)
    assert (tmp_path / "rows.csv").read_bytes() == (tmp_path / "expected.csv").read_bytes()

    class Stop:
        def add(self, rows: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        infer([output], tmp_path / "kept.csv", resume=True, observers=[Stop()], **options)
    again = infer([output], tmp_path / "kept.csv", resume=True, **options)
    assert again.finished_rows > 0
    assert (tmp_path / "kept.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_pack_for_another_input_is_refused(packed: Path, tmp_path: Path) -> None:
    spec = ModelSpec(
        labels=("a", "b"),
        input=InputSpec(height=48, width=48, channels=1, mean=(0.1,), std=(2.0,), name="x"),
    )
    read_header(packed).require(spec.input, "p")  # mean, std and the name change no pixel
    other = InputSpec(
        height=48, width=48, channels=1, mean=(0.0,), std=(1.0,), interpolation="bicubic"
    )
    with pytest.raises(DataError, match="packed with interpolation bilinear, but the model requi"):
        read_header(packed).require(other, str(packed))


def test_a_model_of_another_input_stops_the_run(
    messy: Path, tiny_model: Path, tiny_spec: ModelSpec, tmp_path: Path
) -> None:
    other = InputSpec(height=40, width=48, channels=1, mean=(0.0,), std=(1.0,))
    output = pack([messy], tmp_path / "other.ferpack", other).output
    with pytest.raises(DataError, match="height 40, but the model requires 48"):
        infer([output], "-", model=tiny_model)
    with pytest.raises(DataError, match="omit --faces"):
        infer([output], "-", model=tiny_model, faces=True)


def test_what_cannot_be_packed(messy: Path, packed: Path, tiny_spec: Any, tmp_path: Path) -> None:
    spec = tiny_spec.input
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="no image files there"):
        pack([empty], tmp_path / "none.ferpack", spec)
    with pytest.raises(DataError, match=r"name ends in \.ferpack"):
        pack([messy], tmp_path / "faces", spec)
    with pytest.raises(DataError, match="exists already; pass --overwrite"):
        pack([messy], packed, spec)
    foreign = tmp_path / "foreign.ferpack"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("do not lose")
    with pytest.raises(DataError, match="is not a pack, so it is not replaced"):
        pack([messy], foreign, spec, overwrite=True)
    with pytest.raises(DataError, match="cameras cannot be packed"):
        pack(["camera:0"], tmp_path / "camera.ferpack", spec)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("empty", "foreign.ferpack", "messy folder", "messy.ferpack")
    ]


def test_a_pack_is_replaced_and_can_be_packed_again(
    packed: Path, tiny_spec: ModelSpec, tmp_path: Path
) -> None:
    before = (packed / PIXELS).read_bytes()
    result = pack([packed], tmp_path / "again.ferpack", tiny_spec.input)
    assert (Path(result.output) / PIXELS).read_bytes() == before
    assert (Path(result.output) / HEADER).read_bytes() == (packed / HEADER).read_bytes()
    pack([tmp_path / "again.ferpack"], packed, tiny_spec.input, overwrite=True)
    assert (packed / PIXELS).read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".partial", ".old")]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (PIXELS, lambda data: data[:-1], "cut off or changed"),
        (NAMES, lambda data: data[:-3], "broken names"),
        (NAMES, lambda data: data.replace(b"\0", b"x", 1), "broken names"),
        (HEADER, lambda data: data[:-9], "is broken"),
        (HEADER, lambda data: b"[1]", "is broken"),
        (HEADER, lambda data: data.replace(b'"format": 1', b'"format": 9'), "another format"),
        (HEADER, lambda data: data.replace(b'"height": 48', b'"height": "x"'), "is broken"),
    ],
)
def test_a_broken_pack_is_an_error(
    name: str, change: Any, message: str, packed: Path, tiny_model: Path
) -> None:
    data = (packed / name).read_bytes()
    (packed / name).write_bytes(change(data))
    opened.cache_clear()
    with pytest.raises(DataError, match=message):
        infer([packed], "-", model=tiny_model)


def test_a_folder_without_a_header_is_no_pack(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "x.ferpack").mkdir()
    with pytest.raises(DataError, match=r"is not a pack of images \(it has no pack\.json\)"):
        infer([tmp_path / "x.ferpack"], "-", model=tiny_model)


def test_a_full_disk_leaves_nothing(
    messy: Path, tiny_spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer._Writer, "write_header", full)
    with pytest.raises(DataError, match="cannot be written: No space left on device"):
        pack([messy], tmp_path / "messy.ferpack", tiny_spec.input)
    assert [path.name for path in tmp_path.iterdir()] == ["messy folder"]


def test_the_command(messy: Path, tiny_model: Path, tmp_path: Path) -> None:
    command: list[str | Path] = [*PACK, messy, "-o", tmp_path / "m.ferpack", "--model", tiny_model]
    done = subprocess.run(command, capture_output=True, env=environment(), check=False)
    assert done.returncode == 3, done.stderr
    assert b"7 images in" in done.stderr and b"4 with an error" in done.stderr
    assert done.stdout == b""
    again = subprocess.run(command, capture_output=True, env=environment(), check=False)
    assert again.returncode == 6 and b"exists already" in again.stderr
    header = json.loads((tmp_path / "m.ferpack" / HEADER).read_text())
    assert header["images"] == 7 and header["input"]["height"] == 48


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_kill_leaves_what_the_next_run_replaces(
    face: bytes, tiny_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    (folder / "0.jpg").write_bytes(face)
    for index in range(1, 20_000):
        os.link(folder / "0.jpg", folder / f"{index}.jpg")
    output = tmp_path / "f.ferpack"
    command: list[str | Path] = [*PACK, folder, "-o", output, "--model", tiny_model]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)
    partial = tmp_path / "f.ferpack.partial" / PIXELS
    wait_until(partial.exists)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not output.exists()
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "0.jpg").write_bytes(face)
    assert subprocess.run(command, env=environment(), check=False).returncode == 0
    assert PackedSet(output).count == 1
    assert not partial.parent.exists()
