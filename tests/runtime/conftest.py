"""Fixtures of the runtime's tests; they need `pip install '.[cpu]' pytest` and nothing else."""

from __future__ import annotations

import ctypes
import io
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from PIL import Image

from fer_runtime.providers import wheels
from fer_runtime.session import Session
from fer_runtime.spec import InputSpec, ModelSpec
from tests.runtime.command import INFER, ROWS, Done, Infer, environment
from tests.runtime.onnx_writer import save
from tests.runtime.stand_ins import CPU, CUDA, NO_DRIVER, Driver, Pretend
from tests.runtime.tiny import LABELS, draw_faces, save_classifier

SaveGraph = Callable[..., Path]


@pytest.fixture(scope="session")
def tiny_spec() -> ModelSpec:
    """Seven classes from 48 x 48 grey: what `tiny_model` carries."""
    grey = InputSpec(height=48, width=48, channels=1, mean=(0.5,), std=(0.25,))
    return ModelSpec(labels=LABELS, input=grey)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, tiny_spec: ModelSpec) -> Path:
    """A seeded convolution with a head that tells pictures apart; carries `tiny_spec`."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.onnx"
    return save_classifier(path, tiny_spec)


@pytest.fixture(scope="session")
def tiny_session(tiny_model: Path) -> Session:
    """`tiny_model` on one CPU thread, as the pipeline opens it."""
    return Session.open(tiny_model, provider="cpu", threads=1)


@pytest.fixture(scope="session")
def save_graph() -> SaveGraph:
    """The function `save(path, nodes, inputs, outputs, weights, metadata)` -> path."""
    return save


@pytest.fixture(scope="session")
def faces() -> npt.NDArray[np.uint8]:
    """(40, 1, 48, 48) uint8 drawn faces; read-only, so that a test fails that writes to it."""
    pixels = draw_faces(40)
    pixels.flags.writeable = False
    return pixels


@pytest.fixture(scope="module")
def face(faces: npt.NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(faces[3, 0]).save(stream, "JPEG", quality=95)
    return stream.getvalue()


@pytest.fixture
def messy(tmp_path: Path, face: bytes) -> Path:
    """A folder as people have them: ROWS, and one file that is not an image."""
    folder = tmp_path / "messy folder"
    (folder / "5 nested").mkdir(parents=True)
    contents = [face, face[: len(face) // 2], b"Dear diary", b"", face, face]
    for (name, _), content in zip(ROWS, contents, strict=False):
        (folder / name).write_bytes(content)
    os.mkfifo(folder / ROWS[6][0])
    (folder / "readme.txt").write_text("no image")
    return folder


@pytest.fixture
def infer(tmp_path: Path, tiny_model: Path) -> Infer:
    """fer-infer on the CPU with the tiny model, in an empty current folder."""
    current = tmp_path / "current"
    current.mkdir()

    def run(*arguments: object, model: object = tiny_model, provider: str = "cpu") -> Done:
        options = ["--model", str(model), "--provider", provider] if model else []
        command = [*INFER, *map(str, arguments), *options]
        done = subprocess.run(
            command, cwd=current, env=environment(), capture_output=True, timeout=60, check=False
        )
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return done

    return run


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Play a machine: its driver and the libraries that do not load, as the loader reports them."""

    def play(driver: Driver | None = None, missing: dict[str, str] | None = None) -> None:
        def load(name: str, *_: object, **__: object) -> object:
            if name == "libcuda.so.1":
                if driver is None:
                    raise OSError(NO_DRIVER)
                return driver
            for part, message in (missing or {}).items():
                if part in name:
                    raise OSError(message)
            return object()

        monkeypatch.setattr(wheels, "installed_wheels", lambda: ["onnxruntime-gpu"])
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
        monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
        monkeypatch.setattr(ctypes, "CDLL", load)

    return play
