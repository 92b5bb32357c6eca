"""Plain English: words that readers stumbled over are in no string, docstring, comment or page.

Each pattern has the words to write instead. The names of variables and functions are not searched.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
AVOID = {
    r"\bleav(e|es|ing) (it|them|--\S+) away\b": "omit it",
    r"\bleft away\b": "omitted",
    r"\bmust be said\b|\bis to be said\b": "is required",
    r"\b(say|says|said) --\w": "pass --option",
    r"\bsay -( |$)": "pass -",
    r"\b(gone|go|goes|going) on with\b": "resume, continue",
    r"\b(?<!there )is no "
    r"(?!longer\b|reason\b|need\b|more\b|less\b|other\b|way\b|such\b|room\b|doubt\b)[a-z]+\b": (
        "is not a ..."
    ),
    r"\b(?<!there )are no (images?|files?|labels?|folders?|models?)\b": "are not ...",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bput(s|ting)? out\b": "output",
    r"\bdepart(s|ed|ing|ures?)?\b": "differ",
    r"\bjudg(e|es|ed|ing)\b": "compare, evaluate, check",
    r"\bcalled like\b": "named after",
    r"\b(?<!worked out )by hand\b": "baseline, or how it was done",
    r"\bhold(s|ing)? no\b": "contain no",
    r"\bstands? (in|at|for itself|there)\b": "is in",
    r"\blies in\b": "is in",
    r"\bset aside\b": "kept apart",
    r"\bin words\b|\bwithout a word\b": "a clear message",
    r"\bmeans? harm\b": "malicious",
    r"\bnets? that (is|are) trained already\b": "a trained model",
}
PATTERN = {re.compile(pattern, re.IGNORECASE): instead for pattern, instead in AVOID.items()}
THIS = Path(__file__).resolve()
SKIPPED = ("results/", "tests/export/attacks/")
"""Recorded outputs, and files that imitate others'."""


def pages() -> list[Path]:
    """Every text in the project that people read, and every Python file."""
    found = [
        path
        for ending in ("*.py", "*.md", "*.sh", "Makefile", "pyproject.toml")
        for path in ROOT.rglob(ending)
        if not any(part.startswith(".venv") for part in path.parts)
    ]
    names = {path: path.relative_to(ROOT).as_posix() for path in found}
    return sorted(
        path
        for path, name in names.items()
        if path != THIS
        and not any(skip in name for skip in SKIPPED)
        and name.partition("/")[0] not in {"build", "dist", "site", "demo"}
    )


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of what people read: all lines, or a Python file's strings and comments."""
    content = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from _prose(path, content)
        return
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, re.sub(r"\s+", " ", node.value)
    comments: list[tuple[int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type == tokenize.COMMENT:
            text = token.string.lstrip("# ")
            if comments and comments[-1][0] == token.start[0] - 1:
                text = f"{comments.pop()[1]} {text}"
            comments.append((token.start[0], text))
    yield from comments


def _prose(path: Path, content: str) -> Iterator[tuple[int, str]]:
    """Paragraphs; without Markdown's code blocks, which are commands and what they printed."""
    if path.suffix == ".md":
        content = re.sub(
            r"^```.*?^```", lambda m: "\n" * m[0].count("\n"), content, flags=re.M | re.S
        )
    line = 1
    for paragraph in re.split(r"(\n\s*\n)", content):
        yield line, re.sub(r"\s+#?\s*", " ", paragraph)
        line += paragraph.count("\n")


def stumbles(path: Path) -> list[str]:
    """The words to avoid that a file contains, each with its line and what to write instead."""
    return [
        f"{path.relative_to(ROOT)}:{line}: {match[0]!r}; write {instead!r}"
        for line, text in texts(path)
        for pattern, instead in PATTERN.items()
        for match in pattern.finditer(text)
    ]


@pytest.mark.parametrize("path", pages(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_the_words_are_plain(path: Path) -> None:
    assert stumbles(path) == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Leave it away, or say --spec FILE.", 2),
        ("it is no folder, and is no longer there", 1),
        ("what mends it: the graph puts out 3 values", 2),
        ("a department; a recommendation; an adjudged departure", 1),
        ("arrays worked out by hand", 0),
    ],
)
def test_the_patterns_find_words_and_not_parts_of_words(text: str, count: int) -> None:
    assert sum(len(pattern.findall(text)) for pattern in PATTERN) == count


def test_strings_docstrings_and_comments_are_searched_but_no_names(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(
        '"""Judged."""\n# it must be\n# said\njudge = 1\nx = f"say --spec {judge}"\n',
        encoding="utf-8",
    )
    read = " | ".join(text for _, text in texts(path))
    assert [bool(p.search(read)) for p in PATTERN].count(True) == 3
