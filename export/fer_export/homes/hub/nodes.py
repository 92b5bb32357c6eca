"""Nodes of an ONNX graph, written one after another."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

PREFIX = "pixel_values/"
"""Of the names that are made, so that they are no others of the graph."""


class Nodes:
    """Collects nodes and constants; values are referred to by their names.

    >>> nodes = Nodes()
    >>> half = nodes("Mul", "x", nodes.constant(0.5))
    >>> [node.op_type for node in nodes.nodes], len(nodes.constants)
    (['Mul'], 1)
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def __call__(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output; returns the output's name."""
        name = f"{PREFIX}{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value: npt.ArrayLike, kind: Any = np.float32) -> str:
        """Add a constant; returns its name."""
        name = f"{PREFIX}constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def integer(self, value: int) -> str:
        """Add an int64 constant; returns its name."""
        return self.constant(value, np.int64)

    def to_float(self, name: str) -> str:
        """A value as float32."""
        return self("Cast", name, to=TensorProto.FLOAT)

    def choose(self, condition: str, yes: str, no: str) -> str:
        """One value where a condition holds, the other elsewhere."""
        return self("Where", condition, yes, no)
