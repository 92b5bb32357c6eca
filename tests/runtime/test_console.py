"""What a command line does with errors: one sentence, and the exit status of the table."""

from __future__ import annotations

import pytest
import typer

from fer_runtime.cli.console import run_app
from fer_runtime.errors import DataError, FerError, ProviderError


def app_that_raises(error: BaseException) -> typer.Typer:
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def command() -> None:
        raise error

    return app


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (DataError("no such folder"), 6, "no such folder"),
        (ProviderError("no CUDA"), 4, "no CUDA"),
        (FerError("other"), 1, "other"),
        (OSError(28, "No space left on device", "out.md"), 6, "out.md: No space left on device"),
        (PermissionError(13, "Permission denied", "/x"), 6, "/x: Permission denied"),
        (OSError("strange"), 6, "strange"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 2, "this needs torch"),
    ],
)
def test_expected_errors_are_a_clear_message_and_a_status(
    error: BaseException,
    status: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["/bin/fer-tool"])
    with pytest.raises(SystemExit) as caught:
        run_app(app_that_raises(error))
    assert caught.value.code == status
    assert capsys.readouterr().err.startswith(f"fer-tool: {message}")


@pytest.mark.parametrize("error", [ValueError("a bug"), ModuleNotFoundError("x", name="colour")])
def test_bugs_keep_their_traceback(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["fer-tool"])
    with pytest.raises(type(error)):
        run_app(app_that_raises(error))
