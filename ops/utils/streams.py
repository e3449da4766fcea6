"""Streams of bytes, read in blocks. Without Django: the process that reads untrusted files uses it as well."""

import functools
import gzip
from collections.abc import Iterator
from typing import IO

from isal import igzip, isal_zlib

from ops.errors import ArtifactInvalid

BLOCK_SIZE = 1 << 18
"""Bytes."""


def blocks_of(raw: IO[bytes]) -> Iterator[bytes]:
    """The rest of `raw` in blocks of at most `BLOCK_SIZE`."""
    return iter(functools.partial(raw.read, BLOCK_SIZE), b"")


def open_gzip(raw: IO[bytes]) -> IO[bytes]:
    stream: IO[bytes] = igzip.open(raw, "rb")  # type: ignore[no-untyped-call]
    return stream


def read_gzip(stream: IO[bytes], what: str) -> bytes:
    """The next block of the gzip file that is `what`. Raises ArtifactInvalid where it is truncated or damaged."""
    try:
        return stream.read(BLOCK_SIZE)
    except EOFError as error:
        raise ArtifactInvalid(f"{what} is truncated: it ends within its compressed data.") from error
    except (gzip.BadGzipFile, isal_zlib.error) as error:  # type: ignore[misc]  # isal types its error as an instance
        raise ArtifactInvalid(f"{what} is damaged: {error}.") from error
