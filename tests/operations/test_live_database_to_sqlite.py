"""``manage.py migrate_to_sqlite`` with the live database, of which the run holds the lock."""

import contextlib
import sqlite3
from collections.abc import Callable

import pytest

from tests.operations.harness import Lab

OTHERS = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename ~ '^(otherproject|everything)'"


@pytest.mark.parametrize("more", [["--yes"], ["--dry-run"]])
def test_live_database_is_migrated(make_lab: Callable[[str], Lab], more: list[str]) -> None:
    """The run ends the sessions of killed runs, and none of its own."""
    lab = make_lab("postgresql")
    path = lab.folder / "home.db"
    others = [word for (name,) in lab.rows(OTHERS) for word in ("--skip-table", name)]
    lab.run("migrate_to_sqlite", "--sqlite-path", str(path), *others, *more)
    assert path.exists() is (more == ["--yes"])
    if path.exists():
        with contextlib.closing(sqlite3.connect(path)) as file:
            devices = file.execute("SELECT id, custom_name FROM devices ORDER BY id").fetchall()
        assert devices == lab.rows("SELECT id, custom_name FROM devices ORDER BY id")
