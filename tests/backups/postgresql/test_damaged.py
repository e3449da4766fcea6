"""Truncated dumps and killed programs are detected."""

import contextlib
import io
import os
import random
import signal
from pathlib import Path

import pytest

from ops.backups.engines.postgresql.dump_reader import MARKER
from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.backups.manifest import Kind
from ops.errors import ArtifactInvalid, OpsError, ToolFailed
from ops.utils.progress import no_progress
from tests.backups.postgresql import support
from tests.backups.postgresql.support import Backup, Database
from tests.support.postgres import children_of


@pytest.fixture
def large(lab: Database) -> Database:
    """Enough rows that pg_dump waits for its reader."""
    lab.rows("INSERT INTO device (name) SELECT repeat('x', 1000) FROM generate_series(1, 5000)")
    return lab


def dump_processes() -> list[int]:
    return [pid for pid in children_of(os.getpid()) if Path(f"/proc/{pid}/comm").read_text().strip() == "pg_dump"]


def test_load_of_a_truncated_dump_is_not_committed(lab: Database, engine: PostgresEngine, lab_backup: Backup) -> None:
    """200 random prefixes are refused while they are read; a few are loaded as well."""
    dump, _ = lab_backup
    end = dump.index(MARKER) + len(MARKER) - 1
    generator = random.Random(4)
    cuts = [*generator.sample(range(end), 196), 0, 1, end - 1, end]
    for cut in cuts:
        with pytest.raises(ArtifactInvalid):
            engine.count(io.BytesIO(dump[:cut]), kind=Kind.SQL, on_progress=no_progress)
    with engine.locked("test"), engine.swap_strategy().scratch(for_swap=True) as scratch:
        for cut in [*cuts[:8], *cuts[-4:]]:
            with pytest.raises(ArtifactInvalid):
                scratch.load(io.BytesIO(dump[:cut]), kind=Kind.SQL, on_progress=no_progress)
            assert scratch.tables(no_progress) == {}
    assert support.leftovers(lab.name) == []


def test_load_of_any_truncated_dump_is_refused(engine: PostgresEngine) -> None:
    dump = b"--\n-- x\n--\nSET a = 'b;\n''';\nCOPY public.t (a) FROM stdin;\n\\\\.\n1\n\\.\n\n\n" + MARKER
    assert engine.count(io.BytesIO(dump), kind=Kind.SQL, on_progress=no_progress) == {"t": 2}
    for cut in range(len(dump)):
        with pytest.raises(ArtifactInvalid, match=r"truncated|text after COPY"):
            engine.count(io.BytesIO(dump[:cut]), kind=Kind.SQL, on_progress=no_progress)


