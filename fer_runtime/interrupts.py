"""Ctrl-C at moments that suit the work: never in the middle of writing rows."""

from __future__ import annotations

import signal
import threading
from typing import Any


class InterruptsHeld:
    """While it is open as a context manager, Ctrl-C waits for its end.

    A write to a file that a signal interrupts may end half-way, and then what was counted and what
    is in the file differ. Outside the main thread, which alone is interrupted, it does nothing.
    """

    def __init__(self) -> None:
        self._handler: Any = None
        self._held: tuple[Any, ...] | None = None

    def __enter__(self) -> None:
        self._handler, self._held = None, None
        if threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGINT)
            if callable(handler):  # else it is ignored, ends the process, or is not Python's
                self._handler = handler
                signal.signal(signal.SIGINT, self._hold)

    def __exit__(self, *_: object) -> None:
        if self._handler is None:
            return
        signal.signal(signal.SIGINT, self._handler)
        if self._held is not None:
            self._handler(*self._held)

    def _hold(self, *received: object) -> None:
        self._held = received
