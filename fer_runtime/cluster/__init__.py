"""Many machines, on an engine that exists: the parts of a run as Ray tasks, and a callable for
Ray Data, Spark and Dask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fer_runtime._lazy import lazy_attributes

if TYPE_CHECKING:
    from fer_runtime.cluster.batch_classifier import BatchClassifier

__all__ = ["BatchClassifier"]

__getattr__ = lazy_attributes(__name__, {"BatchClassifier": "fer_runtime.cluster.batch_classifier"})
