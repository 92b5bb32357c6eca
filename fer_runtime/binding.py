"""Runs a session on buffers that are made once: for devices, whose memory is not this process's.

onnxruntime's plain `run` allocates on the device, copies, and frees at every call, and each new
size of batch costs a plan. Here a batch is padded to the next of a few sizes, each with its own
buffers. The same code runs on the CPU's memory, where it is tested.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

LARGEST = 4096
"""Images of the largest batch; more are run in pieces."""
SLOTS = 2
"""Batches of one size in flight: the copies of one hide behind what the device computes."""
TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
}


class BoundSession:
    """Runs an InferenceSession with one input through IO binding; threads may share it.

    Args:
        session: of onnxruntime.
        device: "cpu", or "cuda" where the session's provider runs there.
        device_id: its number.
        graphs: whether the session was made with CUDA graphs, which are captured once for each size
            and need fixed addresses: one batch at a time then.
    """

    def __init__(
        self, session: Any, *, device: str = "cpu", device_id: int = 0, graphs: bool = False
    ) -> None:
        self._session, self._graphs = session, graphs
        self._place = (device, device_id)
        self._input = session.get_inputs()[0]
        batch = self._input.shape[0]
        self._only = batch if isinstance(batch, int) else None
        self._free: dict[tuple[int, ...], list[_Slot]] = defaultdict(list)
        self._made: dict[tuple[int, ...], int] = defaultdict(int)
        self._changed = threading.Condition()
        self._one = threading.Lock()

    def run(self, tensor: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """(N, ...) as the graph's input -> each output's N rows; the arrays belong to the caller.

        Raises:
            Exception: what onnxruntime raises.
        """
        largest = self._only or LARGEST
        pieces = [self._run(tensor[at : at + largest]) for at in range(0, len(tensor), largest)]
        if not pieces:
            blank = np.zeros((1, *tensor.shape[1:]), tensor.dtype)
            return [output[:0] for output in self._run(blank)]
        if len(pieces) == 1:
            return pieces[0]
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]

    def _run(self, tensor: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        size = self._only or size_of(len(tensor))
        with self._slot((size, *tensor.shape[1:]), tensor.dtype) as slot:
            if not self._graphs:
                return slot.run(tensor, None)
            import onnxruntime

            options = onnxruntime.RunOptions()
            options.add_run_config_entry("gpu_graph_id", str(size))
            with self._one:
                return slot.run(tensor, options)

    @contextmanager
    def _slot(self, shape: tuple[int, ...], dtype: Any) -> Iterator[_Slot]:
        """Buffers of a shape that nobody uses."""
        most = 1 if self._graphs else SLOTS
        with self._changed:
            self._changed.wait_for(lambda: self._free[shape] or self._made[shape] < most)
            slot = self._free[shape].pop() if self._free[shape] else None
            self._made[shape] += slot is None
        try:
            if slot is None:
                slot = _Slot(self._session, self._input.name, shape, dtype, self._place)
            yield slot
        finally:
            with self._changed:
                if slot is None:
                    self._made[shape] -= 1
                else:
                    self._free[shape].append(slot)
                self._changed.notify_all()


class _Slot:
    """The buffers of one batch size, bound to the session once."""

    def __init__(
        self, session: Any, name: str, shape: tuple[int, ...], dtype: Any, place: tuple[str, int]
    ) -> None:
        from onnxruntime import OrtValue

        self._session = session
        self._staged = np.zeros(shape, dtype)
        self._input = OrtValue.ortvalue_from_numpy(self._staged, *place)
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input(name, self._input)
        self._outputs: list[Any] = []
        for output in session.get_outputs():
            rest = output.shape[1:]
            if output.type in TYPES and all(isinstance(side, int) for side in rest):
                value = OrtValue.ortvalue_from_shape_and_type(
                    (shape[0], *rest), TYPES[output.type], *place
                )
                self._binding.bind_ortvalue_output(output.name, value)
                self._outputs.append(value)
            else:  # a shape that only the run knows
                self._binding.bind_output(output.name, *place)
                self._outputs.append(None)

    def run(self, tensor: npt.NDArray[Any], options: Any) -> list[npt.NDArray[Any]]:
        count = len(tensor)
        if count == len(self._staged):
            self._input.update_inplace(np.ascontiguousarray(tensor))
        else:  # what is left of an earlier batch is computed again, and cut off
            self._staged[:count] = tensor
            self._input.update_inplace(self._staged)
        self._session.run_with_iobinding(self._binding, options)
        made = self._binding.get_outputs() if None in self._outputs else self._outputs
        return [
            np.array((value or made[place]).numpy()[:count])
            for place, value in enumerate(self._outputs)
        ]


def size_of(count: int) -> int:
    """The next power of two.

    >>> [size_of(count) for count in (1, 2, 3, 32, 33)]
    [1, 2, 4, 32, 64]
    """
    return 1 << max(0, count - 1).bit_length()
