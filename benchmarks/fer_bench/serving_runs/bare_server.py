"""A program: the least that can serve a session: `python bare_server.py MODEL PORT`.

An httptools parser on a socket, and one run of the session per request, in the event loop.
It has no routes, no limits and no errors; nothing written in Python around this session that takes
one image at a time can be much faster (with uvloop it is as fast).
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from fer_runtime import Classifier, images


def main() -> None:
    """Serve until the process is killed."""
    import httptools

    classifier = Classifier.load(sys.argv[1], provider="cpu", threads=1)
    session, spec, labels = classifier.session, classifier.spec.input, classifier.spec.labels

    class Connection(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport, self.parser = transport, httptools.HttpRequestParser(self)

        def data_received(self, data: bytes) -> None:
            self.parser.feed_data(data)

        def on_message_begin(self) -> None:
            self.body = b""

        def on_body(self, body: bytes) -> None:
            self.body += body

        def on_message_complete(self) -> None:
            pixels = images.decode(self.body, spec)
            values = session.run(pixels[None]).probabilities[0].tolist()
            best = max(range(len(values)), key=values.__getitem__)
            answer = {"label": labels[best], "probabilities": values}
            body = json.dumps(answer).encode()
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
            self.transport.write(head + b"content-length: %d\r\n\r\n%s" % (len(body), body))

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Connection, "127.0.0.1", int(sys.argv[2]))
        await server.serve_forever()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
