"""`fer-bench`: every measurement of this project as a subcommand; one line each in `COMMANDS`.

A command's module is imported when the command is used, so that the list of all needs no torch.
"""

from __future__ import annotations

from importlib import import_module

import click
import typer
from typer.core import TyperCommand, TyperGroup

from fer_runtime.cli.console import VersionFlag, make_app, run_app

COMMANDS = {
    "clusters": "Two Ray nodes: one of them killed, and the speed of both.",
    "cold-start": "What one image costs from a cold start.",
    "compare": "What changed between two versions, settings or stored runs, beyond noise.",
    "cores": "One fer-infer on every core against a pinned one on each.",
    "coverage": "torchvision's nets through every format.",
    "crashes": "fer-infer that is killed, or runs out of disk or readers.",
    "demo": "The whole path as a user would type it.",
    "end-to-end": "fer-infer against the usual PyTorch loop.",
    "face-crops": "What accuracy each way to crop a face keeps.",
    "face-parity": "The face detector against OpenCV's.",
    "face-photos": "Group photographs against a loop of OpenCV.",
    "figures": "Write the figures of README and docs from the stored results.",
    "fuzz": "Coverage-guided fuzzing of the decoder.",
    "gallery": "The gallery of 5,000 faces in Chromium.",
    "hostile": "Malicious files, and how fer-infer handles them.",
    "hub": "A hub folder in transformers.js against the runtime.",
    "int8-rate": "Two ONNX files of one model on one core.",
    "latency": "What Classifier.predict costs over onnxruntime itself.",
    "memory": "What many images cost in memory and time.",
    "object-stores": "Objects against files, shares that are killed, long listings.",
    "on-gpu": "Everything that is worth knowing on a GPU.",
    "packed": "Packed images end to end against the session alone.",
    "peers": "Other packages for the same task, each in an environment of its own.",
    "photos": "Large photographs: the decoder against Pillow's.",
    "pipeline": "The pipeline against the limit and a plain loop.",
    "precisions": "fp32, fp16 and int8 of one checkpoint.",
    "providers": "CPU providers against one another, on one core.",
    "report": "A stored run of pytest benchmarks as a page, and what to deploy.",
    "roofline": "How far the models are from what this machine could do.",
    "scenarios": "MLPerf's scenarios, by its own load generator.",
    "serving": "fer-serve against other servers, and under bad conditions.",
    "ship": "Make the files in fer_runtime/models.",
    "threads": "One classifier in many threads.",
    "training": "One epoch of fer-train against the usual PyTorch loop.",
    "tuned": "What --tune finds, against the defaults and a sweep.",
    "video": "Three moving faces in a video, followed.",
    "web-page": "The page of fer-export web in Chromium.",
}
"""Name -> what it measures; its module is `fer_bench.NAME`, with underscores, and has an `app`."""


class Commands(TyperGroup):
    """Commands that are imported when they are used, not when they are listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """What a list shows of a command; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is to run, itself."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None:
            module = import_module(f"fer_bench.{name.replace('-', '_')}")
            command = typer.main.get_command(module.app)
        return name, command, rest


app = make_app(cls=Commands, no_args_is_help=True)


@app.callback()
def fer_bench(version: VersionFlag = False) -> None:
    """Measure fer-runtime on this machine; every figure of README and docs is from one of these."""


def main() -> None:
    """Entry point of `fer-bench`."""
    run_app(app)
