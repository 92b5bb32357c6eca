"""The columns of several sources together, found before a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fer_runtime.columns import Column
from fer_runtime.errors import DataError
from fer_runtime.sources.table import ALL, SourceOptions, kind_of

if TYPE_CHECKING:
    from fer_runtime.sources.table import FoundColumns


def announced(files: Iterable[str], options: SourceOptions, *, unknown: bool) -> FoundColumns:
    """The columns after `path` and those passed through, of files that contain many images.

    Args:
        files: their paths.
        options: how they are read; the columns that it names are in that order.
        unknown: whether there are further sources whose columns are not known yet.

    Raises:
        DataError: a file that cannot be read, or a column that none of them has.
    """
    leading: dict[str, Column] = {}
    kept: dict[str, Column] = {}
    seen = list(files)
    for path in seen:
        kind = kind_of(path)
        if kind is not None:
            first, rest = kind.columns(path, options)
            _merge(leading, first)
            _merge(kept, rest)
    asked = options.columns
    if asked is not None and asked != (ALL,):
        missing = [name for name in asked if name not in kept]
        if missing and not unknown:
            raise DataError(_missing(missing[0], seen, options))
        kept = {name: kept.get(name, Column(name)) for name in asked}
    return tuple(leading.values()), tuple(kept.values())


def _missing(name: str, files: list[str], options: SourceOptions) -> str:
    there: dict[str, Column] = {}
    for path in files:
        if kind := kind_of(path):
            _merge(there, kind.columns(path, options._replace(columns=(ALL,)))[1])
    known = ", ".join(there) or "none"
    return f"--columns: no source has a column {name!r}; their columns are: {known}."


def _merge(known: dict[str, Column], more: Iterable[Column]) -> None:
    for column in more:
        known[column.name] = common(known.get(column.name, column), column)


def common(one: Column, other: Column) -> Column:
    """One column for the values of both; a column of nulls only has any kind.

    >>> common(Column("age", "integer"), Column("age", "text")).kind
    'text'
    """
    if one == other:
        return one
    if _only_nulls(one) or _only_nulls(other):
        return other if _only_nulls(one) else one
    kinds = {one.kind, other.kind}
    if len(kinds) == 1:
        return Column(one.name, one.kind)
    return Column(one.name, "number" if kinds == {"integer", "number"} else "text")


def _only_nulls(column: Column) -> bool:
    return str(column.arrow) == "null"
