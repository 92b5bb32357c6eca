"""Options of the command lines: a parameter that is a dataclass becomes one option per field.

The one mechanism of all our commands. A command declares its own options as Typer has them
(`Annotated[..., typer.Option(...)]`), and options that several commands share, or that a library
function takes as one value, as a dataclass whose fields are made by `option`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import MISSING, field, fields, is_dataclass
from typing import Annotated, Any, get_type_hints

import click
import typer

Choices = Sequence[str] | Callable[[], Sequence[str]]


def option(
    default: Any,
    help: str,
    *flags: str,
    choices: Choices = (),
    panel: str | None = None,
    metavar: str | None = None,
    min: float | None = None,
    max: float | None = None,
    **metadata: Any,
) -> Any:
    """A dataclass field that is also a command-line option.

    Args:
        default: the field's default.
        help: the option's help text.
        *flags: its spelling, where it is not made from the field's name.
        choices: allowed names (or a function of a table that returns them); help and shells list
            them.
        panel: title of its group in the help.
        metavar: what the help shows for its value.
        min: smallest number.
        max: largest number.
        **metadata: more entries of the field's metadata.
    """
    entries = {
        "help": help, "flags": flags, "choices": choices, "panel": panel, "metavar": metavar,
        "min": min, "max": max,
    }  # fmt: skip
    return field(default=default, metadata={**entries, **metadata})


def choices_of(entry: Any) -> tuple[str, ...]:
    """The allowed names of a dataclass field made by `option`; () where any value may be given."""
    found = entry.metadata.get("choices") or ()
    return tuple(found() if callable(found) else found)


def choice(names: Sequence[str], **settings: Any) -> Any:
    """A Typer option whose value is one of `names`; help and shell completion list them."""
    return typer.Option(click_type=click.Choice(list(names)), **settings)


def expand(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter whose type is a dataclass by one option per field."""
    own = inspect.signature(command, eval_str=True).parameters
    groups: dict[str, Any] = {n: p.annotation for n, p in own.items() if is_dataclass(p.annotation)}
    added = {name: _parameters(kind) for name, kind in groups.items()}

    @functools.wraps(command)
    def run(**given: Any) -> None:
        values = {
            name: kind(**{p.name: given.pop(p.name) for p in added[name]})
            for name, kind in groups.items()
        }
        command(**given, **values)

    kept = [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for n, p in own.items() if n not in groups
    ]
    parameters = [*kept, *(p for each in added.values() for p in each)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    del run.__wrapped__  # Typer would look through the wrapper at the parameters it replaces
    return run


def _parameters(kind: type) -> list[inspect.Parameter]:
    types = get_type_hints(kind)
    return [
        inspect.Parameter(
            entry.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=entry.default if entry.default is not MISSING else inspect.Parameter.empty,
            annotation=Annotated[types[entry.name], _typer_option(entry)],
        )
        for entry in fields(kind)
        if "help" in entry.metadata
    ]


def _typer_option(entry: Any) -> Any:
    known = entry.metadata
    names = choices_of(entry)
    settings = {
        "help": known["help"],
        "rich_help_panel": known.get("panel"),
        "metavar": known.get("metavar"),
        "min": known.get("min"),
        "max": known.get("max"),
        "click_type": click.Choice(list(names)) if names else None,
    }
    given = {name: value for name, value in settings.items() if value is not None}
    return typer.Option(*known.get("flags", ()), **given)
