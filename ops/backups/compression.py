"""Blocks of bytes on their way into and out of a storage: compressed in threads, measured, pulled."""

import contextlib
import functools
import gzip
import hashlib
import io
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO

from django.core.files.base import File
from isal import igzip, isal_zlib

from ops.backups.manifest import Kind
from ops.errors import ArtifactInvalid

BLOCK = 2 * 2**20
"""Bytes that become one gzip member. Smaller ones compress less, larger ones keep fewer threads busy."""
LEVEL = 3
GZIP_FORMAT = 31
"""zlib's ``wbits`` for a gzip member with its header and checksum (zlib.net/manual.html, deflateInit2)."""
MOST_THREADS = 4
READ_AHEAD = 4


class HashingCounter:
    """Counts and hashes (SHA-256) the bytes that pass."""

    def __init__(self) -> None:
        self.size = 0
        self.hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self.hash.hexdigest()

    def counted(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        for block in blocks:
            self.add(block)
            yield block

    def add(self, block: bytes) -> None:
        self.size += len(block)
        self.hash.update(block)


class IteratorIO(io.RawIOBase):
    """A stream over blocks that come when they are read. An error of theirs is raised again by every later read."""

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
            # An exhausted generator would look like the end, and half a file like a whole one.
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
    """Blocks as the file that ``Storage.save`` asks for, with `chunks` or `read`, once and from front to back."""

    DEFAULT_CHUNK_SIZE = 2**20

    def __init__(self, blocks: Iterator[bytes], name: str) -> None:
        self.source = IteratorIO(blocks)
        super().__init__(io.BufferedReader(self.source, self.DEFAULT_CHUNK_SIZE), name)

    @property
    def started(self) -> bool:
        """Whether anybody asked for the content yet."""
        return self.source.started


def reader(blocks: Iterator[bytes]) -> io.BufferedReader:
    """`blocks` as a stream, which gives less than was asked for only at the end. Closing it closes a generator."""
    return io.BufferedReader(IteratorIO(blocks), 2**20)


def blocks_of(raw: IO[bytes]) -> Iterator[bytes]:
    """What is left in `raw`, in blocks of at most 1 MiB."""
    return iter(functools.partial(raw.read, 2**20), b"")


def suitable_threads() -> int:
    return min(MOST_THREADS, os.cpu_count() or 1)


def compressed(blocks: Iterator[bytes], *, threads: int) -> Iterator[bytes]:
    """`blocks` as a gzip file: one member for every 2 MiB, compressed in `threads` while the next blocks are read.

    At most two members for each thread wait in memory. An error of `blocks` is raised at once, before what waits.
    """
    members: deque[Future[bytes]] = deque()
    with pool(threads) as executor:
        for block in rechunk(blocks, BLOCK):
            members.append(executor.submit(isal_zlib.compress, block, LEVEL, GZIP_FORMAT))
            if len(members) > 2 * threads:
                yield members.popleft().result()
        while members:
            yield members.popleft().result()


def rechunk(blocks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in blocks of `size`, the last one shorter; one empty block where there are none."""
    waiting = bytearray()
    empty = True
    for block in blocks:
        waiting += block
        while len(waiting) >= size:
            yield bytes(waiting[:size])
            del waiting[:size]
            empty = False
    if waiting or empty:
        yield bytes(waiting)


@contextlib.contextmanager
def pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that end with the block; work that has not begun by then is dropped."""
    executor = ThreadPoolExecutor(threads, thread_name_prefix="backup")
    try:
        yield executor
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def decompressed(raw: IO[bytes], kind: Kind) -> Iterator[IO[bytes]]:
    """What an engine reads from the stored file `raw`, unpacked by a thread that is a few MiB ahead.

    Raises ArtifactInvalid, when entered or read, where the file is empty, cut off or damaged; and what `raw` raises.
    `raw` stays open.
    """
    packed = reader(blocks_of(raw))
    if not packed.peek(1):
        raise ArtifactInvalid("The backup's file is empty (0 bytes).")
    if not kind.compressed:
        yield packed
        return
    # Not isal's igzip_threaded: its reader takes a thread that has ended for the end of the file, without an error.
    with contextlib.closing(unpacking(packed)) as unpacked, pool(1) as executor:
        yield reader(read_ahead(unpacked.read, executor))


def unpacking(packed: IO[bytes]) -> IO[bytes]:
    unpacked: IO[bytes] = igzip.open(packed, "rb")  # type: ignore[no-untyped-call]
    return unpacked


def read_ahead(read: Callable[[int], bytes], executor: ThreadPoolExecutor) -> Iterator[bytes]:
    """What `read` gives until its end. The executor has one thread, so that pieces come in order."""
    pieces = deque(executor.submit(read_chunk, read) for _ in range(READ_AHEAD))
    while block := pieces.popleft().result():
        pieces.append(executor.submit(read_chunk, read))
        yield block


def read_chunk(read: Callable[[int], bytes]) -> bytes:
    try:
        return read(2**20)
    except EOFError as error:
        raise ArtifactInvalid("The backup's file is cut off: it ends within its compressed data.") from error
    except (gzip.BadGzipFile, isal_zlib.error) as error:  # type: ignore[misc]  # isal types its error as an instance
        raise ArtifactInvalid(f"The backup's file is damaged: {error}.") from error
