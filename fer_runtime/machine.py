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
