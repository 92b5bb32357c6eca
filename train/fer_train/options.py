"""Command-line options made from the fields of `Recipe`, so that each choice is written once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, get_type_hints

import typer

from fer_train.recipe import PANELS, Recipe


def with_recipe(command: Callable[..., None]) -> Callable[..., None]:
    """Replace a command's parameter `recipe` by one option per field of Recipe."""
    types = get_type_hints(Recipe)
    panels = _panels()
    options = [
        inspect.Parameter(
            entry.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=entry.default,
            annotation=Annotated[
                types[entry.name],
                typer.Option(help=entry.metadata["help"], rich_help_panel=panels[entry.name]),
            ],
        )
        for entry in fields(Recipe)
    ]
    own = inspect.signature(command, eval_str=True).parameters
    kept = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in own.items()
        if name != "recipe"
    ]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        chosen = {option.name: given.pop(option.name) for option in options}
        command(recipe=Recipe(**chosen), **given)

    signature = inspect.Signature([*kept, *options])
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    del run.__wrapped__  # Typer would look through the wrapper at the parameter it replaces
    return run


def _panels() -> dict[str, str]:
    """Field of Recipe -> title of its group in the help."""
    titles: dict[str, str] = {}
    title = ""
    for entry in fields(Recipe):
        title = PANELS.get(entry.name, title)
        titles[entry.name] = title
    return titles
