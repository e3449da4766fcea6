"""Killed, interrupted or cut off at any moment, there is no file or the complete one, and the next run succeeds."""

import contextlib
import itertools
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from ops.databases.postgres import databases, lock
from ops.engine_migration import compared_tables
from ops.engine_migration.to_sqlite import copying, loading, pipeline, target
from ops.notifications import alerts
from ops.utils.progress import Stage
from tests.engine_migration import support
from tests.engine_migration.support import Database
from tests.engine_migration.to_sqlite.support import back, books_in, come_back, command, left_in
from tests.support.backend import eventually
from tests.support.forked import Process
from tests.support.slow import slow_except

STAGES = [Stage.SNAPSHOT, Stage.SCHEMA, Stage.PREFLIGHT, Stage.COPY, Stage.BUILD, Stage.VERIFY, Stage.CUT_OVER]
STEPS = ["before link", "after link", "after sync"]
"""Of the cut-over."""
KILLED = {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 130}
STOP_AT = """
import signal, sys
import django
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
django.setup()
from ops.engine_migration.to_sqlite import target
from ops.management import execution
from ops.management.handlers import migrate_to_sqlite as handler
from ops.management.progress import LineReporter
from tests.support.replayed_migrations import replay_in_this_program
replay_in_this_program()
WITHOUT_ITEMS = ("snapshot", "schema", "cut-over")
def stop():
    print("here", flush=True)
    sys.stdin.readline()
class Stopping(LineReporter):
    def __call__(self, report):
        super().__call__(report)
        if report.stage == sys.argv[1] and (report.item or report.stage in WITHOUT_ITEMS):
            stop()
handler.get_reporter = execution.get_reporter = Stopping
real = target.sync
def sync(path):
    if path.is_dir():
        if sys.argv[1] == "after link": stop()
        real(path)
        if sys.argv[1] == "after sync": stop()
    else:
        real(path)
        if sys.argv[1] == "before link": stop()
target.sync = sync
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", *sys.argv[2:]])
"""
"""The command, which waits at its first report of a stage, or at a step of the cut-over, for a line of input."""
DIGEST = """
SELECT string_agg(md5(query_to_xml(format('SELECT * FROM %I ORDER BY 1', tablename), true, true, '')::text), '')
FROM pg_tables WHERE schemaname = 'public'
"""
OURS = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name <> 'test'"


def start_and_stop_at(stage: str, path: Path, database: Database, *arguments: str) -> Process:
    """A process that waits within `stage`, having begun its work there."""
    return support.start_and_wait(STOP_AT, stage, command(path, database, *arguments), support.environment(path.parent))


MOMENTS = list(itertools.product([*STAGES, *STEPS], KILLED))
SOME = [
    (Stage.PREFLIGHT, signal.SIGTERM),
    (Stage.COPY, signal.SIGINT),
    (Stage.VERIFY, signal.SIGKILL),
    ("before link", signal.SIGKILL),
    ("after link", signal.SIGKILL),
    ("after link", signal.SIGTERM),
]


@pytest.mark.slow
@pytest.mark.parametrize("moments", [SOME, pytest.param(MOMENTS, marks=pytest.mark.slow)], ids=["some", "all"])
def test_interrupted_migrations_leave_no_file_or_the_complete_one(
    lab: Database, new: Path, moments: list[tuple[str, signal.Signals]]
) -> None:
    """One after the other; then one succeeds."""
    before = lab.value(DIGEST)
    for stage, number in moments:
        moment = stage, number
        code, error = support.finish(start_and_stop_at(stage, new, lab), number)
        is_late = stage in STEPS and number != signal.SIGKILL
        assert code == (0 if is_late else KILLED[number]), (moment, error)
        if is_late or stage in ("after link", "after sync"):
            assert books_in(new) == 5, moment
            new.unlink()
        assert not new.exists(), moment
        eventually(lambda: not lab.value(OURS, [lab.name]))
        if number != signal.SIGKILL:
            assert error.strip() == ("" if is_late else "CommandError: Interrupted. Nothing was changed."), moment
            assert left_in(new.parent) == [], moment
        assert lab.value(DIGEST) == before, moment
    come_back(new, lab)
    assert left_in(new.parent) == []
    assert books_in(new) == 5


