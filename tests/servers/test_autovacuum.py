"""Autovacuum works in the live database during a restore: its workers are no sessions that somebody has to stop."""

from collections.abc import Iterator

import pytest

from tests.backups.postgresql import support
from tests.engine_migration.support import Database
from tests.servers.conftest import Make
from tests.support.backend import eventually
from tests.support.slow import slow_except

SLOW = {
    "autovacuum": "on",
    "autovacuum_naptime": "1s",
    "autovacuum_vacuum_cost_delay": "100ms",
    "autovacuum_vacuum_cost_limit": "1",
}
"""A worker begins soon, and needs a minute for a table of 400 pages."""
WORKERS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker' AND datname = %s"


@pytest.fixture
def autovacuum(admin: Database) -> Iterator[None]:
    for name, value in SLOW.items():
        admin.rows(f"ALTER SYSTEM SET {name} = '{value}'")
    admin.rows("SELECT pg_reload_conf()")
    yield
    for name in SLOW:
        admin.rows(f"ALTER SYSTEM RESET {name}")
    admin.rows("SELECT pg_reload_conf()")


@pytest.mark.usefixtures("autovacuum")
@pytest.mark.parametrize("option", slow_except(["CREATEDB", "NOCREATEDB", "SUPERUSER"], "CREATEDB", "NOCREATEDB"))
def test_restore_succeeds_while_autovacuum_works(admin: Database, make_database: Make, option: str) -> None:
    database = make_database(option)
    database.rows("CREATE TABLE big AS SELECT generate_series(1, 100000) AS n")
    database.rows("ALTER TABLE big SET (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0)")
    database.rows("DELETE FROM big WHERE n % 2 = 0")
    engine = support.engine_of(database)
    dump, before = support.dump_of(engine)
    eventually(lambda: admin.value(WORKERS, [database.name]), within=30)
    assert support.restore(engine, dump) == before
