"""The runs that a worker executes for the page of the migration to SQLite, on the live PostgreSQL database."""

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from homerack.inventory.models import Brand
from ops import operations
from ops.databases.migration_state import run_migrations
from ops.engine_migration.to_sqlite import target
from ops.errors import Cancelled, OpsError
from ops.maintenance import mode_from_settings
from ops.models import Run
from ops.operations.sqlite_files import name_of_file
from ops.runs.context import get_context
from ops.runs.descriptions import describe
from ops.runs.results import PreflightResult, SqliteMigrationResult, read_result
from ops.utils.progress import Progress, Stage
from tests.support.replayed_migrations import replaying

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def replayed_migrations_of_file(monkeypatch: pytest.MonkeyPatch, statements_of_migrate: Path) -> None:
    monkeypatch.setattr(target, "run_migrations", replaying(run_migrations, statements_of_migrate))


@pytest.fixture(autouse=True)
def lab() -> None:
    Brand.objects.create(name="Acme", slug="acme")
    Group.objects.create(name="Guests")
    hourly = IntervalSchedule.objects.create(every=1, period="hours")
    PeriodicTask.objects.create(name="Hourly", task="ops.tasks.back_up", interval=hourly)


def execute(statement: str) -> None:
    """As another program does."""
    with contextlib.closing(psycopg2.connect(**connection.get_connection_params())) as other:
        with other.cursor() as cursor:
            cursor.execute(statement)
        other.commit()


def during(stage: Stage, do: Callable[[], object]) -> Callable[[Progress], None]:
    """Calls `do` when the run reports this stage for the first time."""
    done: list[Progress] = []

    def on_progress(progress: Progress) -> None:
        if progress.stage is stage and not done:
            done.append(progress)
            do()

    return on_progress


def make(on_progress: Any = lambda _progress: None) -> tuple[Run, Any]:
    """Make a file as a worker does. Returns the run, and its result or error."""
    run = Run.objects.create(kind=Run.Kind.MIGRATION_TO_SQLITE, requested_by="ada", origin=Run.Origin.ADMIN)
    outcome: Any
    try:
        outcome = operations.make_sqlite_file(get_context(), run, on_progress)
    except OpsError as error:
        outcome = error
    run.refresh_from_db()
    return run, outcome


def files_in(storage: Path) -> list[str]:
    return sorted(path.name for path in (storage / "sqlite").iterdir())


def rows_of(file: Path, query: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(file)) as opened:
        return opened.execute(query).fetchall()


def test_file_has_the_rows_and_replaces_the_earlier_one(storage: Path) -> None:
    seen: list[Any] = []
    first, _ = make()
    run, result = make(during(Stage.COPY, lambda: seen.append(mode_from_settings().read())))
    assert (run.status, run.error) == ("succeeded", "")
    assert files_in(storage) == [name_of_file(run)] != [name_of_file(first)]
    file = storage / "sqlite" / name_of_file(run)
    assert result.target == str(file)
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert rows_of(file, "SELECT name FROM brands") == [("Acme",)]
    assert rows_of(file, "SELECT count(*) FROM django_session") == [(0,)]
    # Writes were blocked meanwhile, and are not any more.
    assert seen[0].reason == "The database is being migrated to a SQLite file."
    assert mode_from_settings().read() is None
    # The record is complete, and the file is no backup.
    stored = read_result(run.kind, run.result)
    assert isinstance(stored, SqliteMigrationResult)
    assert "are only in PostgreSQL." in describe(stored)[-1]
    assert get_context().repository.records() == []


def test_rows_of_the_scheduler_may_be_written_meanwhile(storage: Path) -> None:
    run, _ = make(
        during(
            Stage.COPY,
            lambda: execute("UPDATE django_celery_beat_periodictask SET last_run_at = now(), enabled = true"),
        )
    )
    assert run.status == "succeeded"
    assert files_in(storage) == [name_of_file(run)]


def test_row_that_is_written_meanwhile_fails_the_run_and_leaves_the_earlier_file(storage: Path) -> None:
    earlier, _ = make()
    run, error = make(during(Stage.VERIFY, lambda: execute("UPDATE auth_group SET name = name || '!'")))
    assert run.status == "failed"
    assert error.message.startswith("Rows of auth_group were written during the migration. There is no file ")
    assert error.hint.startswith(
        "Requests that write were blocked, so a command, a task, another program, or a request"
    )
    assert "Stop the site, so that" not in error.hint
    assert files_in(storage) == [name_of_file(earlier)]
    assert mode_from_settings().read() is None


def test_findings_fail_the_run_and_are_its_result(storage: Path) -> None:
    execute("UPDATE brands SET created_at = 'infinity'")
    run, result = make()
    assert (run.status, name_of_file(run), files_in(storage)) == ("failed", "", [])
    (findings,) = storage.glob("*_findings.csv")
    assert run.error.startswith("Not all rows can be migrated. There is no file ")
    assert run.error.endswith(f" All findings: {findings}")
    assert "--quarantine DIR" in run.hint
    stored = read_result(run.kind, run.result)
    assert isinstance(stored, SqliteMigrationResult)
    assert stored == result
    assert stored.blocked_by
    assert [(group.table, group.column, group.count) for group in stored.blocked_by.groups] == [
        ("brands", "created_at", 1)
    ]
    assert describe(stored) == ["SQLite would refuse or change 1 value."]


def test_cancelled_run_leaves_the_earlier_file(storage: Path) -> None:
    earlier, _ = make()

    def cancel() -> None:
        raise Cancelled("Cancelled.")

    run, _ = make(during(Stage.VERIFY, cancel))
    assert run.status == "cancelled"
    assert mode_from_settings().read() is None
    assert files_in(storage) == [name_of_file(earlier)]


def test_preflight_on_postgresql_tries_the_migration_to_sqlite(storage: Path) -> None:
    run = Run.objects.create(kind=Run.Kind.PREFLIGHT, requested_by="ada", origin=Run.Origin.ADMIN)
    result = operations.preflight(get_context(), run)
    assert isinstance(result, PreflightResult)
    assert (result.reader, result.acceptable, result.not_tried) == ("SQLite", True, "")
    assert result.estimate > 0
    assert files_in(storage) == []
    assert {stage["stage"] for stage in run.stages} >= {"snapshot", "copy", "verify"}


KILLED = """
import os, signal, sys
from pathlib import Path
from ops.databases.sqlite.workdir import working_directory
with working_directory(Path(sys.argv[1]), of="lab_20261130_160000_3fa2.sqlite3") as directory:
    (directory / "rows").write_text("secret")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_next_run_deletes_what_a_killed_one_has_left(storage: Path) -> None:
    folder = storage / "sqlite"
    folder.mkdir(parents=True)
    subprocess.run([sys.executable, "-c", KILLED, folder], check=False)
    assert len(files_in(storage)) == 1
    run = Run(kind=Run.Kind.PRUNE, requested_by="ada")
    operations.prune(get_context(), run)
    assert files_in(storage) == []
    assert [sentence for sentence in run.recovered if "the working directory of a killed run" in sentence]


def test_directory_that_cannot_be_used_is_named(storage: Path) -> None:
    storage.mkdir(parents=True)
    (storage / "sqlite").write_text("a file")
    run, error = make()
    assert run.status == "failed"
    assert error.message.startswith(f"The directory {storage / 'sqlite'} cannot be used: ")
    assert "BACKUP_DIR" in error.hint