def test_directory_of_a_killed_run_is_deleted_by_the_next_and_not_that_of_a_running_one(
    lab: Database, new: Path
) -> None:
    """Whatever the file of the next is called: that of the killed one is perhaps never made again."""
    other = new.with_name("other.db")
    process = start_and_stop_at(Stage.PREFLIGHT, other, lab)
    (running,) = left_in(new.parent)
    support.finish(start_and_stop_at(Stage.PREFLIGHT, new, lab), signal.SIGKILL)
    (killed,) = set(left_in(new.parent)) - {running}
    outcome = come_back(new.with_name("third.db"), lab)
    assert f"Deleted {killed}, the working directory of a killed run.\n" in outcome.out
    assert left_in(new.parent) == [running]
    support.finish(process, signal.SIGINT)
    assert left_in(new.parent) == []


def test_a_second_run_at_once_is_refused(lab: Database, new: Path) -> None:
    """For the same file and for another."""
    process = start_and_stop_at(Stage.COPY, new, lab)
    try:
        for path in (new, new.with_name("other.db")):
            outcome = back(path, lab)
            assert outcome.code == 4
            assert outcome.error.startswith("Another operation on ")
            assert outcome.error.endswith("\nWait until it has ended, or stop it, and run the command again.")
        assert len(left_in(new.parent)) == 1
    finally:
        output, error = process.communicate("\n" * 500, timeout=60)
    assert (process.returncode, error) == (0, "")
    assert "Done." in output
    assert books_in(new) == 5


@contextlib.contextmanager
def operation_on(database: Database) -> Iterator[None]:
    with (
        databases.maintenance_connection(database.address) as connection,
        lock.locked(connection, database.name),
    ):
        yield


def test_while_the_source_is_restored_the_migration_is_refused(lab: Database, new: Path) -> None:
    with operation_on(lab):
        outcome = back(new, lab)
    assert outcome.code == 4
    assert re.fullmatch(
        rf"Another operation on the database {lab.name} is running"
        r" \(server process \d+, since \d{4}-\d\d-\d\d \d\d:\d\d UTC\)\.\n"
        r"Wait until it has ended, or stop it, and run the command again\.",
        outcome.error,
    )
    assert not new.exists()


