"""Whatever is committed while a snapshot is read is noticed, and nothing is noticed where nothing was."""

import contextlib
import random
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg2
import pytest

from ops.databases.postgres.queries import fetch_value
from ops.engine_migration.to_sqlite import source
from ops.engine_migration.to_sqlite.source import DatabaseSnapshot, changed_tables, take_snapshot
from ops.errors import PreconditionFailed
from tests.engine_migration import support
from tests.engine_migration.support import Database
from tests.support.backend import eventually

TABLES = ("plain", "split", "other")
MAKE = """
CREATE TABLE django_migrations (id int, app varchar(255), name varchar(255));
CREATE TABLE plain (id int PRIMARY KEY, number int, text text) WITH (fillfactor = 50);
CREATE TABLE split (id int PRIMARY KEY, number int, text text) PARTITION BY RANGE (id);
CREATE TABLE split_low PARTITION OF split FOR VALUES FROM (0) TO (50);
CREATE TABLE split_high PARTITION OF split FOR VALUES FROM (50) TO (100);
CREATE TABLE other (id int PRIMARY KEY, number int, text text);
INSERT INTO plain SELECT n, n, repeat('x', 3000) FROM generate_series(0, 20) AS n;
INSERT INTO split SELECT n, n, 'x' FROM generate_series(40, 60) AS n;
INSERT INTO other SELECT n, n, 'x' FROM generate_series(0, 20) AS n;
"""
HARMLESS = {
    "nothing": "",
    "locked": "SELECT * FROM plain FOR UPDATE; SELECT * FROM split FOR SHARE; BEGIN; LOCK other IN SHARE MODE; END",
    "analyzed": "ANALYZE",
    "rolled back": "BEGIN; UPDATE plain SET number = 5; DELETE FROM split; INSERT INTO other VALUES (99); ROLLBACK",
    "subtransaction rolled back": "BEGIN; SAVEPOINT a; UPDATE plain SET number = 5; ROLLBACK TO a; COMMIT",
    "other transactions": ";".join(["SELECT pg_current_xact_id()"] * 30),
    "table of another schema": "CREATE SCHEMA s; CREATE TABLE s.plain (id int); INSERT INTO s.plain VALUES (1)",
    "sequence": "CREATE SEQUENCE s; SELECT nextval('s')",
    "row that only existed meanwhile": "BEGIN; INSERT INTO other VALUES (99); DELETE FROM other WHERE id = 99; COMMIT",
}
CHANGES = {
    "inserted": ("INSERT INTO plain VALUES (99)", ["plain"]),
    "updated": ("UPDATE plain SET number = 0 WHERE id = 7", ["plain"]),
    "updated to the same": ("UPDATE plain SET number = number WHERE id = 7", ["plain"]),
    "updated in place": (";".join(["UPDATE plain SET number = number + 1 WHERE id = 7"] * 9), ["plain"]),
    "deleted": ("DELETE FROM plain WHERE id = 7", ["plain"]),
    "deleted and inserted": ("DELETE FROM plain WHERE id = 7; INSERT INTO plain VALUES (7, 7)", ["plain"]),
    "key changed": ("UPDATE split SET id = 99 WHERE id = 41", ["split"]),
    "in a partition": ("UPDATE split_high SET number = 0 WHERE id = 55", ["split"]),
    "in a subtransaction": ("BEGIN; SAVEPOINT a; UPDATE other SET number = 0; RELEASE a; COMMIT", ["other"]),
    "and vacuumed": ("UPDATE other SET number = 0 WHERE id = 3; VACUUM FREEZE other", ["other"]),
    "in two tables": ("UPDATE plain SET number = 0; DELETE FROM other", ["plain", "other"]),
    "new table": ("CREATE TABLE newer AS SELECT 1", ["newer"]),
}


