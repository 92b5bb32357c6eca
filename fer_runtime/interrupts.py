"""Ctrl-C at moments that suit the work, and not lost: never in the middle of writing rows."""

from __future__ import annotations

import signal
import threading
from typing import Any, Self


class _Interrupts:
    """While it is open as a context manager, Ctrl-C comes to `_receive`.

    Outside the main thread, which alone is interrupted, it does nothing.
    """

    def __init__(self) -> None:
        self._handler: Any = None
        self._received: tuple[Any, ...] | None = None

    def __enter__(self) -> Self:
        self._handler, self._received = None, None
        if threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGINT)
            if callable(handler):  # else it is ignored, ends the process, or is not Python's
                self._handler = handler
                signal.signal(signal.SIGINT, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)

    def _receive(self, *received: object) -> None:
        self._received = received


class InterruptsHeld(_Interrupts):
    """While it is open as a context manager, Ctrl-C waits for its end.

    A write to a file that a signal interrupts may end half-way, and then what was counted and what
    is in the file differ.
    """

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        if self._received is not None:
            self._handler(*self._received)


class InterruptsRemembered(_Interrupts):
    """While it is open as a context manager, a Ctrl-C that other code swallows is not lost.

    It interrupts at once; where that is caught, as by a bare `except:` around an import, `check`
    says it again.
    """

    def check(self) -> None:
        """Raises KeyboardInterrupt if there was a Ctrl-C."""
        if self._received is not None:
            raise KeyboardInterrupt

    def _receive(self, *received: object) -> None:
        super()._receive(*received)
        self._handler(*received)
