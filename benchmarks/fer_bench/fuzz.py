"""Coverage-guided fuzzing of the one decoder: `fer-bench fuzz` (extra `fuzz`).

Starts with the files of `fer_bench.hostile`; libFuzzer (through Atheris) mutates them, guided by
the branches of `fer_runtime.images` and of Pillow's readers. For all bytes, `decode` must return
pixels of the input's shape or raise ImageError; another exception, a crash, more than ten seconds
or two gigabytes end the run, and the bytes are written to a file.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from fer_runtime.errors import FerError
from fer_runtime.spec import InputSpec

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
LARGEST_SEED = 40_000
LONGEST = 10
MEGABYTES = 2000
INPUTS = (
    InputSpec(height=48, width=48, channels=1, mean=(0.5,), std=(0.5,)),
    InputSpec(height=48, width=48, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3, resize_mode="crop"),
    InputSpec(height=30, width=50, channels=1, mean=(0.5,), std=(0.5,), resize_mode="pad"),
    InputSpec(height=224, width=112, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3),
    InputSpec(height=1, width=1, channels=1, mean=(0.5,), std=(0.5,), resize_mode="crop"),
)


@app.command()
def fuzz(
    seconds: Annotated[int, typer.Option(help="Duration in seconds.", min=1)] = 600,
    seed: Annotated[
        int, typer.Option(help="Seed of libFuzzer; 0 chooses another one each time.")
    ] = 1,
    keep: Annotated[Path, typer.Option(help="Folder for bytes that break it.")] = Path("."),
) -> None:
    """Fuzz for some seconds; exit status 1, and the bytes in a file, if something was found."""
    from fer_bench import hostile

    with tempfile.TemporaryDirectory() as name:
        corpus = Path(name)
        for index, (_, data, _) in enumerate(hostile.contents()):
            if len(data) <= LARGEST_SEED:
                (corpus / f"{index:03}").write_bytes(data)
        options = {
            "max_total_time": seconds,
            "timeout": LONGEST,
            "rss_limit_mb": MEGABYTES,
            "max_len": LARGEST_SEED,
            "seed": seed,
            "print_final_stats": 1,
            "artifact_prefix": f"{keep}/broken-",
        }
        arguments = [f"-{option}={value}" for option, value in options.items()]
        at_start = len(os.listdir(corpus))
        process = subprocess.Popen(
            [sys.executable, "-c", "from fer_bench.fuzz import child; child()", *arguments, name],
            stderr=subprocess.PIPE, text=True, errors="replace",
        )  # fmt: skip
        assert process.stderr is not None
        last = ""
        for line in process.stderr:
            sys.stderr.write(line)
            last = line.strip() if line.startswith("Done ") else last
        found = process.wait() != 0
        grown = f"{at_start} files became {len(os.listdir(corpus)):,} that reach something new"
        print(f"{last or 'stopped early'}; {grown}; {'something' if found else 'nothing'} found")
    raise typer.Exit(1 if found else 0)


def child() -> None:
    """The process that libFuzzer runs in; its arguments are libFuzzer's."""
    try:
        import atheris
    except ImportError:
        raise FerError("Fuzzing needs Atheris: pip install '.[fuzz]'") from None
    with atheris.instrument_imports(include=["fer_runtime", "PIL"]):
        from PIL import Image

        from fer_runtime import images

        Image.init()
        assert images
    atheris.Setup(sys.argv, require_pixels_or_error)
    atheris.Fuzz()


def require_pixels_or_error(data: bytes) -> None:
    """Decode bytes for an input that their last one chooses; raises ValueError if it goes wrong."""
    from fer_runtime import images
    from fer_runtime.errors import ImageError

    choice = data[-1] if data else 0
    spec = INPUTS[choice % len(INPUTS)]
    # Mostly small pictures, so that there is time for many; now and then up to the real limit.
    limit = images.MAX_PIXELS if choice % 16 == 0 else 300_000
    try:
        pixels = images.decode(data, spec, max_pixels=limit)
    except ImageError as error:
        if not str(error):
            raise ValueError("an ImageError without a message") from None
        return
    if pixels.shape != spec.shape or pixels.dtype != np.uint8:
        raise ValueError(f"{pixels.dtype} {pixels.shape} for {spec.shape}")
