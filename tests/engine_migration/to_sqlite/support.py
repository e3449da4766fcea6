"""Ways to run ``migrate_to_sqlite`` and to look at what it has left."""

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from tests.engine_migration import support
from tests.engine_migration.support import BOOKS, Database, Outcome


def only(database: Database, tables: Sequence[str] = BOOKS) -> list[str]:
    """The arguments with which the command migrates these tables and no others."""
    others = set(database.tables()) - {"django_migrations", *tables}
    return [word for name in sorted(others) for word in ("--skip-table", name)]


def back(path: Path, database: Database, *arguments: str, tables: Sequence[str] = BOOKS) -> Outcome:
    """``manage.py migrate_to_sqlite`` in this process, for a few tables."""
    return support.back(path, database, "--yes", *only(database, tables), *arguments)


def come_back(path: Path, database: Database, *arguments: str, tables: Sequence[str] = BOOKS) -> Outcome:
    """Run it; it has to succeed."""
    outcome = back(path, database, *arguments, tables=tables)
    assert (outcome.code, outcome.error) == (0, ""), outcome
    return outcome


def command(path: Path, database: Database, *arguments: str, tables: Sequence[str] = BOOKS) -> list[str]:
    """The name and the arguments of the command, confirmed."""
    where = ["--sqlite-path", str(path), "--postgres-url", database.url]
    return ["migrate_to_sqlite", *where, "--yes", *only(database, tables), *arguments]


def books_in(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return int(connection.execute("SELECT count(*) FROM otherproject_book").fetchone()[0])


def left_in(directory: Path) -> list[Path]:
    """The working directories."""
    return list(directory.glob("*.ops-work-*"))
