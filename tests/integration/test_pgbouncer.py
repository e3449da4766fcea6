"""PgBouncer between the site and its server, in transaction mode: the site through it, operations past it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.support import Home
from tests.integration.tls_servers import PgBouncer, Server
from tests.support.web import WebServer

pytestmark = pytest.mark.slow

COUNT = "from homerack.inventory.models import Device; print(sum(1 for _ in Device.objects.iterator()))"
MANY = """
from concurrent.futures import ThreadPoolExecutor
from django.db import transaction
from homerack.inventory.models import Device

def count(_):
    with transaction.atomic():
        return Device.objects.count()

with ThreadPoolExecutor(20) as executor:
    print(set(executor.map(count, range(200))))
"""


@pytest.fixture
def variables(tmp_path: Path, server: Server, bouncer: PgBouncer, database: str) -> dict[str, str]:
    return {
        "DATABASE_URL": bouncer.url(database),
        "DATABASE_DIRECT_URL": server.url(database),
        "DB_POOL_SIZE": "0",
        "DB_POOL_RECYCLE": "0",
        "DJANGO_SETTINGS_MODULE": "homerack.settings",
        "BACKUP_DIR": str(tmp_path / "backups"),
        "REDIS_URL": "",
    }


@pytest.fixture
def web(variables: dict[str, str]) -> Iterator[WebServer]:
    server = WebServer.start(**variables)
    yield server
    server.stop()


def test_many_threads_share_few_connections_of_the_server(
    tmp_path: Path, variables: dict[str, str], server: Server, database: str
) -> None:
    assert Home(tmp_path, **variables).python(MANY) == "{40}"
    (connections,) = server.query(f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'")
    assert connections <= (2,)


def test_lists_are_read_without_cursors_of_the_server(tmp_path: Path, variables: dict[str, str]) -> None:
    assert Home(tmp_path, **variables).python(COUNT) == "40"


def test_operations_go_past_it_and_the_site_follows_the_swap(
    tmp_path: Path, variables: dict[str, str], web: WebServer, server: Server, database: str
) -> None:
    home = Home(tmp_path, **variables)
    home.manage("backup_database")
    assert "restores: loaded, migrated" in home.manage("verify_backup", "--latest", "--restore")
    server.query("TRUNCATE devices CASCADE", database)
    assert home.python(COUNT) == "0"
    home.manage("restore_database", "--latest", "--yes")
    assert web.get("/health/ready/").status == 200
    assert home.python(COUNT) == "40"
    home.manage("undo_restore", "--yes")
    assert web.get("/health/ready/").status == 200
    assert home.python(COUNT) == "0"


def test_without_a_way_past_it_operations_say_what_is_missing(tmp_path: Path, variables: dict[str, str]) -> None:
    said = Home(tmp_path, **{**variables, "DATABASE_DIRECT_URL": ""}).manage("backup_database", code=1)
    assert "It is PgBouncer that answers" in said
    assert "DATABASE_DIRECT_URL" in said


def test_the_way_past_it_has_to_lead_to_postgresql(tmp_path: Path, variables: dict[str, str]) -> None:
    said = Home(tmp_path, **variables | {"DATABASE_DIRECT_URL": "sqlite:///lab.db"}).manage("check", code=1)
    assert "DATABASE_DIRECT_URL and DATABASE_URL have to lead to PostgreSQL, both." in said
