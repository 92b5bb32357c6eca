"""Every command and Python block of README.md, CONTRIBUTING.md and docs/ runs, or says why not.

A page is run from top to bottom in a folder with everything that it names (`tests/docs_folder.py`).
Training is shortened. What cannot run here is in NOT_RUN; like every other command, its options are
checked against the program's own parser.
"""

from __future__ import annotations

import ast
import importlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import pytest
import typer

from tests.docs_folder import prepare, shortened
from tests.docs_servers import placed, served

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

NOT_RUN = {
    "make ": "installs packages, trains for minutes, or is this very test run",
    ".ci/run": "is this very test run",
    "pip install": "changes the environment that the tests run in",
    "pip uninstall": "changes the environment that the tests run in",
    "pytest ": "measures for minutes, or is this very test run",
    "sh benchmarks/": "needs FER2013 and half an hour",
    "fer-bench ": "needs FER2013, another environment, or minutes",
    "fer-infer --install-completion": "writes into the shell's start-up file",
    "fer-infer --provider cuda": "needs an NVIDIA GPU",
    "fer-infer --faces camera:/dev/video0": "needs a camera, and runs until Ctrl-C",
    "fer-train fit --data faces/ --output run --devices": "needs four GPUs",
    "fer-export pt2 weights.safetensors --architecture timm:": "needs timm",
}
"""How a command begins -> why it is not run."""

SLOW = (
    *("fer-train fit", "fer-train compare", "fer-train evaluate", "fer-train labels"),
    *("fer-train average", "fer-train cropping"),
    "fer-export all",
    "fer-export onnx",
    "fer-export pt2",
    "fer-export torchscript",
)
"""Commands that take seconds: only README's run in the quick tests, the others in the slow ones."""

