"""A PostgreSQL server on another machine: TLS, the server's certificate checked, and one of our own to show."""

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


def test_a_backup_is_made_proven_and_restored_over_tls(tmp_path: Path, server: Server, database: str) -> None:
    home = Home(tmp_path, DATABASE_URL=server.guarded_url(database))
    assert "Proven complete" in home.manage("backup_database")
    assert "restores: loaded, migrated" in home.manage("verify_backup", "--latest", "--restore")
    server.query("DELETE FROM connections", database)
    restored = home.json("restore_database", "--latest", "--yes")
    assert restored["rows"] > 0
    assert server.query("SELECT count(*) FROM connections", database) == [(80,)]


def test_the_pool_s_connections_are_encrypted(tmp_path: Path, server: Server, database: str) -> None:
    home = Home(tmp_path, DATABASE_URL=server.guarded_url(database), DB_POOL_SIZE="3")
    assert home.python(SESSION) == "(True, 'TLSv1.3', '/CN=guarded') 1"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sslrootcert": "{folder}/stranger.crt"}, "certificate verify failed"),
        ({"sslcert": "", "sslkey": ""}, "connection requires a valid client certificate"),
        ({"sslmode": "disable", "sslrootcert": "", "sslcert": "", "sslkey": ""}, "rejects connection"),
    ],
)
def test_nothing_less_is_taken(
    tmp_path: Path, server: Server, database: str, options: dict[str, str], words: str
) -> None:
    changed = {name: value.format(folder=server.certificates) for name, value in options.items()}
    home = Home(tmp_path, DATABASE_URL=server.guarded_url(database, **changed))
    said = home.manage("backup_database", code=1)
    assert words in said
    assert not list(tmp_path.glob("backups/*.gz"))


def test_a_certificate_for_another_name_is_refused(tmp_path: Path, server: Server, database: str) -> None:
    url = server.guarded_url(database).replace("@localhost:", "@127.0.0.1:")
    said = Home(tmp_path, DATABASE_URL=url).manage("backup_database", code=1)
    assert 'does not match host name "127.0.0.1"' in said
