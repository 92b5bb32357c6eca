"""`fer-train` itself: version, choices in the help, shell completion."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fer_runtime import __version__
from fer_runtime.cli.options import choices_of
from fer_train.cli import app
from fer_train.loggers import LOGGERS
from fer_train.recipe import SPLITS, Recipe


def test_version() -> None:
    outcome = CliRunner().invoke(app, ["--version"])
    assert (outcome.exit_code, outcome.stdout) == (0, f"fer-runtime {__version__}\n")


def test_help_lists_every_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    text = CliRunner().invoke(app, ["fit", "--help"]).stdout
    listed = [choices_of(entry) for entry in fields(Recipe) if choices_of(entry)]
    assert len(listed) == 9
    for choices in (*listed, tuple(LOGGERS)):
        assert f"[{'|'.join(choices)}]" in text
    assert f"[{'|'.join(SPLITS)}]" in CliRunner().invoke(app, ["evaluate", "--help"]).stdout
    assert "--install-completion" in CliRunner().invoke(app, ["--help"]).stdout


def test_wrong_choice_is_a_usage_error_that_lists_what_is_allowed(tmp_path: Path) -> None:
    arguments = ["fit", "--data", str(tmp_path), "--output", str(tmp_path / "run")]
    outcome = CliRunner().invoke(app, [*arguments, "--loss", "hinge"])
    assert outcome.exit_code == 2
    assert "cross_entropy" in outcome.stderr and "focal" in outcome.stderr
