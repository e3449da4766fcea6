"""The copy of the file that a killed migration leaves is deleted by the next run, and that of a running one is not."""

import io
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from ops.databases.sqlite import workdir
from ops.databases.sqlite.workdir import sweep, working_directory
from ops.engine_migration.to_postgres.pipeline import Stage
from ops.engine_migration.to_postgres.snapshot_directory import sweep_snapshots
from ops.management.base import DECLINED, FAILED
from ops.runs.context import get_context
from ops.runs.lock import database_lock
from tests.engine_migration import support
from tests.engine_migration.support import BOOKS, Database
from tests.engine_migration.test_interruptions import start_and_stop_at
from tests.support import forked

DIE_AT = """
import os, signal, sys
import django
django.setup()
from ops.engine_migration.to_postgres import pipeline
from ops.databases.sqlite import snapshot
from tests.support.replayed_migrations import replay_in_this_program
replay_in_this_program()
when, place, name = sys.argv[1].split()
holder = {"pipeline": pipeline, "snapshot": snapshot, "prepared": pipeline.PreparedFile}[place]
real = getattr(holder, name)

def die(*arguments, **named):
    if when == "after":
        real(*arguments, **named)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(holder, name, die)
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "migrate_to_postgres", *sys.argv[2:]])
"""
"""The command, which dies before or after it calls a function."""
COPYING, COPIED = "before snapshot check_pages", "after pipeline take_snapshot"
LOADED, SWAPPED = "after pipeline copy_and_verify", "before prepared keep_copy"


def kill_at(point: str, path: Path, database: Database, *arguments: str) -> None:
    (path.parent / "temporary").mkdir(exist_ok=True)
    killed = forked.run(
        ["-c", DIE_AT, point, *support.command(path, database, *arguments)[5:]],
        env=support.environment(path.parent) | {"TMPDIR": str(path.parent / "temporary")},
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr


def left_in(*places: Path) -> list[Path]:
    return [path for place in places for path in place.rglob("*.sqlite3*")]


@pytest.mark.parametrize(
    ("point", "options"),
    [
        pytest.param(point, options, marks=[] if is_ordinary else pytest.mark.slow)
        for point, options, is_ordinary in (
            (COPYING, ["--dry-run"], True),
            (COPIED, ["--dry-run"], False),
            (COPIED, ["--yes", "--no-backup"], True),
            (LOADED, ["--yes", "--no-backup"], False),
            (COPYING, ["--yes"], False),
            (LOADED, ["--yes"], False),
            (SWAPPED, ["--yes"], True),
        )
    ],
)
def test_copy_of_a_killed_migration_is_deleted_by_the_next_run(
    library: Path, database: Database, monkeypatch: pytest.MonkeyPatch, point: str, options: list[str]
) -> None:
    only = support.only(library, *BOOKS)
    kill_at(point, library, database, *options, *only)
    places = library.parent / "backups", library.parent / "temporary"
    (copy,) = left_in(*places)
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))
    outcome = support.run(library, database, *only)
    assert f"Deleted {copy.parent}, the working directory of a killed run.\n" in outcome.out
    assert left_in(*places) == []
    assert list((library.parent / "backups").glob("*.ops-work-*")) == []
    assert outcome.code == (FAILED if point == SWAPPED else DECLINED), "the killed migration has filled the database"


def test_copy_is_deleted_by_any_run_and_the_start_of_a_worker(library: Path, database: Database) -> None:
    """A worker that starts holds the lock, too."""
    kill_at(COPIED, library, database, "--yes")
    (copy,) = left_in(library.parent / "backups")
    with database_lock(get_context(), "a worker") as cleaned_up:
        assert cleaned_up == (f"Deleted {copy.parent}, the working directory of a killed run.",)
    assert left_in(library.parent / "backups") == []


def test_killed_and_running_migrations_are_told_apart(library: Path, database: Database) -> None:
    only = support.only(library, *BOOKS)
    kill_at(COPIED, library, database, "--dry-run", *only)
    process = start_and_stop_at(Stage.SCHEMA, library, database, *only)
    support.finish(process, signal.SIGKILL)
    process = start_and_stop_at(Stage.SCHEMA, library, support.database_named(support.new_name()), *only)
    backups = library.parent / "backups"
    (running,) = left_in(backups)
    assert sweep_snapshots(backups) == ()
    assert left_in(backups) == [running]
    support.finish(process, signal.SIGKILL)
    assert sweep_snapshots(backups) == (f"Deleted {running.parent}, the working directory of a killed run.",)


def test_without_a_backup_directory_the_copy_is_made_elsewhere(
    library: Path, database: Database, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Only a copy that is not kept."""
    settings.BACKUP_DIR = library
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    support.alter(library, "UPDATE everything SET day = 'someday' WHERE id = 1")
    outcome = support.run(library, database, "--yes", "--no-backup", *support.only(library, "everything"))
    assert (outcome.code, outcome.error) == (2, "")
    assert Path(outcome.document["findings"]["file"]).parent == tmp_path
    assert left_in(tmp_path) == []


# --- Working directories ------------------------------------------------------------------------------------------
def test_working_directory_that_is_deleted_before_it_is_locked_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a program that takes it for one of a killed program."""
    real, swept = workdir.locked, list[Path]()

    def too_late(directory: Path) -> Any:
        if not swept:
            monkeypatch.setattr(workdir, "locked", real)
            swept.extend(sweep(tmp_path, of="lab.db"))
        return real(directory)

    monkeypatch.setattr(workdir, "locked", too_late)
    with working_directory(tmp_path, of="lab.db") as directory:
        assert swept
        assert swept != [directory]
        assert sweep(tmp_path, of="lab.db") == []
        assert directory.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_sweep_deletes_only_directories_of_this_user_and_name(tmp_path: Path) -> None:
    places = tmp_path / "swept", tmp_path / "precious"
    for place in places:
        place.mkdir()
        (place / "file").touch()
    swept, precious = places
    (swept / "lab.db.ops-work-link").symlink_to(precious)
    (swept / "lab.db.ops-work-file").touch()
    for name in ("other.db.ops-work-a", "lab.db.ops-work-stranger", "lab.db.ops-work-ours"):
        (swept / name).mkdir()
        (swept / name / "copy").touch()
    if os.geteuid() == 0:
        os.chown(swept / "lab.db.ops-work-stranger", 12345, 12345)
    else:
        (swept / "lab.db.ops-work-stranger").rename(swept / "stranger")
    assert sweep(swept, of="lab.db") == [swept / "lab.db.ops-work-ours"]
    assert (precious / "file").exists()
    assert len(list(swept.iterdir())) == 5
    assert sweep(tmp_path / "missing", of="lab.db") == []
