"""Databases and roles that others set up otherwise: they are only read, or refused by name."""

import contextlib
import sqlite3
import subprocess
from pathlib import Path

import pytest

from ops.engine_migration.to_sqlite import source
from tests.engine_migration import support
from tests.engine_migration.support import Database
from tests.engine_migration.to_sqlite.support import back, books_in, come_back, only
from tests.support.postgres import find_binaries

GENERIC = "CREATE DOMAIN title AS text; ALTER TABLE otherproject_book ALTER title TYPE title"
"""A type that only PostgreSQL itself knows to write: its values are compared in a temporary table."""


@pytest.fixture
def reader(lab: Database, small_role: tuple[str, str]) -> Database:
    """The database as a role sees it that may only read."""
    role, password = small_role
    support.server().rows(f"GRANT pg_read_all_data TO {role}")
    return support.database_named(lab.name, user=role, password=password)


def test_role_that_may_only_read(lab: Database, reader: Database, new: Path) -> None:
    come_back(new, reader)
    assert books_in(new) == 5


def test_database_whose_transactions_are_read_only(lab: Database, new: Path) -> None:
    lab.rows(GENERIC)
    lab.rows(f"ALTER DATABASE {lab.name} SET default_transaction_read_only = on")
    come_back(new, lab)
    assert books_in(new) == 5


def test_role_that_may_not_create_temporary_tables(lab: Database, reader: Database, new: Path) -> None:
    lab.rows(f"REVOKE TEMPORARY ON DATABASE {lab.name} FROM PUBLIC")
    come_back(new, reader)
    new.unlink()
    lab.rows(GENERIC)
    outcome = back(new, reader)
    role = reader.address.user
    assert (outcome.code, outcome.error) == (
        1,
        (
            f"The role {role} may not create temporary tables in {reader.address}. They are needed to compare"
            " otherproject_book.title. Nothing was changed.\n"
            f'As an administrator: GRANT TEMPORARY ON DATABASE "{lab.name}" TO "{role}";'
        ),
    )


def test_tables_in_another_schema(lab: Database, new: Path) -> None:
    """The first schema of the search_path is Django's."""
    skipped = only(lab)
    lab.rows('ALTER SCHEMA public RENAME TO "the lab\'s"; CREATE SCHEMA public; CREATE TABLE public.racks (x int)')
    lab.rows(f'ALTER DATABASE {lab.name} SET search_path = "the lab\'s", public')
    outcome = support.back(new, lab, "--yes", *skipped)
    assert (outcome.code, outcome.error) == (0, ""), outcome
    assert books_in(new) == 5


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_database_with_another_encoding(lab: Database, new: Path, encoding: str) -> None:
    """SQL_ASCII takes any bytes."""
    other = support.database_named(support.new_name())
    support.server().rows(f"CREATE DATABASE {other.name} TEMPLATE template0 ENCODING {encoding} LOCALE 'C'")
    programs = find_binaries()
    options = ["--exclude-table-data", "everything"]
    dump = subprocess.run([programs / "pg_dump", *options, lab.url], capture_output=True, check=True)
    subprocess.run([programs / "psql", "--quiet", other.url], input=dump.stdout, capture_output=True, check=True)
    change_name(other, encoding, r"E'Zo\303\253'" if encoding == "SQL_ASCII" else r"E'Zo\353'")
    come_back(new, other)
    with contextlib.closing(sqlite3.connect(new)) as connection:
        assert connection.execute("SELECT name FROM otherproject_author WHERE id = 1").fetchone() == ("Zo\u00eb",)
    new.unlink()
    if encoding == "SQL_ASCII":
        change_name(other, "SQL_ASCII", r"E'ab\377'")
        outcome = back(new, other)
        assert (outcome.code, outcome.error) == (
            1,
            (
                "otherproject_author has a text that PostgreSQL cannot send as UTF-8: invalid byte sequence for"
                ' encoding "UTF8": 0xff. Nothing was changed.\n'
                "Correct the text in PostgreSQL, and run the command again."
            ),
        )
    support.drop(other.name)


