"""The commands that build a model's homes: a Triton repository, a web page, a hub folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_runtime.cli.console import refuse_overwriting, say

MODEL_HELP = "ONNX file; default: $FER_MODEL, ./best.onnx, else the shipped one."
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a model of the same name.")]


def add_commands(app: typer.Typer) -> None:
    """Add them to `fer-export`."""
    for command in (hub, triton, web):
        app.command()(command)


def triton(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The model repository to write.")],
    model: Annotated[str | None, typer.Option(help=MODEL_HELP)] = None,
    max_batch_size: Annotated[
        int, typer.Option(min=1, help="Images that Triton may put together.")
    ] = 64,
    gpu: Annotated[bool, typer.Option("--gpu", help="Run on the GPU.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write a model repository for Triton Inference Server: configuration, labels and model."""
    from fer_export.homes.triton import write
    from fer_runtime.shipped import find_model

    target = write(
        find_model(model), folder, max_batch_size=max_batch_size, gpu=gpu, overwrite=overwrite
    )
    say(f"wrote {target}: config.pbtxt, labels.txt, 1/model.onnx")


def web(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help=MODEL_HELP)] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="HTML file to write. Default: NAME.html, here."),
    ] = None,
    int8: Annotated[
        bool, typer.Option(help="Use the int8 file of the same weights, if it is beside MODEL.")
    ] = True,
) -> None:
    """Write one HTML file that classifies pictures in the browser, without a server or a network.

    It opens by a double click, and contains the model, the face detector and onnxruntime-web.
    """
    from fer_export.homes.web import page
    from fer_export.precision.table import beside
    from fer_runtime.shipped import find_model

    chosen = find_model(model)
    smaller = beside(chosen, "int8") if int8 else None
    if smaller is not None:
        say(f"using {smaller}, which has the same weights (--no-int8 for {chosen.name})")
    chosen = smaller or chosen
    target = output or Path(f"{chosen.name.removesuffix('.onnx')}.html")
    refuse_overwriting(target, [chosen])
    say(f"wrote {target} ({page.write(chosen, target):,} bytes)")


def hub(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder to write; its name is the model's.")
    ],
    model: Annotated[str | None, typer.Option(help=MODEL_HELP)] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="The best.pt of the model, to add its weights as .safetensors."),
    ] = None,
    license_id: Annotated[
        str, typer.Option("--license", help="Of the weights, as hubs name it: apache-2.0, mit, ...")
    ] = "other",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a folder that this command wrote.")
    ] = False,
) -> None:
    """Write a folder that transformers.js and Optimum load as it is; uploading it is up to you.

    With the graph (and its int8 and fp16 files, if they are beside it), configurations, model card,
    bill of materials (CycloneDX) and SHA256SUMS.
    """
    from fer_export.homes.hub.folder import write
    from fer_runtime.shipped import find_model

    files = write(
        find_model(model), folder, checkpoint=checkpoint, license_id=license_id,
        overwrite=overwrite,
    )  # fmt: skip
    say(f"wrote {folder}: {', '.join(files)}")
