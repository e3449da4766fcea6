"""What reports say of the two ends of a migration, in either direction."""

import sqlite3
from dataclasses import dataclass
from typing import Any

from ops.conf import setting_name
from ops.engine_migration.prepared import FIX_THE_ROWS, FIX_THE_VALUES, PreparedFile
from ops.engine_migration.to_postgres.target import Target
from ops.engine_migration.to_sqlite.prepared import PreparedDatabase


@dataclass(frozen=True, kw_only=True)
class Route:
    """Sentences, and objects for ``--json``. `reader` is the database that may refuse values."""

    source: str
    target: str
    reader: str
    rehearsal: str
    fix: str
    unknown_columns: str
    done: str
    into: str
    """The target in a question."""
    next_step: str
    source_as_json: dict[str, Any]
    target_as_json: dict[str, Any]
    copy: str = ""
    """The file with a verified copy of the source, if one is kept."""


def to_postgres(ready: PreparedFile, target: Target, *, is_live: bool) -> Route:
    """`is_live`: the site uses the target already."""
    snapshot = ready.snapshot
    wal = " and its -wal file" if snapshot.wal else ""
    how = "filled through a staging database that is swapped in" if target.renamed else "filled in one transaction"
    state = "" if target.exists else ", which does not exist yet"
    where = "a scratch database that is dropped" if target.renamed else "one transaction that is rolled back"
    return Route(
        source=f"{snapshot.source}{wal}: {ready.plan.format}, {megabytes(snapshot.size)}",
        target=f"{target.address} (PostgreSQL {target.server}){state}: {how}",
        reader="PostgreSQL",
        rehearsal=f"the rows are loaded into {where}. It takes as long as the migration, and needs its space on the"
        f" server: about {megabytes(2 * snapshot.size)}.",
        fix=FIX_THE_VALUES,
        unknown_columns="the file was written by another version of this code, or was changed by hand.",
        into=f"the database {target.address}",
        done=f"{target.address}, compared value by value with the file",
        next_step=""
        if is_live
        else f"set {setting_name('DATABASES')} to this database, and restart the site. All users must sign in again.",
        source_as_json={
            "path": str(snapshot.source),
            "format": ready.plan.format,
            "bytes": snapshot.size,
            "sha256": snapshot.sha256,
            "wal": snapshot.wal,
        },
        target_as_json={
            "database": target.address.database,
            "host": target.address.host,
            "port": target.address.port,
            "exists": target.exists,
            "staging_database": target.renamed,
        },
        copy=str(ready.copy or ""),
    )


def to_sqlite(ready: PreparedDatabase) -> Route:
    snapshot = ready.snapshot
    return Route(
        source=f"{snapshot.address} (PostgreSQL {snapshot.server}): {ready.plan.format}, {megabytes(snapshot.size)}",
        target=f"{ready.path} (SQLite {sqlite3.sqlite_version}), a new file",
        reader="SQLite",
        rehearsal=f"the rows are loaded into a scratch file in {ready.path.parent}, which is deleted. It takes as long"
        " as the migration, and needs its space there.",
        fix=FIX_THE_ROWS,
        unknown_columns="the database was written by another version of this code, or was changed by hand.",
        into=f"the new file {ready.path}",
        done=f"{ready.path}, compared value by value with the database",
        next_step=f"set {setting_name('DATABASES')} to this file, and start the site. All users must sign in again.",
        source_as_json={
            "database": snapshot.address.database,
            "host": snapshot.address.host,
            "port": snapshot.address.port,
            "format": ready.plan.format,
            "bytes": snapshot.size,
            "taken_at": snapshot.taken_at.isoformat(),
        },
        target_as_json={"path": str(ready.path)},
    )


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
