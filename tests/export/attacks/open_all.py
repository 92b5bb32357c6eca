"""Opens every file of a folder in every way: `python open_all.py FOLDER CHECKPOINT`.

One line of JSON per file and door: how it ended, in which words, how long it took, and by how many
bytes the process had grown at most. Run it in a separate process, so that growth can be measured.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from fer_export import attach, inspection, loading
from fer_export.parity.verify import verify
from fer_runtime.errors import FerError
from fer_runtime.session import Session
from fer_runtime.spec import InputSpec, ModelSpec

LABELS = ("a", "b", "c", "d", "e", "f", "g")
SPEC = ModelSpec(
    labels=LABELS, input=InputSpec(height=2, width=2, channels=1, mean=(0.5,), std=(0.5,))
)


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(folder: Path, checkpoint: Path) -> None:
    description = loading.ModelDescription(
        architecture="simple_cnn", labels=LABELS, image_size=(48, 48), channels=1,
        mean=(0.5,), std=(0.5,),
    )  # fmt: skip
    doors: dict[str, Callable[[Path], object]] = {
        "inspect": inspection.inspect,
        "load": loading.load,
        "load with a description": lambda path: loading.load(path, description),
        "verify": lambda path: verify(checkpoint, path),
        "run": lambda path: Session.open(path, provider="cpu"),
        "run with a spec": lambda path: Session.open(path, provider="cpu", spec=SPEC),
        "attach": lambda path: attach.attach_spec(path, SPEC, folder / "attached.onnx"),
    }
    verify(checkpoint, checkpoint.with_name("model.onnx"))  # all is imported and warm
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".pt", ".pt2", ".torchscript", ".onnx", ".safetensors"):
            continue
        for name, door in doors.items():
            before, started = peak_bytes(), time.monotonic()
            try:
                opened = door(path)
            except FerError as error:
                ended, words = "refused", str(error)
            except BaseException as error:
                ended, words = "broke", f"{type(error).__name__}: {error}"
            else:
                ended, words = "opened", type(opened).__name__
            line = {
                "file": path.name, "door": name, "ended": ended, "words": words,
                "seconds": time.monotonic() - started, "grown": peak_bytes() - before,
            }  # fmt: skip
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
