"""Every example in the docstrings of fer_runtime runs and prints what it shows."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import numpy as np
import pytest

import fer_runtime

MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(fer_runtime.__path__, "fer_runtime.")
    if not name.endswith("__main__")
]
EXAMPLES = [
    test
    for name in ("fer_runtime", *MODULES)
    for test in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))
    if test.examples
]


def test_public_names_have_examples() -> None:
    shown = {example.name.rpartition(".")[2] for example in EXAMPLES}
    assert {"Classifier", "Prediction", "Row", "infer"} <= shown


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example(
    example: doctest.DocTest, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its names are np, face (the path of a picture) and folder (an empty one)."""
    monkeypatch.chdir(tmp_path)
    face = str(next((dataset / "test" / "happy").glob("*.jpg")))
    example.globs = {**example.globs, "np": np, "face": face, "folder": tmp_path}
    output: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=output.append)
    assert result.failed == 0, "".join(output)
