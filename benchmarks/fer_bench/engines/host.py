"""The process of one engine: `python -m fer_bench.engines.host`, over standard input and output.

Engines disturb one another in one process, by their thread pools and what they set for all. The
time of a run is taken here, so that sending messages is not part of it.
"""

from __future__ import annotations

import os
import resource
import time
from typing import Any

import numpy as np

from fer_bench.engines.engine import Engine, Opened, Ran
from fer_runtime._lazy import resolve
from fer_runtime.workers.messages import receive, send, sendable


def main() -> None:
    """Open the engine that the first message names, then do what is asked until the end of input.

    Messages: pixels to keep, "run", "probabilities" of the last run, "peak" for bytes of memory.
    """
    incoming = os.fdopen(os.dup(0), "rb", buffering=0)
    outgoing = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints must not come between the messages
    try:
        _serve(incoming, outgoing)
    except EOFError:
        pass
    except Exception as error:
        send(outgoing, sendable(error))


def _serve(incoming: Any, outgoing: Any) -> None:
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
            cpu, started = time.process_time(), time.perf_counter()
            probabilities = engine.run(pixels)
            seconds = time.perf_counter() - started
            send(outgoing, Ran(seconds, time.process_time() - cpu))
        elif asked == "probabilities":
            send(outgoing, np.array(probabilities))
        elif asked == "peak":
            send(outgoing, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    main()
