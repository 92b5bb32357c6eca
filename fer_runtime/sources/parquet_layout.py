"""Which columns of a Parquet file are the images, their labels, ids, and further values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from fer_runtime.errors import DataError
from fer_runtime.sources.table import ALL, SourceOptions

BYTES, PATH = "bytes", "path"
"""Fields of an image in Hugging Face data sets."""
LABEL = "label"
_Features = Mapping[str | None, Any]


class Layout(NamedTuple):
    """The columns of one file by what they are for.

    Attributes:
        image: the column of images.
        id: the column of the rows' names; None without.
        label: the column of true labels; None without.
        class_names: the names of the label's numbers, where the file has them.
        kept: columns that are passed through -> their places in the file.
    """

    image: str
    id: str | None
    label: str | None
    class_names: tuple[str, ...] | None
    kept: Mapping[str, int]

    @property
    def columns(self) -> list[str]:
        """Those that must be read, each once."""
        used = [self.image, self.id, self.label, *self.kept]
        return list(dict.fromkeys(name for name in used if name is not None))

    @classmethod
    def of(cls, path: str, schema: Any, options: SourceOptions) -> Layout:
        """Read it from a pyarrow schema; raises DataError where that is not clear."""
        features = _features(schema)
        image = _image(path, schema, features, options.image_column)
        for name in (options.id_column, options.label_column):
            if name is not None and name not in schema.names:
                raise DataError(f"{path} has no column {name!r}; {_listed(schema)}.")
        label = options.label_column or _label(schema, features)
        kept: dict[str, int] = {}
        asked = options.columns
        for place, name in enumerate(schema.names):
            if asked is None or asked == (ALL,):
                wanted = name not in (image, options.id_column)
            else:
                wanted = name in asked
            if wanted:
                kept.setdefault(name, place)
        return cls(image, options.id_column, label, _class_names(features.get(label)), kept)


def _image(path: str, schema: Any, features: _Features, asked: str | None) -> str:
    fitting = [each.name for each in schema if _is_image(each.type)]
    if asked is not None:
        if asked in fitting:
            return asked
        if asked not in schema.names:
            raise DataError(f"{path} has no column {asked!r}; {_listed(schema)}.")
        kind = schema.types[schema.names.index(asked)]
        raise DataError(
            f"{path}: column {asked!r} is {kind}; images are binary, or a struct of bytes and path."
        )
    marked = [name for name in fitting if _type_of(features.get(name)) == "Image"]
    found = marked if len(marked) == 1 else fitting
    if len(found) == 1:
        return str(found[0])
    if found:
        raise DataError(
            f"{path} has {len(found)} columns that may be images ({', '.join(found)}); name one "
            "with --image-column."
        )
    raise DataError(
        f"{path} has no column of images (binary, or a struct of bytes and path); "
        f"{_listed(schema)}."
    )


def _label(schema: Any, features: _Features) -> str | None:
    if LABEL in schema.names:
        return LABEL
    classes = [n for n in schema.names if _type_of(features.get(n)) == "ClassLabel"]
    return classes[0] if len(classes) == 1 else None


def _features(schema: Any) -> _Features:
    """The features that Hugging Face's `datasets` writes beside a schema: column -> description."""
    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _type_of(feature: Any) -> Any:
    return feature.get("_type") if isinstance(feature, dict) else None


def _class_names(feature: Any) -> tuple[str, ...] | None:
    names = feature.get("names") if _type_of(feature) == "ClassLabel" else None
    if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    return None


def _is_image(arrow: Any) -> bool:
    from pyarrow import types

    if types.is_struct(arrow):
        return any(each.name == BYTES and _is_binary(each.type) for each in arrow)
    return _is_binary(arrow)


def _is_binary(arrow: Any) -> bool:
    from pyarrow import types

    kinds = (
        types.is_binary,
        types.is_large_binary,
        types.is_binary_view,
        types.is_fixed_size_binary,
    )
    return any(of_kind(arrow) for of_kind in kinds)


def _listed(schema: Any, most: int = 20) -> str:
    columns = [f"{each.name} ({_short(each.type)})" for each in schema]
    more = f" and {len(columns) - most:,} more" if len(columns) > most else ""
    return f"its columns are: {', '.join(columns[:most]) or 'none'}{more}"


def _short(arrow: Any) -> str:
    text = str(arrow)
    return text if len(text) <= 40 else f"{text[:39]}…"


def plain_type(arrow: Any) -> Any:
    """The pyarrow type whose values are plain Python values.

    Times are kept to the microsecond, as Python's are; categories become their values.
    """
    import pyarrow as pa
    from pyarrow import types

    if isinstance(arrow, pa.BaseExtensionType):
        arrow = arrow.storage_type
    if types.is_dictionary(arrow):
        arrow = arrow.value_type
    if types.is_timestamp(arrow) and arrow.unit == "ns":
        return pa.timestamp("us", arrow.tz)
    if types.is_struct(arrow):
        return pa.struct([each.with_type(plain_type(each.type)) for each in arrow])
    if types.is_list(arrow) or types.is_large_list(arrow):
        make = pa.list_ if types.is_list(arrow) else pa.large_list
        return make(arrow.value_field.with_type(plain_type(arrow.value_type)))
    coarser = {
        pa.time64("ns"): pa.time64("us"),
        pa.duration("ns"): pa.duration("us"),
        pa.float16(): pa.float32(),
    }
    return coarser.get(arrow, arrow)
