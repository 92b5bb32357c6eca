"""A hub folder in transformers.js, offline, against the runtime: `fer-bench hub`.

It requires node, and a folder in which `npm install @huggingface/transformers` has been run.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from fer_export.homes.hub.folder import write
from fer_runtime.classifier import Classifier
from fer_runtime.errors import DataError
from fer_runtime.shipped import find_model
from fer_runtime.sources import Files

SCRIPT = Path(__file__).parent / "hub_runs" / "classify.mjs"
KINDS = ("as they are", "grey PNG", "colour PNG", "grey JPEG", "colour JPEG")
"""How the pictures are stored; all but the first in sizes from 24 to 500 pixels."""
AGREEMENT, TOLERANCE = 0.999, 1e-4
"""Required: share of equal labels (fp32), and the largest difference of a probability where no
resize is needed."""
DTYPES = {"fp32": "compact_cnn", "q8": "compact_cnn.int8"}
"""transformers.js' name of a file -> the model that it was made from."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def check(
    data: Annotated[Path, typer.Argument(help="Folder of face crops of 48 x 48.")],
    node_modules: Annotated[
        Path, typer.Option(help="Folder in which @huggingface/transformers is installed.")
    ],
    count: Annotated[
        int | None, typer.Option(min=5, help="Pictures; default: all of the data.")
    ] = None,
) -> None:
    """Labels and probabilities of pictures of several sizes; status 1 if too many differ."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "fer-model"
        write(find_model("compact_cnn"), folder)
        files = pictures(data, Path(name) / "pictures", count)
        passed = [_compare(folder, files, dtype, node_modules) for dtype in DTYPES]
    raise typer.Exit(0 if passed[0] else 1)


def pictures(data: Path, target: Path, count: int | None) -> list[Path]:
    """`count` files (None: all), evenly spread over the data, of each of the `KINDS` in turn."""
    from PIL import Image

    sources = [Path(item.name).resolve() for item in Files([data])]
    count = count or max(len(sources), len(KINDS))
    if len(sources) < count:
        raise DataError(f"{data} has {len(sources)} images; {count} are required.")
    rng = np.random.default_rng(0)
    target.mkdir()
    files = []
    for place in range(count):
        source = sources[place * len(sources) // count]
        kind = KINDS[place % len(KINDS)]
        if kind == KINDS[0]:
            files.append(source)
            continue
        height = int(rng.integers(24, 400))
        width = int(height * rng.uniform(0.8, 1.25))
        with Image.open(source) as image:
            resized = image.convert("L").resize((width, height), Image.Resampling.BICUBIC)
        file = target / f"{place}.{'png' if 'PNG' in kind else 'jpg'}"
        resized.convert("RGB" if "colour" in kind else "L").save(file, quality=92)
        files.append(file)
    return files


def _compare(folder: Path, files: Sequence[Path], dtype: str, node_modules: Path) -> bool:
    done = subprocess.run(
        ["node", str(SCRIPT), str(folder), dtype], input="\n".join(map(str, files)), text=True,
        capture_output=True, cwd=node_modules, check=False,
    )  # fmt: skip
    if done.returncode:
        raise DataError(f"node failed: {done.stderr[-500:]}")
    found: list[list[dict[str, Any]]] = [
        json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")
    ]
    with Classifier.load(find_model(DTYPES[dtype]), provider="cpu") as classifier:
        expected = [classifier.predict(file) for file in files]
    same = np.array([f[0]["label"] == e.label for f, e in zip(found, expected, strict=True)])
    worst = np.array([
        max(abs(each["score"] - e.probabilities[each["label"]]) for each in f)
        for f, e in zip(found, expected, strict=True)
    ])  # fmt: skip
    print(f"{dtype}: equal labels {same.sum():,} of {len(files):,} ({same.mean():.2%})")
    for place, kind in enumerate(KINDS):
        part = slice(place, None, len(KINDS))
        print(
            f"  {kind}: {same[part].sum()} of {len(same[part])}, probabilities differ by up to "
            f"{worst[part].max():.2g}"
        )
    return bool(same.mean() >= AGREEMENT and worst[:: len(KINDS)].max() <= TOLERANCE)
