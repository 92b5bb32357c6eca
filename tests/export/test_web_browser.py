"""The web page in Chromium, opened from a disk: pictures, camera, table, keys; and its pixels."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fer_bench.browser import Browser, find_program
from fer_bench.web_page import filmed_camera
from fer_export.homes.web import page
from fer_runtime import Classifier, images
from fer_runtime.shipped import find_model

pytestmark = pytest.mark.skipif(find_program() is None, reason="Chromium is not installed")
PHOTO = Path(__file__).parent.parent / "data" / "astronaut.jpg"
READY = "document.documentElement.dataset.ready"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    file = tmp_path_factory.mktemp("web") / "page.html"
    page.write(find_model("compact_cnn.int8"), file)
    with filmed_camera(PHOTO) as options, Browser(options) as opened:
        opened.open(file)
        opened.wait(READY)
        yield opened
        assert not opened.problems
        assert [url for url in opened.requests if not url.startswith("blob:")] == [file.as_uri()]


@pytest.fixture(autouse=True)
def fresh(browser: Browser) -> None:
    browser.value("clear.click(); find.checked = true")


def show(browser: Browser, *files: Path) -> list[dict[str, str]]:
    """Choose files, and read the table that the page would save."""
    browser.value("status.textContent = ''")
    browser.choose_files("#files", files)
    browser.wait(f"/^{len(files)} picture/.test(status.textContent)")
    return list(csv.DictReader(io.StringIO(browser.value("csv()"))))


def pictures(folder: Path) -> dict[str, Path]:
    """Files of several kinds: name -> file; those of 48 x 48 need no resize."""
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)).resize((48, 48), 3)
    exif = Image.Exif()
    exif[0x0112] = 6
    transparent = smooth.copy()
    transparent.putalpha(Image.fromarray(rng.integers(0, 256, (48, 48), np.uint8)))
    photo = Image.open(PHOTO)
    made: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "grey.jpg": (smooth.convert("L"), {"quality": 90}),
        "grey.png": (smooth.convert("L"), {}),
        "colour.png": (smooth, {}),
        "palette.png": (smooth.quantize(16), {}),
        "turned.jpg": (smooth.convert("L"), {"exif": exif}),
        "colour.bmp": (smooth, {}),
        "still.gif": (smooth.quantize(64), {}),
        "lossless.webp": (smooth, {"lossless": True}),
        "transparent.png": (transparent, {}),
        "large.png": (photo, {}),
        "tall.png": (photo.crop((100, 0, 300, 512)), {}),
        "colour.jpg": (smooth, {"quality": 90}),
        "large.jpg": (photo, {"quality": 92}),
        "large grey.jpg": (photo.convert("L"), {"quality": 92}),
    }
    for name, (image, options) in made.items():
        image.save(folder / name, **options)
    return {name: folder / name for name in made}


INEXACT = {"colour.jpg": 1.0, "large.jpg": 1.0, "large grey.jpg": 1.0}
"""Grey levels that pixels may differ by in the mean: a browser has no luma of its JPEGs, and no
decode at a reduced scale."""


def fitted(browser: Browser, file: Path) -> np.ndarray:
    """(48, 48) uint8: the pixels that the page's model gets."""
    browser.value("document.body.append(Object.assign(element('input'), "
                  "{ type: 'file', id: 'probe' }))")  # fmt: skip
    browser.choose_files("#probe", [file])
    found = browser.value("ask('fitted', { file: probe.files[0] }).then((r) => [...r.planes])")
    browser.value("probe.remove()")
    return np.array(found).reshape(48, 48).astype(np.uint8)


def test_pixels_are_those_of_images(browser: Browser, tmp_path: Path) -> None:
    spec = Classifier.load(find_model("compact_cnn.int8")).spec.input
    for name, file in pictures(tmp_path).items():
        expected = images.load(file, spec).reshape(48, 48).astype(int)
        difference = np.abs(fitted(browser, file).astype(int) - expected)
        assert difference.mean() <= INEXACT.get(name, 0), name


