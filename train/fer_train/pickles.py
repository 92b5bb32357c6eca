"""Pickles of training loops: which objects in them are harmless, and which would execute code.

Nothing here calls a type or function that a file names.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any


class Inert:
    """Stands for an object of a plain type; it keeps nothing, and no code of that type runs."""

    def __new__(cls, *_: object) -> Inert:
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        pass


def _empty_dict(*_: object) -> dict[Any, Any]:
    return {}


def _empty_list(*_: object) -> list[Any]:
    return []


_PLAIN = {
    "argparse": ("Namespace",),
    "builtins": ("bool", "dict", "float", "frozenset", "int", "list", "range", "str", "tuple"),
    "datetime": ("date", "datetime", "time", "timedelta", "timezone"),
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "numpy": ("dtype", "ndarray"),
    "numpy._core.multiarray": ("_reconstruct", "scalar"),
    "numpy.core.multiarray": ("_reconstruct", "scalar"),
    "pathlib": ("PosixPath", "PurePosixPath", "PureWindowsPath", "WindowsPath"),
    "pathlib._local": ("PosixPath", "PurePosixPath", "PureWindowsPath", "WindowsPath"),
    "types": ("SimpleNamespace",),
    "uuid": ("UUID",),
}
"""Module -> types that training loops store beside the weights, and that are read as `Inert`."""


def plain_types() -> list[Any]:
    """What `torch.serialization.safe_globals` takes, so that checkpoints with such types open.

    The real types are never called: a NumPy array of the file's choosing may be as large as it
    likes, and a dtype may point outside of its data.
    """
    found: list[Any] = [
        (Inert, f"{module}.{name}") for module, names in _PLAIN.items() for name in names
    ]
    containers = {"defaultdict": _empty_dict, "deque": _empty_list}
    return [*found, *((make, f"collections.{name}") for name, make in containers.items())]


class _Dict(dict[Any, Any]):
    """A mapping of any kind; pickles of an OrderedDict set attributes on it."""

    def __init__(self, *_: object) -> None:
        super().__init__()


_MAPPINGS = (("collections", "OrderedDict"), ("collections", "defaultdict"))
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


class _Stub:
    """Stands for any object in a pickle: its type's name, and what it was made with."""

    full_name = ""

    def __new__(cls, *arguments: object, **_: object) -> _Stub:
        made = super().__new__(cls)
        made.content = arguments
        return made

    content: tuple[object, ...] = ()

    def __setstate__(self, state: object) -> None:
        self.content = (*self.content, state)

    def __setitem__(self, key: object, value: object) -> None:
        self.content = (*self.content, value)

    def append(self, value: object) -> None:
        """As of a list."""
        self.content = (*self.content, value)

    def extend(self, values: Iterable[object]) -> None:
        """As of a list."""
        self.content = (*self.content, *values)


class _Namer(pickle.Unpickler):
    """Unpickles with a stub in place of every class and function, so nothing is executed."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _MAPPINGS:
            return _Dict
        module = {"__builtin__": "builtins"}.get(module, module)
        return type("Stub", (_Stub,), {"full_name": f"{module}.{name}"})

    def persistent_load(self, pid: Any) -> Any:
        # A tensor's storage; the old format refers to the classes of modules in the same way.
        return pid[1] if isinstance(pid, tuple) and pid[:1] == ("module",) else None


def foreign_objects(path: Path) -> list[tuple[str, str]]:
    """(entry, type) of each object in a file of torch.save that `read` refuses; executes nothing.

    An entry is written as its keys with dots: "hyper_parameters.optimizer". A file that is broken
    raises what `pickle` raises.
    """
    found: list[tuple[str, str]] = []
    _collect(_stubs_of(path), "", found, set())
    return found


def _stubs_of(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            entry = next(n for n in archive.namelist() if n.partition("/")[2] == "data.pkl")
            return _Namer(io.BytesIO(archive.read(entry))).load()
    with open(path, "rb") as stream:
        content = _Namer(stream).load()
        if content == _LEGACY_MAGIC:  # then follow a version, a note on the system, the object
            for _ in range(3):
                content = _Namer(stream).load()
        return content


def _collect(value: object, key: str, found: list[tuple[str, str]], seen: set[int]) -> None:
    """Add the foreign objects below a value; what is inside a foreign object is not named."""
    pending = [(value, key)]
    while pending:
        value, key = pending.pop(0)
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, type) and issubclass(value, _Stub):
            if not _is_safe(value.full_name):
                found.append((key, value.full_name))
        elif isinstance(value, _Stub):
            if not _is_safe(value.full_name):
                found.append((key, value.full_name))
            else:
                pending += [(each, key) for each in value.content]
        elif isinstance(value, Mapping):
            pending += [(v, f"{key}.{k}" if key else str(k)) for k, v in value.items()]
        elif isinstance(value, list | tuple | set):
            pending += [(each, key) for each in value]


def _is_safe(full_name: str) -> bool:
    module, _, name = full_name.rpartition(".")
    ours = name in _PLAIN.get(module, ()) or full_name == "collections.deque"
    return ours or full_name in _allowed_by_torch()


@lru_cache(maxsize=1)
def _allowed_by_torch() -> frozenset[str]:
    """The names that `torch.load(weights_only=True)` accepts by itself."""
    from torch import _weights_only_unpickler

    return frozenset(_weights_only_unpickler._get_allowed_globals())
