"""One side of a comparison: a process that repeats one piece of work when it is asked to.

It is started by its path, with the source of the version that is measured on PYTHONPATH, so it uses
nothing but what every version of fer_runtime has. Lines of JSON: settings in, then numbers of calls
in and their seconds out.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any


def work(settings: dict[str, Any]) -> Callable[[], object]:
    """What is repeated, by the settings."""
    import numpy as np

    from fer_runtime import Classifier, infer

    model, provider = settings["model"], settings["provider"]
    if settings["what"] == "files":
        output = os.path.join(settings["folder"], f"rows-{os.getpid()}.csv")
        return lambda: infer(
            [settings["images"]], output, model=model, provider=provider,
            threads=settings["threads"], batch_size=settings["batch_size"], overwrite=True,
        )  # fmt: skip
    classifier = Classifier.load(model, provider=provider, threads=settings["threads"])
    shape = (settings["batch_size"], *classifier.spec.input.shape)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    if settings["what"] == "predict":
        face = np.ascontiguousarray(pixels[0].transpose(1, 2, 0))
        return lambda: classifier.predict(face)
    session = classifier.session
    return lambda: session.run(pixels)


def main() -> None:
    """Serve until the input ends."""
    settings = json.loads(sys.stdin.readline())
    call = work(settings)
    slowdown = settings.get("slowdown", 0.0)
    import fer_runtime

    print(json.dumps({"source": os.path.dirname(fer_runtime.__file__)}), flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        for _ in range(int(line)):
            before = time.perf_counter()
            call()
            if slowdown:  # as if the work took longer: to find out what a comparison finds
                until = time.perf_counter() + slowdown * (time.perf_counter() - before)
                while time.perf_counter() < until:
                    pass
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
