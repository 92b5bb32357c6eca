"""Inference needs no training library, importing next to nothing, and the API is locked."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import fer_runtime
from fer_runtime import images
from fer_runtime.cli.infer import fer_infer

HEAVY = [
    "torch",
    "torchvision",
    "torchmetrics",
    "onnx",
    "onnxscript",
    "matplotlib",
    "pytorch_lightning",
    "lightning",
    "pyarrow",
    "cv2",
    "openvino",
    "av",
]

BLOCK = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Blocker())
"""
"""From here on these packages cannot be imported, as on a machine that never had them."""


def python(code: str, *arguments: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "FER_MODEL"}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(statement: str) -> set[str]:
    """Top-level names of the modules that a fresh Python holds after `statement`."""
    code = f"{statement}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    return {name.partition(".")[0] for name in json.loads(python(code))}


@pytest.fixture
def face(tmp_path: Path, faces: npt.NDArray[np.uint8]) -> Path:
    path = tmp_path / "face.jpg"
    Image.fromarray(faces[0, 0]).save(path)
    return path


def test_the_blocker_blocks() -> None:
    code = BLOCK + "\ntry:\n    import onnx\nexcept ImportError as error:\n    print(error)"
    assert python(code) == "onnx is blocked\n"


def test_inference_runs_where_the_training_libraries_are_missing(
    face: Path, tiny_model: Path
) -> None:
    code = (
        BLOCK
        + "import fer_runtime\n"
        + "assert all(getattr(fer_runtime, name) is not None for name in fer_runtime.__all__)\n"
        + "from fer_runtime.cli.infer import main\n"
        + "main()"
    )
    out = python(code, str(face), "--json", "--model", str(tiny_model), "--provider", "cpu")
    assert json.loads(out)["error"] is None
    assert json.loads(out)["path"] == str(face)


def test_importing_the_package_loads_next_to_nothing() -> None:
    loaded = loaded_by("import fer_runtime")
    assert "fer_runtime" in loaded
    assert not loaded & {*HEAVY, "numpy", "onnxruntime", "PIL", "simplejpeg", "typer", "rich"}


def test_importing_the_spec_loads_neither_numpy_nor_onnxruntime() -> None:
    loaded = loaded_by("from fer_runtime.spec import ModelSpec; from fer_runtime import InputSpec")
    assert not loaded & {*HEAVY, "numpy", "onnxruntime", "PIL", "simplejpeg", "typer", "rich"}


def test_classifying_a_jpeg_that_fits_loads_neither_pillow_nor_a_command_line(
    face: Path, tiny_model: Path
) -> None:
    """Pillow would cost a fifth of a cold start."""
    loaded = loaded_by(
        "from fer_runtime import Classifier\n"
        f"Classifier.load({str(tiny_model)!r}, provider='cpu').predict({str(face)!r})"
    )
    assert {"numpy", "onnxruntime", "simplejpeg"} <= loaded
    assert not loaded & {*HEAVY, "PIL", "typer", "rich"}


def test_onnxruntime_reports_to_nobody(face: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Its official builds send events to their maker, and keep a device's number in ~/.cache."""
    home = tmp_path / "home"
    home.mkdir()
    variables = {key: v for key, v in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-c", "from fer_runtime.cli.infer import main; main()"]
    command += [str(face), "--model", str(tiny_model), "--provider", "cpu"]
    subprocess.run(command, env=variables | {"HOME": str(home)}, check=True, capture_output=True)
    assert list(home.rglob("*")) == []


def test_the_command_line_names_the_real_pixel_limit() -> None:
    """It is written out there, because importing it would cost a start of numpy for --help."""
    default = inspect.signature(fer_infer).parameters["max_pixels"].default
    assert default == images.MAX_PIXELS


def test_the_public_names_are_these() -> None:
    assert sorted(fer_runtime.__all__) == [
        "Classifier",
        "DataError",
        "Face",
        "FaceDetector",
        "FaceOptions",
        "FerError",
        "ImageError",
        "InputSpec",
        "ModelFileError",
        "ModelSpec",
        "ModelSpecError",
        "ParityError",
        "Pipeline",
        "Prediction",
        "ProviderError",
        "ProviderOptions",
        "Row",
        "RunResult",
        "Session",
        "SourceOptions",
        "TrainingError",
        "WorkerError",
        "__version__",
        "infer",
        "pack",
    ]
    assert dir(fer_runtime) == sorted(fer_runtime.__all__)


def test_every_public_name_is_there_and_comes_from_this_package() -> None:
    for name in fer_runtime.__all__:
        value = getattr(fer_runtime, name)
        if isinstance(value, type):
            assert value.__name__ == name
            assert value.__module__.startswith("fer_runtime.")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'fer_runtime' has no attribute 'nonsense'"):
        _ = fer_runtime.nonsense  # type: ignore[attr-defined]


def test_errors_form_one_tree_with_known_exit_statuses() -> None:
    statuses = {
        name: value.exit_status
        for name in fer_runtime.__all__
        if isinstance(value := getattr(fer_runtime, name), type)
        and issubclass(value, fer_runtime.FerError)
    }
    assert statuses == {
        "FerError": 1,
        "ProviderError": 4,
        "ModelFileError": 5,
        "ModelSpecError": 5,
        "ParityError": 5,
        "TrainingError": 5,
        "WorkerError": 7,
        "DataError": 6,
        "ImageError": 6,
    }


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(fer_runtime.__file__ or "").parent / "py.typed").is_file()


def test_the_version_is_the_installed_one() -> None:
    from importlib.metadata import version

    assert fer_runtime.__version__ == version("fer-runtime")


def test_the_command_line_loads_numpy_where_it_is_fast() -> None:
    """Imported from within other imports it takes ten milliseconds longer; fer_infer does it."""
    code = "import fer_runtime.cli.infer, sys; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
