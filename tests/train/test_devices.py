"""Several processes train one model: `--devices` on one machine, `--nodes` over machines."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fer_runtime.errors import DataError
from fer_train.batches import EpochBatches, Share

OPTIONS = [
    "--architecture", "simple_cnn", "--width", "8", "--no-batch-norm", "--dropout", "0",
    "--augment", "none", "--epochs", "2", "--batch-size", "20", "--lr", "0.01", "--threads", "1",
]  # fmt: skip


def start(
    dataset: Path, output: Path, *options: str, **environment: str
) -> subprocess.Popen[bytes]:
    code = "import sys; sys.argv[0] = sys.argv[0]; from fer_train.cli import main; main()"
    script = output.with_suffix(".py")  # Lightning starts the other processes from a file
    script.write_text(f"if __name__ == '__main__':\n    {code}\n", encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, str(script), "fit", "--data", str(dataset), "--output", str(output),
         *OPTIONS, *options],
        env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.fixture(scope="module")
def alone(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run in one process."""
    output = tmp_path_factory.mktemp("alone") / "run"
    _, err = (process := start(dataset, output)).communicate(timeout=200)
    assert process.returncode == 0, err.decode()
    return output


def history(output: Path) -> list[dict[str, float]]:
    with open(output / "history.csv", newline="", encoding="utf-8") as stream:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]


def assert_same_run(output: Path, alone: Path) -> None:
    """Without BatchNorm, dropout and augmentation the shares add up to the whole batch."""
    for one, other in zip(history(output), history(alone), strict=True):
        for name in ("train_loss", "val_loss", "val_accuracy"):
            assert one[name] == pytest.approx(other[name], rel=1e-3), name
    figures = json.loads((output / "metrics.json").read_text(encoding="utf-8"))["metrics"]
    assert figures["count"] == 70
    weights = [torch.load(p / "last.pt", weights_only=True)["state_dict"] for p in (output, alone)]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_two_processes_reach_what_one_reaches(dataset: Path, tmp_path: Path, alone: Path) -> None:
    process = start(dataset, tmp_path / "run", "--devices", "2")
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err.decode()
    assert err.decode().count("epoch  train loss") == 1 and out.decode().count("accuracy") == 1
    assert_same_run(tmp_path / "run", alone)


@pytest.mark.slow
def test_two_nodes_reach_what_one_reaches(dataset: Path, tmp_path: Path, alone: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    nodes = [
        start(dataset, tmp_path / "run", "--nodes", "2", NODE_RANK=str(rank), **where)
        for rank in range(2)
    ]
    for node in nodes:
        _, err = node.communicate(timeout=200)
        assert node.returncode == 0, err.decode()
    assert_same_run(tmp_path / "run", alone)


def test_shares_of_a_batch_are_the_batch() -> None:
    targets = torch.arange(40) % 4
    whole = list(EpochBatches(targets, 8, seed=1))
    shares = [list(EpochBatches(targets, 8, seed=1, share=Share(rank, 2))) for rank in range(2)]
    for batch, first, second in zip(whole, *shares, strict=True):
        assert len(first) == len(second) == 4
        assert set(batch.tolist()) == set(first.tolist()) | set(second.tolist())


def test_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(DataError, match="batch size 9 is not divisible among 2 processes"):
        EpochBatches(torch.arange(40) % 4, 9, seed=1, share=Share(0, 2))
