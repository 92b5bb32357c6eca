"""Pillow's warnings, silenced while it decodes: what matters of them is an error here."""

from __future__ import annotations

import threading
import warnings


class QuietPillow:
    """Silences Pillow's warnings while any thread decodes; what they warn of is an error here.

    `warnings.catch_warnings` alone is not for threads: the filters that the last one to leave puts
    back would be another one's.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.caught = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self.lock:
            if not self.inside:
                self.caught = warnings.catch_warnings()
                self.caught.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\b")
            self.inside += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.caught.__exit__(None, None, None)


quiet_pillow = QuietPillow()
