"""The page of `fer-export web` in Chromium, opened from file://: `fer-bench web-page COMMAND`.

Ready after how long, how many labels are those of the native runtime, how many camera pictures a
second, and screenshots to be looked at.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from fer_bench.browser import Browser
from fer_export.homes.web import page
from fer_runtime.classifier import Classifier
from fer_runtime.shipped import find_model
from fer_runtime.sources import Files

READY_SECONDS, LARGEST, AGREEMENT, RATE = 1.5, 7_000_000, 0.999, 30.0
"""What is required: seconds until ready, bytes of the page, share of equal labels, pictures a
second of the camera."""
CAMERA = (640, 480, 60)
"""Width, height and pictures a second of the made camera."""
WIDTHS = {"phone": 390, "tablet": 820, "laptop": 1440}
READY = "document.documentElement.dataset.ready"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
Model = Annotated[str, typer.Option(help="ONNX file or shipped model.")]


@app.command()
def ready(
    model: Model = "compact_cnn.int8", rounds: Annotated[int, typer.Option(min=1)] = 9
) -> None:
    """Seconds until a page is ready, in a new browser each time; its size and its requests."""
    with _page(model) as file:
        times, requests = [], []
        for _ in range(rounds):
            with Browser() as browser:
                browser.open(file)
                times.append(int(browser.wait(READY)) / 1e3)
                requests += [url for url in browser.requests if not _own(url, file)]
                requests += browser.problems
        size = file.stat().st_size
    print(f"page: {size:,} bytes")
    print(
        f"ready after {statistics.median(times):.2f} s (median of {rounds} new browsers; "
        f"{min(times):.2f} to {max(times):.2f})"
    )
    print(f"requests and problems: {len(requests)}")
    _end(
        {
            f"ready within {READY_SECONDS} s": statistics.median(times) < READY_SECONDS,
            f"at most {LARGEST:,} bytes": size <= LARGEST,
            "no request": not requests,
        }
    )


@app.command()
def labels(
    data: Annotated[Path, typer.Argument(help="Folder of face crops.")],
    model: Model = "compact_cnn.int8",
    faces: Annotated[bool, typer.Option("--faces", help="They are photographs.")] = False,
) -> None:
    """Labels and probabilities of every image, in the page and in onnxruntime here."""
    paths = [Path(item.name) for item in Files([data])]
    with _page(model) as file, Browser() as browser:
        browser.open(file)
        browser.wait(READY)
        if not faces:
            browser.value("find.click()")
        started = time.perf_counter()
        browser.choose_files("#files", paths)
        browser.wait(f"/^{len(paths)} picture/.test(status.textContent)", 1800)
        seconds = time.perf_counter() - started
        found = browser.value("rows.map(r => [r.path, r.label ?? null, r.probabilities ?? []])")
        print(
            f"page: {len(paths):,} pictures in {seconds:.1f} s, {browser.problems or 'no'} problems"
        )
    expected = _native(paths, model, faces=faces)
    same, worst = 0, 0.0
    for (name, label, values), (path, native_label, native) in zip(found, expected, strict=True):
        if name != path.name:
            raise SystemExit(f"rows differ: {name} and {path.name}")
        same += label == native_label
        if label is not None and native_label is not None:
            worst = max(worst, float(np.abs(np.array(values) - native).max()))
    share = same / len(expected)
    print(f"equal labels: {same:,} of {len(expected):,} ({share:.3%})")
    print(f"largest difference of a probability: {worst:.2g}")
    _end({f"at least {AGREEMENT:.1%} equal": share >= AGREEMENT})


@app.command()
def camera(
    photo: Annotated[Path, typer.Argument(help="Photograph with one face.")],
    model: Model = "compact_cnn.int8",
    seconds: Annotated[float, typer.Option(min=2)] = 10,
) -> None:
    """Pictures a second from a made camera of 640 x 480, the finding of faces included."""
    with _page(model) as file, filmed_camera(photo) as options, Browser(options) as browser:
        browser.open(file)
        browser.wait(READY)
        browser.value("camera.click()")
        browser.wait("rate.textContent")
        time.sleep(2)
        shown = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(1)
            shown.append(browser.value("rate.textContent"))
        size = browser.value("[view.width, view.height]")
        label = browser.value("faceList.querySelector('strong')?.textContent")
    rates = [float(text.split()[0]) for text in shown]
    print(
        f"camera of {size[0]} x {size[1]}: {statistics.median(rates):.0f} pictures a second "
        f"(median of {len(rates)} seconds; {min(rates):.0f} to {max(rates):.0f}), {label}"
    )
    _end({f"at least {RATE:.0f} a second": statistics.median(rates) >= RATE})


@app.command()
def screens(
    photo: Annotated[Path, typer.Argument(help="Photograph with faces.")],
    output: Annotated[Path, typer.Option("--output", "-o")] = Path("demo/web-page"),
    model: Model = "compact_cnn.int8",
) -> None:
    """Screenshots of a phone, a tablet and a laptop, light and dark, and of the camera."""
    output.mkdir(parents=True, exist_ok=True)
    with _page(model) as file, filmed_camera(photo) as options, Browser(options) as browser:
        broken = file.with_name("not a picture.jpg")
        broken.write_text("text")
        browser.open(file)
        browser.wait(READY)
        browser.choose_files("#files", [photo, broken])
        browser.wait("/^2 picture/.test(status.textContent)")
        for scheme in ("light", "dark"):
            browser.prefer(prefers_color_scheme=scheme)
            for name, width in WIDTHS.items():
                browser.resize(width, 900 if width > 500 else 844, mobile=width < 500)
                browser.value("document.querySelector('details').open = true")
                browser.screenshot(output / f"{name}-{scheme}.png", whole=True)
        browser.value("clear.click()")
        browser.value("camera.click()")
        browser.wait("rate.textContent")
        time.sleep(2)
        for name, width in WIDTHS.items():
            browser.resize(width, 900 if width > 500 else 844, mobile=width < 500)
            browser.screenshot(output / f"{name}-camera.png", whole=True)
    print(f"look at {output}")


@contextmanager
def _page(model: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        page.write(find_model(model), file)
        yield file


@contextmanager
def filmed_camera(photo: Path) -> Iterator[list[str]]:
    """Chromium's options for a camera that shows a photograph moving to and fro."""
    from PIL import Image

    width, height, rate = CAMERA
    with tempfile.TemporaryDirectory() as folder, Image.open(photo) as image:
        scale = 1.15 * max(width / image.width, height / image.height)
        large = image.convert("RGB").resize(
            (round(image.width * scale), round(image.height * scale))
        )
        film = Path(folder) / "camera.y4m"
        with open(film, "wb") as stream:
            stream.write(f"YUV4MPEG2 W{width} H{height} F{rate}:1 Ip A1:1 C420\n".encode())
            for step in range(rate):
                swing = (1 + np.sin(2 * np.pi * step / rate)) / 2
                left = round((large.width - width) * swing)
                top = round((large.height - height) * swing / 4)
                frame = large.crop((left, top, left + width, top + height)).convert("YCbCr")
                luma, *chroma = (np.asarray(plane) for plane in frame.split())
                stream.write(b"FRAME\n" + luma.tobytes())
                for plane in chroma:
                    stream.write(np.ascontiguousarray(plane[::2, ::2]).tobytes())
        yield [
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            f"--use-file-for-fake-video-capture={film}",
        ]


def _native(paths: list[Path], model: str, *, faces: bool) -> list[tuple[Path, str | None, Any]]:
    """(path, label, probabilities) of each row, in the page's order."""
    rows: list[tuple[Path, str | None, Any]] = []
    with Classifier.load(find_model(model), provider="cpu") as classifier:
        for path in paths:
            found = classifier.predict_faces(path) if faces else [classifier.predict(path)]
            rows += [(path, each.label, np.array([*each.probabilities.values()])) for each in found]
            if not found:
                rows.append((path, None, None))
    return rows


def _own(url: str, file: Path) -> bool:
    """The page itself, and what it made in memory."""
    return url == file.resolve().as_uri() or url.startswith("blob:")


def _end(checks: dict[str, bool]) -> None:
    for what, passed in checks.items():
        print(f"{'passed' if passed else 'FAILED'}: {what}")
    raise typer.Exit(0 if all(checks.values()) else 1)
