"""The gallery of 5,000 faces in Chromium: `fer-bench gallery`.

Draws the faces, writes the page, opens it from file://, and checks that it is ready in under two
seconds, requests nothing, and can be used from the keyboard alone. Screenshots of a phone and a
laptop, light and dark, are saved to be looked at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer

from fer_bench.browser import CONTROL, SHIFT, Browser
from fer_runtime.errors import DataError
from fer_runtime.faces.face import Face
from fer_runtime.gallery import Gallery
from fer_runtime.images.thumbnails import thumbnail
from fer_runtime.rows import Row
from fer_train.drawing import LABELS, render_face

DRAWINGS = 350
"""Different faces that are drawn; each row lights one of them differently."""
LIMIT_SECONDS = 2.0
SCREENS = {"phone": (390, 844, 2.0, True), "laptop": (1280, 800, 1.0, False)}
SKIN = np.array([[1.0, 0.82, 0.70], [0.95, 0.75, 0.62], [0.80, 0.60, 0.48], [0.62, 0.45, 0.36]])

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def check(
    faces: Annotated[int, typer.Option(help="Rows of the page.", min=10)] = 5_000,
    output: Annotated[Path, typer.Option(help="Folder of page and screenshots.")] = Path(
        "demo/gallery"
    ),
) -> None:
    """Exit status 1 if the page is slow, asks for anything, or a control needs a mouse."""
    output.mkdir(parents=True, exist_ok=True)
    page = output / "gallery.html"
    with Gallery(page, LABELS, overwrite=True) as gallery:
        gallery.add(make_rows(faces))
        started = time.perf_counter()
    print(f"{page}: {page.stat().st_size / 1e6:.1f} MB in {time.perf_counter() - started:.2f} s")
    with Gallery(output / "gallery.png", LABELS, overwrite=True) as sheet:
        sheet.add(make_rows(min(faces, 1_000)))
    wrong = inspect(page, output)
    for line in wrong:
        print(f"wrong: {line}")
    raise typer.Exit(1 if wrong else 0)


def inspect(page: Path, output: Path) -> list[str]:
    """Open the page, time it, use it, and take the screenshots; returns what is wrong."""
    with Browser() as browser:
        browser.resize(1280, 800)
        times = []
        for _ in range(5):
            browser.open(page)
            times.append(
                browser.value('performance.getEntriesByName("gallery-ready")[0].startTime')
            )
        seconds = sorted(times)[2] / 1e3
        print(f"ready after {seconds:.2f} s (median of 5; slowest {max(times) / 1e3:.2f} s)")
        wrong = [] if seconds < LIMIT_SECONDS else [f"ready after {seconds:.2f} s"]
        wrong += use_keyboard(browser)
        take_screenshots(browser, page, output)
        others = [url for url in browser.requests if url != page.resolve().as_uri()]
        print(f"{len(others)} requests, {len(browser.problems)} problems on the console")
        return [*wrong, *others, *browser.problems]


def make_rows(count: int, seed: int = 0) -> Iterator[Row]:
    """Rows of drawn faces, most predicted right; a few pictures without a face, or broken."""
    rng = np.random.default_rng(seed)
    picture, left = 0, 0
    for index in range(count):
        if left == 0:
            picture, left, number = picture + 1, int(rng.choice([1, 1, 1, 1, 2, 3])), 0
        number, left = number + 1, left - 1
        truth = LABELS[index % len(LABELS)]
        name = f"album/{truth}/picture_{picture:04d}.jpg"
        if index % 400 == 399:
            yield Row(f"album/broken_{picture:04d}.jpg", LABELS, error="broken image: cut short")
        elif index % 150 == 149:
            empty = np.full((60, 90, 3), rng.integers(40, 220, 3), np.uint8)
            row = Row(f"album/landscape_{picture:04d}.jpg", LABELS)
            row.note, row.thumbnail = "no face found", thumbnail(empty, None)
            yield row
        else:
            pixels = _photograph(truth, index % DRAWINGS, rng)
            face = Face((20.0, 14.0, 108.0, 120.0), ((60.0, 60.0),) * 5, float(rng.uniform(0.6, 1)))
            row = Row(name, LABELS, _probabilities(truth, rng), truth=truth)
            row.face, row.number, row.thumbnail = face, number, thumbnail(pixels, face)
            yield row


def _photograph(label: str, index: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """(128, 128, 3) uint8: a drawn face in a skin colour and some light."""
    grey = _drawing(label, index).astype(np.float32) + rng.normal(0, 2)
    colour = SKIN[index % len(SKIN)] * rng.uniform(0.8, 1.15)
    pixels: npt.NDArray[np.uint8] = (grey[:, :, None] * colour).clip(0, 255).astype(np.uint8)
    return pixels


@lru_cache(maxsize=2 * DRAWINGS)
def _drawing(label: str, index: int) -> npt.NDArray[np.uint8]:
    return render_face(label, np.random.default_rng([index, 7]), size=128)


def _probabilities(truth: str, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    logits = rng.normal(0, 1, len(LABELS))
    logits[LABELS.index(truth)] += rng.uniform(0.5, 6)
    shares: npt.NDArray[np.float32] = (np.exp(logits) / np.exp(logits).sum()).astype(np.float32)
    return shares


def use_keyboard(browser: Browser) -> list[str]:
    """Use every control with keys alone; returns what did not do what it must."""
    wrong: list[str] = []

    def require(what: str, expression: str) -> None:
        browser.settle()
        if browser.value(expression) is not True:
            wrong.append(f"keyboard: {what} ({expression})")

    stops = _tab_stops(browser)
    wanted = {"skip", "SUMMARY", "search", "sort", "minimum", "wrong", "boxes", "reset", "tile"}
    wrong += [f"keyboard: Tab does not reach {name}" for name in sorted(wanted - set(stops))]
    labels = browser.value('document.querySelectorAll("#labels button").length')
    if stops.count("label") != labels:
        wrong.append(f"keyboard: Tab reaches {stops.count('label')} of {labels} labels")
    if wrong:
        return wrong

    for stop, keys, what, expression in _USES:
        _tab_to(browser, stop)
        for key in keys:
            browser.press(key)
        require(what, f"shown.length > 0 && {expression}")
        if stop != "minimum":  # what Reset has to undo
            browser.value("reset()")
    _use_grid(browser, require)
    return wrong


_USES = (
    ("SUMMARY", ["Enter"], "Enter opens the figures", "document.querySelector('details').open"),
    ("label", [" "], "Space filters by label", "shown.every(e => e.place === 0)"),
    ("search", list("jpg"), "search by name", "byId('search').value === 'jpg'"),
    ("sort", ["ArrowDown"], "an arrow changes the order", "byId('sort').value === 'sure'"),
    ("wrong", [" "], "only wrong ones", "shown.every(e => e.wrong)"),
    ("minimum", ["PageUp"] * 3, "the slider", "shown.every(e => e.share >= 0.3)"),
    ("reset", ["Enter"], "Reset shows everything", "shown.length === entries.length"),
    ("boxes", [" "], "hide boxes", "document.body.classList.contains('no-boxes')"),
    ("boxes", [" "], "show boxes", "!document.body.classList.contains('no-boxes')"),
)
"""Where Tab goes, the keys pressed there, what they do, and what is then true."""


_FOCUSED = (
    "(e => e === document.body ? '' : e.parentElement.id === 'labels' ? 'label' : "
    "e.classList.contains('tile') ? 'tile' : e.id || e.tagName)(document.activeElement)"
)
"""What has the focus, by its id where it has one."""
MOST_STOPS = 60


def _tab_stops(browser: Browser) -> list[str]:
    """What Tab reaches from the top of the page, in order, until it comes round."""
    stops: list[str] = []
    while len(stops) < MOST_STOPS:
        browser.press("Tab")
        stop = browser.value(_FOCUSED)
        if stop in ("", "skip") and stops:
            break
        stops.append(stop)
    return stops


def _tab_to(browser: Browser, stop: str) -> None:
    """Press Tab until the first control of that name has the focus."""
    if browser.value(_FOCUSED) == stop:
        browser.press("Tab")
    for _ in range(MOST_STOPS):
        if browser.value(_FOCUSED) == stop:
            return
        browser.press("Tab")
    raise DataError(f"Tab does not reach {stop}.")


_PAGE = "columns * Math.max(1, Math.floor(innerHeight / rowHeight) - 1)"
"""How far Page Down moves."""
_IN_VIEW = (
    "(r => r.top >= stickyHeight() && r.bottom <= innerHeight)"
    "(tileAt(active).getBoundingClientRect())"
)
"""Nothing of the tile is outside of the window, or below the controls that stay at its top."""


def _use_grid(browser: Browser, require: Callable[[str, str], None]) -> None:
    """Into the grid with the skip link, through it with arrows, into the details and back."""
    _tab_to(browser, "skip")
    browser.press("Enter")
    for key, modifiers, position in (
        ("ArrowRight", 0, "1"),
        ("ArrowUp", 0, "1"),
        ("ArrowDown", 0, "1 + columns"),
        ("ArrowLeft", 0, "columns"),
        ("End", 0, "2 * columns - 1"),
        ("PageDown", 0, f"2 * columns - 1 + {_PAGE}"),
        ("ArrowUp", 0, f"columns - 1 + {_PAGE}"),
        ("End", CONTROL, "shown.length - 1"),
        ("ArrowDown", 0, "shown.length - 1"),
        ("ArrowRight", 0, "shown.length - 1"),
        ("Home", CONTROL, "0"),
    ):
        browser.press(key, modifiers=modifiers)
        focus = f"document.activeElement === tileAt(active) && active === {position}"
        require(f"{key} moves the focus to {position}, in view", f"{focus} && {_IN_VIEW}")
    browser.press("Enter")
    require("Enter opens the details", "dialog.open && dialog.contains(document.activeElement)")
    browser.press("ArrowRight")
    require("an arrow shows the next one", "active === 1")
    browser.press("Tab", times=2)
    require("Tab reaches Next", "document.activeElement === byId('next')")
    browser.press("Enter")
    require("Next shows the next one", "active === 2")
    browser.press("Tab", modifiers=SHIFT)
    browser.press(" ")
    require("Previous shows the one before", "active === 1")
    browser.press("Escape")
    require("Escape closes them", "!dialog.open && document.activeElement === tileAt(1)")
    browser.press("Enter")
    browser.press("Tab", times=3)
    browser.press("Enter")
    require("Close closes them", "!dialog.open && document.activeElement === tileAt(1)")


def take_screenshots(browser: Browser, page: Path, output: Path) -> None:
    """The page as it opens, scrolled, filtered and with details, on each screen, light and dark."""
    for scheme in ("light", "dark"):
        browser.prefer(prefers_color_scheme=scheme)
        for screen, (width, height, scale, mobile) in SCREENS.items():
            browser.resize(width, height, scale=scale, mobile=mobile)
            browser.open(page)
            name = f"{screen}-{scheme}"
            browser.screenshot(output / f"{name}.png")
            browser.value("moveTo(60)")
            browser.screenshot(output / f"{name}-scrolled.png")
            browser.press("Enter")
            browser.screenshot(output / f"{name}-details.png")
            browser.press("Escape")
            browser.value("scrollTo(0, 0), byId('labels').children[3].click()")
            browser.screenshot(output / f"{name}-filtered.png")
