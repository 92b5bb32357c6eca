"""Made-up records of the benchmarks, as `--benchmark-json` writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

REFERENCE = {"arithmetic": 0.006, "memory": 0.004, "python": 0.003}
CPU = {"busy": 100.0, "stolen": 0.0, "own": 10.0, "all": 200.0}
ENVIRONMENT = {
    "cpu": "A CPU", "cores": 2, "python": "3.11.0", "system": "Linux", "numpy": "2.0",
    "cpu_features": ["avx2"], "cores_of_machine": 2, "memory_bytes": 8 * 2**30, "gpus": [],
    "driver_cuda": None, "packages": {"numpy": "2.0"}, "fer_runtime": "0.1.0", "commit": "abc",
    "date": "2026-01-01T00:00:00+00:00",
}  # fmt: skip


def benchmark(group: str, engine: str, batch_size: int, seconds: float, **facts: Any) -> dict:
    """One entry of the file; every round took `seconds`."""
    milliseconds = dict.fromkeys(("p50", "p90", "p99"), seconds * 1000.0)
    return {
        "group": group,
        "stats": {"rounds": 100, "data": [seconds] * 3},
        "extra_info": {
            "engine": engine,
            "batch_size": batch_size,
            "images_per_second": batch_size / seconds,
            "milliseconds": milliseconds,
            "model": "f" * 64,
            **facts,
        },
    }


def write(
    path: Path,
    benchmarks: list[dict],
    *,
    slower: float = 1.0,
    drift: float = 0.0,
    others: float = 0.0,
) -> Path:
    """A record's file.

    Args:
        path: where.
        benchmarks: its entries.
        slower: how many times as long the reference work took.
        drift: how much longer it took in the end.
        others: the share of CPU time that other programs took.
    """
    before = {kind: value * slower for kind, value in REFERENCE.items()}
    after = {kind: value * (1 + drift) for kind, value in before.items()}
    spent = {"busy": 20 + 100 * others, "stolen": 0.0, "own": 20.0, "all": 100.0}
    record = {
        "schema": 1,
        "kind": "suite",
        "environment": ENVIRONMENT,
        "before": {"load": 0.1, "cpu_seconds": CPU, "reference_seconds": before},
        "after": {
            "load": 1.5,
            "cpu_seconds": {name: value + spent[name] for name, value in CPU.items()},
            "reference_seconds": after,
        },
    }
    path.write_text(json.dumps({"benchmarks": benchmarks, "record": record}), encoding="utf-8")
    return path


def throughput(**images_per_second: float) -> list[dict]:
    """Throughput at batch 32 of engines by name."""
    return [
        benchmark("throughput, batch 32", name.replace("_", " "), 32, 32 / rate)
        for name, rate in images_per_second.items()
    ]
