"""One part: its images are classified, and its file and record put into the folder."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fer_runtime.items import Item
from fer_runtime.parts.plan import RECORDS, Folder, Part, name_of, names_digest
from fer_runtime.run_options import Counts
from fer_runtime.sinks.table import open_sink

if TYPE_CHECKING:
    from fer_runtime.pipeline import Pipeline


class PartWriter:
    """Writes parts with one pipeline; not for several threads at once.

    Args:
        folder: where the parts are put.
        pipeline: what classifies.
        ending: the format of the parts.
        top_k: labels per image in JSON Lines.
    """

    def __init__(self, folder: Folder, pipeline: Pipeline, ending: str, *, top_k: int = 3) -> None:
        self.folder, self.pipeline, self.ending, self.top_k = folder, pipeline, ending, top_k

    def write(
        self,
        shard: tuple[int, int],
        index: int,
        chunk: Sequence[Item],
        items: Iterable[Item] | None = None,
    ) -> Part:
        """Classify the images of one part and write it; the record comes last.

        Args:
            shard: the share that it is of.
            index: which of the share's parts it is.
            chunk: its images.
            items: the same with contents that were read ahead.

        Raises:
            DataError: the folder cannot be written.
        """
        name = name_of(shard, index)
        counts = Counts()
        with tempfile.TemporaryDirectory(prefix="fer-part-") as work:
            draft = Path(work) / f"{name}{self.ending}"
            with open_sink(
                str(draft), self.pipeline.stage.columns, ending=self.ending, top_k=self.top_k
            ) as sink:
                for rows in self.pipeline.run(chunk if items is None else items):
                    sink.write(rows)
                    counts.add(rows)
            self.folder.put(draft.name, draft)
        part = Part(len(chunk), counts.rows, counts.errors, counts.faces, names_digest(chunk))
        self.folder.put(f"{RECORDS}{name}.json", json.dumps(part._asdict()).encode())
        return part
