"""The process of one engine: `python -m fer_bench.engines.host`, over standard input and output.

Engines disturb one another in one process, by their thread pools and what they set for all. The
time of a run is taken here, so that sending messages is not part of it.
"""

from __future__ import annotations

import re
import resource
import time
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fer_bench.engines.engine import Engine, Opened, Ran
from fer_runtime._lazy import resolve
from fer_runtime.workers.messages import own_streams, receive, send, sendable


def main() -> None:
    """Open the engine that the first message names, then do what is asked until the end of input.

    Messages: pixels to keep, "run", "probabilities" of the last run, "peak" for bytes of memory.
    """
    incoming, outgoing = own_streams()
    try:
        _serve(incoming, outgoing)
    except (EOFError, KeyboardInterrupt):  # the parent has gone, or says so itself
        pass
    except Exception as error:
        send(outgoing, sendable(error))


def _serve(incoming: BinaryIO, outgoing: BinaryIO) -> None:
    home, artefacts, threads = receive(incoming)
    engine: Engine = resolve(home)(artefacts, threads)
    send(outgoing, Opened(dict(engine.facts)))
    pixels = np.empty(0, np.uint8)
    probabilities = None
    while True:
        asked = receive(incoming)
        if isinstance(asked, np.ndarray):
            pixels = asked
        elif asked == "run":
            started = time.perf_counter()
            probabilities = engine.run(pixels)
            send(outgoing, Ran(time.perf_counter() - started))
        elif asked == "probabilities":
            send(outgoing, np.array(probabilities))
        elif asked == "peak":
            send(outgoing, _peak_bytes())


def _peak_bytes() -> int:
    """The most memory that this process has taken.

    On Linux not getrusage's: that counts what the parent had taken when it started this process.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return int(re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)[0]) * 1024


if __name__ == "__main__":
    main()
