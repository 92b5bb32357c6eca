"""Functions of the web page's modules, called in node."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fer_export.homes.web

FOLDER = Path(fer_export.homes.web.__file__).parent / "scripts"
CALLER = Path(__file__).with_name("scripts.mjs")
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def calls(module: str, name: str, arguments: list[tuple[Any, ...]]) -> list[Any]:
    """What a function returns for each of the arguments, with arrays as `bytes`."""
    lines = [
        json.dumps({"module": module, "name": name, "args": [_encoded(each) for each in some]})
        for some in arguments
    ]
    done = subprocess.run(
        ["node", str(CALLER), str(FOLDER)], input="\n".join(lines), capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [_decoded(json.loads(line)) for line in done.stdout.splitlines()]


def picture(array: np.ndarray) -> dict[str, Any]:
    """(H, W, C) uint8 -> pixels as the modules take them."""
    height, width, channels = array.shape
    return {"width": width, "height": height, "channels": channels, "data": array}


def to_array(found: dict[str, Any]) -> np.ndarray:
    """The inverse of `picture`."""
    shape = found["height"], found["width"], found["channels"]
    return np.frombuffer(found["data"], np.uint8).reshape(shape)


def _encoded(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        kind = "floats" if value.dtype == np.float32 else "bytes"
        return {kind: base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()}
    if isinstance(value, dict):
        return {key: _encoded(each) for key, each in value.items()}
    return [_encoded(each) for each in value] if isinstance(value, list | tuple) else value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"bytes"}:
            return base64.b64decode(value["bytes"])
        return {key: _decoded(each) for key, each in value.items()}
    return [_decoded(each) for each in value] if isinstance(value, list) else value
