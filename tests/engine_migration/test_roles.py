"""Roles that migrate: without the right to create databases, and with settings of their own."""

from pathlib import Path
from typing import Any

import pytest
from django.db import connections, transaction

from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.databases.override import override_database
from ops.engine_migration import orm_check
from ops.engine_migration.to_postgres.target import StagingDatabase
from ops.errors import VerificationFailed
from tests.backups.postgresql.support import dump_of, restore
from tests.engine_migration import support
from tests.engine_migration.support import BOOKS, Database, Migration


def test_role_without_createdb_migrates_in_one_transaction(
    library: Path, database: Database, small_role: tuple[str, str]
) -> None:
    """What else is in the database stays: functions, and the previous database of a restore, which is a schema."""
    mine = restored(database, small_role)
    database.rows("CREATE FUNCTION answer() RETURNS int LANGUAGE sql AS 'SELECT 42'")
    oid = database.value("SELECT oid FROM pg_database WHERE datname = current_database()")
    outcome = support.migrate(library, mine, *support.only(library, *BOOKS))
    assert "filled in one transaction" in outcome.out
    assert outcome.document["target"]["staging_database"] is False
    assert database.value("SELECT oid FROM pg_database WHERE datname = current_database()") == oid
    assert database.value("SELECT count(*) FROM otherproject_book") == 5
    assert database.value("SELECT nextval('otherproject_author_id_seq')") == 4
    assert database.value("SELECT answer()") == 42
    assert database.value("SELECT count(*) FROM ops_undo.old") == 0
    support.drop(database.name)


@pytest.mark.parametrize("option", ["CREATEDB", "NOCREATEDB"])
def test_settings_of_the_role_do_not_change_the_migration(
    option: str,
    library: Path,
    database: Database,
    small_role: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, limits = orm_check.check_session, []

    def check_and_look(*arguments: Any) -> None:
        real(*arguments)
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT name, setting FROM pg_settings WHERE name ~ '^idle.*_timeout$'")
            limits.extend(cursor.fetchall())

    monkeypatch.setattr(orm_check, "check_session", check_and_look)
    role, password = small_role
    support.server().rows(
        f"ALTER DATABASE {database.name} OWNER TO {role}; ALTER ROLE {role} {option};"
        f" ALTER ROLE {role} SET statement_timeout = '1ms'; ALTER ROLE {role} SET lock_timeout = '1ms';"
        f" ALTER ROLE {role} SET idle_in_transaction_session_timeout = '20ms';"
        f" ALTER ROLE {role} SET idle_session_timeout = '20ms';"
        f" ALTER ROLE {role} SET standard_conforming_strings = off"
    )
    mine = support.database_named(database.name, user=role, password=password)
    support.migrate(library, mine, *support.only(library, *BOOKS))
    assert {setting for _, setting in limits} == {"0"}, limits
    assert database.value("SELECT count(*) FROM otherproject_book") == 5
    support.drop(database.name)


MISREAD = [("intervalstyle", style) for style in ("iso_8601", "sql_standard", "postgres_verbose")]
MISREAD += [("extra_float_digits", digits) for digits in ("-15", "-3", "0")]


@pytest.mark.parametrize("is_shared", [False, True], ids=["database", "transaction"])
def test_settings_with_which_django_misreads_values_are_refused(
    migration: Migration, moved: Database, small_role: tuple[str, str], is_shared: bool
) -> None:
    role, password = small_role
    mine = support.database_named(moved.name, user=role, password=password)
    support.server().rows(f"GRANT pg_read_all_data TO {role}")
    with support.prepared(migration.library) as ready:
        for setting, value in MISREAD:
            support.server().rows(f"ALTER ROLE {role} RESET ALL; ALTER ROLE {role} SET {setting} = '{value}'")
            refusal = f"the sessions of {role} have {setting} {value}: "
            with override_database(mine.address.wrapper()) as wrapper, transaction.atomic():
                shared = wrapper.connection if is_shared else None
                staging = StagingDatabase(address=mine.address, processes=1, shared=shared)
                with pytest.raises(VerificationFailed, match=refusal):
                    orm_check.compare_through_django(
                        tables=ready.plan.tables,
                        snapshot=ready.snapshot,
                        postgres=staging,
                        preflight=ready.preflight,
                        chosen_zone=None,
                    )


def test_previous_database_of_a_restore_is_not_dropped_with_the_target(
    library: Path, database: Database, small_role: tuple[str, str]
) -> None:
    mine = restored(database, small_role)
    support.server().rows(f"ALTER ROLE {small_role[0]} CREATEDB")
    outcome = support.run(library, mine, "--dry-run", *support.only(library, *BOOKS))
    assert (outcome.code, outcome.error) == (
        1,
        (
            f"The schema ops_undo of {mine.address} is the previous database of a restore, which would be lost: the"
            ' migration replaces the database.\nIf nobody needs it: DROP SCHEMA "ops_undo" CASCADE;'
        ),
    )
    support.drop(database.name)


def restored(database: Database, small_role: tuple[str, str]) -> Database:
    """The database as its owner without CREATEDB sees it, after the restore of an empty backup."""
    role, password = small_role
    support.server().rows(f"ALTER DATABASE {database.name} OWNER TO {role}")
    mine = support.database_named(database.name, user=role, password=password)
    engine = PostgresEngine(mine.address)
    empty, _ = dump_of(engine)
    mine.rows("CREATE TABLE old ()")
    restore(engine, empty)
    return mine
