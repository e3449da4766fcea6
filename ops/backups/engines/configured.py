"""The engine of a database of the settings."""

from pathlib import Path

from django.db import connections

from ops.backups.engines.base import Engine
from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.backups.engines.sqlite.engine import SqliteEngine
from ops.conf import conf
from ops.databases.override import direct_settings
from ops.databases.postgres.connection import from_settings
from ops.databases.sqlite.files import parse_name
from ops.errors import PreconditionFailed


def engine_of(alias: str) -> Engine:
    """Raises PreconditionFailed for a database that is neither PostgreSQL nor a file of SQLite."""
    connection = connections[alias]
    if connection.vendor == "postgresql":
        tools = conf.OPS_POSTGRES_BIN
        return PostgresEngine(from_settings(direct_settings(alias)), tools_directory=Path(tools) if tools else None)
    if connection.vendor == "sqlite":
        path, parameters = parse_name(str(connection.settings_dict["NAME"]))
        if path.name != ":memory:" and parameters.get("mode") != "memory":
            return SqliteEngine(path, parameters=parameters)
    raise PreconditionFailed(
        f"This database cannot be backed up ({connection.vendor}); PostgreSQL and SQLite files can."
    )
