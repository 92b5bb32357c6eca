"""What a forked child needs: free locks, and nothing that waits for the threads of its parent."""

from __future__ import annotations

import os
import threading
import weakref


class ForkLock:
    """A `threading.Lock` as a context manager; a forked child has a new one.

    Only for state that a child makes again: what the lock guarded may be half done there.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _LOCKS.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


_LOCKS: weakref.WeakSet[ForkLock] = weakref.WeakSet()


def _renew() -> None:
    for lock in _LOCKS:
        lock._lock = threading.Lock()


def never_destroy(value: object) -> None:
    """Keep an object that the parent made to the very end of this process, and beyond Python's own.

    A runtime's model waits in its destructor for its threads, which exist only in the parent.
    """
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
