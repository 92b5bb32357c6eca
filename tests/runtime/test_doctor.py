"""fer-doctor as a process: for programs and for a person."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np

from fer_runtime import providers
from tests.runtime.command import (
    DOCTOR,
    environment,
)


def test_doctor_reports_the_provider_situation(tiny_model: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [*DOCTOR, "--json"], cwd=tmp_path, env={**environment(), "FER_MODEL": str(tiny_model)},
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    found = json.loads(done.stdout)
    assert found["model"] == str(tiny_model)
    assert found["cores"] >= 1
    assert found["packages"]["numpy"] == np.__version__
    assert found["providers"]["wheels"] == providers.installed_wheels()
    assert found["providers"]["cpu"] == "runs"
    causes = providers.diagnose_cuda()
    assert found["providers"]["cuda"] == ("; ".join(map(str, causes)) or "runs")


def test_doctor_speaks_to_a_person_too(tmp_path: Path) -> None:
    done = subprocess.run(
        DOCTOR, cwd=tmp_path, env=environment(), capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    assert lines[0].startswith("fer-runtime")
    assert any(line.split()[:2] == ["cpu", "runs"] for line in lines)
    assert any(line.split()[:1] == ["cuda"] for line in lines)
