"""The machine: the name of its processor, and how many cores this process may use."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path


def processor() -> str:
    """The name of the CPU where the system has it, else its architecture."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.machine()


def usable_threads() -> int:
    """Cores this process may use: its affinity and its cgroup's quota, never the host's count."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quota = _cgroup_cores()
    return max(1, min(cores, quota) if quota else cores)


def _cgroup_cores() -> int | None:
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
