"""Checks of the single values of a spec: each returns the value, or raises an error that names it.

Standard library only, as everything that `fer_runtime.spec` imports.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, get_args

from fer_runtime.errors import ModelSpecError


def check_keys(kind: type, given: Mapping[str, Any], prefix: str) -> None:
    """All fields that carry no default must be there, and nothing else than fields."""
    known = {entry.name: entry for entry in fields(kind)}
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ModelSpecError(
            f"Unknown key {prefix}{unknown[0]} in the spec; known here: {', '.join(known)}."
        )
    required = {"labels", "input", "height", "width", "channels", "mean", "std"}
    missing = [name for name in known if name in required and name not in given]
    if missing:
        raise ModelSpecError(f"The spec lacks the key {prefix}{missing[0]}.")


def check_integer(name: str, value: object, low: int, high: int) -> None:
    """Raise ModelSpecError unless it is a whole number from low to high."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ModelSpecError(f"{name} is {value!r}; it must be a whole number, {low} to {high}.")


def check_text(name: str, value: object) -> None:
    """Raise ModelSpecError unless it is a text with something in it."""
    if not isinstance(value, str) or not value.strip():
        raise ModelSpecError(f"{name} is {value!r}; it must be a text that is not empty.")


def check_mapping(name: str, value: object) -> None:
    """Raise ModelSpecError unless it is a mapping."""
    if not isinstance(value, Mapping):
        raise ModelSpecError(f"{name} is {value!r}; it must be an object with named values.")


def check_choice(name: str, value: object, allowed: Any) -> None:
    """Raise ModelSpecError unless it is one of the values of a Literal."""
    if value not in get_args(allowed):
        raise ModelSpecError(f"{name} is {value!r}; allowed: {', '.join(get_args(allowed))}.")


def number(name: str, value: object) -> float:
    """A finite number as a float; anything else is a ModelSpecError."""
    try:
        found = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        found = math.inf
    if isinstance(value, bool) or not math.isfinite(found):
        raise ModelSpecError(f"{name} is {value!r}; it must be a finite number.")
    return found


def number_between(name: str, value: object, low: float, high: float) -> float:
    """A number from low to high as a float; anything else is a ModelSpecError."""
    found = number(name, value)
    if not low <= found <= high:
        raise ModelSpecError(f"{name} is {value}; it must be from {low:g} to {high:g}.")
    return found


def numbers(name: str, value: object, count: int) -> tuple[float, ...]:
    """So many finite numbers as floats; anything else is a ModelSpecError."""
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != count:
        raise ModelSpecError(f"{name} is {value!r}; it must be a list of {count} numbers.")
    return tuple(number(name, entry) for entry in value)


def plain(name: str, value: object) -> dict[str, Any]:
    """A copy as JSON keeps it, so that nobody who holds the original can change the spec."""
    check_mapping(name, value)
    try:
        copied = json.loads(json.dumps(value, allow_nan=False, default=_mapping_as_dict))
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelSpecError(f"{name} holds a value that JSON cannot: {error}") from None
    assert isinstance(copied, dict)
    return copied


def _mapping_as_dict(value: object) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} {value!r}")
