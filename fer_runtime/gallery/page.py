"""The gallery as one HTML page: a template, a style sheet, a script and the rows as data.

The rows are compact JSON, and the thumbnails one text of Base64 that the script cuts into data:
URIs as they come into view, so that a browser opens thousands of faces at once.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, BinaryIO

from fer_runtime.gallery.figures import Figures
from fer_runtime.gallery.shown import percent, shown, shown_value
from fer_runtime.pages import content_hash, json_for_html
from fer_runtime.rows import Row

FOLDER = Path(__file__).parent
NO_FACE, ERROR, UNCERTAIN = -1, -2, -3
"""In place of a label's place, in the data of the page."""
TEN_THOUSANDTHS = 10_000
"""Probabilities are whole numbers on the page: 10,000 is certain."""


def write_page(stream: BinaryIO, rows: Sequence[Row], figures: Figures, title: str) -> None:
    """Write the page as UTF-8; the thumbnails go into the file one at a time.

    Args:
        stream: what the page is written to.
        rows: the rows to show.
        figures: what there was in all.
        title: the name of the page.
    """
    style, script = (_asset(f"gallery.{ending}") for ending in ("css", "js"))
    parts = {
        "policy": _policy(style, script),
        "style": style,
        "script": script,
        "title": escape(shown(title)),
        "heading": f"Apparent expressions in {figures.faces:,} {figures.noun}"
        f"{'' if figures.faces == 1 else 's'}",
        "figures": _figures(figures),
        "labels": _table(figures),
        "note": _note(len(rows), figures),
        "data": json_for_html(page_data(rows, figures)),
    }
    for index, text in enumerate(re.split(r"{{(\w+)}}", _asset("gallery.html"))):
        if index % 2 and text == "jpegs":
            for row in rows:
                if row.thumbnail is not None:
                    stream.write(base64.b64encode(row.thumbnail.jpeg))
        else:
            stream.write((parts[text] if index % 2 else text).encode())


def page_data(rows: Sequence[Row], figures: Figures) -> dict[str, Any]:
    """The rows as the script reads them: one list per column, text already safe to show.

    `thumbnails` has [characters of Base64, width, height, *box] of each row, or 0; `boxes` has
    [left, top, right, bottom, score] in pixels of the picture, or 0. `reasons` (why there is no
    label) and `values` (further columns) are by the row's index, as few rows have any.
    """
    labels = figures.labels
    truths = [figures.truth(row) for row in rows]
    return {
        "noun": figures.noun,
        "labels": [shown(label) for label in labels],
        "counts": [*figures.predicted.tolist(), figures.without_face, figures.errors,
                   figures.uncertain],
        "names": [shown(row.name) for row in rows],
        "numbers": [row.number or 0 for row in rows],
        "predicted": [_place(row, figures) for row in rows],
        "probabilities": [
            value
            for row in rows
            for value in (
                [0] * len(labels)
                if row.probabilities is None
                else (row.probabilities * TEN_THOUSANDTHS).round().astype(int).tolist()
            )
        ],
        "truths": [-1 if truth is None else truth for truth in truths],
        "boxes": [
            0 if row.face is None
            else [*(round(value, 1) for value in row.face.box), round(row.face.score, 3)]
            for row in rows
        ],
        "thumbnails": [_thumbnail(row) for row in rows],
        "reasons": {
            index: shown_value(row.error or row.note)
            for index, row in enumerate(rows)
            if row.error or row.note
        },
        "values": {
            index: [[shown(key), shown_value(value)] for key, value in row.extra.items()
                    if value is not None]
            for index, row in enumerate(rows)
            if row.extra
        },
    }  # fmt: skip


def _place(row: Row, figures: Figures) -> int:
    if row.error is not None:
        return ERROR
    if row.uncertain:
        return UNCERTAIN
    return NO_FACE if row.label is None else figures.places[row.label]


def _thumbnail(row: Row) -> Any:
    found = row.thumbnail
    if found is None:
        return 0
    characters = (len(found.jpeg) + 2) // 3 * 4
    box = () if found.box is None else (round(value, 1) for value in found.box)
    return [characters, found.width, found.height, *box]


def _policy(style: str, script: str) -> str:
    """Content-Security-Policy: our own style and script by their hash, and no request at all."""
    allowed = f"style-src {content_hash(style)}; script-src {content_hash(script)}"
    return f"default-src 'none'; img-src data:; {allowed}; base-uri 'none'; form-action 'none'"


def _asset(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _figures(figures: Figures) -> str:
    return "".join(
        f"<div><dt>{escape(title)}</dt><dd>{escape(figure)}</dd></div>"
        for title, figure in figures.lines()
    )


def _note(count: int, figures: Figures) -> str:
    if count == figures.rows:
        return ""
    return (
        f"<p>The first {count:,} of {figures.rows:,} rows are on this page; "
        "the figures above count all of them.</p>"
    )


def _table(figures: Figures) -> str:
    """Rows of a table: each label's count, share, mean probability, and how many were right."""
    known = bool(figures.labelled.sum())
    titles = ["label", "predicted", "share", "mean probability"]
    titles += ["labelled", "recall", "precision"] if known else []
    lines = ["<tr>" + "".join(f'<th scope="col">{title}</th>' for title in titles) + "</tr>"]
    for place, label in enumerate(figures.labels):
        predicted, labelled = int(figures.predicted[place]), int(figures.labelled[place])
        cells = [
            f"{predicted:,}",
            percent(predicted / max(1, figures.faces)),
            percent(figures.confidence[place] / predicted) if predicted else "–",
        ]
        if known:
            right = int(figures.right[place])
            cells += [f"{labelled:,}", percent(right / labelled) if labelled else "–"]
            of_known = figures.known[place]
            cells.append(percent(right / of_known) if of_known else "–")
        row = "".join(f"<td>{cell}</td>" for cell in cells)
        lines.append(f'<tr><th scope="row">{escape(shown(label))}</th>{row}</tr>')
    return "".join(lines)
