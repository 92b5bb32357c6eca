"""How much of a machine a process may use, and what the machine is called."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fer_runtime import machine as module
from fer_runtime.machine import available_memory, cpu_features, processor, usable_threads


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Play a machine with so many usable cores and such cgroup files."""

    def play(cores: int, files: dict[str, str]) -> None:
        def read_text(path: Path, *_: object, **__: object) -> str:
            if str(path) not in files:
                raise FileNotFoundError(2, "No such file or directory")
            return files[str(path)]

        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
        monkeypatch.setattr(os, "cpu_count", lambda: 128)
        monkeypatch.setattr(module, "Path", lambda name: SimpleNamespace(
            read_text=lambda *a, **k: read_text(Path(name))
        ))  # fmt: skip

    return play


V2 = "/sys/fs/cgroup/cpu.max"
V1_QUOTA = "/sys/fs/cgroup/cpu/cpu.cfs_quota_us"
V1_PERIOD = "/sys/fs/cgroup/cpu/cpu.cfs_period_us"


@pytest.mark.parametrize(
    ("cores", "files", "expected"),
    [
        (16, {}, 16),
        (3, {}, 3),
        (16, {V2: "max 100000\n"}, 16),
        (16, {V2: "200000 100000\n"}, 2),
        (16, {V2: "150000 100000\n"}, 2),
        (16, {V2: "10000 100000\n"}, 1),
        (1, {V2: "400000 100000\n"}, 1),
        (16, {V1_QUOTA: "300000\n", V1_PERIOD: "100000\n"}, 3),
        (16, {V1_QUOTA: "-1\n", V1_PERIOD: "100000\n"}, 16),
        (16, {V2: "garbage"}, 16),
        (16, {V2: ""}, 16),
        (16, {V2: "a b"}, 16),
    ],
)
def test_threads_are_what_the_process_may_use(
    machine: Any, cores: int, files: dict[str, str], expected: int
) -> None:
    machine(cores, files)
    assert usable_threads() == expected


def test_processor_by_name_or_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "processor : 0\nmodel name\t: A Fine CPU 9000\nflags : x\n"
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: text)
    assert processor() == "A Fine CPU 9000"
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "Hardware : none\n")
    assert processor() == platform.machine()


MEMORY = "MemTotal: 9000 kB\nMemAvailable:    1000 kB\n"
MAX, CURRENT = "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"
V1 = "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"/proc/meminfo": "nothing"}, None),
        ({"/proc/meminfo": MEMORY}, 1_024_000),
        ({"/proc/meminfo": MEMORY, MAX: "max\n", CURRENT: "5\n"}, 1_024_000),
        ({"/proc/meminfo": MEMORY, MAX: "3000\n", CURRENT: "1000\n"}, 2000),
        ({"/proc/meminfo": MEMORY, MAX: "3000\n", CURRENT: "4000\n"}, 0),
        ({"/proc/meminfo": MEMORY, V1[0]: "9000\n", V1[1]: "1000\n"}, 8000),
        ({"/proc/meminfo": MEMORY, MAX: "garbage", CURRENT: "1"}, 1_024_000),
    ],
)
def test_free_memory_is_the_systems_or_the_cgroups(
    machine: Any, files: dict[str, str], expected: int | None
) -> None:
    machine(2, files)
    assert available_memory() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_vnni\n", ["avx2", "avx512f", "avx512_vnni"]),
        ("Features : fp asimddp i8mm\n", ["asimddp", "i8mm"]),
        ("nothing", []),
    ],
)
def test_instructions_that_matter_are_listed(machine: Any, text: str, expected: list[str]) -> None:
    machine(2, {"/proc/cpuinfo": text})
    assert cpu_features() == expected