# --- Too late -----------------------------------------------------------------------------------------------------
def test_ctrl_c_after_the_migration_says_that_it_is_done(
    lab: Database, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While notifications are sent."""
    monkeypatch.setattr(alerts, "notify_runs", lambda _runs: os.kill(os.getpid(), signal.SIGINT))
    outcome = back(new, lab)
    assert (outcome.code, outcome.error) == (
        130,
        (
            f"Interrupted after the end of the migration: all rows are in {new}, compared value by value with the"
            " database."
        ),
    )
    assert books_in(new) == 5


# --- Connections that break ---------------------------------------------------------------------------------------
def end_sessions(database: Database, which: str = "true") -> None:
    support.server().rows(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND {which}", [database.name]
    )


def first(action: Callable[[], None], real: Callable[..., Any]) -> Callable[..., Any]:
    """`real`, before which `action` is done."""

    def call(*arguments: Any, **named: Any) -> Any:
        action()
        return real(*arguments, **named)

    return call


PLACES = {
    "preflight": (pipeline, "check_tables"),
    "copy": (copying, "store"),
    "numbers": (loading, "last_number"),
    "verify": (compared_tables, "value_in_line"),
    "sample": (pipeline, "compare_through_django"),
    "cut-over": (pipeline, "changed_tables"),
}
ENDED = (
    r"PostgreSQL ended the migration: "
    r"(terminating connection due to administrator command|server closed the connection unexpectedly|"
    r"connection already closed|cursor already closed|snapshot .* does not exist|invalid snapshot identifier.*)\."
    r" There is no file {}\.\nRun the command again\. If it fails again, read the server's log\."
)


@pytest.mark.parametrize("place", slow_except(list(PLACES), "copy", "cut-over"))
@pytest.mark.parametrize("which", ["true", "application_name = 'ops: snapshot'"], ids=["all", "holder"])
def test_broken_connections_fail_with_a_message(
    lab: Database, new: Path, monkeypatch: pytest.MonkeyPatch, place: str, which: str
) -> None:
    module, name = PLACES[place]
    before = lab.value(DIGEST)
    monkeypatch.setattr(module, name, first(lambda: end_sessions(lab, which), getattr(module, name)))
    outcome = back(new, lab)
    assert outcome.code == 1
    assert re.fullmatch(ENDED.format(re.escape(str(new))), outcome.error), outcome.error
    assert not new.exists()
    assert left_in(new.parent) == []
    assert lab.value(DIGEST) == before
    assert not lab.value(OURS, [lab.name])


def test_server_that_is_gone_at_the_end(lab: Database, new: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop() -> None:
        support.server().rows(f"ALTER DATABASE {lab.name} ALLOW_CONNECTIONS false")

    monkeypatch.setattr(pipeline, "changed_tables", first(stop, pipeline.changed_tables))
    outcome = back(new, lab)
    assert outcome.code == 1
    assert outcome.error.startswith(f"No connection to the database {lab.address}: ")
    assert f" There is no file {new}.\n" in outcome.error
    assert not new.exists()


def test_sessions_that_end_when_the_file_is_there_change_nothing(
    lab: Database, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever has been read has been verified by then. No COMMIT follows."""
    real = target.move_into_place

    def move(file: Path, path: Path) -> None:
        real(file, path)
        end_sessions(lab)
        held = f"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE {lock.HOLDS}"
        assert support.server().rows(held, [lock.RUN.format(lab.name)]) == [(True,)]

    monkeypatch.setattr(target, "move_into_place", move)
    outcome = back(new, lab)
    assert (outcome.code, outcome.error) == (0, "")
    assert books_in(new) == 5


def test_cancelled_statement_fails_with_a_message(lab: Database, new: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here by statement_timeout of the session, as pg_cancel_backend does."""
    real = loading.TableCopier.run

    def run(copier: Any) -> int:
        with copier.source.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = '50ms'; SELECT pg_sleep(5)")
        return real(copier)

    monkeypatch.setattr(loading.TableCopier, "run", run)
    outcome = back(new, lab)
    assert (outcome.code, outcome.error) == (
        1,
        (
            f"PostgreSQL ended the migration: canceling statement due to statement timeout. There is no file {new}.\n"
            "Run the command again. If it fails again, read the server's log."
        ),
    )


def test_run_that_waits_for_a_server_that_does_not_answer_can_be_interrupted(
    lab: Database, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that reads ahead waits there, and Python cannot interrupt it."""

    def wait(copier: Any) -> Iterator[Any]:
        with copier.source.cursor() as cursor:
            threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGINT]).start()
            cursor.execute("SELECT pg_sleep(60)")
        yield []

    monkeypatch.setattr(copying, "PATIENCE", 0.1)
    monkeypatch.setattr(loading.TableCopier, "chunks", wait)
    began = time.monotonic()
    outcome = back(new, lab)
    assert (outcome.code, outcome.error) == (130, "Interrupted. Nothing was changed.")
    assert time.monotonic() - began < 20
    assert left_in(new.parent) == []


# --- Rows that are written meanwhile ------------------------------------------------------------------------------
@pytest.mark.parametrize("place", slow_except(list(PLACES), "preflight"))
def test_rows_that_are_written_meanwhile_fail_the_migration(
    lab: Database, new: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    module, name = PLACES[place]
    change = "UPDATE otherproject_book SET title = title"
    monkeypatch.setattr(module, name, first(lambda: lab.rows(change), getattr(module, name)))
    outcome = back(new, lab)
    assert (outcome.code, outcome.error) == (
        1,
        (
            f"Rows of otherproject_book were written during the migration. There is no file {new}.\n"
            "Stop the site, so that no rows are written meanwhile, and run the command again."
        ),
    )
    assert not new.exists()


def test_migration_waits_for_no_session_that_alters_a_table(
    lab: Database, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That session waits for the snapshot, and whoever reads the table then would wait for that session."""
    sessions: list[threading.Thread] = []

    def alter() -> None:
        with contextlib.suppress(psycopg2.Error):
            lab.rows("ALTER TABLE otherproject_book ADD COLUMN more int")

    def begin() -> None:
        if not sessions:
            sessions.append(threading.Thread(target=alter))
            sessions[0].start()
            eventually(lambda: lab.value("SELECT count(*) FROM pg_locks WHERE NOT granted"))

    monkeypatch.setattr("ops.engine_migration.sessions.LOCK_WAIT", "0.2")
    monkeypatch.setattr(pipeline, "copy_and_verify", first(begin, pipeline.copy_and_verify))
    outcome = back(new, lab)
    assert (outcome.code, outcome.error) == (
        1,
        (
            "Another program has locked a table of PostgreSQL, or waits to change one."
            f" There is no file {new}.\nWait until it has ended (a migration?), and run the command again."
        ),
    )
    sessions[0].join()
