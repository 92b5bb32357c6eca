"""Malicious files, and how `fer-infer` handles them: `fer-bench hostile`.

Makes over 300 of them (cut short, with flipped bits, bombs, wrong endings, empty, one pixel wide,
link cycles, pipes, sockets, devices, not readable, strangely named), classifies the folder in one
run, and checks that every file got exactly one row of the kind it must have.
"""

from __future__ import annotations

import csv
import io
import os
import socket
import struct
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image

from fer_bench import subprocesses
from fer_runtime.images import MAX_FILE_BYTES

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
PREDICTION, ERROR, EITHER = "prediction", "error", "either"
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "baseline.jpg": ("JPEG", {}),
    "progressive.jpg": ("JPEG", {"progressive": True}),
    "a.png": ("PNG", {}),
    "a.webp": ("WEBP", {"lossless": True}),
    "a.gif": ("GIF", {}),
    "a.tiff": ("TIFF", {}),
    "a.bmp": ("BMP", {}),
}
FLIPS = 13


@app.command()
def check(
    model: Annotated[str, typer.Option(help="ONNX file or shipped model.")] = "compact_cnn",
    faces: Annotated[bool, typer.Option("--faces", help="Run with --faces.")] = False,
) -> None:
    """Run over all of them; exit status 1 if one has no row, two, or one of the wrong kind."""
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), model, faces=faces)
    for line in found["wrong"]:
        print(line)
    print(
        f"{found['files']} files: {found['rows']} rows, {found['errors']} of them errors, "
        f"{len(found['wrong'])} wrong; status {found['status']}, {found['seconds']:.1f} s, "
        f"peak {found['peak_bytes'] / 1e6:.0f} MB"
    )
    raise typer.Exit(1 if found["wrong"] else 0)


def measure(folder: Path, model: str | os.PathLike[str], *, faces: bool = False) -> dict[str, Any]:
    """Make the files in `folder`/in, run `fer-infer` over them, and compare rows and files."""
    pictures, rows = folder / "in", folder / "rows.csv"
    pictures.mkdir()
    expected = make(pictures)
    ended = subprocesses.run(
        pictures, "--model", model, "--provider", "cpu", "-o", rows, "--overwrite",
        *(["--faces"] if faces else []),
    )  # fmt: skip
    wrong = []
    counts: Counter[str] = Counter()
    errors = 0
    if not rows.exists():
        wrong.append(f"no rows: {ended.stderr.decode(errors='replace')}")
    else:
        for name, row in _pictures(rows, pictures):
            counts[name] += 1
            errors += bool(row["error"])
            kind = ERROR if row["error"] else PREDICTION
            if sum(bool(row.get(column)) for column in ("error", "label", "note")) != 1:
                wrong.append(f"{name!r}: neither a prediction nor an error, or both")
            if expected.get(name, ERROR) not in (kind, EITHER):
                wrong.append(f"{name!r}: {kind} {row['error']}")
    for name in expected.keys() | counts.keys():
        if counts[name] != (name in expected):
            wrong.append(f"{name!r}: {counts[name]} rows")
    if b"Traceback" in ended.stderr:
        wrong.append(ended.stderr.decode(errors="replace"))
    return {
        "files": len(expected),
        "rows": counts.total(),
        "errors": errors,
        "wrong": wrong,
        "status": ended.status,
        "seconds": ended.seconds,
        "peak_bytes": ended.peak_bytes,
    }


