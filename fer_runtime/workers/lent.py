"""A session that one process runs for all: on a GPU a second one would take its memory again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_runtime.providers import ProviderOptions
from fer_runtime.session import Outputs, Session
from fer_runtime.spec import ModelSpec
from fer_runtime.workers.messages import Classify, Failed, sendable
from fer_runtime.workers.shared import Contents, SharedMemory


class LentSession:
    """In a worker: what a stage needs of a session; its parent runs it.

    Args:
        spec: the model's.
        ask: sends a message to the parent, and returns its answer.
        contents: the shared memory; None where there is none.

    Attributes:
        provider: where the worker itself may compute, as for finding faces.
    """

    provider = "cpu"
    threads = 1
    provider_options = ProviderOptions()

    def __init__(
        self, spec: ModelSpec, ask: Callable[[Classify], Any], contents: Contents | None
    ) -> None:
        self.spec, self._ask, self._contents = spec, ask, contents

    def run(self, pixels: npt.NDArray[np.uint8]) -> Outputs:
        """As `Session.run`; raises what that raised in the parent."""
        placed = self._contents is not None and self._contents.put_pixels(pixels)
        answer = self._ask(Classify(pixels.shape, None if placed else pixels))
        if isinstance(answer, Failed):
            raise answer.error
        found: Outputs = answer
        return found


def lend(session: Session, message: Classify, memory: SharedMemory | None) -> Outputs | Failed:
    """In the parent: run the session on what a worker asks for; an error is the answer too."""
    try:
        pixels = message.pixels
        if pixels is None:
            assert memory is not None
            pixels = memory.pixels(message.shape)
        return session.run(pixels)
    except Exception as error:
        return sendable(error)
