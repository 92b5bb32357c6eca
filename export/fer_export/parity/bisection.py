"""Where two models part: the first node whose output departs from PyTorch's, with its numbers.

Both sides name their values alike, because the artefact was made from the very program that is run
here: the ONNX graph from `torch.onnx.export`, the `.pt2` from `torch.export.export`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fer_export.formats import graph, runners, to_exported_program, to_onnx
from fer_export.parity import LEAST_SCALE
from fer_runtime.errors import ModelFileError
from fer_runtime.spec import ModelSpec
from fer_train.models import Deployable

Values = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Divergence:
    """The first value that departs.

    `difference` is the largest absolute one, `scale` the standard deviation of PyTorch's value;
    `module` is the part of the net it comes from. `compared` values were looked at, of `nodes`.
    """

    node: str
    operator: str
    module: str
    difference: float
    scale: float
    compared: int
    nodes: int

    def __str__(self) -> str:
        return (
            f"the first node that departs is {self.node} ({self.operator}, of {self.module}): by "
            f"up to {self.difference:.3g}, {self.difference / max(self.scale, 1e-12):.2g} of its "
            f"standard deviation (value {self.compared} of {self.nodes} that both have)"
        )


def first(
    deployable: Deployable,
    spec: ModelSpec,
    artefact: Path,
    pixels: npt.NDArray[np.uint8],
    tolerance: float,
) -> Divergence | None:
    """Compare every value that both sides compute for (N, C, H, W) uint8 pixels, in order.

    A value departs where it differs by more than `tolerance` standard deviations of PyTorch's own.
    None: nothing departs.

    Raises:
        ModelFileError: a TorchScript file, whose values carry no names, or an artefact that shares
            no value with the checkpoint's program.
    """
    if artefact.suffix == ".onnx":
        reference, candidate, places = _onnx(deployable, spec, artefact, pixels)
    elif artefact.suffix == ".pt2":
        reference, candidate, places = _exported_program(deployable, spec, artefact, pixels)
    else:
        raise ModelFileError(
            f"{artefact}: the values of a TorchScript file carry no names; bisect the .onnx or "
            ".pt2 file of the same checkpoint."
        )
    shared = [
        name
        for name, value in candidate.items()
        if name in reference and reference[name].shape == value.shape
    ]
    if not shared:
        raise ModelFileError(
            f"{artefact} shares no value with the checkpoint's program, so nothing can be "
            "bisected; was it exported by another version, or made elsewhere?"
        )
    for count, name in enumerate(shared, 1):
        expected = reference[name].astype(np.float64)
        difference = np.abs(expected - candidate[name].astype(np.float64)).max(initial=0.0)
        scale = float(expected.std())
        if not difference <= tolerance * max(scale, LEAST_SCALE):  # also NaN
            return Divergence(*places[name], float(difference), scale, count, len(shared))
    return None


def _onnx(
    deployable: Deployable, spec: ModelSpec, artefact: Path, pixels: npt.NDArray[np.uint8]
) -> tuple[Values, Values, dict[str, tuple[str, str, str]]]:
    import onnx

    program = to_onnx.program(deployable, spec).exported_program
    assert program is not None
    outputs = graph.float_outputs(onnx.load(artefact))
    places = {
        name: (node.name, node.op_type, graph.scope_of(node)) for name, node in outputs.items()
    }
    reference = _values(program.module(), pixels)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "model.onnx"
        graph.with_outputs(artefact, [name for name in outputs if name in reference], copy)
        found = runners.onnx(copy)(pixels)
    return reference, {name: found[name] for name in outputs if name in found}, places


def _exported_program(
    deployable: Deployable, spec: ModelSpec, artefact: Path, pixels: npt.NDArray[np.uint8]
) -> tuple[Values, Values, dict[str, tuple[str, str, str]]]:
    candidate = to_exported_program.load(artefact).module()
    places = {
        node.name: (node.name, str(node.target), _module_of(node)) for node in candidate.graph.nodes
    }
    reference = to_exported_program.program(deployable, spec).module()
    return _values(reference, pixels), _values(candidate, pixels), places


class _Recorder(torch.fx.Interpreter):
    """Runs a graph module and keeps the floating result of each operation, by its name."""

    def __init__(self, module: torch.fx.GraphModule) -> None:
        super().__init__(module)
        self.values: dict[str, npt.NDArray[Any]] = {}

    def run_node(self, n: torch.fx.Node) -> Any:
        """Run one node, and remember what it gave."""
        result = super().run_node(n)
        floating = isinstance(result, torch.Tensor) and result.is_floating_point()
        if n.op == "call_function" and floating:
            self.values[n.name] = result.detach().numpy().copy()
        return result


def _values(module: Any, pixels: npt.NDArray[np.uint8]) -> Values:
    recorder = _Recorder(module)
    with torch.no_grad():
        outputs = recorder.run(torch.from_numpy(np.array(pixels)))
    named = {
        name: output.detach().numpy().copy()
        for name, output in zip(runners.OUTPUTS, outputs, strict=True)
    }
    return {**recorder.values, **named}


def _module_of(node: torch.fx.Node) -> str:
    stack = node.meta.get("nn_module_stack")
    return str(next(reversed(stack.values()))[0] or node.name) if stack else node.name
