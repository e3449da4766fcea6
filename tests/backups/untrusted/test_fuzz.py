"""Random bytes: the readers of dumps, manifests and SQLite files return a result or refuse, within limits."""

import contextlib
import json
import resource
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops.backups.engines.postgresql.dump_reader import CopyBlock, DumpReader, column_rows
from ops.backups.manifest import Manifest
from ops.backups.untrusted import process, sqlite_tasks
from ops.errors import ArtifactInvalid

SECONDS = 60
"""CPU time of all examples of a test."""
TOKENS = [
    b"COPY public.t (a, b) FROM stdin;\n", b"1\t2\n", b"\\.\n", b"\\N\t\\x41\n", b"COPY t FROM stdin;\n",
    b"'", b'"', b"$$", b"$a$", b"E'\\", b"--", b"/*", b"*/", b"(", b")", b";", b"\n", b"\\", b"\\! x\n",
    b"a", b"\xff", b"\0", b"BEGIN ATOMIC", b"CREATE FUNCTION f() ", b"END", b'COPY "a""b"."c" ("d', b"\\restrict abc\n",
    b"-- PostgreSQL database dump complete\n",
]  # fmt: skip
dumps = st.lists(st.sampled_from(TOKENS) | st.binary(max_size=8), max_size=40).map(b"".join)
few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
many = settings(few, max_examples=2_000)


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """Fails, instead of hanging, where the time is not linear."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    yield
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime - before.ru_utime < SECONDS
    assert after.ru_maxrss - before.ru_maxrss < 300_000  # kB


def read(data: bytes, size: int) -> list[tuple[str, int]]:
    pieces = (data[start : start + size] for start in range(0, len(data), size))
    found = []
    for item in DumpReader(pieces):
        if isinstance(item, CopyBlock):
            with contextlib.suppress(ArtifactInvalid):
                for _ in column_rows(item, item.columns[:1]):
                    pass
            while item.read(max(7, size)):
                pass
            found.append((item.table, item.rows))
    return found


def is_read_alike(data: bytes, size: int) -> None:
    outcomes = []
    for pieces in (size, len(data) + 1):
        try:
            outcomes.append(read(data, pieces))
        except ArtifactInvalid as refusal:
            outcomes.append(type(refusal))
    assert outcomes[0] == outcomes[1]


@few
@given(data=dumps, size=st.integers(1, 50))
def test_dump_in_chunks_of_any_size_is_read_alike(data: bytes, size: int) -> None:
    is_read_alike(data, size)


@pytest.mark.slow
@many
@given(data=dumps, size=st.integers(1, 50))
def test_many_dumps_in_chunks_of_any_size_are_read_alike(data: bytes, size: int) -> None:
    is_read_alike(data, size)


@settings(max_examples=8, deadline=None)
@given(unit=st.lists(st.sampled_from(TOKENS), min_size=1, max_size=3).map(b"".join))
def test_repeated_input_takes_linear_time(unit: bytes) -> None:
    with contextlib.suppress(ArtifactInvalid):
        read(unit * 100_000, 1 << 20)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
NAMES = sorted(Manifest.__struct_fields__)


documents = st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), json_values, max_size=30)


@few
@given(document=documents)
def test_random_manifest_is_read_or_refused(document: dict[str, object]) -> None:
    with contextlib.suppress(ArtifactInvalid):
        Manifest.from_json(document)


@pytest.mark.slow
@many
@given(document=documents)
def test_many_random_manifests_are_read_or_refused(document: dict[str, object]) -> None:
    with contextlib.suppress(ArtifactInvalid):
        Manifest.from_json(document)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 255)), min_size=1, max_size=30))
def test_sqlite_file_with_changed_bytes_is_surveyed_or_refused(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    path = tmp_path / "file.db"
    path.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE django_migrations (id integer PRIMARY KEY, app text, name text)")
        connection.executemany("INSERT INTO django_migrations (app, name) VALUES (?, ?)", [("app", "m" * 50)] * 200)
        connection.commit()
    data = bytearray(path.read_bytes())
    for position, value in changes:
        data[position % len(data)] = value
    path.write_bytes(data)
    with contextlib.suppress(ArtifactInvalid):
        found = process.call("survey_sqlite", limits=process.Limits(unpacked=1 << 20, cpu=5), path=str(path))
        assert json.dumps(found)
    assert sqlite_tasks.MAX_VALUE < process.MEMORY
