"""`fer-serve`: options -> a service -> the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from fer_runtime.cli.console import EXIT_HELP, VersionFlag, make_app, run_app, say
from fer_runtime.cli.infer_options import FACES, Group, ModelChoice
from fer_runtime.cli.options import expand, option

if TYPE_CHECKING:
    from fer_runtime.faces.options import FaceOptions
    from fer_runtime.serve.service import ServeOptions

app = make_app()
LIMITS = "Limits"


@dataclass(init=False, eq=False, repr=False)
class ModelFlags(ModelChoice):
    """Which model runs, and how."""

    batch_size: int = option(32, "Most images in one run of the model.", min=1, max=4096)
    threads: int | None = option(
        None, "Threads that run the model side by side; default: one per core but one.", min=1
    )
    faces: bool = option(
        False, "The images are photographs: find the faces in them.", "--faces", panel=FACES
    )
    detect_size: int | None = option(
        None, "Longer side, in pixels, at which faces are looked for. Default: 1440.", min=32,
        max=16384, panel=FACES,
    )  # fmt: skip


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
    running: ModelFlags,
    limiting: LimitFlags,
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 is every network of this machine.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen at; 0 for any that is free.")
    ] = 8000,
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
    if running.detect_size is not None and not running.faces:
        raise typer.BadParameter("it needs --faces.", param_hint="--detect-size")
    _require_extra()
    from fer_runtime.serve.running import serve
    from fer_runtime.serve.service import Service

    service = Service(_options(running, limiting, tuple(allow_origin or ())))
    session = service.model.session
    say(f"model {session.path} on {session.provider_reason}")
    if not session.spec.parity:
        say("the file contains no verdict of an export, so SIGHUP cannot reload it")
    serve(service, host, port, say=say, ready=", /docs for people, SIGTERM or Ctrl-C to end")


def _options(
    running: ModelFlags, limiting: LimitFlags, allowed_origins: tuple[str, ...]
) -> ServeOptions:
    from fer_runtime.machine import usable_threads
    from fer_runtime.serve.limits import MEBIBYTE, Limits
    from fer_runtime.serve.service import ServeOptions
    from fer_runtime.shipped import find_model
    from fer_runtime.spec import ModelSpec

    spec = ModelSpec.read(running.spec) if running.spec else None
    usable = usable_threads()
    return ServeOptions(
        model=find_model(running.model),
        opening={"provider": running.provider, "spec": spec},
        threads=running.threads or max(1, usable - 1),
        decoders=usable,
        batch_size=running.batch_size,
        faces=_face_options(running.detect_size) if running.faces else None,
        min_probability=running.min_probability,
        limits=Limits(
            max_body=int(limiting.max_body * MEBIBYTE), max_pixels=limiting.max_pixels,
            max_images=limiting.max_images, max_latency=limiting.max_latency,
            time_limit=limiting.time_limit,
        ),
        allowed_origins=allowed_origins,
    )  # fmt: skip


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
