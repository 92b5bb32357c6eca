"""Content hashes: the same bytes give the same name, whatever the file is called."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes, read in pieces; raises OSError."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def weights_sha256(weights: Iterable[tuple[str, npt.NDArray[np.generic]]]) -> str:
    """Hexadecimal SHA-256 over (name, dtype, shape, little-endian bytes) in order of name."""
    digest = hashlib.sha256()
    for name, array in sorted(weights, key=lambda pair: pair[0]):
        plain = np.ascontiguousarray(array)
        little = plain.astype(plain.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name}\0{little.dtype.name}\0{array.shape}\0".encode())
        digest.update(little.tobytes())
    return digest.hexdigest()


def dataset_sha256(entries: Iterable[tuple[str, str]]) -> str:
    """Hexadecimal SHA-256 over (relative name, content hash) pairs, whatever their order."""
    digest = hashlib.sha256()
    for name, content in sorted(entries):
        digest.update(f"{name}\0{content}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
