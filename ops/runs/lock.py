"""One operation at a time on a database: its lock, whose holder first cleans up after the runs that were killed.

The lock ends with the process. So a run without an end, on a database whose lock is free, was killed.
"""

import contextlib
import datetime as dt
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

from django.db import DEFAULT_DB_ALIAS

from ops.backups.engines.base import Engine
from ops.backups.event_files import EVENTS
from ops.backups.locations.catalog import BackupCatalog
from ops.backups.storage.local import NEW_OR_OLD_FILE
from ops.conf import conf
from ops.databases.sqlite.lock import held
from ops.engine_migration.to_postgres.snapshot_directory import sweep_snapshots
from ops.engine_migration.to_sqlite.directory import sweep_directory
from ops.errors import AlreadyRunning
from ops.health.replacement import Finding, describe_unanswered, find_contradiction
from ops.models import Run
from ops.notifications import alerts
from ops.runs import event_log, index
from ops.runs.context import OpsContext
from ops.runs.recorder import query_with_timeout, unrecorded
from ops.utils import clock

PARTLY: Mapping[str, str] = {
    Run.Kind.COPY: "; copies that were complete by then stay",
    Run.Kind.PRUNE: "; some backups may have been deleted",
    Run.Kind.DELETION: "; the backup may have been deleted",
    Run.Kind.DROP_PREVIOUS: "; the previous database may have been dropped",
    Run.Kind.SQLITE_DELETION: "; the file may have been deleted",
}
"""What else is known of a killed run, by its kind."""
TARGET = "; the database that it was to fill is as before, or complete"
"""What is known of a killed migration to PostgreSQL."""
UNANSWERED = "has ended without an answer to its cut-over"
CLEANING_UP = "cleaning up"
"""The holder of the lock that is no run, but looks for killed ones: each worker does so at its start."""
LONGEST_CLEAN_UP = 10.0
"""Seconds that others wait for it."""
COPYING = "locations/copying.lock"
"""The lock of runs that copy backups, in BACKUP_DIR."""


@contextlib.contextmanager
def database_lock(context: OpsContext, holder: str) -> Iterator[tuple[str, ...]]:
    """Hold the lock of the database during the block, which gets a sentence for each thing that was cleaned up.

    `holder` is for the message of others. Raises AlreadyRunning while another run holds the lock, and
    PreconditionFailed if the storage does not take the records.
    """
    with contextlib.ExitStack() as stack:
        _enter_lock(stack, context.engine, f"{holder} on {socket.gethostname()}")
        try:
            recovered = _clean_up(context.engine, context.repository)
        except OSError as error:
            raise unrecorded(error) from error
        yield recovered


def _enter_lock(stack: contextlib.ExitStack, engine: Engine, holder: str) -> None:
    """Take the lock of the database, and wait for a process that only cleans up."""
    deadline = time.monotonic() + LONGEST_CLEAN_UP
    while True:
        try:
            stack.enter_context(engine.locked(holder))
        except AlreadyRunning as error:
            if not error.holder.startswith(CLEANING_UP) or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


@contextlib.contextmanager
def copies_lock(context: OpsContext, holder: str) -> Iterator[tuple[str, ...]]:
    """As `database_lock`, for copying: one process at a time writes to the other storage locations."""
    with context.repository.directory.folder(COPYING, create=True) as (folder, last):
        descriptor = os.open(last, NEW_OR_OLD_FILE, 0o600, dir_fd=folder)
    busy = "Backups are being copied already"
    with held(descriptor, f"{holder} on {socket.gethostname()}", busy=busy):
        context.repository.directory.sweep(EVENTS)
        killed = _killed(_unended_events(context.engine, context.repository, copying=True))
        yield _mark_interrupted(killed, context.repository) if killed else ()


def _unended_events(engine: Engine, repository: BackupCatalog, *, copying: bool) -> list[event_log.Event]:
    """Events of runs on this database that hold, or held, the lock in question."""
    return [
        event
        for event in repository.unended_events()
        if event.get("database") == engine.database and (event.get("kind") == Run.Kind.COPY) == copying
    ]


def _killed(events: Iterable[event_log.Event]) -> list[Run]:
    return [run for run in event_log.read_runs(events).values() if not run.is_finished]


def _clean_up(engine: Engine, repository: BackupCatalog) -> tuple[str, ...]:
    """The caller has the lock, so every run on this database without an end was killed."""
    repository.directory.sweep(EVENTS)
    events = _unended_events(engine, repository, copying=False)
    swept = (
        *repository.sweep(event_log.claimed_files(events)),
        *sweep_snapshots(conf.BACKUP_DIR),
        *sweep_directory(conf.BACKUP_DIR),
    )
    # Before the runs are closed: if this process is killed here, the next run still finds their claims.
    claimed = event_log.claimed_databases(events)
    # Migrations to this database have claimed names under its address, which may be written in several ways.
    claimed |= event_log.claimed_before(repository, {*engine.leftovers()} - claimed)
    dropped = engine.sweep(claimed)
    event_log.record_swept(repository, events)
    killed = _killed(events)
    _keep_other_claims(killed, events, repository)
    interrupted = _mark_interrupted(killed, repository, server=engine.replaced_server()) if killed else ()
    return (*interrupted, *_correct_replacement(repository), *swept, *dropped)


