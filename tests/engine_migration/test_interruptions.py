"""Killed, interrupted, cut off or refused at any moment, the target is unchanged and the next run succeeds."""

import contextlib
import itertools
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from ops.databases.postgres import databases, lock, rename
from ops.engine_migration import compared_tables
from ops.engine_migration.to_postgres import copying, loading, pipeline
from ops.engine_migration.to_postgres import target as targets
from ops.engine_migration.to_postgres.loading import Loader
from ops.engine_migration.to_postgres.snapshot_directory import sweep_snapshots
from ops.engine_migration.to_postgres.target import inspect_target
from ops.errors import AlreadyRunning, PreconditionFailed
from ops.models import Run
from ops.runs import event_log
from ops.runs.context import get_context
from ops.utils import posix_signals
from ops.utils.progress import Stage
from tests.engine_migration import support
from tests.engine_migration.support import BOOKS, Database
from tests.support.forked import Process

STAGES = [Stage.SCHEMA, Stage.COPY, Stage.BUILD, Stage.VERIFY, Stage.CUT_OVER]
KILLED = {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 130}
STOP_AT = """
import os, signal, sys
import django
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
django.setup()
from ops.management import execution
from ops.management.handlers import migrate_to_postgres as handler
from ops.management.progress import LineReporter
from tests.support.replayed_migrations import replay_in_this_program
replay_in_this_program()
class Stopping(LineReporter):
    def __call__(self, report):
        super().__call__(report)
        if report.stage == sys.argv[1] and (report.item or report.stage in ("schema", "cut-over")):
            print("here", flush=True)
            sys.stdin.readline()
handler.get_reporter = execution.get_reporter = Stopping
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "migrate_to_postgres", *sys.argv[2:]])
"""
"""The command, which waits at its first report of a stage for a line of input."""


def start_and_stop_at(stage: str, path: Path, database: Database, *arguments: str) -> Process:
    """A process that waits within `stage`, having begun its work there."""
    return support.start_and_wait(
        STOP_AT, stage, support.command(path, database, "--yes", *arguments)[5:], support.environment(path.parent)
    )


SIGNALS = list(itertools.product(STAGES, KILLED))
SOME = [
    (Stage.COPY, signal.SIGINT),
    (Stage.VERIFY, signal.SIGKILL),
    (Stage.CUT_OVER, signal.SIGTERM),
    (Stage.CUT_OVER, signal.SIGKILL),
]


@pytest.mark.parametrize("moments", [SOME, pytest.param(SIGNALS, marks=pytest.mark.slow)], ids=["some", "all"])
def test_interrupted_migrations_leave_the_target_unchanged(
    library: Path, database: Database, moments: list[tuple[Stage, signal.Signals]]
) -> None:
    """One after the other; then one succeeds."""
    only = support.only(library, *BOOKS)
    for stage, number in moments:
        process = start_and_stop_at(stage, library, database, *only)
        code, error = support.finish(process, number)
        assert code == KILLED[number], (stage, number)
        assert database.tables() == [], (stage, number)
        if number != signal.SIGKILL:
            assert error.strip() == "CommandError: Interrupted. Nothing was changed.", (stage, number)
            assert support.staging_databases(database.name) == [], (stage, number)
    support.migrate(library, database, *only)
    assert support.staging_databases(database.name) == []
    assert database.value("SELECT count(*) FROM otherproject_book") == 5


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)], ids=lambda number: number.name
)
@pytest.mark.parametrize("stage", [pytest.param(Stage.COPY, marks=pytest.mark.slow), Stage.CUT_OVER])
def test_interrupted_transaction_of_a_role_without_createdb_leaves_nothing(
    library: Path, small: Database, database: Database, stage: Stage, number: signal.Signals
) -> None:
    only = support.only(library, *BOOKS)
    process = start_and_stop_at(stage, library, small, *only)
    code, _ = support.finish(process, number)
    assert code == KILLED[number]
    assert database.tables() == []
    support.migrate(library, small, *only)
    assert database.value("SELECT count(*) FROM otherproject_book") == 5


