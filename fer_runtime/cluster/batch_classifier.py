"""Batches of a data-processing engine in, the same batches with predictions out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fer_runtime.classifier import Classifier
from fer_runtime.columns import plain_columns
from fer_runtime.errors import DataError, ImageError
from fer_runtime.images import content_of
from fer_runtime.items import Item
from fer_runtime.object_stores.addresses import is_remote
from fer_runtime.object_stores.objects import RemoteObject, fetched
from fer_runtime.rows import Row

if TYPE_CHECKING:
    import pandas as pd


class BatchClassifier:
    """A callable that adds the columns of a prediction to batches of images.

    >>> classify = BatchClassifier("image", model="compact_cnn", provider="cpu")
    >>> out = classify({"image": [np.zeros((48, 48), np.uint8)], "id": np.array([7])})
    >>> out["label"][0] in classify.labels, out["id"]
    (True, array([7]))

    Ray Data: `dataset.map_batches(BatchClassifier, fn_constructor_args=["image"], batch_size=256,
    concurrency=n)`. Dask: `frame.map_partitions(classify)`. Spark: `frame.mapInPandas(
    classify.map_in_pandas, schema)`. Each process opens the model once, when its first batch comes.
    An image that cannot be read is a row with an `error`.

    Args:
        column: the column with the images: paths, addresses in object stores, encoded bytes, or
            uint8 arrays (H, W[, C]).
        model: an ONNX file that is on every machine, or a shipped model's name; None as
            `fer_runtime.shipped.find_model` does.
        threads: threads of each process; one, so that the engine decides what runs side by side.
        **options: further arguments of `Classifier.load`.
    """

    def __init__(
        self,
        column: str,
        *,
        model: str | os.PathLike[str] | None = None,
        threads: int = 1,
        **options: Any,
    ) -> None:
        self.column, self.threads = column, threads
        self._model, self._options = model, options
        self._classifier: Classifier | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_classifier": None}

    @property
    def classifier(self) -> Classifier:
        """The opened model; errors as `Classifier.load`."""
        if self._classifier is None:
            self._classifier = Classifier.load(self._model, threads=self.threads, **self._options)
        return self._classifier

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the model, which are columns too."""
        return self.classifier.spec.labels

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are added: label, probability, one per label, error."""
        return plain_columns(self.labels).names[1:]

    def __call__(self, batch: Any) -> Any:
        """A mapping of columns, or a pandas DataFrame, with the columns of `columns` added.

        Raises:
            DataError: the column of images is missing, or a column of predictions is there.
        """
        frame = not isinstance(batch, Mapping)
        names = list(batch.columns) if frame else list(batch)
        if self.column not in names:
            raise DataError(f"there is no column {self.column!r}; there are {', '.join(names)}.")
        if taken := sorted(set(names) & set(self.columns)):
            raise DataError(f"the batch has columns of predictions already: {', '.join(taken)}.")
        found = self._predictions(list(batch[self.column]))
        if frame:
            return batch.assign(**found)
        return {**batch, **found}

    def map_in_pandas(self, frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """What Spark's `mapInPandas` takes: frames -> frames."""
        return map(self, frames)

    def _predictions(self, values: Sequence[Any]) -> dict[str, Any]:
        """The columns of predictions, one value per image."""
        pipeline = self.classifier.pipeline()
        items = fetched(map(_item, values))
        rows: list[Row] = [row for some in pipeline.run(items) for row in some]
        columns: dict[str, Any] = {}
        for name in self.columns:
            each = [row[name] for row in rows]
            if name in ("label", "error"):
                columns[name] = np.array(each, dtype=object)
            else:  # NaN where there is no prediction
                columns[name] = np.array(each, dtype=np.float32)
        return columns


def _item(value: Any) -> Item:
    if isinstance(value, str | os.PathLike):
        path = os.fspath(value)
        return Item(path, path, content=RemoteObject(path) if is_remote(path) else None)
    try:
        return Item("", "", content=content_of(value))
    except ImageError as error:
        return Item("", "", str(error))
