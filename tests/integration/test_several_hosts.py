"""HomeRack's commands with an address of several hosts: one is dead, one is a standby, one takes writes."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest

from tests.integration.support import Home
from tests.support.postgres import PASSWORD, PostgresServer, free_port

pytestmark = pytest.mark.slow

SECRET = "p,a@s:s/w?o#r%d"
SETTINGS = ("wal_level = replica", "max_wal_senders = 2")


@pytest.fixture(scope="module")
def hosts() -> Iterator[str]:
    """Hosts and ports for a URL. The standby is of another cluster, and has nothing of HomeRack."""
    primary, standby = (PostgresServer.start(*SETTINGS, auth="md5") for _ in range(2))
    try:
        for server in (primary, standby):
            connection = psycopg2.connect(server.url("postgres"))
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("CREATE ROLE lab LOGIN CREATEDB PASSWORD %s", [SECRET])
                cursor.execute("CREATE DATABASE lab OWNER lab TEMPLATE template0")
            connection.close()
        (standby.root / "data" / "standby.signal").touch()
        standby.restart()
        yield f"127.0.0.1:{free_port()},127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
    finally:
        primary.stop()
        standby.stop()


def test_each_command_uses_the_host_that_takes_writes(hosts: str, tmp_path: Path) -> None:
    url = f"postgres://lab:{quote(SECRET, safe='')}@{hosts}/lab"
    home = Home(tmp_path, DATABASE_URL=url, COLUMNS="300")
    outputs = [
        home.manage("migrate", "--verbosity", "0"),
        home.manage("load_demo"),
        home.manage("check", "--database", "default"),
        home.manage("check_database", "--wait", "20"),
        home.manage("backup_database"),
        home.manage("backup_database", "--format", "custom"),
        home.manage("verify_backup", "--latest", "--restore"),
        home.manage("restore_database", "--latest", "--yes"),
        home.manage("list_backups"),
        home.manage("undo_restore", "--yes"),
        home.manage("drop_previous_database", "--yes"),
        home.manage("migrate_to_sqlite", "--sqlite-path", str(tmp_path / "new.db"), "--yes"),
        home.manage("restore_database", "--latest", "--to", "other", "--yes"),
        home.manage("dbshell", "--", "-XAtc", "SHOW port"),
    ]
    sqlite = Home(tmp_path / "sqlite", DATABASE_URL=f"sqlite:///{tmp_path}/new.db", POSTGRES_URL=f"{url}_new")
    outputs.append(sqlite.manage("migrate_to_postgres", "--sqlite-path", f"{tmp_path}/new.db", "--yes"))
    assert f"lab_new on {hosts}" in outputs[-1]
    for output in outputs:
        assert SECRET not in output
        assert quote(SECRET, safe="") not in output
        assert "Traceback" not in output
    folder = tmp_path / "backups"
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert written
    for path in written:
        assert SECRET.encode() not in path.read_bytes()


def test_each_command_names_the_hosts_when_none_takes_writes(hosts: str, tmp_path: Path) -> None:
    unwritable = hosts.rpartition(",")[0]
    home = Home(
        tmp_path,
        DATABASE_URL=f"postgres://homerack:{PASSWORD}@{unwritable}/postgres",
        DB_CONNECT_RETRY_MAX_ATTEMPTS="1",
        COLUMNS="300",
    )
    for command, code in (("backup_database", 1), ("check_database", 1)):
        output = home.manage(command, code=code)
        assert PASSWORD not in output
        assert "Traceback" not in output
    assert "session is read-only" in home.manage("backup_database", code=1)
