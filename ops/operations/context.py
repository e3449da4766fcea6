"""The database of this project, its backups, and the rules for them, as the settings have it."""

from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import connections

from ops.backups.configuration import catalogue_from_settings, policy_from_settings
from ops.backups.engines.base import Engine
from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.backups.engines.sqlite.engine import SqliteEngine
from ops.backups.manifest import Kind
from ops.backups.repository import BackupRepository
from ops.backups.retention import Policy
from ops.databases.override import direct_settings
from ops.databases.postgres.connection import from_settings
from ops.errors import PreconditionFailed


@dataclass(frozen=True, kw_only=True)
class OpsContext:
    """What operations work on. `software` is the project's version."""

    engine: Engine
    catalogue: BackupRepository
    policy: Policy
    undo_days: int
    software: str

    def kind(self, *, compress: bool = True, custom: bool = False) -> Kind:
        """How a backup is written. Raises PreconditionFailed for what this database has not."""
        if custom:
            wanted = Kind.CUSTOM
        elif self.engine.kind == "postgresql":
            wanted = Kind.SQL_GZIP if compress else Kind.SQL
        else:
            wanted = Kind.SQLITE_GZIP if compress else Kind.SQLITE
        if wanted not in self.engine.kinds():
            raise PreconditionFailed("The custom format is PostgreSQL's, and the database is SQLite. Nothing was done.")
        return wanted


def get_context(
    *, directory: Path | None = None, retention_days: int | None = None, alias: str = "default"
) -> OpsContext:
    """From the settings; `directory` and `retention_days` stand in for those that a person names.

    Raises PreconditionFailed for a database of another kind.
    """
    return OpsContext(
        engine=engine_of(alias),
        catalogue=catalogue_from_settings(directory),
        policy=policy_from_settings(retention_days),
        undo_days=getattr(settings, "UNDO_KEEP_DAYS", 3),
        software=getattr(settings, "OPS_VERSION", ""),
    )


def engine_of(alias: str) -> Engine:
    connection = connections[alias]
    if connection.vendor == "postgresql":
        tools = getattr(settings, "OPS_POSTGRES_BIN", "")
        return PostgresEngine(from_settings(direct_settings(alias)), tools_directory=Path(tools) if tools else None)
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite" and ":memory:" not in name and "mode=memory" not in name:
        return SqliteEngine(Path(name))
    raise PreconditionFailed(
        f"A database of the kind {connection.vendor} can not be backed up; PostgreSQL and SQLite can."
    )
