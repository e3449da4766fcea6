"""Our sessions do not depend on settings of the role or the database."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ops.backups.engines.postgresql.undo_comment import READ_ONLY
from ops.databases.override import override_database
from ops.databases.postgres.client_programs import connection_arguments
from ops.databases.postgres.connection import SESSION, ConnectionInfo
from ops.errors import PreconditionFailed
from ops.utils.environment import minimal_environment
from tests.backups.postgresql import support
from tests.backups.postgresql.support import Database, Role
from tests.support.postgres import find_binaries

SETTINGS = {
    "statement_timeout": "1ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "50ms",
    "idle_session_timeout": "50ms",
    # The texts of values.
    "standard_conforming_strings": "off",
    "array_nulls": "off",
    "client_encoding": "LATIN1",
    "datestyle": "SQL, DMY",
    "intervalstyle": "sql_standard",
    "timezone": "Asia/Kathmandu",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "quote_all_identifiers": "on",
    "xmloption": "document",
    # Transactions.
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "session_replication_role": "replica",
    # What names and rows are found.
    "search_path": "nowhere",
    "default_tablespace": "nowhere",
    "temp_tablespaces": "nowhere",
    "row_security": "off",
    "transform_null_equals": "on",
}
Shown = Callable[[ConnectionInfo, str], str]
"""A function that shows a setting in a session."""
ARRAYS = "CREATE TABLE words AS SELECT ARRAY[E'a\\\\b', NULL, 'ä'] AS words, 0.1::float8 AS number"


@pytest.fixture
def superuser(role: Role, lab: Database) -> Iterator[Database]:
    """The lab for a superuser of its own, who may have any setting."""
    name, password = role("SUPERUSER")
    yield support.database_named(lab.name, user=name, password=password)
    support.drop(lab.name)


@pytest.mark.parametrize("where", ["ROLE {role}", "DATABASE {database}"])
def test_settings_of_role_and_database_change_no_backup(where: str, superuser: Database, lab: Database) -> None:
    lab.rows(ARRAYS)
    target = where.format(role=superuser.address.user, database=lab.name)
    support.server().rows("; ".join(f"ALTER {target} SET {name} = '{value}'" for name, value in SETTINGS.items()))
    engine = support.engine_of(superuser)
    dump, before = support.dump_of(engine)
    assert before["words"].rows == 1
    assert support.restore_test(engine, dump)[1] == before
    assert support.restore(engine, dump) == before


def shown_by_connection(address: ConnectionInfo, name: str) -> str:
    with contextlib.closing(address.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(f"SHOW {name}")
        return str(cursor.fetchone()[0])


def shown_by_django(address: ConnectionInfo, name: str) -> str:
    with override_database(address.wrapper()) as wrapper, wrapper.cursor() as cursor:
        cursor.execute(f"SHOW {name}")
        return str(cursor.fetchone()[0])


def shown_by_program(address: ConnectionInfo, name: str) -> str:
    """By psql, which is started as pg_dump is."""
    arguments, environment = connection_arguments(address)
    command = [str(find_binaries() / "psql"), *arguments, "--no-psqlrc", "--tuples-only", "--no-align"]
    done = subprocess.run(
        [*command, f"--command=SHOW {name}"],
        env=minimal_environment(**environment),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("shown", [shown_by_connection, shown_by_django, shown_by_program])
def test_our_settings_override_those_of_the_address_and_those_of_an_operation_override_ours(
    shown: Shown, lab: Database
) -> None:
    options = {"options": "-c search_path=app -c statement_timeout=7", "client_encoding": "LATIN1"}
    address = support.database_named(lab.name).address
    address = ConnectionInfo(**{**vars(address), "options": options})
    found = [shown(address, name) for name in ("search_path", "statement_timeout", "client_encoding")]
    assert found == ["app", "0", "UTF8"]
    assert shown(address, "transaction_read_only") == "off"
    assert shown(address.with_session(READ_ONLY), "transaction_read_only") == "on"


def test_options_in_the_environment_are_those_of_the_address(lab: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c search_path=app -c lock_timeout=7")
    for shown in (shown_by_connection, shown_by_django, shown_by_program):
        assert [shown(lab.address, name) for name in ("search_path", "lock_timeout")] == ["app", "0"]


def connect(address: ConnectionInfo) -> Any:
    return address.connect()


def connect_django(address: ConnectionInfo) -> Any:
    return address.wrapper().ensure_connection()


@pytest.mark.parametrize("opened", [connect, connect_django])
def test_session_without_our_settings_is_that_of_a_pooler(opened: Any, lab: Database) -> None:
    """What a pooler that ignores the options of its clients gives (`tests.integration.test_pgbouncer` uses one)."""
    with pytest.raises(PreconditionFailed) as refused:
        opened(ConnectionInfo(**{**vars(lab.address), "session": ""}))
    assert str(refused.value) == (
        f"No connection to the database {lab.name} itself: a pooler answered, which ignores the settings of a"
        " session.\nPgBouncer answered, and backups, restores and migrations need a session of the server itself. Set"
        " DATABASE_DIRECT_URL to the server."
    )


def test_session_settings_are_those_of_every_supported_version() -> None:
    """A server refuses a connection with a setting that it does not know."""
    names = [item.split("=")[0] for item in SESSION.split() if "=" in item]
    known = {name for (name,) in support.server().rows("SELECT lower(name) FROM pg_settings")}
    assert set(names) - known == {"ops.session"}
