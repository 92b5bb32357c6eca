"""A PyTorch program run node by node, with every floating result kept by its name."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fer_export.formats.runners import OUTPUTS


def values_of(program: Any, pixels: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[Any]]:
    """Name -> what each operation of a graph module computes for (N, C, H, W) uint8 pixels."""
    recorder = _Recorder(program)
    with torch.no_grad():
        outputs = recorder.run(torch.from_numpy(np.array(pixels)))
    named = {  # a program without features has one output fewer
        name: output.detach().numpy().copy() for name, output in zip(OUTPUTS, outputs, strict=False)
    }
    return {**recorder.values, **named}


class _Recorder(torch.fx.Interpreter):
    """Runs a graph module and keeps the floating result of each operation, by its name."""

    def __init__(self, module: torch.fx.GraphModule) -> None:
        super().__init__(module)
        self.values: dict[str, npt.NDArray[Any]] = {}

    def run_node(self, n: torch.fx.Node) -> Any:
        """Run one node, and keep its result."""
        result = super().run_node(n)
        floating = isinstance(result, torch.Tensor) and result.is_floating_point()
        if n.op == "call_function" and floating:
            self.values[n.name] = result.detach().numpy().copy()
        return result
