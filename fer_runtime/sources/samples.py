"""WebDataset samples: the members of an archive that share a key, and what they know of an image.

The key is a member's folder and its name before the first dot
(https://github.com/webdataset/webdataset). Members of one sample follow one another, in any order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from math import isfinite
from typing import Any, NamedTuple

from fer_runtime.columns import Column
from fer_runtime.items import Item
from fer_runtime.sources.labels import CLASS_NUMBER, label_of
from fer_runtime.sources.table import ALL, SourceOptions

BESIDE = {".cls": 1 << 12, ".json": 1 << 22}
"""Endings of what may be beside an image -> the most bytes of it that are read."""
CLS = "cls"
MOST_IMAGES, MOST_BYTES = 32, 1 << 25
"""Of one sample that is kept back; names such as `film.00001.jpg` have one key for all of them."""
DEEPEST = 32
"""Levels of nested JSON; deeper ones are hostile, and could not be written again."""
LOOKED_AT = 100
"""Images at the beginning of an archive that are looked at for the names of columns."""


class Beside(NamedTuple):
    """A member that may describe an image: its name and content, None where that is too long."""

    name: str
    content: bytes | None


class Sample:
    """The images of one key, and the members beside them."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.images: list[Item] = []
        self.beside: dict[str, Beside] = {}
        self.endings: set[str] = set()
        self.size = 0
        self.reported = False

    def add(self, member: Item | Beside, ending: str) -> None:
        """Keep an image, or what describes it, until the sample is complete."""
        self.endings.add(ending)
        if isinstance(member, Beside):
            self.beside[ending] = member
            return
        self.images.append(member)
        if isinstance(member.content, bytes):
            self.size += len(member.content)

    def full(self) -> bool:
        """Whether its images are handed out before its end, to keep memory constant."""
        return len(self.images) >= MOST_IMAGES or self.size >= MOST_BYTES

    def items(self, options: SourceOptions) -> Iterator[Item | None]:
        """The images with what is known about them; None for each other member not used."""
        if not self.images:
            yield from (None for _ in self.beside)
            return
        if not self.beside:
            yield from self.images
        else:
            facts = Facts(self.beside, options)
            for image in self.images:
                yield Item(
                    image.name, image.path, image.error, image.content, facts.label, facts.values
                )
            if not self.reported:
                yield from (Item(name, name, why) for name, why in facts.broken)
                yield from (None for _ in range(facts.unused))
                self.reported = True
        self.images, self.endings, self.size = [], set(self.beside), 0


class Facts:
    """What the members beside an image say about it.

    Attributes:
        label: its true label.
        values: the columns that were asked for; None without any.
        broken: (name, reason) of members that were needed and cannot be read.
        unused: how many members nothing was taken from.
    """

    def __init__(self, beside: dict[str, Beside], options: SourceOptions) -> None:
        asked = options.columns or ()
        self.broken: list[tuple[str, str]] = []
        text = _text(beside.get(".cls"))
        found = self._read(beside.get(".json"), wanted=set(asked) - {CLS} != set())
        self.label, number = label_of(text, options.class_labels)
        used = {".cls": self.label is not None or number is not None or CLS in asked}
        used[".json"] = bool(found) and bool(asked)
        if self.label is None and isinstance(found.get("label"), str | int):
            self.label, other = label_of(found["label"], options.class_labels)
            number = other if number is None else number
            used[".json"] |= self.label is not None or other is not None
        if asked == (ALL,):
            asked = (*found, *([CLS] if text is not None else []))
        known = found if text is None else {CLS: text, **found}
        values = {name: value(known, name) for name in asked}
        if self.label is None and number is not None:
            values[CLASS_NUMBER] = number
        self.values = values or None
        broken = {name for name, _ in self.broken}
        self.unused = sum(
            not used[ending] and each.name not in broken for ending, each in beside.items()
        )

    def _read(self, member: Beside | None, *, wanted: bool) -> dict[str, Any]:
        """A JSON object; empty, and reported where it is `wanted`, if there is none."""
        if member is None:
            return {}
        if not wanted and b'"label"' not in (member.content or b""):
            return {}
        try:
            return read_object(member.content)
        except ValueError as error:
            if wanted:
                self.broken.append((member.name, str(error)))
            return {}


class SampleColumns:
    """The columns of an archive: those asked for, or those of the first images.

    Attributes:
        all: whether the archive must be looked at.
        found: the columns.
    """

    def __init__(self, asked: Sequence[str] | None) -> None:
        self.all = tuple(asked or ()) == (ALL,)
        self.found = () if self.all else tuple(map(Column, asked or ()))

    def look_at(self, members: Iterable[Item | Beside | None]) -> None:
        """Take the names from the first images that have any."""
        options = SourceOptions(columns=(ALL,))
        for item in islice(joined(members, options), LOOKED_AT):
            names = [name for name in (item and item.extra) or () if name != CLASS_NUMBER]
            if names:
                self.found = tuple(map(Column, names))
                return


def joined(
    members: Iterable[Item | Beside | None], options: SourceOptions
) -> Iterator[Item | None]:
    """Images with what the members of their samples know; None for each other member.

    At most one sample is kept in memory.
    """
    sample = Sample("")
    for member in members:
        if member is None:
            yield None
            continue
        key, ending = key_of(member.name)
        if isinstance(member, Beside) and ending not in BESIDE:  # as in 1.meta.json
            yield None
            continue
        if key != sample.key or ending in sample.endings:
            yield from sample.items(options)
            sample = Sample(key)
        elif sample.full():
            yield from sample.items(options)
        sample.add(member, ending)
    yield from sample.items(options)


def key_of(name: str) -> tuple[str, str]:
    """A member's key, and the rest of its name in lower case.

    >>> key_of("shard.tar/a.b/0001.left.JPG")
    ('shard.tar/a.b/0001', '.left.jpg')
    """
    base = name.rfind("/") + 1
    dot = name.find(".", base)
    if dot in (-1, base):  # a hidden file has no key in WebDataset
        return name, ""
    return name[:dot], name[dot:].lower()


def read_object(content: bytes | None) -> dict[str, Any]:
    """A JSON object as plain values, without NaN and lone surrogates; raises ValueError."""
    if content is None:
        raise ValueError(f"JSON of more than {BESIDE['.json']:,} bytes is not read")
    try:
        found = json.loads(content, parse_constant=lambda name: None)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"broken JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError("is not a JSON object")
    plain: dict[str, Any] = _plain(found)
    return plain


def value(found: dict[str, Any], name: str) -> Any:
    """The value under a name, `a.b` is that of `b` in `a`; None where there is none.

    >>> value({"a": {"b": 1}}, "a.b")
    1
    """
    if name in found:
        return found[name]
    first, dot, rest = name.partition(".")
    inner = found.get(first)
    return value(inner, rest) if dot and isinstance(inner, dict) else None


def _plain(found: Any, depth: int = 0) -> Any:
    if depth > DEEPEST:
        raise ValueError(f"JSON that is nested more than {DEEPEST} deep")
    if isinstance(found, dict):
        return {_plain(key): _plain(each, depth + 1) for key, each in found.items()}
    if isinstance(found, list):
        return [_plain(each, depth + 1) for each in found]
    if isinstance(found, str):
        return found if found.isascii() else found.encode("utf-8", "replace").decode()
    if isinstance(found, float) and not isfinite(found):
        return None
    return found


def _text(member: Beside | None) -> str | None:
    """A short text; None for what is too long, is not UTF-8, or has control characters."""
    if member is None or member.content is None:
        return None
    try:
        text = member.content.decode().strip()
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() and text else None
