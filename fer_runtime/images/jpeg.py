"""The segments of a JPEG file (ITU-T T.81, annex B), as far as they are read without decoding."""

from __future__ import annotations

from collections.abc import Iterator

_FILL = 0xFF
_START_OF_SCAN = 0xDA
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of each segment's payload before the first scan; ends at nonsense."""
    position = 2
    while data[position : position + 1] == b"\xff" and len(data) > position + 4:
        marker = data[position + 1]
        if marker == _FILL:
            position += 1
            continue
        if marker == _START_OF_SCAN:
            return
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4])
        yield marker, position + 4, end
        position = end


def scans(data: bytes) -> int:
    """At most how many scans a decoder makes over the picture: 1 unless it is progressive."""
    if not any(marker in _PROGRESSIVE for marker, _, _ in segments(data)):
        return 1
    # Within a scan 0xFF is followed by 0 or a restart mark, so that no scan is missed; a picture
    # in the metadata and what is appended to the file may add to the count.
    return data.count(bytes((0xFF, _START_OF_SCAN)))
