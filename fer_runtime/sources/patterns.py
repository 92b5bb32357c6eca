"""Globs, and braces as users of WebDataset write them: `shards/{000..127}.tar`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from fer_runtime.errors import DataError

GLOB_SIGNS = "*?["
MOST_BRACES = 64
"""A name with more of them is taken as it is."""
_RANGE = re.compile(r"(-?\d{1,18})\.\.(-?\d{1,18})(?:\.\.(-?\d{1,9}))?")
_LETTERS = re.compile(r"([a-zA-Z])\.\.([a-zA-Z])(?:\.\.(-?\d{1,9}))?")


def is_pattern(source: str) -> bool:
    """Whether a source is a glob or has braces to expand; a file of that name goes first."""
    return (_has_signs(source) or _first_group(source) is not None) and not os.path.lexists(source)


def matches(pattern: str) -> Iterator[str]:
    """The files and folders that a pattern names: braces in the order written, globs by name.

    `**` looks into folders itself, so that its matches are files only.

    Raises:
        DataError: while iterating, for a glob that matches nothing, or a name made from braces
            that is not there.
    """
    for name in expand(pattern):
        if not _is_glob(name):
            _require(name, pattern)
            yield name
            continue
        _require_match(name)
        import glob

        for match in sorted(glob.iglob(name, recursive=True)):
            if "**" not in name or not os.path.isdir(match):
                yield match


def require_matches(pattern: str) -> None:
    """Raise DataError unless everything is there; of a glob only the first match is looked for."""
    for name in expand(pattern):
        if _is_glob(name):
            _require_match(name)
        else:
            _require(name, pattern)


def literal_end(pattern: str) -> str:
    """What every match ends with, in lower case; may be empty.

    >>> literal_end("photos/**/*.JPG")
    '.jpg'
    """
    return re.split(r"[*?\[\]{}]", pattern)[-1].lower()


def expand(pattern: str) -> Iterator[str]:
    """Names with every brace replaced, as a shell does, one at a time.

    >>> list(expand("{a,b}/{08..10}.tar"))[:4]
    ['a/08.tar', 'a/09.tar', 'a/10.tar', 'b/08.tar']

    `{a,b}` are alternatives, which may contain braces; `{1..3}`, `{0..8..2}` and `{a..c}` are
    ranges, and a number with leading zeros gives all of them that width. Other braces stay.
    """
    found = _first_group(pattern)
    if found is None:
        yield pattern
        return
    start, end = found
    for middle in _alternatives(pattern[start + 1 : end]):
        for rest in expand(pattern[end + 1 :]):
            yield pattern[:start] + middle + rest


def _first_group(text: str) -> tuple[int, int] | None:
    """The places of the first braces that can be expanded."""
    if "{" not in text or text.count("{") > MOST_BRACES:
        return None
    for start, sign in enumerate(text):
        if sign == "{" and (end := _closing(text, start)) is not None:
            body = text[start + 1 : end]
            if len(_split(body)) > 1 or _RANGE.fullmatch(body) or _LETTERS.fullmatch(body):
                return start, end
    return None


def _closing(text: str, start: int) -> int | None:
    depth = 0
    for place in range(start, len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return place
    return None


def _split(body: str) -> list[str]:
    """Split at the commas that are not inside braces."""
    parts, depth = [""], 0
    for sign in body:
        depth += (sign == "{") - (sign == "}")
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def _alternatives(body: str) -> Iterator[str]:
    numbers, letters = _RANGE.fullmatch(body), _LETTERS.fullmatch(body)
    if numbers:
        first, last, step = numbers.groups()
        padded = any(re.match("-?0[0-9]", end) for end in (first, last))
        width = max(len(first), len(last)) if padded else 0
        yield from (f"{n:0{width}d}" for n in _steps(int(first), int(last), int(step or 1)))
    elif letters:
        first, last, step = letters.groups()
        yield from map(chr, _steps(ord(first), ord(last), int(step or 1)))
    else:
        for part in _split(body):
            yield from expand(part)


def _steps(first: int, last: int, step: int) -> range:
    """From the first to the last, up or down."""
    step = abs(step) or 1
    return range(first, last + 1, step) if first <= last else range(first, last - 1, -step)


def _has_signs(source: str) -> bool:
    return any(sign in source for sign in GLOB_SIGNS)


def _is_glob(source: str) -> bool:
    return _has_signs(source) and not os.path.lexists(source)


def _require(name: str, pattern: str) -> None:
    if not os.path.lexists(name):
        raise DataError(f"{name} does not exist ({pattern} includes it).")


def _require_match(pattern: str) -> None:
    """Look for the first match only: there may be millions."""
    import glob

    if next(glob.iglob(pattern, recursive=True), None) is None:
        raise DataError(f"{pattern}: no file matches.")
