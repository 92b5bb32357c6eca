"""Fixtures of the runtime's tests; they need `pip install '.[cpu]' pytest` and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fer_runtime.session import Session
from fer_runtime.spec import InputSpec, ModelSpec
from tests.runtime.onnx_writer import save
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
