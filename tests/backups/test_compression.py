"""Streams are complete and in order, or end with the error of their source."""

import gzip
import hashlib
import io
import itertools
import random
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.backups.compression import (
    MEMBER_SIZE,
    HashingCounter,
    IteratorFile,
    compressed,
    decompressed,
    reader,
)
from ops.backups.manifest import Kind
from ops.errors import ArtifactInvalid
from ops.utils.streams import blocks_of
from tests.backups import factories

NOISE = random.Random(4).randbytes(64 * 1024)


def lines(size: int) -> bytes:
    """Text of about `size` bytes, in which no two MiB are the same."""
    return b"".join(b"%d\track %d\n" % (number, number * 7) for number in range(size // 16))


@pytest.fixture(autouse=True)
def no_thread_stays_behind() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("backup")] == []


@settings(max_examples=30)
@given(st.lists(st.integers(0, 3 * MEMBER_SIZE // 2), max_size=5), st.integers(1, 3))
def test_compressed_file_is_read_by_gunzip(sizes, threads):
    blocks = [(NOISE * 64)[:size] for size in sizes]
    packed = b"".join(compressed(iter(blocks), threads=threads))
    assert gzip.decompress(packed) == b"".join(blocks)


def test_compressed_empty_input_is_a_gzip_file():
    (member,) = compressed(iter([]), threads=1)
    assert gzip.decompress(member) == b""


def test_decompressed_gives_the_original():
    content = lines(9 * 2**20)
    packed = io.BytesIO(b"".join(compressed(iter([content]), threads=2)))
    with decompressed(packed, Kind.SQL_GZIP) as stream:
        assert stream.readline() == b"0\track 0\n"
        assert stream.read(3) == b"1\tr"
        assert b"0\track 0\n1\tr" + b"".join(blocks_of(stream)) == content
    assert not packed.closed


def test_decompressed_passes_an_uncompressed_file_on():
    with decompressed(io.BytesIO(b"PGDMP"), Kind.CUSTOM) as stream:
        assert stream.read() == b"PGDMP"


def test_compressed_raises_an_error_of_the_source_at_once():
    taken = []
    with pytest.raises(ValueError, match="pg_dump"):
        taken.extend(compressed(factories.failing(lines(MEMBER_SIZE), error=ValueError("pg_dump")), threads=2))
    assert taken == []


def test_compressed_reads_the_source_at_most_a_few_blocks_ahead():
    read = []

    def source() -> Iterator[bytes]:
        for number in itertools.count():
            read.append(number)
            yield bytes(MEMBER_SIZE)

    stream = compressed(source(), threads=2)
    next(stream)
    time.sleep(0.1)
    assert len(read) <= 6
    stream.close()


def test_decompressed_that_is_closed_early_leaves_no_thread():
    packed = io.BytesIO(b"".join(compressed(iter([lines(16 * 2**20)]), threads=2)))
    with decompressed(packed, Kind.SQL_GZIP) as stream:
        stream.read(10)


PACKED = gzip.compress(NOISE, mtime=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "The backup's file is empty (0 bytes)."),
        (PACKED[:5], "The backup's file is truncated: it ends within its compressed data."),
        (PACKED[:-1], "The backup's file is truncated: it ends within its compressed data."),
        (PACKED[: len(PACKED) // 2], "The backup's file is truncated: it ends within its compressed data."),
        (b"CREATE TABLE rack (id integer);", "The backup's file is damaged: Not a gzipped file (b'CR')."),
        (PACKED + b"rm -rf / and more of it", "The backup's file is damaged: Not a gzipped file (b'rm')."),
        (PACKED[:-6] + b"\0\0" + PACKED[-4:], "The backup's file is damaged: CRC check failed"),
    ],
)
def test_decompressed_truncated_or_damaged_file_is_refused(content, message):
    with pytest.raises(ArtifactInvalid) as caught, decompressed(io.BytesIO(content), Kind.SQL_GZIP) as stream:
        stream.read()
    assert caught.value.message.startswith(message)


@given(st.integers(0, len(PACKED) - 1))
@settings(max_examples=50)
def test_decompressed_part_of_a_file_is_refused(size):
    with pytest.raises(ArtifactInvalid), decompressed(io.BytesIO(PACKED[:size]), Kind.SQL_GZIP) as stream:
        stream.read()


def test_decompressed_raises_an_error_of_the_storage():
    raw = reader(factories.failing(PACKED[:100], error=ConnectionError("the bucket is gone")))
    with pytest.raises(ConnectionError, match="the bucket is gone"), decompressed(raw, Kind.SQL_GZIP) as stream:
        stream.read()


def test_hashing_counter_counts_and_hashes_blocks():
    measure = HashingCounter()
    assert list(measure.counted(iter([b"ab", b"", b"c"]))) == [b"ab", b"", b"c"]
    assert (measure.size, measure.sha256) == (3, hashlib.sha256(b"abc").hexdigest())


def test_iterator_file_supports_read_and_chunks():
    blocks = [b"a" * 10, b"", b"b" * 3_000_000]
    assert b"".join(IteratorFile(iter(blocks), "x").chunks()) == b"".join(blocks)
    file = IteratorFile(iter(blocks), "x")
    assert not file.started
    assert not file.seekable()
    assert [len(file.read(2_000_000)), len(file.read(2_000_000)), file.read(5)] == [2_000_000, 1_000_010, b""]
    assert file.started


def test_iterator_file_raises_its_error_again():
    file = IteratorFile(factories.failing(b"half", error=ValueError("pg_dump was killed")), "x")
    for _ in range(3):
        with pytest.raises(ValueError, match="pg_dump was killed"):
            file.read()


def test_iterator_file_closes_its_source():
    ended = []

    def source() -> Iterator[bytes]:
        try:
            yield b"x"
            yield b"y"
        finally:
            ended.append("pg_dump")

    file = IteratorFile(compressed(source(), threads=2), "x")
    with file:
        file.read(1)
    assert ended == ["pg_dump"]
    with pytest.raises(ValueError, match="closed"):
        file.read(1)
