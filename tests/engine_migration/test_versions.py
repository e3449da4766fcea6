"""A file is migrated to PostgreSQL 15 to 18."""

from pathlib import Path

import pytest

from tests.engine_migration import support
from tests.servers.support import at
from tests.support.postgres import PostgresServer
from tests.support.postgres_versions import PINNED, binaries

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("create", [True, False], ids=["database exists", "database is created"])
@pytest.mark.parametrize("major", PINNED)
def test_every_table_is_migrated(library: Path, major: str, *, create: bool) -> None:
    server = PostgresServer.start(auth="md5", binaries=binaries(major))
    try:
        if create:
            at(server, "postgres").rows("CREATE DATABASE lab TEMPLATE template0")
        database = at(server, "lab")
        document = support.migrate(library, database).document
        assert document["rows"] == sum(table["rows"] for table in document["tables"]) > 0
        assert database.value("SHOW server_version").startswith(major)
    finally:
        server.stop()
