"""The models that come with the package, and which file a name means."""

from __future__ import annotations

import os
from pathlib import Path

from fer_runtime.errors import ModelFileError

MODEL_VARIABLE = "FER_MODEL"
LOCAL_MODEL = "best.onnx"
FOLDER = Path(__file__).parent / "models"
MODELS = {
    "compact_cnn": "small and fast; the default",
    "accurate_cnn": "more accurate, and slower",
}
"""The models that come with the package, each also as NAME.int8; models/NAME.md is its card."""
NAMES = tuple(f"{name}{infix}" for name in MODELS for infix in ("", ".int8"))
SHIPPED = FOLDER / "compact_cnn.onnx"
"""The one that is used by default."""


def find_model(path: str | os.PathLike[str] | None = None) -> Path:
    """The model to use: `path`, else $FER_MODEL, else ./best.onnx, else the shipped one.

    A name without an ending that is not a file here may be a shipped model's: "compact_cnn",
    "accurate_cnn", "compact_cnn.int8" or "accurate_cnn.int8".

    Raises:
        ModelFileError: there is none of them, or $FER_MODEL names a file that does not exist.
    """
    given = path if path is not None else os.environ.get(MODEL_VARIABLE)
    if given:
        shipped = FOLDER / f"{os.fspath(given)}.onnx"
        named = os.path.basename(given) == os.fspath(given) and not os.path.exists(given)
        if named and shipped.is_file():
            return shipped
        if path is None and not os.path.exists(given):
            raise ModelFileError(
                f"{MODEL_VARIABLE} is set to {given}, which does not exist; unset it for the "
                "shipped model, or pass --model."
            )
        return Path(given)
    if Path(LOCAL_MODEL).is_file():
        return Path(LOCAL_MODEL)
    if SHIPPED.is_file():
        return SHIPPED
    raise ModelFileError(
        f"No model: pass --model FILE, set {MODEL_VARIABLE}, or put {LOCAL_MODEL} in this folder "
        "(`fer-export onnx best.pt` makes it)."
    )
