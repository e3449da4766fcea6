"""HomeRack on a standby: it can be read and backed up, and everything that writes is refused by name."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.support import Home
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.slow

CREATE = "from django.db import connection; connection.cursor().execute('CREATE DATABASE lab')"
REASON = "cannot be written: the server is in recovery (a standby, or a server that replays its log)."


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """HomeRack with the demo lab, a backup and a previous database, on a server that became a standby."""
    server = PostgresServer.start("wal_level = replica", "max_wal_senders = 2", auth="md5")
    try:
        home = Home(tmp_path, DATABASE_URL=server.url("lab"), COLUMNS="300")
        Home(tmp_path, DATABASE_URL=server.url("postgres")).manage("shell", "--no-imports", "-c", CREATE)
        home.manage("migrate", "--verbosity", "0")
        home.manage("load_demo")
        home.manage("backup_database")
        home.manage("restore_database", "--latest", "--yes")
        (server.root / "data" / "standby.signal").touch()
        server.restart()
        yield home
    finally:
        server.stop()


def test_standby_is_backed_up_and_what_writes_is_refused(home: Home, tmp_path: Path) -> None:
    assert f"The database {REASON}" in home.manage("check", "--database", "default")
    assert REASON in home.manage("check_database", code=3)
    backup = home.manage("backup_database")
    assert "Verified by reading it back" in backup
    assert "Traceback" not in backup
    assert "passed" in home.manage("verify_backup", "--latest")
    Home(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path}/lab.db").manage("migrate", "--verbosity", "0")
    target = home.variables["DATABASE_URL"]
    for command in (
        ("verify_backup", "--latest", "--restore"),
        ("restore_database", "--latest", "--yes"),
        ("restore_database", "--latest", "--to", "other", "--yes"),
        ("undo_restore", "--yes"),
        ("drop_previous_database", "--yes"),
        ("migrate_to_postgres", "--sqlite-path", f"{tmp_path}/lab.db", "--postgres-url", target, "--dry-run"),
    ):
        output = home.manage(*command, code=1)
        assert REASON in output
        assert "Connect to the primary server, or promote this one." in output
        assert "Traceback" not in output


def test_standby_is_migrated_to_sqlite(home: Home, tmp_path: Path) -> None:
    """The file is all that is left to make when the primary server is lost."""
    assert "Done." in home.manage("migrate_to_sqlite", "--sqlite-path", str(tmp_path / "new.db"), "--yes")
    Home(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path}/new.db").manage("check_database")