APPS = {
    "fer-infer": "fer_runtime.cli.infer",
    "fer-doctor": "fer_runtime.cli.doctor",
    "fer-pack": "fer_runtime.cli.pack",
    "fer-serve": "fer_runtime.cli.serve",
    "fer-train": "fer_train.cli",
    "fer-export": "fer_export.cli",
    "fer-bench": "fer_bench.cli",
}
"""Program -> the module of its command line, whose `main` runs in this process: importing torch for
each command would take seconds."""
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:fer-\w+|python -m fer_\w+|make|pip) [^`…]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, its language, and its text."""

    page: Path
    line: int
    language: str
    text: str

    def commands(self) -> list[str]:
        """Lines of a shell block, continued ones joined, without comment lines."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.startswith("#")]


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text[: found.start()].count("\n") + 2, found[1], found[2])
        for found in FENCE.finditer(text)
    ]


def why_not(command: str) -> str | None:
    """The reason why a command is not run; None for one that is."""
    return next((why for start, why in NOT_RUN.items() if command.startswith(start)), None)


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


SHELL = [(b, c) for page in PAGES for b in blocks(page) if b.language == "sh" for c in b.commands()]
NAMED = [c for page in PAGES for c in INLINE.findall(page.read_text(encoding="utf-8"))]
WITH_CODE = [page for page in PAGES if any(b.language in ("sh", "python") for b in blocks(page))]


def test_blocks_are_of_known_languages() -> None:
    """A block of another kind would not be run, and nobody would notice."""
    for page in PAGES:
        for block in blocks(page):
            directive = block.language.startswith("{")
            assert directive or block.language in ("sh", "python", "text"), block


def test_readme_is_short_and_shows_the_first_command_at_once() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    assert any(line.startswith("make demo") for line in lines[:20])


def test_no_reason_is_left_over() -> None:
    for start in NOT_RUN:
        assert any(command.startswith(start) for command in [*NAMED, *(c for _, c in SHELL)]), start


@pytest.mark.parametrize("command", sorted({c for _, c in SHELL}))
def test_command_is_one_that_the_parser_takes(command: str) -> None:
    for part in command.split(" | "):
        check(shlex.split(part, comments=True), whole=True)


@pytest.mark.parametrize("command", sorted(set(NAMED)))
def test_command_in_the_text_names_options_that_exist(command: str) -> None:
    check(shlex.split(command), whole=False)


def check(words: list[str], *, whole: bool) -> None:
    """Look up a command's targets, extras, paths and options; a `whole` one is parsed too."""
    program, *arguments = words
    if program == "make":
        targets = [word for word in arguments if "=" not in word]
        known = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert all(re.search(rf"^{target}:", known, re.MULTILINE) for target in targets), words
    elif program == "pip" and arguments[0] == "install":
        for extras in re.findall(r"\[([\w,]+)\]", " ".join(arguments)):
            known_extras = {*project()["optional-dependencies"], "cuda", "cudnn"}
            assert set(extras.split(",")) <= known_extras, words
    elif program == "python" and arguments[0] == "-m":
        parse(arguments[1], arguments[2:], whole=whole)
    elif program in APPS:
        parse(APPS[program], arguments, whole=whole)
    elif program in ("sh", "pytest", ".ci/run"):
        paths = [word for word in words if "/" in word and not word.startswith("fer2013")]
        assert all((ROOT / path).exists() for path in paths), words
    else:
        assert program in {"find", "pip", "curl"}, words


def project() -> dict[str, Any]:
    with open(ROOT / "pyproject.toml", "rb") as stream:
        found: dict[str, Any] = tomllib.load(stream)["project"]
    return found


def parse(module: str, arguments: list[str], *, whole: bool) -> None:
    """Parse with the program's own command; options that act while parsing are only looked up."""
    command = typer.main.get_command(importlib.import_module(module).app)
    context = click.Context(command)
    if isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        _, found, arguments = command.resolve_command(context, arguments)
        assert found is not None
        command = found
    names = {name for entry in command.get_params(context) for name in entry.opts}
    options = [word for word in arguments if re.match(r"--?[a-z]", word)]
    assert set(options) <= names, set(options) - names
    if whole and not {"--install-completion", "--version"} & set(options):
        command.make_context(command.name, arguments)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages name, made once."""
    return prepare(tmp_path_factory.mktemp("docs") / "folder")


@pytest.fixture
def folder(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it as the working directory, and tables as they were before."""
    import torch

    from fer_export.parity import inputs
    from fer_runtime.sources.table import SOURCES

    torch.set_num_threads(1)
    monkeypatch.setattr(inputs, "LARGEST_BATCH", 40)  # 1,024 images take seconds an export
    copy = tmp_path / "folder"
    shutil.copytree(prepared, copy, symlinks=True)
    monkeypatch.chdir(copy)
    monkeypatch.syspath_prepend(str(copy))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    known, handler = dict(SOURCES), signal.getsignal(signal.SIGINT)
    yield copy
    signal.signal(signal.SIGINT, handler)
    SOURCES.clear()
    SOURCES.update(known)


@pytest.mark.parametrize("page", WITH_CODE, ids=page_id)
def test_page_runs(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but what takes seconds, except in README."""
    run_page(page, monkeypatch, slow=page.name == "README.md")


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [p for p in dict.fromkeys(b.page for b, c in SHELL if c.startswith(SLOW)) if p.parent != ROOT],
    ids=page_id,
)
def test_page_runs_from_top_to_bottom(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_page(page, monkeypatch, slow=True)


def run_page(page: Path, monkeypatch: pytest.MonkeyPatch, *, slow: bool) -> None:
    with ExitStack() as servers:
        ports: dict[str, str] = {}
        for block in blocks(page):
            where = f"{page_id(page)}:{block.line}"
            if block.language == "python":
                exec(compile(placed(block.text, ports), where, "exec"), {"__name__": "docs"})
            elif block.language == "sh":
                for command in block.commands():
                    if command.startswith("fer-serve"):
                        ports |= servers.enter_context(served(command))
                    elif why_not(command) is None and (slow or not command.startswith(SLOW)):
                        run_command(placed(command, ports), where, monkeypatch)


def run_command(command: str, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run one line: our programs in this process, and what a shell must expand in a shell."""
    words = shlex.split(command, comments=True)
    make_room(words)
    quoted = shlex.split(command, comments=True, posix=False)
    if shutil.which(words[0]) is None and words[0] == "curl":
        return
    if words[0] not in APPS or any(re.match(r"[^'\"]*[*|]", word) for word in quoted):
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{where}: {command}\n{done.stderr}"
        return
    monkeypatch.setattr(sys, "argv", shortened(words))
    try:
        importlib.import_module(APPS[words[0]]).main()
    except SystemExit as ended:
        assert not ended.code, f"{where}: {command} ended with status {ended.code}"


OUTPUTS = ("-o", "--output")


def make_room(words: list[str]) -> None:
    """Delete what an earlier command of the page wrote under the same name."""
    if {"--resume", "--overwrite"} & set(words):
        return
    outputs = [after for word, after in pairwise(words) if word in OUTPUTS]
    for output in [*outputs, *(words[2:3] if words[1:2] == ["synth"] else ())]:
        if Path(output).is_dir():
            shutil.rmtree(output)
        elif output != "-":
            Path(output).unlink(missing_ok=True)


PATHS = re.compile(r"`((?:fer_runtime|train|export|benchmarks|tests)/[\w./]+)`")
ENTRY = re.compile(r"`([A-Z]{3,})` in `([\w./]+)`")
MESSAGE = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)


def test_troubleshooting_quotes_messages_as_they_are() -> None:
    """`…` stands for what differs each time."""
    said = texts()
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    messages = MESSAGE.findall(text)
    assert len(messages) >= 8
    for message in messages:
        parts = [part.strip() for part in message.split("…") if part.strip()]
        assert any(all(part in each for part in parts) for each in said), message


def texts() -> list[str]:
    """Every string in the three packages, f-strings with … for what is filled in."""
    found = []
    for folder in ("fer_runtime", "train/fer_train", "export/fer_export"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = (getattr(part, "value", "…") for part in node.values)
                    found.append("".join(p if isinstance(p, str) else "…" for p in parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return found


def test_changing_names_what_exists() -> None:
    text = (ROOT / "docs" / "changing.md").read_text(encoding="utf-8")
    new = set(re.findall(r"a new folder `([\w/]+)`", text))
    paths = set(PATHS.findall(text)) - new
    assert len(paths) > 25
    tests = set(re.findall(r"`(test_\w+\.py)`", text))
    assert tests <= {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert not [path for path in paths if not (ROOT / path).exists()]
    entries = ENTRY.findall(text)
    assert len(entries) >= 13
    for table, path in entries:
        source = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"^{table}\b[^=\n]*=", source, re.MULTILINE), f"{table} in {path}"


def test_architecture_lists_what_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (tree,) = (block for block in text.split("```") if block.startswith("text\nfer_runtime/"))
    base = ROOT
    for line in tree.splitlines()[1:]:
        if not line.startswith(" "):
            base = ROOT / line.split()[0]
        for name in [line.split()[0], *re.findall(r"\b\w+\.py\b", line)] if line[0] == " " else []:
            assert (base / name).exists(), f"{base}/{name}"
