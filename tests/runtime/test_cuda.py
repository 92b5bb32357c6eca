"""CUDA runs what the CPU runs: fp32 parity with TF32 off, and nothing falls back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_runtime.pipeline import Pipeline
from fer_runtime.session import Session
from fer_runtime.shipped import SHIPPED
from fer_runtime.sources import Files

pytestmark = pytest.mark.gpu


def test_cuda_equals_cpu(faces: np.ndarray) -> None:
    cpu = Session.open(SHIPPED, provider="cpu").run(faces)
    session = Session.open(SHIPPED, provider="cuda")
    cuda = session.run(faces)
    assert session.provider == "cuda"
    np.testing.assert_allclose(cuda.logits, cpu.logits, atol=1e-4 * cpu.logits.std())
    assert np.array_equal(cuda.logits.argmax(1), cpu.logits.argmax(1))


def test_auto_chooses_cuda_where_it_runs() -> None:
    assert Session.open(SHIPPED, provider="auto").provider == "cuda"


def test_pipeline_on_cuda_pads_the_last_batch(faces: np.ndarray, tmp_path: Path) -> None:
    for index, face in enumerate(faces[:35, 0]):
        Image.fromarray(face).save(tmp_path / f"{index:02}.png")

    def probabilities(provider: str) -> np.ndarray:
        session = Session.open(SHIPPED, provider=provider, threads=1)
        batches = Pipeline(session, threads=2, batch_size=16).run(Files([tmp_path]))
        return np.array([row.probabilities for rows in batches for row in rows])

    np.testing.assert_allclose(probabilities("cuda"), probabilities("cpu"), atol=1e-5)