def test_a_second_run_at_once_is_refused_and_leaves_the_copy_of_the_first(library: Path, database: Database) -> None:
    backups = library.parent / "backups"
    process = start_and_stop_at(Stage.COPY, library, database, *support.only(library, *BOOKS))
    try:
        (copy,) = backups.rglob("*.sqlite3*")
        assert sweep_snapshots(backups) == ()
        outcome = support.run(library, database, "--yes")
        assert outcome.code == 4
        assert re.fullmatch(
            rf"Another operation on the database {database.name} is running"
            r" \(server process \d+, since \d{4}-\d\d-\d\d \d\d:\d\d UTC\)\.\n"
            r"Wait until it has ended, or stop it, and run the command again\.",
            outcome.error,
        )
        assert len(support.staging_databases(database.name)) == 1
        assert copy.exists()
    finally:
        output, error = process.communicate("\n" * 500, timeout=60)
    assert (process.returncode, error) == (0, "")
    assert "Done." in output
    assert database.value("SELECT count(*) FROM otherproject_book") == 5
    (kept,) = backups.rglob("*.sqlite3*")
    assert kept == copy.parents[1] / copy.name, "the verified copy"
    assert list(backups.glob("*.ops-work-*")) == []


def test_operations_on_two_databases_do_not_block_each_other(database: Database, nowhere: Database) -> None:
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(databases.maintenance_connection(database.address))
        second = stack.enter_context(databases.maintenance_connection(nowhere.address))
        stack.enter_context(lock.locked(first, database.name))
        stack.enter_context(lock.locked(second, nowhere.name))
        with pytest.raises(AlreadyRunning), lock.locked(second, database.name):
            pass


@pytest.mark.parametrize("suffix", [targets.NEW_SUFFIX, databases.EMPTIED])
@pytest.mark.parametrize(
    "mark",
    [
        "",
        "COMMENT ON DATABASE {} IS 'made by ops; may be dropped'",
        f"ALTER DATABASE {{}} CONNECTION LIMIT {databases.OPS_CONNECTION_LIMIT}",
    ],
)
def test_existing_database_with_the_staging_name_is_not_dropped(database: Database, suffix: str, mark: str) -> None:
    """A database of another program may have the same name, and even the comment, which a dump may write."""
    theirs = support.create(databases.suffixed_name(database.name, suffix))
    theirs.rows("CREATE TABLE precious ()")
    if mark:
        theirs.rows(mark.format(theirs.name))
        theirs.rows(mark.format(database.name))
    with pytest.raises(PreconditionFailed) as refused, support.replaced(database.address):
        pass
    assert str(refused.value) == (
        f"The database {theirs.name} exists already. Nothing was changed.\n"
        f'Choose another name, or examine that database and drop it: DROP DATABASE "{theirs.name}";'
    )
    assert theirs.tables() == ["precious"]
    assert database.tables() == []


def test_run_killed_after_creating_its_database_is_cleaned_up(library: Path, database: Database) -> None:
    """CREATE DATABASE and its comment are two statements."""
    new = databases.suffixed_name(database.name, targets.NEW_SUFFIX)
    context = get_context()
    killed = Run(kind="migration", status="running", requested_by="jane", database=context.engine.database)
    event_log.record(context.repository, event_log.STARTED, killed)
    event_log.record(context.repository, event_log.CLAIMED, killed, database=new, target=str(database.address))
    with databases.maintenance_connection(database.address) as connection:
        databases.create_staging(connection, new, None)
    support.server().rows(f"COMMENT ON DATABASE {new} IS NULL")
    support.server().rows(f"ALTER DATABASE {new} CONNECTION LIMIT {databases.OPS_CONNECTION_LIMIT}")
    support.migrate(library, database, *support.only(library, *BOOKS))
    assert support.staging_databases(database.name) == []
    assert database.value("SELECT datconnlimit FROM pg_database WHERE datname = current_database()") == -1


