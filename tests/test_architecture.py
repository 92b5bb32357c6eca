"""What may import what, and what a wheel contains: the table of docs/architecture.md, as tests."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "fer_runtime": ROOT / "fer_runtime",
    "fer_train": ROOT / "train" / "fer_train",
    "fer_export": ROOT / "export" / "fer_export",
    "fer_bench": ROOT / "benchmarks" / "fer_bench",
}
LEAN = {"numpy", "onnxruntime", "PIL", "simplejpeg", "typer", "click", "rich"}
TRAIN = {"torch", "torchvision", "timm", "pytorch_lightning", "torchmetrics", "matplotlib"}
EXPORT = {"torch", "torchvision", "timm", "onnx", "onnxscript", "google", "safetensors"}
THIRD_PARTY = {
    "fer_runtime": LEAN,
    "fer_train": LEAN | TRAIN,
    "fer_export": LEAN | EXPORT,
    "fer_bench": LEAN | TRAIN | EXPORT | {"pytest", "pyarrow", "atheris", "cv2"},
}
EXTRAS = {
    "fer_runtime/sinks/parquet.py": {"pyarrow"},
    "fer_runtime/sources/parquet.py": {"pyarrow"},
    "fer_runtime/sources/parquet_layout.py": {"pyarrow"},
    "fer_runtime/video/decoding.py": {"av"},
    "fer_runtime/providers/openvino.py": {"openvino"},
    "fer_runtime/cli/serve.py": {
        *("starlette", "uvicorn", "httptools", "prometheus_client", "python_multipart"),
    },
    "fer_runtime/cluster/batch_classifier.py": {"pandas"},
    "fer_runtime/cluster/driver.py": {"ray"},
    "fer_runtime/object_stores/stores.py": {"obstore"},
    "fer_runtime/sources/manifest.py": {"obstore"},
    "fer_runtime/serve/app.py": {"starlette"},
    "fer_runtime/serve/connections.py": {"uvicorn"},
    "fer_runtime/serve/measures.py": {"prometheus_client"},
    "fer_runtime/serve/multipart.py": {"python_multipart"},
    "fer_runtime/serve/running.py": {"uvicorn"},
    "export/fer_export/engines/opencv.py": {"cv2"},
    "export/fer_export/engines/openvino.py": {"openvino"},
    "export/fer_export/preprocessing/presets.py": {"timm", "torchvision"},
    "benchmarks/fer_bench/serving_runs/bare_server.py": {"httptools"},
    "benchmarks/fer_bench/serving_runs/lit_server.py": {"litserve", "fastapi"},
    "benchmarks/fer_bench/clusters.py": {"ray"},
    "benchmarks/fer_bench/load_generator.py": {"mlperf_loadgen"},
    "benchmarks/fer_bench/peer_runs/program.py": {
        *("deepface", "facex", "fer", "what_the_face_classification"),
    },
}
"""File -> the packages that it alone may import, inside the functions that need them."""
RUNTIME_FOR_TRAIN = {
    *("spec", "images", "metrics", "hashing", "errors", "machine", "cli", "sources", "items"),
    *("_lazy", "_version", "packed"),
}
"""Modules and folders of fer_runtime that training may import."""
TRAIN_FOR_EXPORT = {"archives", "checkpoint", "models"}


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in the file, as a dotted name."""
    yield from walk_imports(ast.parse(path.read_text(encoding="utf-8")))


def walk_imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules() -> Iterator[tuple[str, Path]]:
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            yield package, path


@pytest.mark.parametrize(
    ("package", "path"),
    list(modules()),
    ids=lambda value: value.relative_to(ROOT).as_posix() if isinstance(value, Path) else "",
)
def test_third_party_imports(package: str, path: Path) -> None:
    tops = {name.partition(".")[0] for name in imports(path)}
    foreign = tops - set(sys.stdlib_module_names) - set(PACKAGES)
    name = path.relative_to(ROOT).as_posix()
    assert foreign <= THIRD_PARTY[package] | EXTRAS.get(name, set())


