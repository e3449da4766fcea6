"""PgBouncer in transaction mode between site and server: the site connects through it, operations connect directly."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_django.plugin import DjangoDbBlocker

from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.backups.manifest import Kind
from ops.backups.verify import restore_test
from ops.checks import check_operations_connect
from ops.databases.override import new_wrapper, override_database
from ops.databases.postgres.connection import parse_url
from ops.engine_migration.to_postgres.target import inspect_target
from ops.engine_migration.to_sqlite.source import take_snapshot
from ops.errors import PreconditionFailed
from ops.health.database import query_database
from ops.health.dependencies import check_operations
from ops.utils.progress import no_progress
from tests.integration.support import Home
from tests.integration.tls_servers import PgBouncer, Server, pgbouncer
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
        "BACKUP_DIR": str(tmp_path / "backups"),
        "REDIS_URL": "",
    }


@pytest.fixture
def web(variables: dict[str, str]) -> Iterator[WebServer]:
    server = WebServer.start(**variables)
    yield server
    server.stop()


def test_threads_share_the_pooler_s_few_server_connections(
    tmp_path: Path, variables: dict[str, str], server: Server, database: str
) -> None:
    assert Home(tmp_path, **variables).python(MANY) == "{40}"
    (connections,) = server.query(f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'")
    assert connections <= (2,)


def test_iterator_reads_all_rows_without_server_side_cursors(tmp_path: Path, variables: dict[str, str]) -> None:
    assert Home(tmp_path, **variables).python(COUNT) == "40"


def test_operations_connect_directly_and_site_sees_the_swapped_database(
    tmp_path: Path, variables: dict[str, str], web: WebServer, server: Server, database: str
) -> None:
    home = Home(tmp_path, **variables)
    home.manage("backup_database")
    assert "all tables match the snapshot" in home.manage("verify_backup", "--latest", "--restore")
    server.query("TRUNCATE devices CASCADE", database)
    assert home.python(COUNT) == "0"
    home.manage("restore_database", "--latest", "--yes")
    assert web.get("/health/ready/").status == 200
    assert home.python(COUNT) == "40"
    home.manage("undo_restore", "--yes")
    assert web.get("/health/ready/").status == 200
    assert home.python(COUNT) == "0"


def test_backup_without_direct_url_is_refused(tmp_path: Path, variables: dict[str, str]) -> None:
    output = Home(tmp_path, **{**variables, "DATABASE_DIRECT_URL": ""}).manage("backup_database", code=1)
    assert "PgBouncer answered" in output
    assert "DATABASE_DIRECT_URL" in output


@pytest.mark.parametrize("mode", ["session", "transaction", "statement"])
def test_pooler_that_ignores_the_options_of_its_clients_is_refused(
    mode: str, server: Server, database: str, django_db_blocker: DjangoDbBlocker
) -> None:
    with pgbouncer(server.postgres.port, mode=mode, more="ignore_startup_parameters = options") as bouncer:
        address = parse_url(bouncer.url(database))
        with pytest.raises(PreconditionFailed, match="a pooler answered") as refused:
            address.connect()
        assert "DATABASE_DIRECT_URL" in refused.value.hint
        with django_db_blocker.unblock(), pytest.raises(PreconditionFailed, match="a pooler answered"):
            address.wrapper().ensure_connection()


@pytest.mark.parametrize(
    "more", ["", "ignore_startup_parameters = options"], ids=["options refused", "options ignored"]
)
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_site_works_through_pgbouncer_and_every_operation_names_it(
    mode: str, more: str, server: Server, database: str, django_db_blocker: DjangoDbBlocker
) -> None:
    """Without an address of the server itself, whatever mode and options PgBouncer has."""
    with pgbouncer(server.postgres.port, mode=mode, more=more) as bouncer, django_db_blocker.unblock():
        address = parse_url(bouncer.url(database))
        engine = PostgresEngine(address)
        own = {"NAME": database, "HOST": address.host, "PORT": address.port, "USER": address.user}
        site = new_wrapper("django.db.backends.postgresql", **own, PASSWORD=address.password)
        with override_database(site):
            assert query_database("default").read_only == ""
            (warning,) = check_operations_connect(databases=["default"])
            result = check_operations("default")
        assert (warning.id, "DATABASE_DIRECT_URL" in (warning.hint or "")) == ("ops.W015", True)
        assert (result.error, result.detail) == ("NoSession", f"{warning.msg} {warning.hint}")
        operations: list[Callable[[], object]] = [
            lambda: engine.locked("backup").__enter__(),
            lambda: engine.snapshot(kind=Kind.SQL),
            lambda: restore_test(engine=engine, source=None, on_progress=no_progress),  # type: ignore[arg-type]  # not reached
            engine.swap_strategy,
            engine.require_writable,
            lambda: inspect_target(address),
            take_snapshot(address).__enter__,
        ]
        for operate in operations:
            with pytest.raises(PreconditionFailed, match=r"^No connection to the database ") as refused:
                operate()
            assert "DATABASE_DIRECT_URL" in refused.value.hint


def test_check_with_sqlite_direct_url_fails(tmp_path: Path, variables: dict[str, str]) -> None:
    output = Home(tmp_path, **variables | {"DATABASE_DIRECT_URL": "sqlite:///lab.db"}).manage("check", code=1)
    assert "DATABASE_DIRECT_URL and DATABASE_URL must both be addresses of PostgreSQL." in output