# --- Connections that break ---------------------------------------------------------------------------------
def test_broken_connections_fail_with_a_message(
    library: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While rows are copied, while they are compared, and that of the lock."""
    only = support.only(library, *BOOKS)
    for module, step in ((copying, "stream"), (compared_tables, "value_in_line")):
        with monkeypatch.context() as patch:
            patch.setattr(module, step, after_the_end_of_sessions(database, getattr(module, step)))
            outcome = support.run(library, database, "--yes", *only)
        assert outcome.code == 1, step
        assert re.fullmatch(
            r"PostgreSQL ended the migration: "
            r"(terminating connection due to administrator command|server closed the connection unexpectedly)\."
            rf" The database {database.address} is unchanged\.\n"
            r"Run the command again\. If it fails again, read the server's log\.",
            outcome.error,
        ), step
        assert database.tables() == [], step
        assert support.staging_databases(database.name) == [], step
    # The connection that would have swapped the databases is gone; the next run cleans up.
    with monkeypatch.context() as patch:
        patch.setattr(Loader, "finish", before_the_end_of_the_lock(database, Loader.finish))
        outcome = support.run(library, database, "--yes", *only)
    assert outcome.code == 1
    assert outcome.error.startswith(("PostgreSQL ended the migration: ", "The new database could not be renamed to "))
    assert database.tables() == []
    support.migrate(library, database, *only)
    assert support.staging_databases(database.name) == []


def before_the_end_of_the_lock(database: Database, real: Callable[[Loader], Any]) -> Callable[[Loader], Any]:
    def cut(loader: Loader) -> Any:
        result = real(loader)
        support.end_lock_session(database.name)
        return result

    return cut


def after_the_end_of_sessions(database: Database, real: Callable[..., Any]) -> Callable[..., Any]:
    """`real`, after the server has ended the sessions of the staging database."""

    def cut(*arguments: Any) -> Any:
        support.server().rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY(%s)",
            [support.staging_databases(database.name)],
        )
        return real(*arguments)

    return cut


def test_error_of_postgresql_fails_with_a_message(
    library: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = copying.copy_table

    def copy(**arguments: Any) -> None:
        assert real(**arguments) is None
        if arguments["table"].name == "otherproject_tag":
            with arguments["target"].cursor() as cursor:
                cursor.execute("INSERT INTO otherproject_tag VALUES ('a')")

    monkeypatch.setattr(loading, "copy_table", copy)
    outcome = support.run(library, database, "--yes", *support.only(library, "otherproject_tag"))
    assert (outcome.code, outcome.error) == (
        1,
        (
            'PostgreSQL ended the migration: could not create unique index "otherproject_tag_pkey"'
            f" (Key (name)=(a) is duplicated.). The database {database.address} is unchanged.\n"
            "Run the command again. If it fails again, read the server's log."
        ),
    )
    assert support.staging_databases(database.name) == []


# --- A fault at every statement (SQLite's ioerr.test) -------------------------------------------------------
class Fault(psycopg2.OperationalError):
    """The server says no."""


def fail_at(monkeypatch: pytest.MonkeyPatch, nth: int) -> Callable[[], bool]:
    """From the `nth` statement that changes whole databases on: one fault. Returns whether it came to that."""
    count = 0
    original = rename.rename_all, rename.end_sessions, rename.copy_limits

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count == nth:
                raise Fault("ERROR: injected")
            result = real(*arguments, **named)
            count += 1
            if count == nth:
                raise Fault("ERROR: injected")
            return result

        return call

    for function in original:
        monkeypatch.setattr(rename, function.__name__, counted(function))
    monkeypatch.setattr(targets, "run_migrations", counted(targets.run_migrations))
    monkeypatch.setattr(Loader, "finish", counted(Loader.finish))
    monkeypatch.setattr(pipeline, "add_missing_permissions", counted(pipeline.add_missing_permissions))
    return lambda: count >= nth


@pytest.mark.slow
def test_fault_at_any_step_leaves_all_or_nothing(
    library: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for nth in range(1, 40):
        with monkeypatch.context() as patch:
            happened = fail_at(patch, nth)
            outcome = support.run(library, database, "--yes")
        if not happened():
            break
        assert outcome.code == 1, nth
        assert "injected" in outcome.error, nth
        assert database.tables() == [], nth
        assert support.staging_databases(database.name) == [], nth
    assert nth > 12
    assert outcome.code == 0
    assert database.value("SELECT count(*) FROM otherproject_book") == 5


# --- Too late -----------------------------------------------------------------------------------------------
def test_ctrl_c_after_the_cut_over_is_ignored(
    library: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = databases.drop

    def press(*arguments: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        real(*arguments)

    monkeypatch.setattr(databases, "drop", press)
    outcome = support.migrate(library, database, *support.only(library, *BOOKS))
    assert "Done." in outcome.out
    assert support.staging_databases(database.name) == []


def test_leftover_that_cannot_be_dropped_does_not_fail_the_swap(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: Any) -> None:
        raise Fault("ERROR: injected")

    monkeypatch.setattr(databases, "drop", refuse)
    with support.replaced(database.address):
        pass
    assert "otherproject_book" in database.tables()


def test_signal_handlers_are_restored() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with posix_signals.ignore_interrupts():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interrupt_oneself()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def interrupt_oneself() -> None:
    with posix_signals.sigterm_as_interrupt():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)


def test_inspect_target_changes_nothing(database: Database) -> None:
    before = support.server().rows("SELECT datname, oid FROM pg_database WHERE datname = %s", [database.name])
    inspect_target(database.address)
    assert support.server().rows("SELECT datname, oid FROM pg_database WHERE datname = %s", [database.name]) == before
    assert database.tables() == []