def test_labels_are_those_of_the_runtime(browser: Browser, tmp_path: Path) -> None:
    """The label is the runtime's; the probabilities are those of the pixels that the page found."""
    files = pictures(tmp_path)
    browser.value("find.click()")
    rows = show(browser, *files.values())
    classifier = Classifier.load(find_model("compact_cnn.int8"))
    assert list(rows[0]) == ["path", "label", "probability", *classifier.spec.labels, "error"]
    for row, (name, file) in zip(rows, files.items(), strict=True):
        assert row["path"] == name and row["label"] == classifier.predict(file).label
        expected = classifier.predict(fitted(browser, file))
        for label, value in expected.probabilities.items():
            assert abs(float(row[label]) - value) < 0.01  # int8 rounds otherwise in WebAssembly


def test_faces_are_those_of_the_runtime(browser: Browser) -> None:
    (row,) = show(browser, PHOTO)
    (expected,) = Classifier.load(find_model("compact_cnn.int8")).predict_faces(PHOTO)
    assert row["label"] == expected.label and row["face"] == "1" and expected.face is not None
    box = [float(row[side]) for side in ("left", "top", "right", "bottom")]
    assert np.abs(np.array(box) - expected.face.box).max() < 1
    assert "1: happy" in browser.value("results.textContent")


def test_bad_files_are_errors_and_lose_nothing(browser: Browser, tmp_path: Path) -> None:
    text, cut, empty, plain = (tmp_path / f"{name}.jpg" for name in ("text", "cut", "empty", "sky"))
    text.write_text("not a picture")
    cut.write_bytes(PHOTO.read_bytes()[:200])
    empty.write_bytes(b"")
    Image.new("RGB", (200, 100), (90, 120, 200)).save(plain)
    rows = show(browser, text, PHOTO, cut, empty, plain)
    assert [bool(row["error"]) for row in rows] == [True, False, True, True, False]
    assert rows[0]["error"] == "not an image that this browser can decode"
    assert rows[4]["note"] == "no face found" and rows[4]["label"] == ""
    assert browser.value("status.textContent") == "5 pictures, 3 without a prediction"


def test_the_camera_and_every_control_by_keyboard(browser: Browser) -> None:
    show(browser, PHOTO)
    browser.value("const first = document.querySelector('h1'); first.tabIndex = -1; first.focus()")
    reached: list[str] = []
    while "SUMMARY" not in reached and len(reached) < 20:
        browser.press("Tab")
        focused = browser.value("document.activeElement.id || document.activeElement.tagName")
        reached.append(focused)
        if focused == "camera":
            browser.press("Enter")
            browser.wait("rate.textContent")
        if focused == "find":
            browser.press(" ")
            browser.wait("!find.checked", 5)
    wanted = ["files", "camera", "find", "keep", "save", "clear", "SUMMARY"]
    assert [name for name in reached if name in wanted] == wanted
    assert browser.value("faceList.textContent").startswith("1: ")
    assert browser.value("camera.getAttribute('aria-pressed')") == "true"
    browser.value("keep.focus()")
    browser.press("Enter")
    browser.wait("rows.length === 2")
    assert browser.value("rows[1].path").startswith("camera 20")
    browser.value("camera.focus()")
    browser.press("Enter")
    browser.wait("live.hidden")
    assert browser.value("stream") is None
    browser.value("clear.focus()")
    browser.press("Enter")
    assert browser.value("[rows.length, results.childElementCount, table.hidden]") == [0, 0, True]


def roles(browser: Browser) -> list[tuple[str, str]]:
    """Role and name of everything that a screen reader is told."""
    tree = browser.send("Accessibility.getFullAXTree")["nodes"]
    return [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree
        if not node["ignored"]
    ]


def test_names_and_roles_for_a_screen_reader(browser: Browser) -> None:
    (row,) = show(browser, PHOTO)
    assert row["label"] == "happy"
    picture = ("image", "astronaut.jpg with its faces numbered")
    end = time.monotonic() + 10
    while picture not in (named := roles(browser)):  # the tree follows the page a little later
        assert time.monotonic() < end, [name for kind, name in named if kind == "image"]
    assert ("meter", "happy") in named
    for role in ("button", "checkbox", "meter", "image", "DisclosureTriangle", "region"):
        names = [name for kind, name in named if kind == role]
        assert names and all(names), role
