"""A program: the same model behind LitServe: `python lit_server.py MODEL PORT SETTING`.

It runs in an environment of its own, which has litserve and `fer-runtime[cpu]`. Annotations are not
postponed here: LitServe reads them.
"""

import sys
from typing import Annotated, Any

import litserve
import numpy as np
from fastapi import Depends, Request

from fer_runtime import Classifier, images

SETTINGS: dict[str, dict[str, Any]] = {
    "single": {},
    "batches": {"max_batch_size": 32, "batch_timeout": 0.002},
    "fast_queue": {"max_batch_size": 32, "batch_timeout": 0.002},
}


async def body_of(request: Request) -> bytes:
    """LitServe itself takes JSON and forms only; an image's bytes are cheaper."""
    return await request.body()


class Expressions(litserve.LitAPI):
    """Decodes, classifies and answers as bare_server does."""

    def setup(self, device: str) -> None:
        self.classifier = Classifier.load(sys.argv[1], provider="cpu", threads=1)

    def decode_request(self, request: Annotated[bytes, Depends(body_of)]) -> Any:
        return images.decode(request, self.classifier.spec.input)

    def batch(self, inputs: list[Any]) -> Any:
        return np.stack(inputs)

    def predict(self, x: Any) -> Any:
        if x.ndim == 3:
            return self.classifier.session.run(x[None]).probabilities[0]
        return self.classifier.session.run(x).probabilities

    def unbatch(self, output: Any) -> list[Any]:
        return list(output)

    def encode_response(self, output: Any) -> dict[str, Any]:
        values = output.tolist()
        best = max(range(len(values)), key=values.__getitem__)
        return {"label": self.classifier.spec.labels[best], "probabilities": values}


def main() -> None:
    """Serve until the process is killed."""
    setting = sys.argv[3]
    if setting == "single":
        del Expressions.batch, Expressions.unbatch
    server = litserve.LitServer(
        Expressions(**SETTINGS[setting]), accelerator="cpu", workers_per_device=1,
        fast_queue=setting == "fast_queue",
    )  # fmt: skip
    server.run(
        port=int(sys.argv[2]), generate_client_file=False, log_level="error", num_api_servers=1
    )


if __name__ == "__main__":
    main()
