"""The page: a template, styles, scripts, onnxruntime-web, the model and the face detector."""

from __future__ import annotations

import base64
import gzip
import re
from html import escape
from pathlib import Path

from fer_export.homes.web import runtime
from fer_export.homes.web.models import optimised
from fer_export.work_folder import write_whole
from fer_runtime import pages
from fer_runtime.columns import Columns
from fer_runtime.errors import DataError
from fer_runtime.faces.detector import SHIPPED as DETECTOR
from fer_runtime.faces.options import FaceOptions
from fer_runtime.hashing import file_sha256
from fer_runtime.images import MAX_PIXELS
from fer_runtime.session import Session
from fer_runtime.spec import ModelSpec

FOLDER = Path(__file__).parent
MODULES = ("resampling", "fitting", "faces", "classifier", "worker")
"""The worker's modules; each imports from those before it only."""
CAMERA_SIZE = 320
"""Pixels of the longer side of the picture in which a camera's faces are found: they are near."""
CAMERA_FACE = 40
"""Pixels of the camera's picture that a face must have; smaller ones are not found reliably."""


def write(model: Path, target: Path) -> int:
    """Write the page for a model -> its size in bytes; it appears under its name when complete.

    Args:
        model: an ONNX file with its spec.
        target: the HTML file; replaced if it exists.

    Raises:
        ModelFileError: missing, broken or not ONNX.
        ModelSpecError: the file contains no spec.
        DataError: the page cannot be written.
    """
    content = html(model).encode()
    write_whole(target, content)
    return len(content)


def html(model: Path) -> str:
    """The page as text; errors as `write`."""
    spec = Session.open(model, provider="cpu", threads=1).spec
    web = runtime.read()
    style = pages.style() + (FOLDER / "page.css").read_text(encoding="utf-8")
    script = pages.picture_script() + (FOLDER / "page.js").read_text(encoding="utf-8")
    parts = {
        "policy": _policy(style, script),
        "style": style,
        "script": script,
        "labels": escape(", ".join(spec.labels)),
        "accuracy": escape(_accuracy(spec)),
        "facts": "".join(
            f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>"
            for name, value in _facts(model, spec, web.version)
        ),
        "version": escape(web.version),
        "runtime_licence": escape(web.licence),
        "detector_licence": escape(
            DETECTOR.with_name("LICENSE-yunet.txt").read_text(encoding="utf-8")
        ),
        "data": pages.json_for_html(_data(spec)),
        "worker": _script_text(worker_script(web.loader)),
        "wasm": base64.b64encode(web.packed).decode(),
        "model": _packed(model),
        "detector": _packed(DETECTOR),
    }
    return pages.filled((FOLDER / "page.html").read_text(encoding="utf-8"), parts)


def worker_script(loader: str) -> str:
    """onnxruntime-web and the worker's modules as one classic script.

    In a page that is opened from a disk, Chromium starts a worker from a classic script only, and
    lets it import nothing.
    """
    texts = [(FOLDER / "scripts" / f"{name}.mjs").read_text(encoding="utf-8") for name in MODULES]
    joined = re.sub(
        r'^import \{[^}]*\} from "\./\w+\.mjs";\n', "", "\n".join(texts), flags=re.MULTILINE
    )
    return f"{_as_object(loader)}\n" + re.sub(r"^export ", "", joined, flags=re.MULTILINE)


def _as_object(module: str) -> str:
    """A JavaScript module as a script that defines `ort`, the object of what it exports."""
    code, exports = re.split(r"export\{([^}]*)\};?", module, maxsplit=1)[:2]
    names = (each.split(" as ") for each in exports.split(","))
    listed = ", ".join(f"{exported}: {local}" for local, exported in names)
    code = code.replace("import.meta.url", "self.location.href")
    return f"const ort = (() => {{\n{code}\nreturn {{ {listed} }};\n}})();"


def _policy(style: str, script: str) -> str:
    """Content-Security-Policy: no request to anywhere, whatever a script would try."""
    return (
        f"default-src 'none'; style-src {pages.content_hash(style)}; script-src "
        f"{pages.content_hash(script)} 'wasm-unsafe-eval' blob:; worker-src blob:; img-src blob: "
        "data:; media-src blob:; connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def _data(spec: ModelSpec) -> dict[str, object]:
    """What the script is given: the contract, and how faces are found."""
    found = FaceOptions()
    picture = {
        "detectSize": found.detect_size, "minFace": found.min_face, "minScore": found.min_score,
    }  # fmt: skip
    return {
        "labels": spec.labels,
        "spec": spec.replace(parity=None).to_dict(),
        "options": {
            "maxPixels": MAX_PIXELS,
            "picture": picture,
            "camera": {**picture, "detectSize": CAMERA_SIZE, "minFace": CAMERA_FACE},
            "columns": {
                "plain": Columns(spec.labels).names,
                "faces": Columns(spec.labels, faces=True).names,
            },
        },
    }


def _accuracy(spec: ModelSpec) -> str:
    """How often it is right, if its spec says so."""
    for split, metrics in spec.provenance.metrics.items():
        if "accuracy" in metrics:
            return f"on its {split} pictures, {metrics['accuracy']:.1%} of the labels are right"
    return "its spec does not say how often"


def _facts(model: Path, spec: ModelSpec, version: str) -> list[tuple[str, str]]:
    verdict = spec.parity or {}
    size = f"{spec.input.width} x {spec.input.height}"
    return [
        ("file", model.name),
        ("SHA-256", file_sha256(model)),
        ("architecture", spec.architecture or "unknown"),
        ("input", f"{size} pixels, {'grey' if spec.input.channels == 1 else 'RGB'}"),
        ("labels", ", ".join(spec.labels)),
        ("data set", spec.provenance.dataset or "unknown"),
        ("parity with PyTorch", "passed" if verdict.get("passed") else "no verdict in the file"),
        ("runs on", f"onnxruntime-web {version}, WebAssembly, one thread"),
    ]


def _packed(model: Path) -> str:
    """Base64 of the optimised model, compressed."""
    return base64.b64encode(gzip.compress(optimised(model), 9, mtime=0)).decode()


def _script_text(text: str) -> str:
    """JavaScript that is the text of an element: it must not end it."""
    if re.search(r"</script|<!--", text, re.IGNORECASE):
        raise DataError("a script of the page contains the end of a script element")
    return text
