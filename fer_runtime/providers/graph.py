"""What a session needs of whatever runs a model: onnxruntime's InferenceSession has it, and so must
the adapter of another runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol


class Port(NamedTuple):
    """An input or output: `type` as "tensor(uint8)", `shape` with None for what is not fixed."""

    name: str
    type: str
    shape: list[int | str | None]


class Metadata(NamedTuple):
    """The metadata of an ONNX file."""

    custom_metadata_map: Mapping[str, str]


class Graph(Protocol):
    """A model that is ready to run; threads may call `run` side by side."""

    def get_inputs(self) -> Sequence[Any]:
        """Ports, in the graph's order."""

    def get_outputs(self) -> Sequence[Any]:
        """Ports, in the graph's order."""

    def get_modelmeta(self) -> Any:
        """The file's metadata."""

    def run(self, outputs: Sequence[str] | None, inputs: Mapping[str, Any]) -> list[Any]:
        """The named outputs, or all of them; the arrays belong to the caller."""