@pytest.fixture
def small_database(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A database of a few tables that passes for one of the project."""
    database.rows(MAKE)
    monkeypatch.setattr(source, "require_known", lambda *_: ())
    return database


@contextlib.contextmanager
def snapshot_of(database: Database) -> Iterator[tuple[DatabaseSnapshot, dict[str, int]]]:
    with take_snapshot(database.address) as snapshot:
        yield snapshot, {name: snapshot.count(name) for name in TABLES}


def run(database: Database, script: str) -> None:
    with contextlib.closing(database.connect()) as connection, connection.cursor() as cursor:
        for statement in script.split(";"):
            if statement.strip():
                cursor.execute(statement)


def test_nothing_is_noticed_where_no_row_was_written(small_database: Database) -> None:
    for name, script in HARMLESS.items():
        with snapshot_of(small_database) as (snapshot, rows):
            run(small_database, script)
            assert changed_tables(snapshot, rows) == [], name


@pytest.mark.parametrize("rewrite", ["VACUUM FREEZE", "VACUUM FULL plain, other", "CLUSTER plain USING plain_pkey"])
def test_rewritten_tables_are_those_of_the_snapshot(small_database: Database, rewrite: str) -> None:
    """Before the snapshot; during it, its locks make others wait.

    VACUUM FULL of the whole database would lock the server's list of databases, on which swaps in other tests wait.
    """
    run(small_database, "UPDATE plain SET number = 0")
    run(small_database, rewrite)
    with snapshot_of(small_database) as (snapshot, rows):
        if rewrite == "VACUUM FREEZE":
            run(small_database, rewrite)
        assert changed_tables(snapshot, rows) == []


def test_every_committed_change_is_noticed(small_database: Database) -> None:
    for name, (script, tables) in CHANGES.items():
        with snapshot_of(small_database) as (snapshot, rows):
            run(small_database, script)
            assert changed_tables(snapshot, rows) == tables, name
        run(small_database, "DROP TABLE IF EXISTS newer")
        with snapshot_of(small_database) as (snapshot, rows):
            assert changed_tables(snapshot, rows) == [], f"after {name}"


WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'other'::regclass"
UNDER_WAY = {
    "updated": ["UPDATE plain SET number = 0 WHERE id = 7"],
    "inserted": ["INSERT INTO plain VALUES (99)"],
    "updated in a subtransaction": ["SAVEPOINT a", "UPDATE plain SET number = 0 WHERE id = 7", "RELEASE a"],
    "in the second of two": [
        *("UPDATE other SET number = 0 WHERE id = 3", "SAVEPOINT a", "UPDATE plain SET number = 0 WHERE id = 7"),
        "SAVEPOINT b",
    ],
}


@pytest.mark.parametrize("ends", ["COMMIT", "ROLLBACK"])
@pytest.mark.parametrize("statements", UNDER_WAY.values(), ids=UNDER_WAY.keys())
def test_transactions_that_were_running_at_the_snapshot(
    small_database: Database, statements: list[str], ends: str
) -> None:
    """Also with others that had begun later and ended earlier, whose rows the snapshot shows."""
    with contextlib.closing(small_database.connect()) as connection, connection.cursor() as cursor:
        for statement in ["BEGIN", *statements]:
            cursor.execute(statement)
        run(small_database, "BEGIN; SAVEPOINT a; UPDATE plain SET number = 1 WHERE id = 1; COMMIT")
        with snapshot_of(small_database) as (snapshot, rows):
            assert changed_tables(snapshot, rows) == []
            cursor.execute(ends)
            changed = changed_tables(snapshot, rows)
    assert ("plain" in changed) == (ends == "COMMIT")
    with snapshot_of(small_database) as (snapshot, rows):
        assert changed_tables(snapshot, rows) == []


@pytest.mark.slow
def test_any_history_is_noticed_where_it_changed_something(small_database: Database) -> None:
    """Several sessions at random; what was committed in which table since the snapshot is known."""
    for seed in range(150):
        generator = random.Random(seed)
        with contextlib.ExitStack() as stack:
            sessions = [stack.enter_context(contextlib.closing(small_database.connect())) for _ in range(4)]
            pending: list[set[str] | None] = [None] * len(sessions)
            play(generator, sessions, pending, 15)
            with snapshot_of(small_database) as (snapshot, rows):
                expected = play(generator, sessions, pending, generator.randrange(25))
                assert set(changed_tables(snapshot, rows)) == expected, seed


def play(generator: random.Random, sessions: Sequence[Any], pending: list[set[str] | None], steps: int) -> set[str]:
    """Random statements; returns the tables in which rows were committed. `pending`: by session, those to be."""
    changed = set[str]()
    for _ in range(steps):
        number = generator.randrange(len(sessions))
        with sessions[number].cursor() as cursor:
            begun = pending[number]
            if begun is None:
                cursor.execute("BEGIN")
                pending[number] = set()
                continue
            match generator.randrange(6):
                case 0:
                    cursor.execute("COMMIT")
                    changed |= begun
                    pending[number] = None
                case 1:
                    cursor.execute("ROLLBACK")
                    pending[number] = None
                case 2:
                    cursor.execute("SAVEPOINT a")
                case _:
                    # Rows of its own, so that no session waits for another.
                    table, row = generator.choice(TABLES), 40 + number
                    cursor.execute(f"INSERT INTO {table} VALUES ({row}, 1) ON CONFLICT (id) DO UPDATE SET number = 1")
                    begun.add(table)
    return changed


# --- Definitions ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "statement", ["TRUNCATE other", "ALTER TABLE other ALTER number TYPE text", "DROP TABLE other"]
)
def test_tables_are_neither_emptied_nor_altered_while_they_are_read(small_database: Database, statement: str) -> None:
    """An older snapshot would show an empty table then."""
    with snapshot_of(small_database) as (snapshot, rows):
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            run(small_database, f"SET lock_timeout = '100ms'; {statement}")
        assert changed_tables(snapshot, rows) == []
        assert snapshot.count("other") == 21
    run(small_database, statement)


def test_session_that_waits_to_alter_a_table_fails_the_run_soon(
    small_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "LOCK_WAIT", "0.1")
    with snapshot_of(small_database) as (snapshot, rows), contextlib.closing(small_database.connect()) as connection:
        waiting = threading.Thread(target=lambda: connection.cursor().execute("TRUNCATE other"))
        waiting.start()
        eventually(lambda: small_database.value(WAITING))
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            changed_tables(snapshot, rows)
        snapshot.holder.rollback()
        waiting.join()


def test_table_that_is_created_while_others_are_locked_is_locked_as_well(
    small_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = source.require_readable, []

    def create_one(*arguments: Any) -> None:
        real(*arguments)
        if not calls:
            run(small_database, "CREATE TABLE newer (id int)")
        calls.append(arguments)

    monkeypatch.setattr(source, "require_readable", create_one)
    with snapshot_of(small_database) as (snapshot, _):
        assert "newer" in snapshot.tables
        with snapshot.holder.cursor() as cursor:
            assert fetch_value(cursor, "SELECT count(*) FROM pg_locks WHERE relation = 'newer'::regclass")
    assert len(calls) == 2


def test_end_of_the_holder_of_the_snapshot_is_noticed(small_database: Database) -> None:
    with snapshot_of(small_database) as (snapshot, rows):
        support.server().rows("SELECT pg_terminate_backend(%s)", [snapshot.holder.info.backend_pid])
        with pytest.raises(psycopg2.Error):
            changed_tables(snapshot, rows)


def test_role_must_be_able_to_read_everything(small_database: Database, small_role: tuple[str, str]) -> None:
    role, password = small_role
    seen = support.database_named(small_database.name, user=role, password=password)
    run(small_database, "ALTER TABLE other ALTER id ADD GENERATED BY DEFAULT AS IDENTITY")
    refusals = []
    for grant in ("SELECT 1", f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"):
        run(small_database, grant)
        with pytest.raises(PreconditionFailed) as refused, snapshot_of(seen):
            pass
        refusals.append(str(refused.value))
    hint = f'As an administrator: GRANT pg_read_all_data TO "{role}";'
    assert refusals == [
        f"The role {role} may not read {names} of {seen.address}. Nothing was changed.\n{hint}"
        for names in ("django_migrations, other, plain and 1 more", "other_id_seq")
    ]
    run(small_database, f"GRANT SELECT ON other_id_seq TO {role}; ALTER TABLE other ENABLE ROW LEVEL SECURITY")
    with pytest.raises(PreconditionFailed, match="Row level security hides rows of other in "), snapshot_of(seen):
        pass
    run(small_database, "ALTER TABLE other DISABLE ROW LEVEL SECURITY")
    with snapshot_of(seen) as (snapshot, rows):
        assert changed_tables(snapshot, rows) == []
    run(small_database, f"DROP OWNED BY {role}")
