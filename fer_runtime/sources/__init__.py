"""What can be classified: folders, files, globs, lists on standard input, archives and tables.

Nothing is decoded here. The names load on first use, so that a command line can list the table
`SOURCES` without loading numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fer_runtime._lazy import lazy_attributes
from fer_runtime.sources.table import SOURCES, SourceKind, SourceOptions, kind_of

if TYPE_CHECKING:
    from fer_runtime.items import Item, is_image_name, named, require_regular
    from fer_runtime.sources.combined import STDIN, Sources, shard_of
    from fer_runtime.sources.files import Files

__all__ = [
    "SOURCES",
    "STDIN",
    "Files",
    "Item",
    "SourceKind",
    "SourceOptions",
    "Sources",
    "is_image_name",
    "kind_of",
    "named",
    "require_regular",
    "shard_of",
]

__getattr__ = lazy_attributes(
    __name__,
    {
        "Files": "fer_runtime.sources.files",
        "Item": "fer_runtime.items",
        "STDIN": "fer_runtime.sources.combined",
        "Sources": "fer_runtime.sources.combined",
        "is_image_name": "fer_runtime.items",
        "named": "fer_runtime.items",
        "require_regular": "fer_runtime.items",
        "shard_of": "fer_runtime.sources.combined",
    },
)
