"""Text that shows what is in it: names of files may contain bytes and characters that mislead."""

from __future__ import annotations

from typing import Any

MOST_CHARACTERS = 300


def shown(text: str) -> str:
    r"""The text with what cannot be seen, or turns the reading direction, as an escape.

    Control and format characters (a line feed, RIGHT-TO-LEFT OVERRIDE, a zero-width space) and
    lone surrogates become `\x0a` or `\u202e`; a byte that is not UTF-8, which Python keeps as a
    surrogate, becomes `\xff`. Letters of every script stay.

    >>> print(shown("gpj.\u202eexe"), shown("caf\udce9"), shown("日本.png"))
    gpj.\u202eexe caf\xe9 日本.png
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(ord(each)) for each in text)


def _escaped(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00  # surrogateescape: the byte itself
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def shown_value(value: Any) -> str:
    """A value of a further column as text of at most 300 characters.

    >>> shown_value(0.1 + 0.2), shown_value(b"1234")
    ('0.3', '4 bytes')
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value):,} bytes"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    text = shown(text[: MOST_CHARACTERS + 1])
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"


def percent(share: float) -> str:
    """0.943 -> "94 %", with a space that does not break."""
    return f"{share:.0%}".replace("%", "\N{NO-BREAK SPACE}%")
