"""The GPU's benchmark runs on the CPU where it is asked to, and else says what is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fer_bench import on_gpu
from fer_bench.artefacts import Artefacts
from fer_runtime import providers
from fer_runtime.errors import ProviderError


@pytest.mark.slow
def test_it_measures_everything_on_the_cpu(
    exported: Artefacts, dataset: Path, tmp_path: Path
) -> None:
    output = tmp_path / "gpu.json"
    done = CliRunner().invoke(
        on_gpu.app,
        [
            str(dataset / "validation"), "-o", str(output), "--device", "cpu",
            "--checkpoint", str(exported.checkpoint), "--batch", "1", "--batch", "4",
            "--count", "90", "--seconds", "0.01", "--no-compiled",
        ],
    )  # fmt: skip
    assert done.exit_code == 0, done.exception
    found = json.loads(output.read_text())
    assert found["parity"]["fp32"]["difference"] == 0
    assert [(each["precision"], each["batch"]) for each in found["session"]] == [
        ("fp32", 1), ("fp32", 4), ("fp16", 1), ("fp16", 4),
    ]  # fmt: skip
    for each in found["session"]:
        assert set(each["images_per_second"]) == {"fer-runtime", "eager", "TorchScript"}
        assert all(rate > 0 for rate in each["images_per_second"].values())
    assert set(found["runs"]["share"]) == {"files, threads", "files, workers", "a pack"}
    page = output.with_suffix(".md").read_text()
    assert page.startswith("# CPU\n") and "| fp16 | 4 |" in page


def test_without_cuda_it_says_what_is_missing(dataset: Path, tmp_path: Path) -> None:
    if not providers.PROVIDERS["cuda"].diagnose():
        pytest.skip("needs a machine without CUDA, and this one has it")
    done = CliRunner().invoke(on_gpu.app, [str(dataset), "-o", str(tmp_path / "x.json")])
    assert isinstance(done.exception, ProviderError)
    assert "CUDA cannot run here" in str(done.exception)
