"""Many coroutines share one classifier, in batches: `python examples/asyncio_service.py *.jpg`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from fer_runtime import Classifier, Prediction

PHOTO = Path(__file__).parent.parent / "tests" / "data" / "astronaut_face.jpg"
LARGEST = 32
Waiting = tuple[bytes, asyncio.Future[Prediction]]


class Batches:
    """Collects what is asked for while a batch runs, and runs it as the next one."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.queue: asyncio.Queue[Waiting] = asyncio.Queue()

    async def predict(self, image: bytes) -> Prediction:
        """One picture; raises ValueError where it cannot be read."""
        future: asyncio.Future[Prediction] = asyncio.get_running_loop().create_future()
        await self.queue.put((image, future))
        return await future

    async def run(self) -> None:
        """Serve until it is cancelled."""
        while True:
            batch = [await self.queue.get()]
            while not self.queue.empty() and len(batch) < LARGEST:
                batch.append(self.queue.get_nowait())
            # On a thread, so that the event loop goes on; onnxruntime releases the lock there.
            rows = await asyncio.to_thread(self._rows, [image for image, _ in batch])
            for (_, future), found in zip(batch, rows, strict=True):
                if not future.cancelled():
                    if isinstance(found, Exception):
                        future.set_exception(found)
                    else:
                        future.set_result(found)

    def _rows(self, images: list[bytes]) -> list[Prediction | Exception]:
        found: list[Prediction | Exception] = []
        for row in self.classifier.rows(images):
            found.append(row.prediction() if row.error is None else ValueError(row.error))
        return found


async def main(paths: list[str]) -> None:
    """Ask for all pictures at once."""
    service = Batches(Classifier.load("compact_cnn"))
    server = asyncio.create_task(service.run())
    contents = [Path(path).read_bytes() for path in paths or [str(PHOTO)] * 5]
    answers = await asyncio.gather(*map(service.predict, contents), return_exceptions=True)
    for answer in answers:
        print(answer if isinstance(answer, BaseException) else answer.label)
    server.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
