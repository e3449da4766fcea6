"""HomeRack goes back to SQLite from every supported version of PostgreSQL, with a sign-in there."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from ops.engine_migration.to_sqlite.source import changed_tables, take_snapshot
from tests.integration.support import Home
from tests.servers.support import at
from tests.support.postgres import PostgresServer
from tests.support.postgres_versions import PINNED, binaries

pytestmark = pytest.mark.slow

CREATE = "from django.db import connection; connection.cursor().execute('CREATE DATABASE lab')"


@pytest.mark.parametrize("major", PINNED)
def test_every_version_is_migrated_and_its_prepared_transactions_are_noticed(tmp_path: Path, major: str) -> None:
    server = PostgresServer.start("max_prepared_transactions = 5", auth="md5", binaries=binaries(major))
    new = tmp_path / "new.db"
    try:
        home = Home(tmp_path, DATABASE_URL=server.url("lab"), COLUMNS="300")
        Home(tmp_path, DATABASE_URL=server.url("postgres")).manage("shell", "--no-imports", "-c", CREATE)
        home.manage("migrate", "--verbosity", "0")
        home.manage("load_demo")
        lab = at(server, "lab")
        devices = lab.value("SELECT count(*) FROM devices")
        with contextlib.closing(lab.connect()) as connection, connection.cursor() as cursor:
            for statement in ("BEGIN", "SAVEPOINT a", "UPDATE devices SET id = id", "PREPARE TRANSACTION 'later'"):
                cursor.execute(statement)
        with take_snapshot(lab.address) as snapshot:
            assert changed_tables(snapshot, {"devices": devices}) == []
            lab.rows("COMMIT PREPARED 'later'")
            assert changed_tables(snapshot, {"devices": devices}) == ["devices"]
        assert "Done." in home.manage("migrate_to_sqlite", "--sqlite-path", str(new), "--yes")
    finally:
        server.stop()
    with contextlib.closing(sqlite3.connect(new)) as connection:
        assert connection.execute("SELECT count(*) FROM devices").fetchone() == (devices,)
    assert "healthy" in Home(tmp_path, DATABASE_URL=f"sqlite:///{new}").manage("check_database")
