"""How a restored database is swapped in, what is kept, and which role may do it."""

import contextlib
import io
import os
import signal
import threading
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from ops.backups.engines.base import PreviousDatabase
from ops.backups.engines.postgresql.database_swap import RESTORE_TEST, STAGING
from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.backups.engines.postgresql.undo_comment import PREVIOUS
from ops.backups.manifest import Kind
from ops.databases.migration_state import applied_migrations, run_migrations
from ops.databases.postgres import databases, rename
from ops.errors import AlreadyRunning, OpsError, PreconditionFailed
from ops.utils.progress import no_progress
from tests.backups.postgresql import support
from tests.backups.postgresql.support import Backup, Database, Role
from tests.backups.postgresql.test_schema_swap import SUPERUSER
from tests.engine_migration.test_target import properties
from tests.support import forked

ROWS = {"device": 500, "parts": 40, "one": 40, "Odd": 30, "latest": 20}


def test_second_lock_names_the_holder(lab: Database, engine: PostgresEngine) -> None:
    with (
        engine.locked("backup by ada@example.com"),
        pytest.raises(AlreadyRunning) as refused,
        support.engine_of(lab).locked("x"),
    ):
        pass
    assert refused.value.message.startswith(
        f"Another operation on the database {lab.name} is running: backup by ada@example.com (server process "
    )
    with engine.locked("again"):
        pass


def test_swap_ends_sessions_and_new_ones_see_the_restored_content(
    lab: Database, engine: PostgresEngine, lab_backup: Backup
) -> None:
    dump, _ = lab_backup
    with contextlib.closing(lab.connect()) as idle, idle.cursor() as cursor:
        cursor.execute("BEGIN; DELETE FROM device")
        support.restore(engine, dump)
        with pytest.raises(psycopg2.OperationalError):
            cursor.execute("SELECT 1")
    assert lab.value("SELECT count(*) FROM device") == 500


@pytest.mark.slow
def test_sessions_opened_during_the_swap_do_not_delay_it(
    lab: Database, engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch, lab_backup: Backup
) -> None:
    """They are opened before RENAME locks the database, which then would wait 5 s for them and fail."""
    real, visitors = rename.end_sessions, list[Any]()

    def end_and_let_in(*arguments: Any) -> None:
        real(*arguments)
        for statement in ("", "BEGIN", "BEGIN; LOCK TABLE device", "SELECT pg_sleep(60)"):
            visitors.append(lab.connect())
            if statement:
                threading.Thread(target=try_statement, args=(visitors[-1], statement), daemon=True).start()

    monkeypatch.setattr(rename, "end_sessions", end_and_let_in)
    monkeypatch.setattr(rename, "END_INTERVAL", 0.5)  # RENAME has begun to wait by then
    dump, _ = lab_backup
    support.restore(engine, dump)
    support.restore(engine, dump)
    support.undo(engine, run="x")
    assert len(visitors) == 3 * 4, "each swap took one attempt"
    for visitor in visitors:
        with pytest.raises(psycopg2.Error):
            visitor.cursor().execute("SELECT 1")
        visitor.close()


def try_statement(connection: Any, statement: str) -> None:
    with contextlib.suppress(psycopg2.Error):
        connection.cursor().execute(statement)


def test_swap_keeps_the_properties_of_the_database(
    role: Role, lab: Database, engine: PostgresEngine, lab_backup: Backup
) -> None:
    reader, _ = role()
    for statement in (
        f"ALTER DATABASE {lab.name} CONNECTION LIMIT 17",
        f"ALTER DATABASE {lab.name} SET work_mem = '5MB'",
        f"ALTER ROLE {reader} IN DATABASE {lab.name} SET statement_timeout = '3s'",
        f"REVOKE CONNECT ON DATABASE {lab.name} FROM PUBLIC",
        f"GRANT CONNECT ON DATABASE {lab.name} TO {reader}",
        f"COMMENT ON DATABASE {lab.name} IS 'Do not touch, Bob''s'",
    ):
        support.server().rows(statement)
    before = properties(lab)
    dump, _ = lab_backup
    try:
        support.restore(engine, dump)
        assert properties(lab) == before
        support.restore(engine, dump)
        support.undo(engine, run="x")
        assert properties(lab) == before
    finally:
        support.drop(lab.name)


