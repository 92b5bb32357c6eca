"""`fer-serve`: options -> a service -> the server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_runtime.cli.console import EXIT_HELP, VersionFlag, make_app, run_app, say
from fer_runtime.cli.infer_options import FACES, Group
from fer_runtime.cli.options import expand, option
from fer_runtime.providers.table import choices as provider_choices

if TYPE_CHECKING:
    from fer_runtime.faces.options import FaceOptions

app = make_app()
LIMITS = "Limits"


@dataclass(init=False, eq=False, repr=False)
class LimitFlags(Group):
    """What the server refuses."""

    max_latency: float = option(
        0.5, "Seconds within which what is accepted is answered; where the queue is too long for "
        "that, a request is refused at once (503).", min=0.001, panel=LIMITS,
    )  # fmt: skip
    time_limit: float = option(
        10.0, "Seconds that a request may take, and that its sender may take.", min=0.01,
        panel=LIMITS,
    )  # fmt: skip
    max_body: float = option(16.0, "MiB of a request.", min=0.001, panel=LIMITS)
    max_pixels: int = option(50_000_000, "Pixels of an image.", min=1, panel=LIMITS)
    max_images: int = option(256, "Images of a form.", min=1, panel=LIMITS)


@app.command(epilog=EXIT_HELP)
@expand
def fer_serve(
    limiting: LimitFlags,
    model: Annotated[
        str | None,
        typer.Option(
            help="ONNX file; default: $FER_MODEL, else ./best.onnx, else the shipped one."
        ),
    ] = None,
    spec: Annotated[
        Path | None,
        typer.Option(help="ModelSpec as JSON, for an ONNX file that contains none."),
    ] = None,
    faces: Annotated[
        bool,
        typer.Option("--faces", help="The images are photographs: find the faces in them."),
    ] = False,
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 is every network of this machine.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen at; 0 for any that is free.")
    ] = 8000,
    provider: Annotated[
        str, typer.Option(help="Where it runs, or an error; auto reports its choice.")
    ] = "auto",
    batch_size: Annotated[
        int, typer.Option(min=1, max=4096, help="Most images in one run of the model.")
    ] = 32,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads that run the model; default: all but one."),
    ] = None,
    detect_size: Annotated[
        int | None,
        typer.Option(
            min=32,
            max=16384,
            rich_help_panel=FACES,
            help="Longer side, in pixels, at which faces are looked for. Default: 1440.",
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Web pages of this origin may read answers, as https://example.org; repeatable.",
        ),
    ] = None,
    version: VersionFlag = False,
) -> None:
    """Serve a model over HTTP: POST an image to /predict; /docs shows the rest.

    SIGTERM answers what was accepted and ends; SIGHUP loads the model's file anew if its checks
    pass. A prediction is about a picture, not about what a person feels.
    """
    from fer_runtime.classifier import find_model
    from fer_runtime.machine import usable_threads
    from fer_runtime.serve.limits import MEBIBYTE, Limits
    from fer_runtime.serve.running import serve
    from fer_runtime.serve.service import ServeOptions, Service
    from fer_runtime.spec import ModelSpec

    if detect_size is not None and not faces:
        raise typer.BadParameter("it needs --faces.", param_hint="--detect-size")
    if provider not in provider_choices():
        allowed = ", ".join(provider_choices())
        raise typer.BadParameter(f"{provider!r}; allowed: {allowed}.", param_hint="--provider")
    _require_extra()
    usable = usable_threads()
    options = ServeOptions(
        model=find_model(model),
        opening={"provider": provider, "spec": ModelSpec.read(spec) if spec else None},
        threads=threads or max(1, usable - 1), decoders=usable, batch_size=batch_size,
        faces=_face_options(detect_size) if faces else None,
        limits=Limits(
            max_body=int(limiting.max_body * MEBIBYTE), max_pixels=limiting.max_pixels,
            max_images=limiting.max_images, max_latency=limiting.max_latency,
            time_limit=limiting.time_limit,
        ),
        allowed_origins=tuple(allow_origin or ()),
    )  # fmt: skip
    service = Service(options)
    session = service.model.session
    say(f"model {session.path} on {session.provider_reason}")
    if not session.spec.parity:
        say("the file contains no verdict of an export; SIGHUP will not reload it")
    serve(service, host, port, say=say, ready=", /docs for people, SIGTERM or Ctrl-C to end")


def _face_options(detect_size: int | None) -> FaceOptions:
    from fer_runtime.faces.options import FaceOptions

    return FaceOptions() if detect_size is None else FaceOptions(detect_size=detect_size)


def _require_extra() -> None:
    """Import what only the extra brings, so that what is missing is named before any work."""
    import httptools  # noqa: F401
    import prometheus_client  # noqa: F401
    import python_multipart  # noqa: F401
    import starlette  # noqa: F401
    import uvicorn  # noqa: F401


def main() -> None:
    """Run the command line."""
    run_app(app)
