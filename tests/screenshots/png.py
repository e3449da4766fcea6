"""PNG files that are smaller, and show the same."""

import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BYTES_PER_PIXEL = {2: 3, 6: 4}
"""By colour type: RGB and RGBA, with 8 bits each."""


def shrink(data: bytes) -> bytes:
    """The same picture with a palette if it has few colours, and compressed as well as zlib can."""
    chunks = dict(read_chunks(data))
    width, height, depth, colours, *_, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, interlaced) == (8, 0)
    step = BYTES_PER_PIXEL[colours]
    rows = list(unfilter(zlib.decompress(chunks[b"IDAT"]), width * step, step))
    packed = pack(rows, step, width, height)
    return min((packed, data), key=len)


def read_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The header, and the compressed rows in one piece."""
    position, rows = len(SIGNATURE), b""
    while position < len(data):
        (size,) = struct.unpack_from(">I", data, position)
        kind, content = data[position + 4 : position + 8], data[position + 8 : position + 8 + size]
        if kind == b"IDAT":
            rows += content
        elif kind == b"IHDR":
            yield kind, content
        position += size + 12
    yield b"IDAT", rows


def unfilter(rows: bytes, length: int, step: int) -> Iterator[bytes]:
    """The bytes of each row (w3.org/TR/png-3/#9Filters)."""
    above = bytearray(length)
    for start in range(0, len(rows), length + 1):
        method, row = rows[start], bytearray(rows[start + 1 : start + 1 + length])
        if method == 2:
            row = bytearray((one + up) & 255 for one, up in zip(row, above, strict=True))
        elif method:
            for index in range(length):
                left = row[index - step] if index >= step else 0
                corner = above[index - step] if index >= step else 0
                row[index] = (row[index] + predicted(method, left, above[index], corner)) & 255
        yield bytes(row)
        above = row


def predicted(method: int, left: int, up: int, corner: int) -> int:
    if method == 1:
        return left
    if method == 3:
        return (left + up) // 2
    guess = left + up - corner
    return min((left, up, corner), key=lambda value: abs(guess - value))


def pack(rows: list[bytes], step: int, width: int, height: int) -> bytes:
    palette: dict[bytes, int] = {}
    indexed = []
    for row in rows:
        pixels = [row[at : at + 3] for at in range(0, len(row), step)]
        indexed.append(bytes(1) + bytes(palette.setdefault(pixel, len(palette)) & 255 for pixel in pixels))
    few = len(palette) <= 256
    plain = [bytes(1) + b"".join(row[at : at + 3] for at in range(0, len(row), step)) for row in rows]
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3 if few else 2, 0, 0, 0))]
    if few:
        parts.append(chunk(b"PLTE", b"".join(palette)))
    parts.append(chunk(b"IDAT", zlib.compress(b"".join(indexed if few else plain), 9)))
    return SIGNATURE + b"".join(parts) + chunk(b"IEND", b"")


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
