"""The machine: the name of its processor, and how many cores this process may use."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

FEATURES = (
    *("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "avx512_bf16", "amx_bf16"),
    *("asimddp", "i8mm", "bf16", "sve"),
)


def processor() -> str:
    """The name of the CPU where the system has it, else its architecture."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.machine()


def cpu_features() -> list[str]:
    """The instructions that matter to a model, as Linux names them; [] where it does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return []
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    flags = set(found.group(1).split()) if found else set()
    return [name for name in FEATURES if name in flags]


def usable_threads() -> int:
    """Cores this process may use: its affinity and its cgroup's quota, never the host's count."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quota = cgroup_cores()
    return max(1, min(cores, quota) if quota else cores)


def cgroup_cores() -> int | None:
    """Whole cores of the cgroup's CPU quota, rounded up; None without a quota (Linux only)."""
    for names in (
        ("/sys/fs/cgroup/cpu.max",),
        ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
    ):
        try:
            quota, period = " ".join(Path(name).read_text() for name in names).split()
            if quota not in ("max", "-1"):
                return max(1, -(-int(quota) // int(period)))
        except (OSError, ValueError):
            continue
    return None


def available_memory() -> int | None:
    """Bytes that this process could still take: the system's, and its cgroup's; None if unknown."""
    found = []
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        if match := re.search(r"^MemAvailable:\s+(\d+) kB$", text, re.MULTILINE):
            found.append(int(match.group(1)) * 1024)
    except OSError:
        return None
    for names in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ):
        try:
            most, used = (Path(name).read_text().strip() for name in names)
            if most != "max":
                found.append(max(0, int(most) - int(used)))
        except (OSError, ValueError):
            continue
    return min(found, default=None)