WHOLLY = {
    "fer_runtime/serve/connections.py",
    "benchmarks/fer_bench/serving_runs/lit_server.py",
}
"""Modules that need an extra as a whole (they subclass its classes): functions import them, or they
are programs."""


def imported_at_once(path: Path) -> Iterator[str]:
    """What importing a file imports; what only type checkers import is in an `if`."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from walk_imports(ast.Module([node], []))


def test_extras_are_imported_only_inside_the_functions_that_need_them() -> None:
    for name in EXTRAS.keys() - WHOLLY:
        tops = {found.partition(".")[0] for found in imported_at_once(ROOT / name)}
        assert not tops & EXTRAS[name], name
    whole = {name.removesuffix(".py").replace("/", ".") for name in WHOLLY}
    for _, path in modules():
        assert not whole & set(imported_at_once(path)), path


def test_runtime_imports_nothing_of_ours() -> None:
    for path in PACKAGES["fer_runtime"].rglob("*.py"):
        ours = {name.partition(".")[0] for name in imports(path)} & set(PACKAGES)
        assert ours <= {"fer_runtime"}, path


def test_train_imports_the_contract_only() -> None:
    for path in PACKAGES["fer_train"].rglob("*.py"):
        names = list(imports(path))
        assert not [name for name in names if name.startswith(("fer_export", "fer_bench"))], path
        parts = {name.split(".")[1] for name in names if name.startswith("fer_runtime.")}
        assert parts <= RUNTIME_FOR_TRAIN, path


def test_export_imports_no_training_loop() -> None:
    for path in PACKAGES["fer_export"].rglob("*.py"):
        names = list(imports(path))
        assert not [name for name in names if name.startswith("fer_bench")], path
        parts = {name.split(".")[1] for name in names if name.startswith("fer_train.")}
        assert parts <= TRAIN_FOR_EXPORT, path


def test_spec_is_standard_library_only() -> None:
    for name in ("spec.py", "spec_values.py", "face_crop.py"):
        tops = {name.partition(".")[0] for name in imports(ROOT / "fer_runtime" / name)}
        assert tops <= set(sys.stdlib_module_names) | {"fer_runtime"}


def test_wheel_contains_exactly_the_four_packages(tmp_path: Path) -> None:
    source = tmp_path / "source"
    subprocess.run(
        ["git", "clone", "--quiet", "--depth=1", f"file://{ROOT}", str(source)], check=False
    )
    if not (source / "pyproject.toml").exists():
        pytest.skip("the tests do not run in a git checkout, so a clean source tree is missing")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        licences = {name.partition("/licenses/")[2] for name in names if "/licenses/" in name}
        entries = archive.read(next(n for n in names if n.endswith("entry_points.txt"))).decode()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    assert licences == {
        "LICENSE",
        "fer_runtime/models/LICENSE-yunet.txt",
        "export/fer_export/homes/web/runtime/LICENSE",
    }
    detector = {"face_detection_yunet_2026may.onnx", "LICENSE-yunet.txt", "FACE_DETECTOR.md"}
    assert {f"fer_runtime/models/{name}" for name in detector} <= names
    tracked = _tracked(source)
    for package, folder in PACKAGES.items():
        inside = {name for name in names if name.startswith(f"{package}/")}
        expected = {n for n in tracked if n.startswith(f"{folder.relative_to(ROOT)}/")}
        prefix = str(folder.relative_to(ROOT).parent).strip(".")
        assert inside == {n.removeprefix(f"{prefix}/") for n in expected}, package
        assert f"{package}/py.typed" in inside
    for command in ("fer-infer", "fer-doctor", "fer-train", "fer-export"):
        assert f"{command} = " in entries


def _tracked(source: Path) -> set[str]:
    listing = subprocess.run(
        ["git", "ls-files"], cwd=source, check=True, capture_output=True, text=True
    )
    return set(listing.stdout.splitlines())
