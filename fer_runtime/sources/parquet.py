"""Parquet with a column of images, as Hugging Face data sets have (extra `parquet`).

A few rows are in memory at a time, and the page of a column that they are in (1,024 values, where
pyarrow wrote it). What is found in a file's schema is in `parquet_layout.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fer_runtime.columns import Column
from fer_runtime.errors import DataError
from fer_runtime.images import MAX_FILE_BYTES
from fer_runtime.items import Item, require_regular
from fer_runtime.sources.labels import CLASS_NUMBER, label_of
from fer_runtime.sources.parquet_layout import BYTES, PATH, Layout, plain_type
from fer_runtime.sources.table import SourceKind, SourceOptions

if TYPE_CHECKING:
    from fer_runtime.sources.table import FoundColumns

BATCH_BYTES = 1 << 23
"""Of rows that are read at once, by what the file's metadata says about their size."""
MOST_ROWS = 256
READ_BYTES = 1 << 20
"""Read from the file at once; without it and `pre_buffer=False` a row group's columns are kept."""


def rows(path: str, options: SourceOptions) -> Iterator[Item | None]:
    """An item for each row: its image, its true label, and the columns that are passed through.

    It is named by the id column, else by the path that the image has, else `file.parquet:ROW`,
    counted from 0. A row without an image, and rows that cannot be read, are items with an error.

    Raises:
        DataError: not a Parquet file, or one without a column of images.
    """
    with _open(path) as file:
        layout = Layout.of(path, file.schema_arrow, options)
        first = 0
        for place in range(file.num_row_groups):
            done, count = first, 0
            try:
                group = file.metadata.row_group(place)
                count = group.num_rows
                each = max(1, group.total_byte_size // max(1, count))
                for batch in file.iter_batches(
                    batch_size=max(1, min(MOST_ROWS, BATCH_BYTES // each)),
                    row_groups=[place],
                    columns=layout.columns,
                    use_threads=False,  # the cores decode images
                ):
                    yield from _items(batch, layout, path, done, options)
                    done += batch.num_rows
            except Exception as error:
                # pyarrow raises ArrowException, OSError, ValueError, MemoryError … on broken files.
                which = f"rows {done:,} to {first + count - 1:,}" if count else "a row group"
                yield Item(path, path, f"{which} cannot be read: {_reason(error)}")
            first += count


def columns(path: str, options: SourceOptions) -> FoundColumns:
    """The columns that are passed through: those asked for, or all but the image and the id."""
    with _open(path) as file:
        layout = Layout.of(path, file.schema_arrow, options)
        types = {name: file.schema_arrow.types[place] for name, place in layout.kept.items()}
    plain = {name: plain_type(each) for name, each in types.items()}
    return (), tuple(Column(name, _kind(each), each) for name, each in plain.items())


def check(path: str, options: SourceOptions) -> None:
    """Raise DataError unless it is a Parquet file with a column of images."""
    with _open(path) as file:
        Layout.of(path, file.schema_arrow, options)


PARQUET = SourceKind(rows, columns, check=check)


def _open(path: str) -> Any:
    """A pyarrow.parquet.ParquetFile; raises DataError."""
    require_regular(path)
    try:
        from pyarrow import parquet
    except ImportError:
        raise DataError(f"{path}: Parquet needs pyarrow: pip install '.[parquet]'.") from None
    try:
        return parquet.ParquetFile(path, buffer_size=READ_BYTES, pre_buffer=False)
    except Exception as error:  # as above
        raise DataError(f"{path} cannot be read as Parquet: {_reason(error)}") from None


def _items(
    batch: Any, layout: Layout, path: str, first: int, options: SourceOptions
) -> Iterator[Item]:
    """The items of a batch whose first row has that number in the file."""
    column = {name: batch.column(batch.schema.names.index(name)) for name in layout.columns}
    contents, paths = _images(column[layout.image])
    ids = _values(column[layout.id]) if layout.id else paths
    labels = _values(column[layout.label]) if layout.label else [None] * batch.num_rows
    kept = [_values(column[name]) for name in layout.kept]
    names = layout.class_names or options.class_labels
    for place, content in enumerate(contents):
        found = ids[place]
        name = str(found) if found not in (None, "") else f"{path}:{first + place}"
        label, number = label_of(labels[place], names)
        values = {key: each[place] for key, each in zip(layout.kept, kept, strict=True)}
        if number is not None:
            values[CLASS_NUMBER] = number
        why = _why_none(content, paths[place])
        yield Item(name, path, why, None if why else content, label, values or None)


def _images(array: Any) -> tuple[list[bytes | None], list[str | None]]:
    """The encoded images of a column, and their paths where it has some."""
    import pyarrow

    if not pyarrow.types.is_struct(array.type):
        return array.to_pylist(), [None] * len(array)
    parts = dict(zip((field.name for field in array.type), array.flatten(), strict=True))
    paths = list(_values(parts[PATH])) if PATH in parts else [None] * len(array)
    return parts[BYTES].to_pylist(), paths


def _why_none(content: bytes | None, path: object) -> str | None:
    """Why there is nothing to decode."""
    if content is None:
        return f"only the path of an image ({path}), not its bytes" if path else "no image (null)"
    if len(content) > MAX_FILE_BYTES:
        return f"image of {len(content):,} bytes is over the limit"
    return None


def _values(array: Any) -> Sequence[Any]:
    """A column as plain Python values; None for one that Python cannot represent."""
    import pyarrow
    from pyarrow import types

    if isinstance(array.type, pyarrow.BaseExtensionType):
        array = array.storage
    if types.is_dictionary(array.type):
        array = array.dictionary_decode()
    wanted = plain_type(array.type)
    if wanted != array.type:
        array = array.cast(wanted, safe=False)
    try:
        return list(array.to_pylist())
    except (ValueError, OverflowError, KeyError):  # not UTF-8, a year after 9999, a zone
        if types.is_timestamp(array.type) and array.type.tz:
            array = array.cast(pyarrow.timestamp(array.type.unit, "UTC"))
        return [_value(each) for each in array]


def _value(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        buffer = getattr(scalar, "as_buffer", None)  # a text; a list of texts has none
        return buffer().to_pybytes().decode("utf-8", "replace") if buffer else None
    except (ValueError, OverflowError, KeyError):
        return None


def _kind(arrow: Any) -> str:
    from pyarrow import types

    if types.is_integer(arrow):
        return "integer"
    return "number" if types.is_floating(arrow) else "text"


def _reason(error: Exception) -> str:
    text = str(getattr(error, "strerror", None) or error).strip() or type(error).__name__
    return text.splitlines()[0]
