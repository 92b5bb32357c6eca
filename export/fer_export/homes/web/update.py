"""Take onnxruntime-web from npm into the package: `python -m fer_export.homes.web.update 1.30.0`.

It requires npm, and the Python package onnxruntime for the text of their common licence.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from importlib import resources
from pathlib import Path

from fer_export.homes.web import runtime


def update(version: str) -> None:
    """Download a version of the npm package and keep the three files that a page needs."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", f"{runtime.PACKAGE}@{version}"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as files:
            loader, wasm = (
                _content(files, f"package/dist/{name}") for name in (runtime.LOADER, runtime.WASM)
            )
    licence = resources.files("onnxruntime").joinpath("LICENSE").read_text(encoding="utf-8")
    runtime.write(version, loader, wasm, licence)


def _content(files: tarfile.TarFile, name: str) -> bytes:
    stream = files.extractfile(name)
    if stream is None:
        raise SystemExit(f"the npm package has no {name}; its layout changed.")
    return stream.read()


if __name__ == "__main__":
    update(sys.argv[1])
    print(f"{runtime.PACKAGE} {sys.argv[1]} is in {runtime.FOLDER}")