KILLED = """
import os, signal, sys
from pathlib import Path
import django
django.setup()
from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.databases.postgres import rename
from ops.databases.postgres.connection import parse_url
from tests.backups.postgresql import support

engine = PostgresEngine(parse_url(os.environ["LAB"]))
real = getattr(rename, sys.argv[1])
def kill(*arguments):
    real(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(rename, sys.argv[1], kill)
support.restore(engine, Path(sys.argv[2]).read_bytes())
"""


def test_swap_that_is_killed_changes_nothing(
    lab: Database, engine: PostgresEngine, lab_backup: Backup, tmp_path: Path
) -> None:
    dump, before = lab_backup
    path = tmp_path / "dump"
    path.write_bytes(dump)
    environment = os.environ | {"LAB": lab.url, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    for function in ("end_sessions", "rename_all", "comment_on", "copy_limits"):
        killed = forked.run(["-c", KILLED, function, str(path)], env=environment)
        assert killed.returncode == -signal.SIGKILL, (function, killed.stderr)
        assert support.tables_of(engine) == before, function
        assert support.leftovers(lab.name) == [STAGING], function
        wait_for_lock(engine)
        with engine.locked("next"):
            new = databases.suffixed_name(lab.name, STAGING)
            assert engine.sweep() == (), function
            assert engine.sweep([new]) == (f"Dropped the database {new}, which a killed run had left.",), function
            assert engine.sweep([new]) == (), function
        assert support.leftovers(lab.name) == [], function


def wait_for_lock(engine: PostgresEngine) -> None:
    """The server notices with a delay that its client has ended."""
    for _ in range(100):
        with contextlib.suppress(AlreadyRunning), engine.locked("waiting"):
            return


def named(undo: PreviousDatabase | None) -> tuple[str, str, str]:
    """What identifies a previous database; its size may change."""
    assert undo
    return undo.name, undo.run, undo.backup


def test_swap_that_fails_changes_nothing(
    lab: Database, engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch, lab_backup: Backup
) -> None:
    dump, before = lab_backup
    support.restore(engine, dump)
    first = engine.swap_strategy().previous_database()

    def fail(*_: Any) -> None:
        raise psycopg2.OperationalError("ERROR: injected")

    with engine.locked("test"), engine.swap_strategy().scratch(for_swap=True) as scratch:
        for function in ("rename_all", "comment_on", "copy_limits"):
            with monkeypatch.context() as patch:
                patch.setattr(rename, function, fail)
                with pytest.raises(OpsError, match="could not be renamed to"):
                    scratch.swap(run="run-2", backup="b")
            assert support.leftovers(lab.name) == [STAGING, PREVIOUS], function
            assert named(engine.swap_strategy().previous_database()) == named(first), function
    assert support.leftovers(lab.name) == [PREVIOUS]
    assert support.tables_of(engine) == before


def test_swap_with_a_lost_lock_is_refused(lab: Database, engine: PostgresEngine) -> None:
    """Another run may have started."""
    with contextlib.suppress(OpsError), engine.locked("test"), engine.swap_strategy().scratch(for_swap=True) as scratch:
        support.end_lock_session(lab.name)
        with pytest.raises((OpsError, psycopg2.Error)):
            scratch.swap(run="x", backup="y")
    assert lab.value("SELECT count(*) FROM device") == 500
    with engine.locked("next"):
        engine.sweep()


def test_swap_without_a_live_database_keeps_no_previous_one(
    lab: Database, engine: PostgresEngine, lab_backup: Backup
) -> None:
    dump, before = lab_backup
    support.server().rows(f"DROP DATABASE {lab.name}")
    assert support.restore(engine, dump) == before
    assert engine.swap_strategy().previous_database() is None


def test_swap_of_a_database_without_connections_replaces_it(
    lab: Database, engine: PostgresEngine, lab_backup: Backup
) -> None:
    dump, before = lab_backup
    support.server().rows(f"ALTER DATABASE {lab.name} ALLOW_CONNECTIONS false")
    assert support.restore(engine, dump) == before
    assert support.tables_of(engine) == before
    assert support.leftovers(lab.name) == [PREVIOUS]


def test_previous_database_with_a_foreign_comment_is_refused(
    lab: Database, engine: PostgresEngine, lab_backup: Backup
) -> None:
    dump, _ = lab_backup
    name = databases.suffixed_name(lab.name, PREVIOUS)
    support.create(name)
    with pytest.raises(PreconditionFailed, match=f"^A restore keeps the previous database as {name}, and an unrelated"):
        support.restore(engine, dump)
    with pytest.raises(PreconditionFailed):
        engine.require_previous()
    assert support.leftovers(lab.name) == [PREVIOUS]


def test_restored_tables_have_statistics(role: Role, lab: Database, owner: Database) -> None:
    """Tables of other schemas, with partitions, and of materialized views too."""
    lab.rows(f"ALTER ROLE {owner.address.user} CREATEDB")
    owner.rows(
        "CREATE TABLE parts (id int) PARTITION BY LIST (id); CREATE TABLE one PARTITION OF parts FOR VALUES IN (1)"
    )
    owner.rows("INSERT INTO parts SELECT 1 FROM generate_series(1, 40)")
    owner.rows('CREATE SCHEMA attic; CREATE TABLE attic."Odd" AS SELECT 1 AS id FROM generate_series(1, 30)')
    owner.rows("CREATE MATERIALIZED VIEW latest AS SELECT 1 AS id FROM generate_series(1, 20)")
    engine = support.engine_of(owner)
    support.restore(engine, support.dump_of(engine)[0])
    found = lab.rows("SELECT relname, reltuples::int FROM pg_class WHERE relname = ANY(%s)", [list(ROWS)])
    assert dict(found) == ROWS


def test_restore_test_uses_a_separate_database(lab: Database, engine: PostgresEngine, lab_backup: Backup) -> None:
    dump, before = lab_backup
    with engine.locked("test"), engine.swap_strategy().scratch(for_swap=False) as scratch:
        assert scratch.name == databases.suffixed_name(lab.name, RESTORE_TEST)
        scratch.load(io.BytesIO(dump), kind=Kind.SQL, on_progress=no_progress)
        assert scratch.tables(no_progress) == before
    assert support.leftovers(lab.name) == []


def test_named_scratch_database_is_dropped_unless_kept(lab: Database, engine: PostgresEngine) -> None:
    name = support.new_name()
    found = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
    try:
        with engine.swap_strategy().scratch(name=name, for_swap=False):
            pass
        assert support.server().rows(found, [name]) == []
        with engine.swap_strategy().scratch(name=name, for_swap=False) as scratch:
            scratch.keep()
        assert support.server().rows(found, [name]) == [(None,)]
        with pytest.raises(PreconditionFailed), engine.swap_strategy().scratch(name=name, for_swap=False):
            pass
    finally:
        support.drop(name)


def test_restore_removes_tables_of_a_newer_schema(lab: Database, engine: PostgresEngine, lab_backup: Backup) -> None:
    """The restored content does not mix with the earlier one."""
    dump, before = lab_backup
    lab.rows("CREATE TABLE newer (rack bigint REFERENCES rack); ALTER TABLE rack ADD COLUMN newer int")
    assert support.restore(engine, dump) == before
    assert "newer" not in lab.tables()


# --- Within the database -----------------------------------------------------------------------------------------
def test_restore_by_an_owner_swaps_schemas(owner: Database, lab_backup: Backup) -> None:
    engine = support.engine_of(owner)
    dump, before = lab_backup
    owner.rows("DELETE FROM device; CREATE TABLE later ()")
    changed = support.tables_of(engine)
    for run in ("first", "second"):
        with engine.locked("test"), engine.swap_strategy().scratch(for_swap=True) as scratch:
            scratch.load(io.BytesIO(dump), kind=Kind.SQL, on_progress=no_progress)
            assert scratch.tables(no_progress) == before
            if run == "first":
                # Everybody else sees what was, and a backup can be made meanwhile.
                assert support.dump_of(engine)[1] == changed
            scratch.swap(run=run, backup="b")
        assert support.tables_of(engine) == before
    owner.rows("DELETE FROM device")
    kept = engine.swap_strategy().previous_database()
    assert kept
    assert (kept.name, kept.run, kept.backup) == ("ops_undo", "second", "b")
    support.undo(engine, run="third")
    assert support.tables_of(engine) == before
    with engine.swap_strategy().previous_as_staging() as scratch, scratch.as_default() as wrapper:
        assert len(applied_migrations(wrapper)) == 2
    support.drop_previous(engine)
    assert engine.swap_strategy().previous_database() is None
    assert b"ops_undo" not in support.dump_of(engine)[0]


def test_scratch_schema_is_rolled_back(owner: Database, lab_backup: Backup) -> None:
    engine = support.engine_of(owner)
    dump, before = lab_backup
    with engine.swap_strategy().scratch(for_swap=False) as scratch:
        scratch.load(io.BytesIO(dump), kind=Kind.SQL, on_progress=no_progress)
        assert scratch.tables(no_progress) == before
    assert support.tables_of(engine) == before
    assert engine.swap_strategy().previous_database() is None


@pytest.mark.slow
def test_scratch_schema_runs_migrations_in_its_transaction(role: Role) -> None:
    name, password = role()
    database = support.new_name()
    support.create(database)
    support.server().rows(f"ALTER DATABASE {database} OWNER TO {name}")
    mine = support.database_named(database, user=name, password=password)
    engine = support.engine_of(mine)
    try:
        with engine.swap_strategy().scratch(for_swap=True) as scratch:
            with scratch.as_default():
                run_migrations()
            assert mine.tables() == []
            scratch.swap(run="x", backup="y")
        assert "otherproject_book" in mine.tables()
    finally:
        support.drop(database)


def test_restore_by_a_role_without_privileges_names_the_statement(role: Role, lab: Database) -> None:
    name, password = role()
    engine = support.engine_of(support.database_named(lab.name, user=name, password=password))
    with pytest.raises(PreconditionFailed) as refused, engine.swap_strategy().scratch(for_swap=True):
        pass
    assert str(refused.value) == (
        f"The role {name} may replace neither {engine.where} as a whole nor its schema public. Nothing was changed.\n"
        f'As an administrator, one of the two: ALTER ROLE "{name}" CREATEDB;'
        f' or ALTER DATABASE "{lab.name}" OWNER TO "{name}";'
    )
    with pytest.raises(PreconditionFailed) as refused, engine.snapshot(kind=Kind.SQL):
        pass
    assert f"The role {name} may not read 7 tables and sequences of {engine.where}: device, " in str(refused.value)
    assert str(refused.value).endswith(f'As an administrator: GRANT pg_read_all_data TO "{name}";')


def test_schema_swap_with_other_schemas_is_refused(owner: Database) -> None:
    owner.rows("CREATE SCHEMA other; CREATE TYPE other.mood AS ENUM ()")
    with pytest.raises(PreconditionFailed, match=r"has other schemas than public \(other\)"):
        support.restore(support.engine_of(owner), b"")


OF_SUPERUSERS = [
    (
        (
            "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
            " CREATE EVENT TRIGGER watcher ON ddl_command_start EXECUTE FUNCTION watch()"
        ),
        "DROP EVENT TRIGGER watcher; DROP FUNCTION watch",
        'permission denied to create event trigger "watcher" (CREATE EVENT TRIGGER watcher ON ddl_command_start',
    ),
    (
        "CREATE PUBLICATION everything FOR ALL TABLES",
        "DROP PUBLICATION everything",
        "must be superuser to create FOR ALL TABLES publication (CREATE PUBLICATION everything FOR ALL TABLES",
    ),
    (
        "CREATE FOREIGN DATA WRAPPER remote",
        "DROP FOREIGN DATA WRAPPER remote",
        'permission denied to create foreign-data wrapper "remote" (CREATE FOREIGN DATA WRAPPER remote;',
    ),
]
"""Statements that create and drop an object, and the server's message for those who may not create it."""


@pytest.mark.slow
def test_part_that_only_a_superuser_may_restore_is_named(lab: Database, owner: Database) -> None:
    support.server().rows(f"ALTER ROLE {owner.address.user} CREATEDB")
    for create, drop, message in OF_SUPERUSERS:
        lab.rows(create)
        dump, _ = support.dump_of(support.engine_of(owner))
        for restore in support.restore_test, support.restore:
            with pytest.raises(PreconditionFailed) as refused:
                restore(support.engine_of(owner), dump)
            assert refused.value.message.startswith(f"Only a superuser may restore a part of the backup: {message}")
            assert refused.value.message.endswith(" Nothing was changed.")
            assert refused.value.hint == SUPERUSER
        lab.rows(drop)
    for create, _, _ in OF_SUPERUSERS:
        lab.rows(create)
    dump, before = support.dump_of(support.engine_of(owner))
    assert support.restore(support.engine_of(lab), dump) == before
    owners = lab.rows("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
    assert owners == [(owner.address.user,)]
    # Before the role is dropped.
    support.drop(lab.name)
