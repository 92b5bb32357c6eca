"""onnxruntime-web as the web page runs it: the same WebAssembly, model and script, in node."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fer_export.engines.arrays import Pixels, Ran
from fer_export.homes.web import models, page, runtime
from fer_runtime.errors import ModelFileError
from fer_runtime.spec import ModelSpec

SCRIPT = Path(__file__).with_name("web.mjs")
TIMEOUT = 600


def missing() -> str:
    """Why it cannot run here; "" where it can."""
    return "" if shutil.which("node") else "node is not installed (nodejs.org)"


def run(path: Path, spec: ModelSpec, batches: Sequence[Pixels]) -> Ran:
    """Run an ONNX file, optimised as in the page; raises ModelFileError where node fails."""
    web = runtime.read()
    with tempfile.TemporaryDirectory(prefix="fer-export-") as name:
        folder = Path(name)
        (folder / "model.onnx").write_bytes(models.optimised(path))
        (folder / "wasm").write_bytes(web.wasm)
        (folder / "spec.json").write_text(spec.to_json(), encoding="utf-8")
        (folder / "pixels").write_bytes(b"".join(batch.tobytes() for batch in batches))
        sizes = [len(batch) for batch in batches]
        (folder / "batches.json").write_text(json.dumps(sizes), encoding="utf-8")
        loader = runtime.FOLDER / runtime.LOADER
        classifier = page.FOLDER / "scripts" / "classifier.mjs"
        done = subprocess.run(
            ["node", str(SCRIPT), str(folder), str(loader), str(classifier)],
            capture_output=True, text=True, timeout=TIMEOUT, check=False,
        )  # fmt: skip
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "Error" in line]
            raise ModelFileError(lines[0] if lines else done.stderr[-300:])
        found = {
            each: np.fromfile(folder / each, np.float32).reshape(sum(sizes), -1)
            for each in ("logits", "probabilities")
        }
    parts = np.cumsum(sizes)[:-1]
    split = {each: np.split(array, parts) for each, array in found.items()}
    outputs = [{each: split[each][place] for each in found} for place in range(len(sizes))]
    return Ran(outputs, web.version)
