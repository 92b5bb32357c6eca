"""Fixtures for all tests. Importing this file needs neither torch nor another extra.

Fixtures that train or export import what they need when a test asks for them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fer_bench import artefacts
from fer_bench.gpu import skip_without_cuda
from fer_runtime.spec import InputSpec, ModelSpec


@pytest.fixture(scope="session", autouse=True)
def no_users_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is kept for the user is kept for the tests alone, in this process and its children."""
    os.environ["FER_CACHE"] = str(tmp_path_factory.mktemp("user"))


@pytest.fixture(scope="session")
def grey() -> InputSpec:
    """48 x 48 grey, as FER2013."""
    return InputSpec(height=48, width=48, channels=1, mean=(0.5,), std=(0.25,))


@pytest.fixture
def colour() -> InputSpec:
    """32 x 40 RGB: neither square nor grey."""
    return InputSpec(height=32, width=40, channels=3, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2))


@pytest.fixture
def spec(grey: InputSpec) -> ModelSpec:
    """A seven-class spec."""
    return ModelSpec(labels=artefacts.LABELS, input=grey, architecture="compact_cnn")


@pytest.fixture(scope="session")
def small_torch() -> None:
    """Torch on one thread, and parity without its batch of 1,024 images.

    Small nets gain nothing from more threads, and lose much where cores are shared; parity with
    1,024 images takes seconds an export, and test_inputs.py covers that batch.
    """
    import torch

    from fer_export.parity import inputs

    torch.set_num_threads(1)
    inputs.LARGEST_BATCH = 40


@pytest.fixture(scope="session")
def exported(small_torch: None, tmp_path_factory: pytest.TempPathFactory) -> artefacts.Artefacts:
    """One seeded net as checkpoint, ONNX and TorchScript; treat the files as read-only."""
    return artefacts.make(tmp_path_factory.mktemp("artefacts"))


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic faces in FER2013's layout: 140 training, 70 validation, 35 test images."""
    from fer_train.synthetic import write_dataset

    root = tmp_path_factory.mktemp("data") / "faces"
    write_dataset(root, train=140, validation=70, test=35)
    return root


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, also where the tests were started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def faces() -> npt.NDArray[np.uint8]:
    """(40, 1, 48, 48) uint8 synthetic faces; read-only, so that a test fails that writes to it."""
    pixels = artefacts.faces(40)
    pixels.flags.writeable = False
    return pixels


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked `gpu` where they cannot run, with what is missing as the reason."""
    skip_without_cuda(items)
