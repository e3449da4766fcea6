"""Servers on which the role reaches its own database only, as some providers set them up."""

from collections.abc import Callable, Iterator

import pytest

from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.backups.engines.postgresql.schema_swap import SchemaSwap
from ops.databases.postgres import databases
from ops.engine_migration.to_postgres.target import inspect_target
from ops.errors import PreconditionFailed
from tests.backups.postgresql import support
from tests.engine_migration.support import Database
from tests.servers.conftest import Make
from tests.support.backend import eventually
from tests.support.postgres import PostgresServer


@pytest.fixture
def rules(server: PostgresServer, admin: Database) -> Iterator["Rules"]:
    """The server's pg_hba.conf, which is as before when the test ends."""
    rules = Rules(server, admin)
    yield rules
    rules.write(rules.before)


class Rules:
    def __init__(self, server: PostgresServer, admin: Database) -> None:
        self.path = server.root / "data" / "pg_hba.conf"
        self.before = self.path.read_text()
        self.admin = admin

    def admit(self, role: str, *names: str) -> None:
        """Admit the role to these databases only."""
        own = f"host {','.join(names)} {role} 127.0.0.1/32 md5\n" if names else ""
        self.write(f"{own}host all {role} all reject\n{self.before}")

    def write(self, text: str) -> None:
        self.path.write_text(text)
        loaded = "SELECT pg_conf_load_time()"
        before = self.admin.value(loaded)
        self.admin.rows("SELECT pg_reload_conf()")
        eventually(lambda: self.admin.value(loaded) > before)


def revoke_connect(admin: Database, rules: Rules, role: str) -> None:
    admin.rows("REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC")


def reject_others(admin: Database, rules: Rules, role: str) -> None:
    rules.admit(role, role)


def close_others(admin: Database, rules: Rules, role: str) -> None:
    admin.rows("UPDATE pg_database SET datconnlimit = 0 WHERE datname IN ('postgres', 'template1')")


@pytest.fixture(autouse=True)
def open_databases(admin: Database) -> Iterator[None]:
    yield
    admin.rows("UPDATE pg_database SET datconnlimit = -1 WHERE datname IN ('postgres', 'template1')")
    admin.rows("GRANT CONNECT ON DATABASE postgres, template1 TO PUBLIC")


@pytest.mark.parametrize("option", ["CREATEDB", pytest.param("NOCREATEDB", marks=pytest.mark.slow)])
@pytest.mark.parametrize("limit", [revoke_connect, reject_others, close_others])
def test_restore_replaces_the_schema(
    admin: Database, rules: Rules, make_database: Make, limit: Callable[[Database, Rules, str], None], option: str
) -> None:
    database = make_database(option)
    limit(admin, rules, database.name)
    with databases.maintenance_connection(database.address) as connection:
        assert connection.info.dbname == database.name
    engine = PostgresEngine(database.address)
    assert isinstance(engine.swap_strategy(), SchemaSwap)
    dump, tables = support.dump_of(engine)
    assert support.restore_test(engine, dump)[1] == tables
    database.rows("DELETE FROM device")
    assert support.restore(engine, dump) == tables
    support.undo(engine, run="run-2")
    assert database.value("SELECT count(*) FROM device") == 0


@pytest.mark.parametrize(
    ("option", "statement"),
    [
        ("NOCREATEDB", 'ALTER ROLE "{0}" CREATEDB;'),
        ("CREATEDB", 'GRANT CONNECT ON DATABASE postgres TO "{0}"; (and a line in pg_hba.conf)'),
    ],
)
def test_what_needs_another_database_is_refused_with_the_statement_to_run(
    admin: Database, rules: Rules, make_database: Make, option: str, statement: str
) -> None:
    database = make_database(option)
    revoke_connect(admin, rules, database.name)
    database.rows("CREATE SCHEMA other; CREATE TABLE other.t ()")
    strategy = PostgresEngine(database.address).swap_strategy()
    hint = f"As an administrator: {statement.format(database.name)}"
    for name in ("", "another"):
        with pytest.raises(PreconditionFailed) as refused, strategy.scratch(name=name, for_swap=not name):
            pass
        assert refused.value.hint == hint
    admin.rows(f"REASSIGN OWNED BY {database.name} TO homerack; ALTER DATABASE {database.name} OWNER TO homerack")
    owner = f'ALTER DATABASE "{database.name}" OWNER TO "{database.name}";'
    with pytest.raises(PreconditionFailed) as refused, strategy.scratch(for_swap=True):
        pass
    assert owner in refused.value.hint


@pytest.mark.parametrize("limit", [revoke_connect, reject_others, close_others])
def test_migration_fills_the_database_in_one_transaction(
    admin: Database, rules: Rules, make_database: Make, limit: Callable[[Database, Rules, str], None]
) -> None:
    database = make_database("CREATEDB")
    database.rows("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    assert inspect_target(database.address).renamed
    limit(admin, rules, database.name)
    assert not inspect_target(database.address).renamed


def test_staging_database_that_may_not_be_entered_is_refused_and_dropped(
    admin: Database, rules: Rules, make_database: Make
) -> None:
    database = make_database("CREATEDB")
    engine = PostgresEngine(database.address)
    dump, _ = support.dump_of(engine)
    rules.admit(database.name, "postgres", database.name)
    for attempt in (support.restore, support.restore_test):
        with pytest.raises(PreconditionFailed) as refused:
            attempt(engine, dump)
        assert f"does not admit {database.name} to the new database {database.name}_ops_" in refused.value.message
        assert "pg_hba.conf" in refused.value.hint
    assert admin.rows("SELECT datname FROM pg_database WHERE datname ~ %s", [f"^{database.name}_"]) == []