def change_name(database: Database, encoding: str, text: str) -> None:
    with contextlib.closing(database.connect()) as connection, connection.cursor() as cursor:
        connection.set_client_encoding(encoding)
        cursor.execute(f"UPDATE otherproject_author SET name = {text} WHERE id = 1")


def test_old_server(lab: Database, new: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "OLDEST_SERVER", 990000)
    outcome = back(new, lab)
    assert outcome.code == 1
    assert outcome.error.startswith("The server runs PostgreSQL 1")
    assert outcome.error.endswith("; 99 or newer is required. Nothing was changed.")


def test_address_that_is_wrong(lab: Database, nowhere: Database, database: Database, new: Path) -> None:
    closed = support.database_named(lab.name, password="wrong-secret")
    for wrong, message in (
        (nowhere, "No connection to the database"),
        (database, f"{database.address} is not a database of this project: it has no django_migrations; it has no"),
        (closed, "No connection to the database"),
    ):
        outcome = support.back(new, wrong, "--yes")
        assert outcome.code == 1
        assert outcome.error.startswith(message)
        assert "wrong-secret" not in outcome.error + outcome.out + str(outcome.document)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            [
                *("datestyle = 'German, DMY'", "default_transaction_isolation = serializable", "bytea_output = escape"),
                *("idle_in_transaction_session_timeout = 10", "statement_timeout = 10", "lock_timeout = 1"),
            ],
            "",
        ),
        (
            ["extra_float_digits = -5"],
            "Django cannot read floating-point numbers from PostgreSQL, because the sessions",
        ),
        (["intervalstyle = sql_standard"], "Django cannot read durations from PostgreSQL, because the sessions"),
    ],
)
def test_settings_of_the_database(lab: Database, new: Path, changes: list[str], message: str) -> None:
    """Where the project itself reads other values, the message says which setting has to change."""
    skipped = only(lab, ["everything"])
    for change in changes:
        support.server().rows(f"ALTER DATABASE {lab.name} SET {change}")
    outcome = support.back(new, lab, "--yes", *skipped)
    assert outcome.code == bool(message), outcome
    assert outcome.error.startswith(message)
    if message:
        assert f"\nThere is no file {new}.\nALTER ROLE " in outcome.error


def test_tables_and_columns_that_are_missing(lab: Database, new: Path) -> None:
    skipped = only(lab)
    lab.rows("ALTER TABLE otherproject_book DROP COLUMN pages CASCADE")
    assert support.back(new, lab, "--yes", *skipped).error == (
        f"{lab.address} has no column pages in the table otherproject_book, which the migrations create. Nothing was"
        " changed.\nCreate the column, or skip the table: --skip-table otherproject_book"
    )
    lab.rows("DROP TABLE otherproject_book CASCADE")
    assert support.back(new, lab, "--yes", *skipped).error == (
        f"{lab.address} has no table otherproject_book, which the migrations create. Nothing was changed.\n"
        "Create the table, or restore a backup that has it."
    )


def test_foreign_table(lab: Database, new: Path) -> None:
    """Other sessions read other rows of it, and none has the number of a transaction of this database."""
    skipped = only(lab)
    lab.rows(
        "CREATE FOREIGN DATA WRAPPER far; CREATE SERVER far FOREIGN DATA WRAPPER far;"
        " DROP TABLE otherproject_author CASCADE; CREATE FOREIGN TABLE otherproject_author (id bigint) SERVER far"
    )
    outcome = support.back(new, lab, "--yes", *skipped)
    assert (outcome.code, outcome.error) == (
        1,
        (
            f"otherproject_author is a foreign table in {lab.address}: its rows are not part of a snapshot. Nothing was"
            " changed.\nSkip the table, and copy its rows from their own database: --skip-table otherproject_author"
        ),
    )
