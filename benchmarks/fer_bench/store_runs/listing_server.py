"""A program: an S3 server with any number of keys that it can only list.

`python listing_server.py KEYS` prints its port. A million real objects would take an hour to write.
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

PAGE = 1000
ENTRY = (
    "<Contents><Key>faces/{:09}.jpg</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
    "<Size>1500</Size><StorageClass>STANDARD</StorageClass></Contents>"
)


class Lists(BaseHTTPRequestHandler):
    """ListObjectsV2 with continuation tokens."""

    protocol_version = "HTTP/1.1"
    keys = 0

    def do_GET(self) -> None:
        """One page."""
        query = parse_qs(urlparse(self.path).query)
        start = int(query.get("continuation-token", ["0"])[0])
        end = min(start + PAGE, self.keys)
        more = end < self.keys
        token = f"<NextContinuationToken>{end}</NextContinuationToken>" if more else ""
        entries = "".join(map(ENTRY.format, range(start, end)))
        body = (
            '<?xml version="1.0"?><ListBucketResult>'
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{entries}</ListBucketResult>"
        ).encode()
        self.send_response(200)
        self.send_header("content-type", "application/xml")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""


def main() -> None:
    """Serve until the process is killed."""
    Lists.keys = int(sys.argv[1])
    with ThreadingHTTPServer(("127.0.0.1", 0), Lists) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
