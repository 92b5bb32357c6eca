"""A load from wrk: as many connections as asked for, each with a request at all times."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fer_runtime.errors import FerError

SCRIPT = """
local files, n = {}, 0
for path in io.lines("%s") do
  local file = io.open(path, "rb")
  files[#files + 1] = file:read("*a")
  file:close()
end
request = function()
  n = n %% #files + 1
  return wrk.format("POST", "/predict", {["Content-Type"] = "image/jpeg"}, files[n])
end
local statuses = {}
done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %%d, "seconds": %%f, "refused": %%d, "lost": %%d, "p50": %%f, "p99": %%f}\\n',
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6))
end
"""


class Load(NamedTuple):
    """What a load found; times in seconds.

    Attributes:
        requests: that were answered, with whatever status.
        seconds: how long it was.
        refused: answers with a status of 400 or more.
        lost: connections that failed, and requests without an answer.
        p50: median time of an answer.
        p99: 99th percentile of it.
    """

    requests: int
    seconds: float
    refused: int
    lost: int
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        """Predictions per second."""
        return (self.requests - self.refused) / self.seconds


def write_script(folder: Path, files: Sequence[Path]) -> Path:
    """A script for wrk that posts these files in turns."""
    listed = folder / "files"
    listed.write_text("".join(f"{path}\n" for path in files), encoding="utf-8")
    script = folder / "post.lua"
    script.write_text(SCRIPT % listed, encoding="utf-8")
    return script


def load(port: int, script: Path, *, connections: int, seconds: float) -> Load:
    """Post to a server on this machine.

    Raises:
        FerError: wrk is not installed, or failed.
    """
    program = shutil.which("wrk")
    if program is None:
        raise FerError("wrk is not installed; Debian's package is wrk (apt install wrk).")
    done = subprocess.run(
        [program, "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "30s", "-s",
         str(script), f"http://127.0.0.1:{port}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise FerError(f"wrk failed: {done.stderr or done.stdout}")
    return Load(**json.loads(lines[-1]))
