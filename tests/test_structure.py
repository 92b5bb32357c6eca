"""How the code is divided: no import circles, no long files or functions, no misleading names."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "fer_runtime": ROOT / "fer_runtime",
    "fer_train": ROOT / "train" / "fer_train",
    "fer_export": ROOT / "export" / "fer_export",
    "fer_bench": ROOT / "benchmarks" / "fer_bench",
}
CODE = (*PACKAGES.values(), ROOT / "tests", ROOT / "benchmarks")
LONGEST_FILE, LONGEST_FUNCTION = 350, 60
Function = ast.FunctionDef | ast.AsyncFunctionDef


def files(*folders: Path) -> list[Path]:
    """Every Python file in the folders, once."""
    return sorted({path for folder in folders for path in folder.rglob("*.py")})


def name_of(path: Path, package: str) -> str:
    """The dotted name of a file of a package."""
    parts = path.relative_to(PACKAGES[package].parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def runtime_imports(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports below a node, those in functions included, those for type checkers left out."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node
    elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        for statement in node.orelse:
            yield from runtime_imports(statement)
    else:
        for child in ast.iter_child_nodes(node):
            yield from runtime_imports(child)


def imported(tree: ast.AST, name: str, modules: Mapping[str, object], is_init: bool) -> set[str]:
    """Which of `modules` the module `name` imports.

    `from package import thing` is the module `package.thing` where there is one, and otherwise the
    package itself.
    """
    found = set()
    for node in runtime_imports(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
            continue
        base = node.module or ""
        if node.level:
            parent = name.split(".")[
                : None if is_init and node.level == 1 else -node.level + is_init
            ]
            base = ".".join([*parent, *([base] if base else [])])
        for alias in node.names:
            submodule = f"{base}.{alias.name}"
            found.add(submodule if submodule in modules else base)
    return (found & modules.keys()) - {name}


def circles(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """The groups of two or more modules that all reach each other."""
    reach = {name: _reachable(name, edges) for name in edges}
    groups = {
        tuple(sorted(other for other in reach[name] if name in reach[other]))
        for name in edges
        if name in reach[name]
    }
    return [list(group) for group in sorted(groups)]


def _reachable(start: str, edges: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = list(edges[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(edges.get(name, ()))
    return seen


@pytest.mark.parametrize("package", PACKAGES)
def test_no_import_circle(package: str) -> None:
    modules = {name_of(path, package): path for path in files(PACKAGES[package])}
    edges = {}
    for name, path in modules.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        edges[name] = imported(tree, name, modules, path.name == "__init__.py")
    assert circles(edges) == []


def test_a_circle_is_found_in_functions_too() -> None:
    modules = dict.fromkeys(("p", "p.a", "p.b", "p.c"))
    sources = {
        "p": "from p import a",
        "p.a": "def f():\n    from p.b import g",
        "p.b": "def g():\n    if True:\n        from . import a",
        "p.c": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p import c_user",
    }
    edges = {
        name: imported(ast.parse(text), name, modules, name == "p")
        for name, text in sources.items()
    }
    assert edges == {"p": {"p.a"}, "p.a": {"p.b"}, "p.b": {"p.a"}, "p.c": set()}
    assert circles(edges) == [["p.a", "p.b"]]
    back = imported(ast.parse("from p import NAME"), "p.b", modules, False)
    assert back == {"p"}, "a name of the package's own __init__ counts as the package"


@pytest.mark.parametrize("path", files(*CODE), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    long = [
        f"{node.name} has {length} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, Function)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > LONGEST_FUNCTION
    ]
    if (lines := text.count("\n")) > LONGEST_FILE:
        long.append(f"the file has {lines} lines")
    assert not long


def test_no_module_is_named_after_one_of_the_standard_library() -> None:
    allowed = {"__main__", "__init__"}
    shadows = [
        str(path.relative_to(ROOT))
        for path in files(*PACKAGES.values())
        for name in (path.stem, path.parent.name)
        if name in sys.stdlib_module_names and name not in allowed
    ]
    assert shadows == []


def test_there_is_one_option_mechanism() -> None:
    """Command lines are made from dataclass fields in fer_runtime/cli/options.py, nowhere else."""
    rewriting = [
        str(path.relative_to(ROOT))
        for path in files(*PACKAGES.values())
        if "__signature__" in (text := path.read_text(encoding="utf-8"))
        or "inspect.Parameter(" in text
        or "inspect.Signature(" in text
    ]
    assert rewriting == ["fer_runtime/cli/options.py"]
