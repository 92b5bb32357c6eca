"""Why a request gets no prediction: a status, a kind that is counted, and a clear message."""

from __future__ import annotations

Headers = tuple[tuple[bytes, bytes], ...]
CLOSE: Headers = ((b"connection", b"close"),)
"""For a request whose body is not read to its end."""

STATUS = {
    "image": 422,
    "malformed": 400,
    "media_type": 415,
    "unknown_model": 404,
    "unknown_path": 404,
    "method": 405,
    "too_large": 413,
    "slow": 408,
    "busy": 503,
    "time_limit": 503,
    "failed": 500,
}
"""Kind of error -> HTTP status."""


class RefusedError(Exception):
    """A request that is answered by an error.

    Attributes:
        kind: one of `STATUS`, as the metrics count it.
        message: what is wrong, and what to do about it.
        headers: further headers of the answer.
    """

    def __init__(self, kind: str, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.kind, self.message, self.headers = kind, message, headers

    @property
    def status(self) -> int:
        """The HTTP status."""
        return STATUS[self.kind]


class ClientGoneError(Exception):
    """The client closed the connection before its answer was ready."""


def busy(seconds: float) -> RefusedError:
    """For a request that would wait too long; `seconds` is when the queue will be shorter."""
    retry = str(max(1, round(seconds))).encode()
    return RefusedError(
        "busy", "The server has as many images as it can do in time; try again later.",
        ((b"retry-after", retry),),
    )  # fmt: skip
