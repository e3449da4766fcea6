"""The database to fill: what it may hold beforehand, and what it keeps when another takes its place."""

import contextlib
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from ops.databases.migration_state import run_migrations
from ops.databases.override import override_database
from ops.databases.postgres import databases, rename
from ops.databases.postgres.connection import ConnectionInfo
from ops.engine_migration.to_postgres import target as targets
from ops.engine_migration.to_postgres.target import inspect_target
from ops.errors import PreconditionFailed
from tests.engine_migration import support
from tests.engine_migration.support import BOOKS, Database, Migration
from tests.support.replayed_migrations import replaying

NEVER_ADDS = "Specify an empty database. This command never changes existing rows."


def refusal(database: Database) -> str:
    with pytest.raises(PreconditionFailed) as refused:
        inspect_target(database.address)
    return str(refused.value)


# --- Existing targets ---------------------------------------------------------------------------------------
def test_target_with_rows_is_refused(migrated: Database) -> None:
    migrated.rows("INSERT INTO otherproject_tag VALUES ('a'), ('b')")
    migrated.rows("INSERT INTO otherproject_author (name) VALUES ('Ada')")
    where = f"{migrated.name} on 127.0.0.1:{migrated.address.port}"
    words = f"The database {where} is not empty: 1 row in otherproject_author, 2 rows in otherproject_tag."
    assert refusal(migrated) == f"{words}\n{NEVER_ADDS}"


def test_target_with_rows_of_migrate_is_replaced(migrated: Database) -> None:
    assert migrated.value("SELECT count(*) FROM auth_permission") > 50
    with support.replaced(migrated.address) as staging:
        put_tag(staging.address, "arrived")
    assert migrated.rows("SELECT name FROM otherproject_tag") == [("arrived",)]


def put_tag(address: ConnectionInfo, name: str) -> None:
    with contextlib.closing(address.connect()) as connection, connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO otherproject_tag VALUES (%s)", [name])


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("CREATE TABLE photos ()", "public.photos"),
        ("CREATE VIEW pictures AS SELECT 1", "public.pictures"),
        ("CREATE MATERIALIZED VIEW pictures AS SELECT 1", "public.pictures"),
        ("CREATE SCHEMA other CREATE TABLE otherproject_tag ()", "other.otherproject_tag"),
        ("CREATE FUNCTION answer() RETURNS int LANGUAGE sql AS 'SELECT 42'", "public.answer()"),
        ("CREATE TYPE mood AS ENUM ('fine')", "public.mood"),
        ("CREATE DOMAIN age AS int", "public.age"),
        ("CREATE SEQUENCE tickets", "public.tickets"),
    ],
)
def test_target_with_foreign_objects_is_refused(migrated: Database, statement: str, name: str) -> None:
    migrated.rows(statement)
    where = f"{migrated.name} on 127.0.0.1:{migrated.address.port}"
    assert refusal(migrated) == (
        f"The database {where} contains objects of other programs: {name}.\n"
        "Specify a separate database for this project, or drop these objects."
    )


def test_schema_with_the_name_of_a_previous_database_is_a_foreign_object(database: Database) -> None:
    database.rows("CREATE SCHEMA ops_undo; CREATE TABLE ops_undo.old ()")
    assert refusal(database).startswith(
        f"The database {database.address} contains objects of other programs: ops_undo.old"
    )


def test_target_with_extensions_is_accepted(database: Database) -> None:
    database.rows("CREATE EXTENSION pg_stat_statements")
    assert inspect_target(database.address).renamed


