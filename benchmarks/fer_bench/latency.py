"""What `Classifier.predict` costs over onnxruntime itself: `fer-bench latency IMAGE`.

Against the least that one image can cost: read the file, decode it with the same decoder, and run
the same session on it; call by call in turns. Medians, 90th and 99th percentiles.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import simplejpeg
import typer

from fer_bench import timing
from fer_runtime.classifier import Classifier
from fer_runtime.errors import DataError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def compare(
    image: Annotated[Path, typer.Argument(help="A JPEG of the model's input size.")],
    model: Annotated[str | None, typer.Option(help="ONNX file or shipped model.")] = None,
    repeats: Annotated[int, typer.Option(help="Calls of each.", min=10)] = 1000,
) -> None:
    """Milliseconds of predict and of bare decode + session.run, and the ratio of their medians."""
    found = measure(image, model, repeats)
    for name in ("predict", "decode + session.run"):
        figures = ", ".join(f"{p} {value:.3f} ms" for p, value in found[name].items())
        print(f"{name:<22}{figures}")
    print(f"ratio of the medians {found['ratio']:.3f}")


def measure(image: Path, model: str | None, repeats: int) -> dict[str, Any]:
    """p50, p90 and p99 in milliseconds of both, and the ratio of the p50."""
    classifier = Classifier.load(model, provider="cpu")
    spec = classifier.spec.input
    session = classifier.session._session
    colorspace = "GRAY" if spec.channels == 1 else "RGB"
    height, width, *_ = simplejpeg.decode_jpeg_header(image.read_bytes())
    if (height, width) != (spec.height, spec.width):
        raise DataError(
            f"{image} is {width} x {height}; the model takes {spec.width} x "
            f"{spec.height}, and this comparison has no resize."
        )

    def bare() -> None:
        with open(image, "rb") as stream:
            pixels = simplejpeg.decode_jpeg(stream.read(), colorspace)
        session.run(None, {spec.name: np.ascontiguousarray(pixels.transpose(2, 0, 1))[None]})

    ways = {"predict": lambda: classifier.predict(image), "decode + session.run": bare}
    timing.alternate(ways, repeats // 10)
    seconds = timing.alternate(ways, repeats)
    found: dict[str, Any] = {
        name: {f"p{p}": float(np.percentile(values, p)) * 1e3 for p in (50, 90, 99)}
        for name, values in seconds.items()
    }
    return found | {"ratio": found["predict"]["p50"] / found["decode + session.run"]["p50"]}
