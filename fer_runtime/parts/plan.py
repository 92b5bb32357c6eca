"""Which images are in which part, and what is known of the parts that are finished.

Part k of a share has its images from k * N on, N to a part. So what a part has is known without
reading it, and a run that is repeated over the same sources makes the same parts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from fer_runtime.errors import DataError
from fer_runtime.items import Item
from fer_runtime.parts.folder import LocalFolder, RemoteFolder
from fer_runtime.sinks.resume import Names

RUN = "_run.json"
RECORDS = "_parts/"
Folder = LocalFolder | RemoteFolder


class Part(NamedTuple):
    """A part that is finished.

    Attributes:
        images: how many images it is of.
        rows: how many rows it has.
        errors: how many of these have an error.
        faces: how many of these are of a face.
        names: a hash of the images' names, in order.
    """

    images: int
    rows: int
    errors: int
    faces: int
    names: str


def name_of(shard: tuple[int, int], index: int) -> str:
    """A part's name without its ending.

    >>> name_of((1, 1), 12), name_of((2, 8), 0)
    ('part-00012', 'part-2of8-00000')
    """
    share = "" if shard[1] == 1 else f"{shard[0]}of{shard[1]}-"
    return f"part-{share}{index:05}"


def names_digest(items: Iterable[Item]) -> str:
    """The hash of the names of some items."""
    names = Names()
    for item in items:
        names.add(item.name)
    return names.digest().hex()


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items of one part after the other."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


class Ledger:
    """The records in the folder of a run: what the run is, and which parts are finished.

    Args:
        folder: where the parts are.
        run: what makes the rows of two runs comparable, in plain values.
        shard: the share that is written.
        resume: continue what is there.

    Raises:
        DataError: another run is there, or this one without `resume`.
    """

    def __init__(
        self, folder: Folder, run: Mapping[str, Any], shard: tuple[int, int], *, resume: bool
    ) -> None:
        self.folder, self.shard = folder, shard
        start = name_of(shard, 0)[:-5]
        found = [each for each in folder.names(RECORDS) if each.startswith(start)]
        self._finished = {each.removesuffix(".json") for each in found if each.endswith(".json")}
        self._begin(run, resume)

    def _begin(self, run: Mapping[str, Any], resume: bool) -> None:
        """Compare with the run that is there, or record this one."""
        from fer_runtime.sinks.resume import changed

        before = self.folder.read(RUN)
        if before is None and self.folder.names():
            before = self.folder.read(RUN)  # another share may have begun meanwhile
            if before is None:
                raise DataError(
                    f"{self.folder.name} has other files; name a new folder, or an empty one."
                )
        if before is None:
            self.folder.put(RUN, (json.dumps(run, indent=2) + "\n").encode())
            return
        try:
            difference = changed(json.loads(before), json.loads(json.dumps(run)))
        except ValueError:
            raise DataError(f"{self.folder.name}{RUN} is broken; name another folder.") from None
        if difference:
            raise DataError(
                f"{self.folder.name} was started with {difference}; pass the same, or name another "
                "folder."
            )
        if self._finished and not resume:
            raise DataError(
                f"{self.folder.name} contains parts of this run: pass --resume to continue it, or "
                "name another folder."
            )

    def finished(self, index: int, chunk: list[Item]) -> Part | None:
        """The record of a part, if it is finished.

        Raises:
            DataError: it is of other images than these, so that the sources have changed.
        """
        name = name_of(self.shard, index)
        if name not in self._finished:
            return None
        data = self.folder.read(f"{RECORDS}{name}.json")
        try:
            part = Part(**json.loads(data or b"null"))
        except (ValueError, TypeError):
            return None  # it is made again
        if part.names != names_digest(chunk):
            raise DataError(
                f"The sources have changed: {self.folder.name}{name} is of other images than now "
                f"({chunk[0].name} and what follows). Name another folder to start over."
            )
        return part

    def require_nothing_after(self, count: int) -> None:
        """Raises DataError where more parts are finished than the sources now have."""
        more = sorted(each for each in self._finished if int(each[-5:]) >= count)
        if more:
            raise DataError(
                f"The sources have changed: {self.folder.name}{more[0]} is finished, but there are "
                "fewer images now. Name another folder to start over."
            )
