"""What self-contained HTML pages share: a style, scripts for pictures, templates, hashes."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def style() -> str:
    """The CSS of pages that take pictures and show predictions."""
    return (FOLDER / "page.css").read_text(encoding="utf-8")


def picture_script() -> str:
    """JavaScript: elements, boxes, bars, and pictures that are dropped, pasted or chosen."""
    return (FOLDER / "pictures.js").read_text(encoding="utf-8")


def filled(template: str, parts: Mapping[str, str]) -> str:
    """A template with {{name}} replaced by the part of that name, which is HTML already.

    >>> filled("<p>{{what}}</p>", {"what": "<b>{{what}}</b>"})
    '<p><b>{{what}}</b></p>'
    """
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def json_for_html(value: Any) -> str:
    r"""Compact JSON that cannot end a script element, whatever text is in it.

    >>> json_for_html("</script>")
    '"\\u003c/script>"'
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def content_hash(text: str) -> str:
    """What a Content-Security-Policy allows an inline style or script by."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