def test_load_of_a_truncated_custom_dump_is_refused(engine: PostgresEngine) -> None:
    dump, _ = support.dump_of(engine, Kind.CUSTOM)
    for cut in (0, 3, len(dump) // 2, len(dump) - 20):
        with pytest.raises(ArtifactInvalid, match=r"^The dump cannot be read: pg_restore failed with exit code 1: "):
            engine.count(io.BytesIO(dump[:cut]), kind=Kind.CUSTOM, on_progress=no_progress)


class Wrong(io.BytesIO):
    """A file with a wrong checksum, which is detected at its end."""

    def read(self, size: int | None = -1) -> bytes:
        if piece := super().read(size):
            return piece
        raise ArtifactInvalid("The check sum is wrong.")


@pytest.mark.parametrize("kind", [Kind.SQL, Kind.CUSTOM])
def test_load_with_an_error_at_the_end_of_the_stream_is_not_committed(engine: PostgresEngine, kind: Kind) -> None:
    dump, _ = support.dump_of(engine, kind)
    with engine.locked("test"), engine.swap_strategy().scratch(for_swap=True) as scratch:
        with pytest.raises(ArtifactInvalid, match="The check sum is wrong"):
            scratch.load(Wrong(dump), kind=kind, on_progress=no_progress)
        assert scratch.tables(no_progress) == {}
    with pytest.raises(ArtifactInvalid, match="The check sum is wrong"):
        engine.count(Wrong(dump), kind=kind, on_progress=no_progress)


def test_load_with_an_error_within_rows_raises_that_error(engine: PostgresEngine, lab_backup: Backup) -> None:
    dump, _ = lab_backup
    cut = dump.index(b"device 250")
    with engine.locked("test"), engine.swap_strategy().scratch(for_swap=True) as scratch:
        with pytest.raises(ArtifactInvalid, match="The check sum is wrong"):
            scratch.load(Wrong(dump[:cut]), kind=Kind.SQL, on_progress=no_progress)
        assert scratch.tables(no_progress) == {}


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGKILL, r"^pg_dump was ended by signal 9: it printed nothing\.\n"),
        (signal.SIGTERM, r"^pg_dump failed with exit code 1: .*terminated by user\.\n"),
    ],
)
def test_snapshot_with_a_killed_pg_dump_raises(
    large: Database, engine: PostgresEngine, number: int, words: str
) -> None:
    with engine.snapshot(kind=Kind.SQL) as snapshot:
        pieces = snapshot.stream(no_progress)
        next(pieces)
        (process,) = dump_processes()
        os.kill(process, number)
        with pytest.raises(ToolFailed, match=words):
            list(pieces)
    assert dump_processes() == []


def test_snapshot_with_a_terminated_server_process_raises(large: Database, engine: PostgresEngine) -> None:
    with engine.snapshot(kind=Kind.SQL) as snapshot:
        pieces = snapshot.stream(no_progress)
        next(pieces)
        large.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE 'COPY %%'"
        )
        with pytest.raises(
            ToolFailed, match=r"^pg_dump failed with exit code 1: .*(terminating|closed the) connection"
        ):
            list(pieces)


def test_closed_stream_of_a_snapshot_leaves_no_process(large: Database, engine: PostgresEngine) -> None:
    with engine.snapshot(kind=Kind.SQL) as snapshot, contextlib.closing(snapshot.stream(no_progress)) as pieces:  # type: ignore[type-var]
        next(pieces)
        assert len(dump_processes()) == 1
    assert dump_processes() == []
    assert (
        large.rows("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND backend_xid IS NOT NULL")
        == []
    )


def test_restore_on_a_full_disk_names_it_and_leaves_nothing(
    lab: Database, engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch, lab_backup: Backup
) -> None:
    """The server's error, raised by a statement of the dump."""
    dump, _ = lab_backup
    full = b"DO $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left' USING ERRCODE = '53100'; END $$;\n"
    with pytest.raises(OpsError) as raised:
        support.restore(engine, dump.replace(b"CREATE INDEX device_rack", full + b"CREATE INDEX device_rack"))
    assert raised.value.message == (
        "The server's disk is full: could not extend file: No space left. The load was rolled back."
    )
    assert support.leftovers(lab.name) == []


def test_restore_with_a_terminated_session_leaves_the_live_database(
    lab: Database, engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch, lab_backup: Backup
) -> None:
    dump, before = lab_backup
    end = b"DO $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); END $$;\n"
    with pytest.raises(OpsError, match=r"^The server failed: "):
        support.restore(engine, dump.replace(b"CREATE INDEX device_rack", end + b"CREATE INDEX device_rack"))
    assert support.leftovers(lab.name) == []
    assert support.tables_of(engine) == before


def test_restore_of_rows_that_break_a_constraint_is_refused(engine: PostgresEngine, lab_backup: Backup) -> None:
    dump, _ = lab_backup
    broken = dump.replace(b"\n500\t3\tdevice 500", b"\n500\t9\tdevice 500")
    assert broken != dump
    with pytest.raises(ArtifactInvalid, match="violates foreign key constraint"):
        support.restore(engine, broken)