def _pictures(rows: Path, folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """(path below the folder, first row) of each picture in a CSV file."""
    with open(rows, newline="", encoding="utf-8", errors="surrogateescape") as stream:
        for row in csv.DictReader(stream):
            if row.get("face", "") in ("", "1"):
                yield os.path.relpath(row["path"], folder), row


def make(folder: Path) -> dict[str, str]:
    """Fill a folder; the path below it of each file that must get a row -> what the row must be."""
    expected: dict[str, str] = {}
    for name, data, kind in contents():
        (folder / name).write_bytes(data)
        expected[name] = kind
    return expected | _special(folder) | _strange_names(folder)


def contents() -> Iterator[tuple[str, bytes, str]]:
    """(name, bytes, expectation) of the files that are hostile by their content."""
    yield from _cut_and_flipped()
    yield from _bombs()
    yield from _odd_sizes()
    yield from _wrong_endings()
    yield from _rare_but_whole()


def _cut_and_flipped() -> Iterator[tuple[str, bytes, str]]:
    rng = np.random.default_rng(0)
    for name, (file_format, options) in FORMATS.items():
        whole = encode(_picture(), file_format, **options)
        for percent in range(5, 100, 5):
            yield f"cut {percent:02} {name}", whole[: len(whole) * percent // 100], ERROR
        for flip in range(FLIPS):
            data = bytearray(whole)
            for place in rng.integers(0, len(data), 1 + flip):
                data[place] ^= 1 << int(rng.integers(8))
            yield f"flipped {flip:02} {name}", bytes(data), EITHER
        yield f"random {name}", whole[:24] + rng.bytes(4000), EITHER
        yield f"magic {name}", whole[:8], ERROR
        yield f"nothing {name}", b"", ERROR
        yield f"zeros {name}", bytes(5000), ERROR
        yield f"garbage behind {name}", whole + rng.bytes(3000), PREDICTION


def _bombs() -> Iterator[tuple[str, bytes, str]]:
    for side in (8_000, 20_000, 60_000):
        yield f"bomb {side}.png", png(side, side), ERROR
        yield f"bomb {side}.jpg", jpeg(side, side), ERROR
        yield f"bomb {side}.bmp", bmp(side, side), ERROR
    yield "bomb unpacked.png", png(10_000, 9_000, raw=bytes(10_001 * 9_000)), ERROR
    yield "bomb of text.png", png(4, 4, raw=bytes(20), text=bytes(200_000_000)), EITHER
    yield "bomb of scans.jpg", progressive(7_000, 7_000, 882), ERROR
    yield "fewer scans.jpg", progressive(2_000, 2_000, 200), PREDICTION
    yield "bomb of frames.gif", _animation("GIF", 400), PREDICTION
    yield "bomb of frames.webp", _animation("WEBP", 60), PREDICTION


def _odd_sizes() -> Iterator[tuple[str, bytes, str]]:
    for width, height in ((1, 1), (1, 60_000), (60_000, 1), (3, 16_000), (16_000, 2)):
        for ending, file_format in (("png", "PNG"), ("jpg", "JPEG"), ("bmp", "BMP")):
            data = encode(Image.new("L", (width, height), 90), file_format)
            yield f"{width} x {height}.{ending}", data, PREDICTION
    yield "no pixels.png", png(0, 0), ERROR
    yield "no pixels.jpg", jpeg(0, 0), ERROR


def _wrong_endings() -> Iterator[tuple[str, bytes, str]]:
    names = list(FORMATS)
    for place, name in enumerate(names):
        file_format, options = FORMATS[names[place - 1]]
        yield f"other format {name}", encode(_picture(), file_format, **options), PREDICTION
    for kind, data in {
        "text": b"Dear diary, today I named a text file .jpg\n" * 9,
        "page": b"<!doctype html><title>404</title>",
        "drawing": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "paper": b"%PDF-1.7\n1 0 obj\n",
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n(x) run\n",
        "archive": b"PK\x03\x04" + bytes(60),
        "program": b"\x7fELF" + bytes(60),
        "pickle": b"\x80\x04cos\nsystem\n(S'touch /tmp/owned'\ntR.",
        "raw": b"P6 1 1 255\nabc",
        "icon": b"\0\0\1\0\1\0" + bytes(50),
    }.items():
        yield f"{kind}.jpg", data, ERROR


def _rare_but_whole() -> Iterator[tuple[str, bytes, str]]:
    picture = _picture()
    grey = picture.convert("L")
    wide = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    yield "sixteen bits.png", encode(wide, "PNG"), PREDICTION
    yield "sixteen bits.tiff", encode(wide, "TIFF"), PREDICTION
    yield "cmyk.jpg", encode(picture.convert("CMYK"), "JPEG"), PREDICTION
    yield "cmyk.tiff", encode(picture.convert("CMYK"), "TIFF"), PREDICTION
    yield "palette.png", encode(picture.convert("P"), "PNG", transparency=0), PREDICTION
    yield "alpha.webp", encode(picture.convert("RGBA"), "WEBP"), PREDICTION
    yield "alpha.png", encode(picture.convert("LA"), "PNG"), PREDICTION
    yield "one bit.png", encode(picture.convert("1"), "PNG"), PREDICTION
    yield "packed.tiff", encode(picture, "TIFF", compression="tiff_lzw"), PREDICTION
    yield "floats.tiff", encode(grey.convert("F"), "TIFF"), ERROR
    yield (
        "broken exif.jpg",
        encode(picture, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"),
        (PREDICTION),
    )
    yield "broken profile.jpg", encode(picture, "JPEG", icc_profile=b"\xff" * 999), PREDICTION


def _special(folder: Path) -> dict[str, str]:
    """Entries that are not regular files, or may not be read."""
    whole = encode(_picture(), "PNG")
    os.mkfifo(folder / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(folder, os.O_RDONLY)  # a socket's path must be short
        listener.bind(f"/proc/self/fd/{here}/socket.jpg")
        os.close(here)
    for name, target in {
        "self.jpg": "self.jpg",
        "dangling.jpg": "nowhere.jpg",
        "endless.jpg": "/dev/zero",
        "void.jpg": "/dev/null",
        "terminal.jpg": "/dev/tty",
    }.items():
        (folder / name).symlink_to(target)
    with open(folder / "sparse.jpg", "wb") as stream:
        stream.truncate(MAX_FILE_BYTES + 1)
    (folder / "secret.png").write_bytes(whole)
    (folder / "secret.png").chmod(0)
    (folder / "folder.jpg" / "deeper").mkdir(parents=True)
    (folder / "folder.jpg" / "deeper" / "cycle").symlink_to(folder)
    (folder / "folder.jpg" / "again").symlink_to(folder / "folder.jpg")
    (folder / "folder.jpg" / "face.png").write_bytes(whole)
    (folder / "empty").mkdir()
    names = ["pipe", "socket", "self", "dangling", "endless", "void", "terminal", "sparse"]
    return {
        **{f"{name}.jpg": ERROR for name in names},
        "secret.png": PREDICTION if os.geteuid() == 0 else ERROR,
        os.path.join("folder.jpg", "face.png"): PREDICTION,
    }


def _strange_names(folder: Path) -> dict[str, str]:
    whole = encode(_picture(), "PNG")
    names = [
        '"quoted", and\nmore.png',
        "-o rows.csv.png",
        "=1+1.png",
        " .png",
        "smile \U0001f600.png",
    ]
    names += [os.fsdecode(b"latin \xe9.png"), "long " + "x" * 240 + ".png", "%s {0} \\n.png"]
    for name in names:
        (folder / name).write_bytes(whole)
    return dict.fromkeys(names, PREDICTION)


def encode(image: Image.Image, file_format: str, **options: Any) -> bytes:
    """An image as the bytes of a file."""
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def _picture() -> Image.Image:
    noise = np.random.default_rng(1).integers(0, 256, (60, 70, 3), np.uint8)
    return Image.fromarray(noise)


def _animation(file_format: str, count: int) -> bytes:
    frames = [Image.new("RGB", (300, 200), (index % 256, 90, 40)) for index in range(count)]
    return encode(frames[0], file_format, save_all=True, append_images=frames[1:])


def png(
    width: int, height: int, *, bits: int = 8, colour_type: int = 0, raw: bytes = b"",
    text: bytes = b"",
) -> bytes:  # fmt: skip
    """A PNG with right checksums whatever it claims (PNG specification, chapter 11)."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)

    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))]
    if text:
        parts.append(chunk(b"zTXt", b"x\0\0" + zlib.compress(text)))
    parts += [chunk(b"IDAT", zlib.compress(raw or bytes(2))), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def bmp(width: int, height: int) -> bytes:
    """A BMP that claims to be of that size and contains one pixel."""
    data = bytearray(encode(Image.new("RGB", (1, 1)), "BMP"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


def jpeg(width: int, height: int) -> bytes:
    """A JPEG that claims to be of that size and contains 8 x 8 pixels."""
    data = bytearray(encode(Image.new("RGB", (8, 8)), "JPEG"))
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def progressive(width: int, height: int, scans: int) -> bytes:
    """A valid grey JPEG, all of one level, that comes in 1 + `scans` passes (at most 882).

    Each coefficient is sent bit by bit, from bit 13 down, in scans that say only that so many
    blocks have nothing new (ITU-T T.81, G.1.2).
    """

    def segment(marker: int, body: bytes) -> bytes:
        return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body

    def scan(first: int, last: int, high: int, low: int, body: bytes) -> bytes:
        return segment(0xDA, bytes((1, 1, 0, first, last, high << 4 | low))) + body

    one_code = bytes([1]) + bytes(15)  # a Huffman table of one code, of one bit: 0
    blocks = -(-width // 8) * -(-height // 8)
    # Code 0 is "end of band for 2^14 blocks and as many as the next 14 bits say".
    bits = ("0" + "1" * 14) * -(-blocks // 32767)
    bits += "1" * (-len(bits) % 8)
    nothing = bytes(int(bits[place : place + 8], 2) for place in range(0, len(bits), 8))
    parts = [
        b"\xff\xd8",
        segment(0xDB, bytes(1) + bytes([1]) * 64),
        segment(0xC2, struct.pack(">BHHB", 8, height, width, 1) + bytes((1, 0x11, 0))),
        segment(0xC4, bytes([0x00]) + one_code + bytes([0])),
        segment(0xC4, bytes([0x10]) + one_code + bytes([0xE0])),
        scan(0, 0, 0, 13, bytes(-(-blocks // 8))),
    ]
    steps = [(place, bit) for place in range(1, 64) for bit in range(13, -1, -1)]
    for place, bit in steps[:scans]:
        body = nothing.replace(b"\xff", b"\xff\0")
        parts.append(scan(place, place, 0 if bit == 13 else bit + 1, bit, body))
    return b"".join(parts) + b"\xff\xd9"
