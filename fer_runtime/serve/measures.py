"""What /metrics reports, in Prometheus' format."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fer_runtime._version import __version__
from fer_runtime.serve.batching import Batch

if TYPE_CHECKING:
    from fer_runtime.serve.model import Served

SECONDS = (*(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05), *(0.1, 0.2, 0.5, 1, 2, 5, 10))
IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Measures:
    """The counters of one server, in a registry of its own.

    Args:
        waiting: how many images wait or are being classified now.
    """

    def __init__(self, waiting: Callable[[], int]) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = CollectorRegistry()

        def made(kind: Any, name: str, what: str, *labels: str, **more: Any) -> Any:
            return kind(f"fer_{name}", what, labels, registry=self.registry, **more)

        self._requests = made(
            Counter, "requests", "Requests that were answered.", "endpoint", "status"
        )
        self._errors = made(Counter, "errors", "Requests and images without a prediction.", "kind")
        self._images = made(Counter, "images", "Images and faces that went through the model.")
        self._seconds = made(
            Histogram, "request_seconds", "From a request's headers to its answer.", "endpoint",
            buckets=SECONDS,
        )  # fmt: skip
        self._queue = made(
            Histogram, "queue_seconds", "How long the first image of each batch had waited.",
            buckets=SECONDS,
        )  # fmt: skip
        self._model = made(
            Histogram, "model_seconds", "One run of the session, of one batch.", buckets=SECONDS
        )
        self._batch = made(Histogram, "batch_images", "Images of each batch.", buckets=IMAGES)
        self._decode = made(
            Histogram, "decode_seconds", "Decoding an image on a thread, and finding its faces.",
            buckets=SECONDS,
        )  # fmt: skip
        made(Gauge, "images_waiting", "Images that wait or are being classified.").set_function(
            waiting
        )
        self._reloads = made(Counter, "reloads", "Requests to reload the model.", "outcome")
        self._info = made(
            Gauge, "model_info", "1 for the model that is served.", "name", "sha256", "provider",
            "version",
        )  # fmt: skip
        self._known: dict[tuple[str, int], tuple[Any, Any]] = {}

    def request(self, endpoint: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        known = self._known.get((endpoint, status))
        if known is None:
            counter = self._requests.labels(endpoint, str(status))
            known = self._known[endpoint, status] = counter, self._seconds.labels(endpoint)
        known[0].inc()
        known[1].observe(seconds)

    def error(self, kind: str) -> None:
        """Count a request, or one image of several, that got no prediction."""
        self._errors.labels(kind).inc()

    def batch(self, batch: Batch) -> None:
        """Count a run of the session."""
        self._images.inc(batch.images)
        self._batch.observe(batch.images)
        self._queue.observe(batch.longest_wait)
        self._model.observe(batch.model_seconds)

    def decoded(self, seconds: float) -> None:
        """Count an image that was decoded on a thread."""
        self._decode.observe(seconds)

    def reload(self, outcome: str) -> None:
        """Count a reload: "done", "unchanged" or "refused"."""
        self._reloads.labels(outcome).inc()

    def serving(self, model: Served) -> None:
        """The model that is served from now on."""
        self._info.clear()
        self._info.labels(model.name, model.sha256, model.session.provider, __version__).set(1)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        from prometheus_client import generate_latest

        found: bytes = generate_latest(self.registry)
        return found
