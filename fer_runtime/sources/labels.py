"""True labels as data sets write them: names, or numbers of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

CLASS_NUMBER = "\0class number"
"""Key in an item's `extra`: the number of its class, where nothing gives the number's name. It is
not the name of a column: no table has one with a null character."""

LONGEST_NUMBER = 9


def label_of(value: Any, names: Sequence[str] | None) -> tuple[str | None, int | None]:
    """A label's name, and else the number of its class.

    A number is the place of a name in `names`, and without names it stays a number: the order of
    the classes is not the same in every data set. A negative number is not a label, as in the test
    splits of Hugging Face.

    >>> label_of("1", ("angry", "happy")), label_of(1, None), label_of("sad", None)
    (('happy', None), (None, 1), ('sad', None))
    """
    if isinstance(value, str):
        value = value.strip()
        if not value.isdecimal():
            return value or None, None
        value = int(value) if len(value) <= LONGEST_NUMBER else -1
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        return None, None
    if names is None or value >= len(names):
        return None, value
    return names[value], None
