"""The gallery's page in Chromium: it filters, sorts, and shows text of any kind as text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fer_bench.browser import Browser, find_program
from fer_bench.gallery import use_keyboard
from fer_runtime.gallery import Gallery
from fer_runtime.rows import Row
from tests.runtime.gallery_rows import LABELS, empty_row, face_row

pytestmark = pytest.mark.skipif(find_program() is None, reason="Chromium is not installed")

NAME = "</script><img src=x onerror=document.title='attacked'>\u202egpj"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 faces, a third of them wrong, a picture without a face and one with an error."""
    path = tmp_path_factory.mktemp("page") / "gallery.html"
    rng = np.random.default_rng(5)
    with Gallery(path, LABELS) as gallery:
        for index in range(40):
            shares = rng.dirichlet((1, 1, 1))
            name = f"{LABELS[index % 3]}/{index:03d}.jpg"
            gallery.add([face_row(name, *shares.tolist(), grey=6 * index)])
        gallery.add([empty_row("wall.jpg"), Row("broken.jpg", LABELS, error="cut short")])
        gallery.add([face_row(NAME, 1.0, 0.0, 0.0), face_row(NAME, 0.9, 0.1, 0.0, number=2)])
    return path


@pytest.fixture(scope="module")
def browser(page: Path) -> Iterator[Browser]:
    with Browser() as opened:
        opened.resize(1280, 800)
        opened.open(page)
        yield opened
        others = [url for url in opened.requests if url != page.as_uri()]
        assert (others, opened.problems) == ([], [])


def shown(browser: Browser) -> list[str]:
    """The names on the tiles, in order."""
    browser.settle()
    names: list[str] = browser.value(
        "[...document.querySelectorAll('.tile .name bdi')].map(e => e.textContent)"
    )
    return names


def test_it_opens_with_wrong_ones_first_and_pictures_in_place(browser: Browser, page: Path) -> None:
    browser.open(page)
    order = browser.value("shown.map(e => [e.wrong, e.predicted < 0, e.share])")
    assert len(order) == 44
    assert order == sorted(order, key=lambda each: (not each[0], each[1], -each[2]))
    loaded = "[...document.querySelectorAll('.tile img')].map(i => i.naturalWidth)"
    browser.settle()
    assert set(browser.value(loaded)) == {48}
    first = browser.value("document.querySelector('.tile img').alt")
    wrong = browser.value("shown[0].name.slice(-7)")
    assert first.endswith(f", {wrong}")
    assert ", wrong, truth: " in first


def test_names_are_text(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.value("byId('search').value = 'onerror', select()")
    assert browser.value("byId('count').textContent") == "Showing 2 of 44 pictures."
    assert shown(browser) == [r"script><img src=x onerror=document.title='attacked'>\u202egpj"] * 2
    alts = browser.value("[...document.querySelectorAll('.tile img')].map(i => i.alt.slice(-10))")
    assert alts == ["gpj face 1", "gpj face 2"]
    assert browser.value("document.title") == "gallery.html"


def test_it_filters_and_counts(browser: Browser, page: Path) -> None:
    browser.open(page)
    press = "document.querySelectorAll('#labels button')[{}].click()"
    browser.value(press.format(3))
    browser.value(press.format(4))
    assert shown(browser) == ["wall.jpg", "broken.jpg"]
    assert browser.value("byId('count').textContent") == "Showing 2 of 44 pictures."
    browser.value(press.format(3))
    browser.value("byId('minimum').value = 1, select()")
    assert shown(browser) == []
    assert "Nothing matches" in browser.value("byId('count').textContent")
    browser.value("byId('reset').click()")
    assert browser.value("byId('count').textContent") == "Showing all 44 pictures."


def test_details_show_every_probability(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.value("byId('sort').value = 'order', select(), openDetails(1)")
    bars = browser.value("[...document.querySelectorAll('#bars li')].map(e => e.textContent)")
    shares = np.random.default_rng(5).dirichlet((1, 1, 1), 2)[1]
    names = ["happy", "sad (truth)", "neutral"]
    assert bars == [
        f"{name}{share * 100:.1f}\N{NO-BREAK SPACE}%"
        for name, share in zip(names, shares, strict=True)
    ]
    facts = browser.value("byId('facts').innerText.replaceAll('\\n', ' ')")
    assert "box 20 × 30 pixels, left 20, top 10, right 40, bottom 40" in facts.replace("  ", " ")


def test_every_control_works_from_the_keyboard(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert use_keyboard(browser) == []


def test_it_fits_a_phone_without_scrolling_sideways(browser: Browser, page: Path) -> None:
    browser.resize(390, 844, mobile=True)
    browser.open(page)
    assert browser.value("document.documentElement.scrollWidth") == 390
    assert browser.value("columns") == 3
    browser.resize(1280, 800)
