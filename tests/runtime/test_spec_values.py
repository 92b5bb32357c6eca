"""ModelSpec as a value: copies, read-only mappings, its shape, its errors, its imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

from fer_runtime.errors import FerError, ModelSpecError
from fer_runtime.spec import InputSpec, ModelSpec


def test_a_read_only_mapping_is_a_mapping(spec: ModelSpec) -> None:
    """The fields are typed Mapping, so any mapping must survive the way to JSON."""
    changed = spec.replace(architecture_args=MappingProxyType({"width": 8}))
    assert changed.to_dict()["architecture_args"] == {"width": 8}


def test_to_dict_gives_a_copy(spec: ModelSpec) -> None:
    changed = spec.replace(architecture_args={"widths": [1, 2]})
    changed.to_dict()["architecture_args"]["widths"].append(3)
    assert changed.architecture_args == {"widths": [1, 2]}


def test_shape_is_channels_height_width(colour: InputSpec) -> None:
    assert colour.shape == (3, 32, 40)


def test_spec_errors_are_errors_of_the_project_and_of_the_model() -> None:
    assert issubclass(ModelSpecError, FerError)
    assert ModelSpecError.exit_status == 5


def test_spec_module_needs_the_standard_library_only() -> None:
    """-S leaves site-packages out, so that nothing but the standard library can be imported."""
    root = Path(sys.modules["fer_runtime"].__file__ or "").parent.parent
    code = f"import sys; sys.path.insert(0, {str(root)!r}); import fer_runtime.spec"
    command = [sys.executable, "-S", "-E", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
