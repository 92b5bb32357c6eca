"""/docs: what the server takes and answers, with a place to drop a photograph."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

from fer_runtime import pages
from fer_runtime.serve.service import Service

FOLDER = Path(__file__).parent


def page(service: Service) -> tuple[bytes, str]:
    """The page, and its Content-Security-Policy: it loads nothing from elsewhere."""
    model = service.model
    style = pages.style()
    script = pages.picture_script() + (FOLDER / "page.js").read_text(encoding="utf-8")
    faces = model.pictures is not None
    height, width = model.session.spec.input.height, model.session.spec.input.width
    limits = service.limits
    what = (
        "The faces in a photograph are found and classified, the largest first."
        if faces
        else f"An image is the crop of one face; it is resized to {width} x {height} pixels. "
        "(<code>fer-serve --faces</code> finds the faces in photographs.)"
    )
    parts = {
        "style": style,
        "script": script,
        "model": escape(model.name),
        "labels": escape(", ".join(model.labels)),
        "provider": escape(model.session.provider),
        "what": what,
        "input": escape(model.session.spec.input.name),
        "shape": f"[N, {', '.join(map(str, model.session.spec.input.shape))}]",
        "max_body": f"{limits.max_body / (1 << 20):g} MiB",
        "max_pixels": f"{limits.max_pixels:,}",
        "max_images": f"{limits.max_images:,}",
        "max_latency": f"{limits.max_latency:g} s",
        "time_limit": f"{limits.time_limit:g} s",
        "data": json.dumps({"faces": faces}),
    }
    text = pages.filled((FOLDER / "page.html").read_text(encoding="utf-8"), parts)
    policy = (
        f"default-src 'none'; style-src {pages.content_hash(style)}; "
        f"script-src {pages.content_hash(script)}; "
        "connect-src 'self'; img-src blob:; base-uri 'none'; form-action 'none'"
    )
    return text.encode(), policy
