"""What the three command lines share: errors as one sentence, and the exit status table."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from fer_runtime.errors import FerError

if TYPE_CHECKING:
    import typer

EXIT_STATUS = {
    0: "done",
    2: "usage",
    3: "done with error rows",
    4: "provider",
    5: "model",
    6: "data",
    130: "interrupted",
}
EXIT_HELP = "Exit status: " + ", ".join(f"{code} {text}" for code, text in EXIT_STATUS.items())


def run_app(app: typer.Typer) -> None:
    """Run a Typer app; FerError, Ctrl-C and a closed pipe end it without a traceback."""
    try:
        app()
    except FerError as error:
        print(f"{os.path.basename(sys.argv[0])}: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader has gone; there is nobody left to tell. Keep the interpreter's own flush quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
