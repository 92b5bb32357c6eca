"""One self-contained HTML page of text, tables, bars and pictures: no script, no request.

Legible on a phone (wide tables scroll by themselves), in print, and in a dark room.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import numpy.typing as npt

_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --line: #c8c8c8; --bar: #0072b2;
  --good: #00664b; --bad: #a63c00; --soft: #f3f3f3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --paper: #161616; --line: #4a4a4a;
  --bar: #56b4e9; --good: #4fd1a5; --bad: #ffa36b; --soft: #222; } }
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere }
h1 { font-size: 1.5rem; line-height: 1.25 } h2 { font-size: 1.2rem; margin-top: 2.2rem;
  border-top: 1px solid var(--line); padding-top: .8rem } h3 { font-size: 1rem; margin-top: 1.4rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { text-align: left; vertical-align: top; padding: .25rem .9rem .25rem 0;
  border-bottom: 1px solid var(--line) }
th { overflow-wrap: normal; min-width: 5rem }
th:first-child { min-width: 8rem }
td { overflow-wrap: break-word; min-width: 6rem }
pre { white-space: pre-wrap; background: var(--soft); padding: .6rem; font-size: .85rem }
.good { color: var(--good); font-weight: 600 } .bad { color: var(--bad); font-weight: 600 }
.bars { display: grid; grid-template-columns: max-content 1fr max-content; gap: .15rem .6rem;
  align-items: center; font-variant-numeric: tabular-nums }
.bars i { display: block; height: .9rem; background: var(--bar); min-width: 1px;
  print-color-adjust: exact; -webkit-print-color-adjust: exact }
.faces { display: flex; flex-wrap: wrap; gap: .8rem } figure { margin: 0; width: 8.5rem;
  font-size: .8rem; line-height: 1.3 } figure img { width: 6rem; height: 6rem;
  object-fit: contain; image-rendering: pixelated; background: var(--soft) }
.chart { display: block; width: 100%; max-width: 40rem; background: #fff; padding: .3rem }
@media print { body { max-width: none; font-size: 11px } h2 { break-after: avoid }
  figure, tr, .chart { break-inside: avoid } .chart { max-width: 26rem }
  .scroll { overflow: visible } }
"""


class Page:
    """Parts in the order they are added; `html` is the whole page."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._parts = [f"<h1>{escape(title)}</h1>"]

    def heading(self, text: str, level: int = 2) -> None:
        """A heading of level 2 or 3."""
        self._parts.append(f"<h{level}>{escape(text)}</h{level}>")

    def text(self, text: str, mood: str = "") -> None:
        """A paragraph; `mood` is "", "good" or "bad"."""
        self._parts.append(f'<p class="{mood}">{escape(text)}</p>' if mood else _paragraph(text))

    def items(self, lines: Sequence[str]) -> None:
        """A list."""
        self._parts.append("<ul>" + "".join(f"<li>{escape(t)}</li>" for t in lines) + "</ul>")

    def code(self, text: str) -> None:
        """Text as it is, in a fixed width."""
        self._parts.append(f"<pre>{escape(text)}</pre>")

    def table(self, rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> None:
        """Rows of cells; the first cell of each is its title."""
        head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
        lines = [f"<thead><tr>{head}</tr></thead>"] if header else []
        for first, *rest in rows:
            cells = "".join(f"<td>{escape(cell)}</td>" for cell in rest)
            lines.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
        self._parts.append(f'<div class="scroll"><table>{"".join(lines)}</table></div>')

    def bars(self, counts: Mapping[str, int]) -> None:
        """A horizontal bar for each count, its label before it and its number after it."""
        most = max(1, *counts.values())
        cells = "".join(
            f'<span>{escape(label)}</span><i style="width:{100 * count / most:.1f}%"></i>'
            f"<span>{count:,}</span>"
            for label, count in counts.items()
        )
        self._parts.append(f'<div class="bars">{cells}</div>')

    def pictures(self, pictures: Sequence[tuple[npt.NDArray[np.uint8], str]]) -> None:
        """(C, H, W) uint8 pixels, each with its caption."""
        cells = "".join(
            f'<figure><img alt="" src="data:image/png;base64,{_png(pixels)}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
            for pixels, caption in pictures
        )
        self._parts.append(f'<div class="faces">{cells}</div>')

    def image(self, png: bytes, alternative: str) -> None:
        """A chart as wide as the text; `alternative` is for those who cannot see it."""
        data = base64.b64encode(png).decode("ascii")
        source = f"data:image/png;base64,{data}"
        self._parts.append(f'<img class="chart" alt="{escape(alternative)}" src="{source}">')

    def html(self) -> str:
        """The page; it refers to no other file and contains no script."""
        policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
        body = "\n".join(self._parts)
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(self._title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
            f"<body>\n{body}\n</body>\n</html>\n"
        )


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _png(pixels: npt.NDArray[np.uint8]) -> str:
    """Base64 of a PNG of (C, H, W) pixels, C 1 or 3."""
    from PIL import Image

    plane = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(plane)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
