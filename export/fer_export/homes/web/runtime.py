"""onnxruntime-web as it comes with the package: its loader, its WebAssembly, version and licence.

`update` takes the files from the npm package; nothing is fetched at run time.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from fer_runtime.errors import DataError

FOLDER = Path(__file__).parent / "runtime"
PACKAGE = "onnxruntime-web"
LOADER = "ort.wasm.bundle.min.mjs"
"""JavaScript module with the WebAssembly's own loader inside, for one thread."""
WASM = "ort-wasm-simd-threaded.wasm"
COMPRESSED = f"{WASM}.gz"
LICENCE = "LICENSE"
RECORD = "runtime.json"


@dataclass(frozen=True)
class WebRuntime:
    """The files of onnxruntime-web.

    Attributes:
        version: of the npm package.
        loader: a JavaScript module, as text.
        wasm: WebAssembly.
        packed: the same, compressed by gzip.
        licence: the text of its licence (MIT).
    """

    version: str
    loader: str
    wasm: bytes
    packed: bytes
    licence: str


def read() -> WebRuntime:
    """The files of the package, checked against their record.

    Raises:
        DataError: a file is missing or is not the one that was recorded.
    """
    try:
        record = json.loads((FOLDER / RECORD).read_text(encoding="utf-8"))
        loader = (FOLDER / LOADER).read_bytes()
        packed = (FOLDER / COMPRESSED).read_bytes()
        licence = (FOLDER / LICENCE).read_text(encoding="utf-8")
        contents = {LOADER: loader, WASM: gzip.decompress(packed)}
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{PACKAGE} of this installation is incomplete ({error}); install fer-runtime again."
        ) from None
    for name, content in contents.items():
        if record["sha256"][name] != hashlib.sha256(content).hexdigest():
            raise DataError(f"{FOLDER / name} was changed; install fer-runtime again.")
    return WebRuntime(record["version"], loader.decode(), contents[WASM], packed, licence)


def write(version: str, loader: bytes, wasm: bytes, licence: str) -> None:
    """Replace the files of the package and their record."""
    FOLDER.mkdir(exist_ok=True)
    contents = {LOADER: loader, WASM: wasm}
    (FOLDER / LOADER).write_bytes(loader)
    (FOLDER / COMPRESSED).write_bytes(gzip.compress(wasm, 9, mtime=0))
    (FOLDER / LICENCE).write_text(licence, encoding="utf-8")
    record = {
        "package": PACKAGE,
        "version": version,
        "licence": "MIT",
        "sha256": {name: hashlib.sha256(each).hexdigest() for name, each in contents.items()},
    }
    (FOLDER / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