def test_target_with_another_encoding_is_refused(nowhere: Database) -> None:
    support.server().rows(
        f"CREATE DATABASE {nowhere.name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    )
    where = f"{nowhere.name} on 127.0.0.1:{nowhere.address.port}"
    assert refusal(nowhere) == (
        f"The database {where} has the encoding LATIN1, which cannot store all characters.\n"
        "Recreate it: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
    )


def test_rows_inserted_into_target_during_migration_are_not_lost(migrated: Database) -> None:
    words = f"The database {migrated.address} is not empty: 1 row in otherproject_tag."
    with pytest.raises(PreconditionFailed) as refused, support.replaced(migrated.address):
        put_tag(migrated.address, "precious")
    assert str(refused.value) == f"{words}\n{NEVER_ADDS}"
    assert migrated.rows("SELECT name FROM otherproject_tag") == [("precious",)]
    assert support.staging_databases(migrated.name) == []


def test_run_migrations_creates_the_same_schema_as_migrate(
    migrated: Database, database: Database, statements_of_migrate: Path
) -> None:
    """The other tests of this folder rely on it."""
    with override_database(database.address.wrapper()):
        replaying(run_migrations, statements_of_migrate)()
    django, replayed = map(dumped, (migrated, database))
    assert "CREATE TABLE public.otherproject_book" in django
    assert replayed == django


def dumped(database: Database) -> str:
    """All of the database, without the moments at which migrations were applied."""
    dump = subprocess.run(
        [Path(os.environ["PG_BIN"]) / "pg_dump", "--dbname", database.url, "--inserts"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lines = [line for line in dump.splitlines() if not line.startswith((r"\restrict", r"\unrestrict"))]
    return re.sub(r"'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.?\d*\+\d\d'", "moment", "\n".join(lines))


def test_missing_target_is_created(migration: Migration, moved: Database) -> None:
    address = migration.target.address
    assert "which does not exist yet" in migration.outcome.out
    assert migration.outcome.document["target"] == {
        "database": address.database,
        "host": address.host,
        "port": address.port,
        "exists": False,
        "staging_database": True,
    }
    assert moved.value("SELECT count(*) FROM otherproject_book") == 5
    assert moved.value("SHOW server_encoding") == "UTF8"


def test_role_without_createdb_gets_the_statement_to_run(nowhere: Database, small_role: tuple[str, str]) -> None:
    role, password = small_role
    mine = support.database_named(nowhere.name, user=role, password=password)
    assert refusal(mine) == (
        f"The database {nowhere.address} does not exist, and the role {role} may not create it.\n"
        f'As an administrator: CREATE DATABASE "{nowhere.name}" OWNER "{role}";'
    )


# --- The swap -----------------------------------------------------------------------------------------------
@pytest.fixture
def role() -> Iterator[str]:
    name = f"role_{support.new_name()}"
    support.server().rows(f"CREATE ROLE {name}")
    yield name
    support.server().rows(f"DROP OWNED BY {name}")
    support.server().rows(f"DROP ROLE {name}")


def test_properties_of_the_target_are_kept(library: Path, database: Database, role: str) -> None:
    name = database.name
    owner = f"owner_{name}"
    for statement in (
        f"CREATE ROLE {owner}",
        f"DROP DATABASE {name}",
        f"CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-u-kn-true' LOCALE 'C.UTF-8'",
        f"ALTER DATABASE {name} OWNER TO {owner}",
        f"ALTER DATABASE {name} CONNECTION LIMIT 17",
        f'ALTER DATABASE {name} SET search_path = "$user", public, "odd, name"',
        f"ALTER DATABASE {name} SET timezone = 'Europe/Berlin'",
        f"ALTER DATABASE {name} SET work_mem = '5MB'",
        f"ALTER DATABASE {name} SET homerack.colour = 'it''s blue'",
        f"ALTER ROLE {role} IN DATABASE {name} SET statement_timeout = '3s'",
        f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC",
        f"GRANT CONNECT, TEMPORARY ON DATABASE {name} TO {role} WITH GRANT OPTION",
    ):
        support.server().rows(statement)
    for statement in (
        "CREATE EXTENSION pg_stat_statements",
        f'CREATE SCHEMA "odd, name" AUTHORIZATION {owner}',
        f'GRANT USAGE ON SCHEMA "odd, name" TO {role}',
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {role}",
        "REVOKE EXECUTE ON FUNCTION pg_sleep FROM PUBLIC",
    ):
        database.rows(statement)
    before = properties(database)
    rights = (
        f"SELECT has_schema_privilege('{role}', 'odd, name', 'USAGE'), nspowner::regrole::text,"
        f" has_function_privilege('{role}', 'pg_sleep(float8)', 'EXECUTE') FROM pg_namespace WHERE nspname ~ 'odd'"
    )
    try:
        support.migrate(library, database, *support.only(library, *BOOKS))
        assert properties(database) == before
        assert database.rows(rights) == [(True, owner, False)]
        assert database.value(f"SELECT has_table_privilege('{role}', 'otherproject_book', 'SELECT')")
        assert database.value("SELECT oid FROM pg_database WHERE datname = current_database()") != before["oid"]
        assert database.value("SELECT count(*) FROM otherproject_book") == 5
    finally:
        support.drop(name)
        support.server().rows(f"DROP ROLE {owner}")


class Properties(dict[str, Any]):
    """Compared without the number of the database."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, dict) and {**self, "oid": 0} == {**other, "oid": 0}

    __hash__ = None  # type: ignore[assignment]


def properties(database: Database) -> Properties:
    ((oid, owner, limit, acl, encoding, collate, provider, comment),) = database.rows(
        "SELECT oid, pg_get_userbyid(datdba), datconnlimit, ARRAY(SELECT unnest(datacl)::text ORDER BY 1),"
        " pg_encoding_to_char(encoding), datcollate, datlocprovider, shobj_description(oid, 'pg_database')"
        " FROM pg_database WHERE datname = current_database()"
    )
    settings = database.rows(
        "SELECT setrole::regrole::text, unnest(setconfig) FROM pg_db_role_setting"
        " JOIN pg_database AS d ON d.oid = setdatabase WHERE datname = current_database() ORDER BY 1, 2"
    )
    extensions = database.rows("SELECT extname FROM pg_extension ORDER BY 1")
    return Properties(
        oid=oid, owner=owner, limit=limit, acl=acl, encoding=encoding, collate=collate, comment=comment,
        provider=provider, settings=settings, extensions=extensions,
    )  # fmt: skip


def test_swap_ends_sessions_and_those_of_programs_that_keep_connecting(database: Database) -> None:
    stop = threading.Event()

    def knock() -> None:
        while not stop.is_set():
            with contextlib.suppress(psycopg2.OperationalError), contextlib.closing(database.connect()):
                time.sleep(0.005)

    knockers = [threading.Thread(target=knock) for _ in range(3)]
    with contextlib.closing(database.connect()) as idle, idle.cursor() as cursor:
        try:
            with support.replaced(database.address) as staging:
                put_tag(staging.address, "arrived")
                for knocker in knockers:
                    knocker.start()
                time.sleep(0.1)
        finally:
            stop.set()
            for knocker in knockers:
                knocker.join()
        with pytest.raises(psycopg2.OperationalError):
            cursor.execute("SELECT 1")
    assert database.rows("SELECT name FROM otherproject_tag") == [("arrived",)]
    assert support.staging_databases(database.name) == []


def let_in_after_the_end(monkeypatch: pytest.MonkeyPatch, database: Database, times: int) -> list[Any]:
    """Sessions that begin when the swap has ended all others, in so many of its attempts, and stay."""
    monkeypatch.setattr(rename, "END_INTERVAL", 60)
    real = rename.end_sessions
    visitors: list[Any] = []

    def end_and_let_in(cursor: Any, names: list[str]) -> None:
        real(cursor, names)
        if len(visitors) < times:
            visitors.append(database.connect())

    monkeypatch.setattr(rename, "end_sessions", end_and_let_in)
    return visitors


def test_swap_is_tried_again_while_a_session_stays(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL waits 5 s for it in each attempt."""
    live = database.name
    new, old = (databases.suffixed_name(live, suffix) for suffix in (targets.NEW_SUFFIX, databases.EMPTIED))
    support.create(new).rows("CREATE TABLE arrived ()")
    visitors = let_in_after_the_end(monkeypatch, database, times=1)
    with databases.maintenance_connection(database.address) as connection:
        rename.rename_databases(
            connection, database.address, renames=[(live, old), (new, live)], comments={}, live=live, description=None
        )
    (visitor,) = visitors
    visitor.close()
    assert database.tables() == ["arrived"]


@pytest.mark.slow
def test_migration_while_sessions_keep_coming_changes_nothing(
    library: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitors = let_in_after_the_end(monkeypatch, database, times=2)
    outcome = support.run(library, database, "--yes")
    for visitor in visitors:
        visitor.close()
    assert len(visitors) == 2
    assert outcome.code == 1
    assert outcome.error.startswith(f"Programs kept connecting to {database.name}: ")
    assert outcome.error.endswith("\nStop them and run the command again.")
    assert database.tables() == []
    assert support.staging_databases(database.name) == []


def test_swap_with_sessions_of_other_roles_is_refused(database: Database, small_role: tuple[str, str]) -> None:
    role, password = small_role
    support.server().rows(f"ALTER ROLE {role} CREATEDB; ALTER DATABASE {database.name} OWNER TO {role}")
    mine = support.database_named(database.name, user=role, password=password)
    with (
        contextlib.closing(database.connect()),
        pytest.raises(PreconditionFailed) as refused,
        support.replaced(mine.address),
    ):
        pass
    assert str(refused.value) == (
        f"Sessions of other roles are connected to {database.name} (homerack), and this role may not end them.\n"
        "Stop the programs that use the database, or run the command as their role."
    )
    assert database.tables() == []
    assert support.staging_databases(database.name) == []
    support.drop(database.name)


def test_what_the_role_may_not_give_to_the_new_database_is_named_by_dry_run_and_migration(
    library: Path, database: Database, small_role: tuple[str, str]
) -> None:
    role, password = small_role
    name = database.name
    settings = (
        f'ALTER DATABASE "{name}" SET "log_min_duration_statement" = \'100\';',
        f'ALTER DATABASE "{name}" SET "session_replication_role" = \'origin\';',
        f'ALTER ROLE {database.address.user} IN DATABASE "{name}" SET "statement_timeout" = \'5s\';',
    )
    support.server().rows(f"ALTER ROLE {role} CREATEDB; ALTER DATABASE {name} OWNER TO {role}; {' '.join(settings)}")
    mine = support.database_named(name, user=role, password=password)
    only = support.only(library, *BOOKS)
    tried = support.run(library, mine, "--dry-run", *only)
    migrated = support.migrate(library, mine, *only)
    for outcome in (tried, migrated):
        assert outcome.code == 0
        assert [statement for statement in settings if statement in outcome.out] == list(settings)
    assert sorted(left["statement"] for left in migrated.document["not_kept"]) == sorted(settings)
    support.drop(name)


def test_long_names_get_distinct_staging_names() -> None:
    assert databases.suffixed_name("homerack", "_ops_new") == "homerack_ops_new"
    long = "ä" * 31
    assert databases.suffixed_name(long, "_ops_new") == "ä" * 27 + "_ops_new"
    assert len(databases.suffixed_name("x" * 63, "_ops_old").encode()) == 63
