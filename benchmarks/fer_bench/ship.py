"""Make a model's files in `fer_runtime/models`: `fer-bench ship best.pt --data fer2013`.

Exports a checkpoint as fp32 (or with its weights as fp16) and as int8, with parity on the
validation images, writes its spec beside it, and writes the model card with figures measured by
this very command.
"""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_bench.model_card import Figures, card
from fer_runtime.cli.console import bound_spinning, progress_bar
from fer_runtime.cli.options import choice
from fer_runtime.doctor import golden
from fer_runtime.session import Session
from fer_runtime.shipped import FOLDER, MODELS, SHIPPED

if TYPE_CHECKING:
    from fer_export.exporter import Exported

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
STORED = {"compact_cnn": "fp32", "accurate_cnn": "fp16-weights"}
"""Name of a model -> the precision of its file that computes in fp32."""


@app.command()
def ship(
    checkpoint: Annotated[Path, typer.Argument(help="A best.pt.")],
    data: Annotated[Path, typer.Option(help="FER2013 with its train/ and validation/.")],
    history: Annotated[Path, typer.Option(help="history.csv of the run: epochs and time.")],
    machine: Annotated[str, typer.Option(help="The machine it was trained on.")],
    name: Annotated[
        str, choice(tuple(MODELS), help="Which of the models that the runtime ships.")
    ] = SHIPPED.stem,
    folder: Annotated[Path, typer.Option(help="Where to write.")] = FOLDER,
) -> None:
    """Export a checkpoint as a model that the runtime ships, with its spec and its card."""
    bound_spinning()
    from fer_export.inspection import read_spec
    from fer_train import checkpoint as checkpoints
    from fer_train import cropping, evaluate, models

    loaded = checkpoints.load(checkpoint)
    with progress_bar("decoding images") as progress:
        validation, train = evaluate.load_split(loaded, data, progress=progress)
    shipped = evaluate.evaluate_split(loaded.deployable(), validation, train)
    plain = replace(loaded, spec=loaded.spec.replace(temperature=1.0))
    uncalibrated = evaluate.evaluate_split(plain.deployable(), validation, train)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.onnx"
    int8 = _export(checkpoint, data, path)
    assert int8.verification.reduced is not None
    sessions = {each.stem: Session.open(each, provider="cpu") for each in (path, int8.path)}
    golden.write(sessions, folder / golden.FILE.name)
    spec = read_spec(path)
    path.with_suffix(".json").write_text(spec.to_json() + "\n", encoding="utf-8")
    with progress_bar("classifying crops") as progress:
        crops = cropping.measure(loaded.deployable(), validation, progress=progress)
    net = loaded.net()
    figures = Figures(
        shipped,
        uncalibrated,
        sum(p.numel() for p in net.parameters()),
        models.multiply_adds(net, loaded.spec.input),
        dict(spec.parity or {}),
        path.stat().st_size,
        STORED[name],
        # Its sizes are those before the verdicts were written into the files.
        replace(
            int8.verification.reduced,
            bytes={"fp32": path.stat().st_size, "int8": int8.path.stat().st_size},
        ),
        crops,
    )
    with open(history, newline="", encoding="utf-8") as stream:
        epochs = list(csv.DictReader(stream))
    card_path = path.with_suffix(".md")
    card_path.write_text(card(name, loaded, figures, epochs, machine), encoding="utf-8")
    others = (int8.path.name, path.with_suffix(".json").name, golden.FILE.name, card_path.name)
    print(f"{path}, {', '.join(others)}")
    print(json.dumps(figures.shipped.summary(), indent=2))


def _export(checkpoint: Path, data: Path, path: Path) -> Exported:
    """Write the model's file, and its int8 file beside it, which is returned."""
    from fer_export import exporter
    from fer_export.options import ExportOptions

    images = data / "validation"
    whole = ExportOptions(precision=STORED[path.stem], images=images)
    exporter.export(checkpoint, "onnx", path, whole)
    options = ExportOptions(
        images=images, precision="int8", calibration=data / "train", evaluation=images,
        skip_duplicates=True,
    )  # fmt: skip
    int8 = exporter.export(checkpoint, "onnx", path.with_suffix(".int8.onnx"), options)
    for written in (path, int8.path):
        exporter.report_path(written).unlink()  # the verdict is in the file too
    return int8