def _keep_other_claims(killed: Iterable[Run], events: Sequence[event_log.Event], repository: BackupCatalog) -> None:
    """Databases that killed runs claimed on other servers stay claimed when the runs are closed.

    The next migration to the same target drops them (`RunRecorder.left_databases`).
    """
    for run in killed:
        own = [event for event in events if event.get("run") == str(run.pk) and event.get("target")]
        for target in {str(event["target"]) for event in own}:
            for name in event_log.claimed_databases(own, target=target):
                event_log.record(repository, event_log.LEFT, run, database=name, target=target)


def _mark_interrupted(
    killed: Sequence[Run], repository: BackupCatalog, *, server: str | None = None
) -> tuple[str, ...]:
    """Record the end of these runs, and which have replaced the database of `server`. Returns a sentence for each."""
    rows = query_with_timeout(lambda: Run.objects.in_bulk([run.pk for run in killed]))
    if isinstance(rows, BaseException):
        # Only the database shows whether a restore was applied; the next run closes it.
        return tuple(
            f"{describe_request(run)} was killed; its state is unknown until the database answers." for run in killed
        )
    unanswered = {run.pk for run in killed if _is_unanswered(run)}
    closed = [_closed(run, rows.get(run.pk)) for run in killed]
    for run in closed:
        if server is not None and run.applied:
            event_log.record_replaced(repository, run, server=server, database=run.database)
        elif server is not None:
            event_log.record_not_replaced(repository, run.pk, server=server, database=run.database)
        event_log.record(repository, event_log.ENDED, run)
    query_with_timeout(partial(_write_rows, closed))
    alerts.notify_runs(closed)
    return tuple(
        f"{describe_request(run)} {UNANSWERED if run.pk in unanswered else 'was killed'}."
        f" It was marked as {run.get_status_display()}."
        for run in closed
    )


def _is_unanswered(run: Run) -> bool:
    """Whether the run has ended without an answer to its cut-over: a killed one has no error."""
    return bool(run.error)


def _write_rows(runs: Iterable[Run]) -> None:
    for run in runs:
        index.write_run(run)


def _closed(run: Run, row: Run | None) -> Run:
    """How the killed `run` ended, according to its row in the live database."""
    if row and row.is_finished:
        return row
    if _is_unanswered(run):
        return _answered(run, is_done=bool(row and row.applied))
    error = f"The process {run.pid} on {run.host} was killed."
    run = row or run
    run.finished_at = clock.now()
    run.status, run.error = Run.Status.INTERRUPTED, error
    partly = TARGET if run.kind == Run.Kind.MIGRATION else PARTLY.get(run.kind, "")
    run.hint = f"The database is unchanged{partly}. Start the run again."
    if run.applied:
        run.status, run.hint = Run.Status.SUCCEEDED, "The restored database was already live."
    return run


def _answered(run: Run, *, is_done: bool) -> Run:
    """How `run` has ended, of whose cut-over that was not known."""
    run.finished_at = run.finished_at or clock.now()
    run.applied = is_done
    if is_done:
        run.status, run.error, run.hint = Run.Status.SUCCEEDED, "", describe_unanswered(run, is_done=True)
    else:
        run.status, run.error = Run.Status.FAILED, describe_unanswered(run, is_done=False)
        run.hint = event_log.again(run)
    return run


def _correct_replacement(repository: BackupCatalog) -> tuple[str, ...]:
    """Record what the live database shows of the last restore, undo or migration, and the record does not say."""
    found = query_with_timeout(partial(find_contradiction, DEFAULT_DB_ALIAS, repository))
    if found is None or isinstance(found, BaseException):
        return ()
    key, where = found.replacement.run, {"server": found.server, "database": found.database}
    run = event_log.read_runs(repository.events(str(key))).get(key)
    if run is None:
        event_log.record_not_replaced(repository, key, **where)
        return ()
    match found.finding:
        case Finding.LOST:
            run = event_log.record_lost(repository, run, **where)
            sentence = run.error
        case Finding.FOUND_AGAIN:
            run.status, run.error, run.hint = Run.Status.SUCCEEDED, "", ""
            event_log.record_replaced(repository, run, **where)
            sentence = f"{describe_request(run)} had been lost. The live database has it again."
        case Finding.DONE | Finding.NOT_DONE:
            run = record_answer(repository, run, is_done=found.finding is Finding.DONE, **where)
            sentence = f"{describe_request(run)} {UNANSWERED}. It was marked as {run.get_status_display()}."
    query_with_timeout(partial(_write_rows, [run]))
    alerts.notify_runs([run])
    return (sentence,)


def record_answer(repository: BackupCatalog, run: Run, *, is_done: bool, server: str, database: str) -> Run:
    """Record whether `run` has replaced `database`, which was not known. Returns it as it has ended."""
    run = _answered(run, is_done=is_done)
    if is_done:
        event_log.record_replaced(repository, run, server=server, database=database)
    else:
        event_log.record_not_replaced(repository, run.pk, server=server, database=database)
    event_log.record(repository, event_log.ENDED, run)
    return run


def describe_request(run: Run) -> str:
    where = f"started on {run.host}" if run.host else "requested"
    when = format_minute(run.started_at or run.requested_at)
    return f"The {run.get_kind_display()} that {run.requested_by} {where} at {when}"


def format_minute(moment: dt.datetime) -> str:
    return f"{moment.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"
