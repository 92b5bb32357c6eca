"""What the command lines share: clear errors, the exit status table, a progress bar."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, TextIO

import typer

from fer_runtime._version import __version__
from fer_runtime.errors import FerError

EXIT_STATUS = {
    0: "done",
    2: "usage",
    3: "done with error rows",
    4: "provider",
    5: "model",
    6: "data",
    7: "worker process",
    130: "interrupted",
}
EXIT_HELP = "Exit status: " + ", ".join(f"{code} {text}" for code, text in EXIT_STATUS.items())


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"fer-runtime {__version__}")
        raise typer.Exit


VersionFlag = Annotated[
    bool,
    typer.Option(
        "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
    ),
]
"""The parameter `version: VersionFlag = False` of a command, or of a callback before commands."""


def make_app(**settings: Any) -> typer.Typer:
    """A Typer app with shell completion (--install-completion) and -h beside --help."""
    return typer.Typer(
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        **settings,
    )


def run_app(app: typer.Typer) -> None:
    """Run a Typer app; what is expected to go wrong ends in a clear message, not a traceback."""
    if sys.stderr is None:  # closed by `2>&-`; what is printed to None goes to stdout
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    try:
        app(prog_name=os.path.basename(sys.argv[0]))
    except FerError as error:
        fail(str(error), error.exit_status)
    except OSError as error:
        # What no function expected: a full disk, a folder without permission, a path that is gone.
        where = f"{error.filename}: " if error.filename else ""
        fail(f"{where}{error.strerror or error}", 6)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = EXTRAS.get(package)
        if extra is None:
            raise
        fail(
            f"this needs {package}, which is not installed; in a checkout: "
            f"pip install '.[{extra}]'",
            2,
        )


def bound_spinning() -> None:
    """Let PyTorch's threads sleep after a short wait; call it before importing torch.

    They wait for one another by spinning without end. Beside one other busy process that cost nine
    tenths of the speed; with a bounded spin it costs half, as it should, and on a quiet machine a
    few percent. libgomp reads the variable when it is loaded.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")


EXTRAS = {
    "torch": "train,export",
    "torchvision": "train",
    "pytorch_lightning": "train",
    "torchmetrics": "train",
    "matplotlib": "train",
    "onnx": "export",
    "onnxscript": "export",
    "pyarrow": "parquet",
    "av": "video",
    "starlette": "serve",
    "uvicorn": "serve",
    "httptools": "serve",
    "prometheus_client": "serve",
    "python_multipart": "serve",
    "obstore": "cloud",
    "ray": "ray",
    "cv2": "dev",
    "atheris": "fuzz",
}
"""Package -> the extra that brings it."""


def fail(message: str, status: int) -> None:
    """One line on stderr, `command: message`, and the end of the process."""
    print(f"{os.path.basename(sys.argv[0])}: {message}", file=sys.stderr)
    sys.exit(status)


def refuse_overwriting(
    output: str | os.PathLike[str] | None,
    inputs: Iterable[str | os.PathLike[str] | None],
    option: str = "--output",
) -> None:
    """A usage error where a file that is to be written is one that the command reads."""
    for given in inputs:
        if output is None or given is None:
            continue
        if os.path.exists(given) and os.path.exists(output) and os.path.samefile(given, output):
            raise typer.BadParameter(
                f"{os.fspath(output)} is an input too; name another file.", param_hint=option
            )


def say(text: str) -> None:
    """Print a line on stderr."""
    try:
        print_text(f"{text}\n", sys.stderr)
    except OSError:  # a closed stderr is not a reason to fail, now or when Python flushes it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def print_text(text: str, stream: TextIO) -> None:
    """Print what the stream's encoding can show; the rest as question marks."""
    encoding = stream.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), end="", file=stream, flush=True)


def count(number: int, noun: str) -> str:
    """ "1 image", "2,000 images"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function of (done, total) that moves a bar on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total or None, visible=done != total)

        yield show
