"""A file is migrated to PostgreSQL 15 to 18."""

from pathlib import Path

import pytest

from tests.engine_migration import support
from tests.servers.support import at
from tests.support.postgres import PostgresServer
from tests.support.postgres_versions import PINNED, binaries

pytestmark = pytest.mark.slow

LOCALE = """
SELECT datlocprovider, datcollate, datctype, to_jsonb(d)->'datlocale' FROM pg_database AS d WHERE datname = 'lab'
"""

BUILTIN = "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"


@pytest.mark.parametrize(
    ("major", "options"),
    [*((major, options) for major in PINNED for options in ("", None)), ("17", BUILTIN), ("18", BUILTIN)],
)
def test_every_table_is_migrated(library: Path, major: str, options: str | None) -> None:
    """Into an existing database that was created with `options`, or into one that the migration creates."""
    server = PostgresServer.start(auth="md5", binaries=binaries(major))
    try:
        if options is not None:
            at(server, "postgres").rows(f"CREATE DATABASE lab TEMPLATE template0 {options}")
        database = at(server, "lab")
        before = at(server, "postgres").rows(LOCALE)
        document = support.migrate(library, database).document
        assert document["rows"] == sum(table["rows"] for table in document["tables"]) > 0
        assert database.value("SHOW server_version").startswith(major)
        assert not before or at(server, "postgres").rows(LOCALE) == before
    finally:
        server.stop()
