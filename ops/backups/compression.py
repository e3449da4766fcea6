"""Streams of bytes to and from a storage: compressed and decompressed by threads, counted and hashed."""

import contextlib
import hashlib
import io
import os
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO

from django.core.files.base import File
from isal import isal_zlib

from ops.backups.manifest import Kind
from ops.errors import ArtifactInvalid
from ops.utils.streams import BLOCK_SIZE, blocks_of, open_gzip, read_gzip

MEMBER_SIZE = 2 * 2**20
"""Bytes of input for each gzip member. Smaller ones compress less, larger ones keep fewer threads busy."""
LEVEL = 3
GZIP_FORMAT = 31
"""zlib's ``wbits`` for a gzip member with its header and checksum (zlib.net/manual.html, deflateInit2)."""
THREADS = min(4, os.cpu_count() or 1)
READ_AHEAD = 4


class Counter:
    """Counts the bytes that pass."""

    def __init__(self) -> None:
        self.size = 0

    def counted(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        for block in blocks:
            self.size += len(block)
            yield block


class HashingCounter(Counter):
    """Hashes them as well (SHA-256)."""

    def __init__(self) -> None:
        super().__init__()
        self.hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self.hash.hexdigest()

    def counted(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        for block in super().counted(blocks):
            self.hash.update(block)
            yield block


class IteratorIO(io.RawIOBase):
    """A stream over an iterator of blocks. An error of the iterator is raised again by every later read."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self.blocks = blocks
        self.rest = memoryview(b"")
        self.started = False
        self.failure: BaseException | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed's WriteableBuffer is private
        self.started = True
        if self.failure:
            # An exhausted generator looks like the end of the file, and the file would look complete.
            raise self.failure
        while not self.rest:
            try:
                block = next(self.blocks, None)
            except BaseException as error:
                self.failure = error
                raise
            if block is None:
                return 0
            self.rest = memoryview(block)
        size = min(len(buffer), len(self.rest))
        buffer[:size] = self.rest[:size]
        self.rest = self.rest[size:]
        return size

    def close(self) -> None:
        if isinstance(self.blocks, Generator):
            self.blocks.close()
        super().close()


class IteratorFile(File):  # type: ignore[type-arg]  # generic for the type checker only
    """Blocks as the file that ``Storage.save`` takes. It can be read once, from front to back."""

    DEFAULT_CHUNK_SIZE = BLOCK_SIZE

    def __init__(self, blocks: Iterator[bytes], name: str) -> None:
        self.source = IteratorIO(blocks)
        super().__init__(io.BufferedReader(self.source, self.DEFAULT_CHUNK_SIZE), name)

    @property
    def started(self) -> bool:
        """Whether reading has begun."""
        return self.source.started


def reader(blocks: Iterator[bytes]) -> io.BufferedReader:
    """`blocks` as a buffered stream. Closing it closes a generator."""
    return io.BufferedReader(IteratorIO(blocks), BLOCK_SIZE)


def compressed(blocks: Iterator[bytes], *, threads: int = THREADS) -> Iterator[bytes]:
    """`blocks` as a gzip file: one member for every 2 MiB, compressed in `threads` while the next blocks are read.

    One more member than there are threads waits in memory. An error of `blocks` is raised at once, before those.
    """
    members: deque[Future[bytes]] = deque()
    with pool(threads) as executor:
        for block in rechunk(blocks, MEMBER_SIZE):
            members.append(executor.submit(isal_zlib.compress, block, LEVEL, GZIP_FORMAT))
            if len(members) > threads:
                yield members.popleft().result()
        while members:
            yield members.popleft().result()


def rechunk(blocks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in blocks of `size`, the last one shorter; one empty block where there are none."""
    buffer = bytearray()
    empty = True
    for block in blocks:
        buffer += block
        while len(buffer) >= size:
            yield bytes(memoryview(buffer)[:size])
            del buffer[:size]
            empty = False
    if buffer or empty:
        yield bytes(buffer)


@contextlib.contextmanager
def pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that end with the block. Work that has not begun by then is cancelled."""
    executor = ThreadPoolExecutor(threads, thread_name_prefix="backup")
    try:
        yield executor
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def decompressed(raw: IO[bytes], kind: Kind) -> Iterator[IO[bytes]]:
    """The content of the stored file `raw`, decompressed by a thread that reads a few blocks ahead.

    Raises ArtifactInvalid, when entered or read, where the file is empty, truncated or damaged; and what `raw` raises.
    Does not close `raw`.
    """
    compressed_stream = reader(blocks_of(raw))
    if not compressed_stream.peek(1):
        raise ArtifactInvalid("The backup's file is empty (0 bytes).")
    if not kind.compressed:
        yield compressed_stream
        return
    # Not isal's igzip_threaded, which reports a dead reader thread as the end of the file.
    with contextlib.closing(open_gzip(compressed_stream)) as plain, pool(1) as executor:
        yield reader(read_ahead(plain, executor))


def read_ahead(plain: IO[bytes], executor: ThreadPoolExecutor) -> Iterator[bytes]:
    """The blocks of `plain`. The executor has one thread, so that they keep their order."""
    chunks = deque(executor.submit(read_gzip, plain, "The backup's file") for _ in range(READ_AHEAD))
    while block := chunks.popleft().result():
        chunks.append(executor.submit(read_gzip, plain, "The backup's file"))
        yield block
