"""A PostgreSQL server on another machine: TLS with a verified server certificate and a client certificate."""

from pathlib import Path

import pytest

from tests.integration.support import Home
from tests.integration.tls_servers import Server

pytestmark = pytest.mark.slow

SESSION = """
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("SELECT ssl, version, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    print(cursor.fetchone(), connection.pool_status()["total_connections"])
"""


def test_backup_over_tls_is_made_verified_and_restored(tmp_path: Path, server: Server, database: str) -> None:
    home = Home(tmp_path, DATABASE_URL=server.guarded_url(database))
    assert "Verified by reading it back" in home.manage("backup_database")
    assert "all tables match the snapshot" in home.manage("verify_backup", "--latest", "--restore")
    server.query("DELETE FROM connections", database)
    restored = home.json("restore_database", "--latest", "--yes")
    assert restored["rows"] > 0
    assert server.query("SELECT count(*) FROM connections", database) == [(80,)]


def test_pool_connections_are_encrypted(tmp_path: Path, server: Server, database: str) -> None:
    home = Home(tmp_path, DATABASE_URL=server.guarded_url(database), DB_POOL_SIZE="3")
    assert home.python(SESSION) == "(True, 'TLSv1.3', '/CN=guarded') 1"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"sslrootcert": "{folder}/stranger.crt"}, "certificate verify failed"),
        ({"sslcert": "", "sslkey": ""}, "connection requires a valid client certificate"),
        ({"sslmode": "disable", "sslrootcert": "", "sslcert": "", "sslkey": ""}, "rejects connection"),
    ],
)
def test_backup_without_valid_certificates_is_refused(
    tmp_path: Path, server: Server, database: str, options: dict[str, str], reason: str
) -> None:
    changed = {name: value.format(folder=server.certificates) for name, value in options.items()}
    home = Home(tmp_path, DATABASE_URL=server.guarded_url(database, **changed))
    output = home.manage("backup_database", code=1)
    assert reason in output
    assert not list(tmp_path.glob("backups/*.gz"))


def test_backup_with_certificate_for_another_host_is_refused(tmp_path: Path, server: Server, database: str) -> None:
    url = server.guarded_url(database).replace("@localhost:", "@127.0.0.1:")
    output = Home(tmp_path, DATABASE_URL=url).manage("backup_database", code=1)
    assert 'does not match host name "127.0.0.1"' in output
