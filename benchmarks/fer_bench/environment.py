"""The machine and the software that a figure was measured on."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from fer_bench.clone import CLONE
from fer_runtime._version import __version__
from fer_runtime.machine import cpu_features, processor, usable_threads


def machine() -> dict[str, Any]:
    """CPU, cores that this process may use, and versions."""
    return {
        "cpu": processor(),
        "cores": usable_threads(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "numpy": np.__version__,
    }


def environment() -> dict[str, Any]:
    """Everything that a reader needs to trust a record: `machine`, and what else may matter."""
    from fer_runtime.doctor.installation import package_versions
    from fer_runtime.providers import cuda

    return {
        **machine(),
        "cpu_features": cpu_features(),
        "cores_of_machine": os.cpu_count(),
        "memory_bytes": memory_bytes(),
        "gpus": [device.name for device in cuda.devices()],
        "driver_cuda": cuda.driver_cuda(),
        "packages": {name: version for name, version in package_versions().items() if version},
        "fer_runtime": __version__,
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def load() -> float | None:
    """Processes that want to run, over the last minute; None where the system does not say."""
    with contextlib.suppress(AttributeError, OSError):
        return round(os.getloadavg()[0], 2)
    return None


def cpu_seconds() -> dict[str, float] | None:
    """CPU time since the machine started, of all cores; None where the system does not say.

    Returns:
        "busy" (all processes), "stolen" (what the hypervisor gave to other machines), "own" (this
        process and its children that have ended), and "all" (busy or not).
    """
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    except OSError:
        return None
    ticks = [int(value) for value in first.split()[1:]]
    user, nice, system, idle, waiting, irq, soft, stolen = ticks[:8]
    busy, rate = user + nice + system + irq + soft, os.sysconf("SC_CLK_TCK")
    own = sum(os.times()[:4])
    return {
        "busy": busy / rate,
        "stolen": stolen / rate,
        "own": own,
        "all": (busy + idle + waiting + stolen) / rate,
    }


def memory_bytes() -> int | None:
    """Bytes of memory of the machine; None where the system does not say (Linux only)."""
    with contextlib.suppress(OSError):
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        if found := re.search(r"^MemTotal:\s+(\d+) kB$", text, re.MULTILINE):
            return int(found.group(1)) * 1024
    return None


def commit(folder: Path = CLONE) -> str | None:
    """The commit of the source, with "+changes" where files differ; None without a repository."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
