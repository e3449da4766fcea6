"""Everything that the dashboard tells of the database and its backups. Rows and the engine are asked, files are not.

Whoever may not answer (the broker, a storage far away) is asked first and in threads, and is waited for last.
"""

import datetime as dt
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.core.files.storage import InvalidStorageError, storages
from django.db import connection
from django.utils import timezone

from ops.admin.dashboard import next_runs
from ops.admin.dashboard.backup_calendar import first_day
from ops.admin.dashboard.history import History, read_history
from ops.admin.dashboard.summary import BackupStatus, SchedulerState
from ops.conf import conf
from ops.health.backups import Backups, max_age, read_backups
from ops.health.dependencies import ping_beat, ping_redis, ping_worker
from ops.health.results import CheckResult, Status
from ops.models import Backup, Run
from ops.schedules import timetable
from ops.utils.single_flight import Call, shared_calls

PATIENCE = 0.8
"""Seconds for the broker, the worker and the storage together: a little more than workers have to answer."""
Checks = Mapping[str, Call[Any]]


@dataclass(frozen=True, kw_only=True)
class Database:
    """`size` is bytes. `in_use` of `places` connections, in this process alone; None where there is no pool."""

    kind: str
    name: str
    version: str
    size: int
    in_use: int | None
    places: int | None


@dataclass(frozen=True, kw_only=True)
class RestoreTiming:
    """How long the newest restore or restore drill took, and when that was."""

    seconds: float
    when: dt.datetime
    backup: str
    is_drill: bool


@dataclass(frozen=True, kw_only=True)
class DashboardData:
    """What there is. `free` is bytes; None when the storage does not know, or does not answer."""

    facts: BackupStatus
    backups: Backups
    last: Backup | None
    history: History
    database: Database
    restoring: RestoreTiming | None
    free: int | None
    storage_answers: bool


def read_state() -> DashboardData:
    """Seven queries, two more on PostgreSQL for its version and size. Raises Django's database errors."""
    flights = _start_checks()
    now = timezone.now()
    backups, tasks = read_backups(), next_runs.backup_schedules()
    is_running = Run.objects.filter(kind=Run.Kind.BACKUP, status=Run.Status.RUNNING).exists()
    last = Backup.objects.verified().order_by("-taken_at").defer("manifest").first()
    history = read_history(today=timezone.localdate(now), since=_beginning(now), schedules=tasks)
    database, restoring = describe_database(), last_restore()
    # From here on it is waited.
    free = flights["storage"].result(within=PATIENCE)
    when = next_runs.next_due(tasks)
    facts = BackupStatus(
        now=now,
        max_age=max_age(),
        first=backups.first,
        verified=backups.verified,
        restored=backups.restored,
        failed=backups.failed,
        error=backups.error,
        is_running=is_running,
        due=when,
        is_missed=next_runs.is_missed(when, now),
        scheduler=_scheduler_state(flights),
        foreign=backups.foreign,
        newest_foreign=backups.newest_foreign,
    )
    return DashboardData(
        facts=facts,
        backups=backups,
        last=last,
        history=history,
        database=database,
        restoring=restoring,
        free=None if isinstance(free, BaseException) else free,
        storage_answers=not isinstance(free, BaseException),
    )


def _beginning(now: dt.datetime) -> dt.datetime:
    first = first_day(timezone.localdate(now))
    return timezone.make_aware(dt.datetime.combine(first, dt.time()))


# --- Those who may not answer -----------------------------------------------------------------------------------


def _start_checks() -> Checks:
    questions: dict[str, Callable[[], Any]] = {"storage": free_bytes}
    redis, app = conf.REDIS_URL, conf.OPS_CELERY_APP
    if redis and app:
        questions |= {"redis": partial(ping_redis, redis), "worker": partial(ping_worker, app, redis)}
        if timetable.is_installed():
            questions["beat"] = partial(ping_beat, app, redis)
    return {name: shared_calls.run(name, question) for name, question in questions.items()}


def free_bytes() -> int | None:
    """Room in the storage of the backups, where it knows. Raises what the storage raises."""
    try:
        storage = storages["backups"]
    except InvalidStorageError:
        return None
    measure: Callable[[], int | None] | None = getattr(storage, "free_bytes", None)
    return measure() if measure else None


def _scheduler_state(flights: Checks) -> SchedulerState:
    if "redis" not in flights:
        return SchedulerState.NONE
    for name, keeper in (
        ("redis", SchedulerState.BROKER),
        ("worker", SchedulerState.WORKER),
        ("beat", SchedulerState.BEAT),
    ):
        if name in flights and not _is_well(flights[name]):
            return keeper
    return SchedulerState.WELL


def _is_well(flight: Call[CheckResult]) -> bool:
    outcome = flight.result(within=PATIENCE)
    return isinstance(outcome, CheckResult) and outcome.status is Status.HEALTHY


# --- The database -----------------------------------------------------------------------------------------------


def describe_database() -> Database:
    pool: Callable[[], Mapping[str, int] | None] | None = getattr(connection, "pool_status", None)
    status = pool() if pool else None
    kind, version, size = _measured()
    return Database(
        kind=kind,
        name=str(connection.settings_dict["NAME"]).rpartition("/")[2],
        version=version,
        size=size,
        in_use=status["checked_out"] if status else None,
        places=status["pool_size"] if status else None,
    )


def _measured() -> tuple[str, str, int]:
    """Name of the kind, version, bytes."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT current_setting('server_version'), pg_database_size(current_database())")
            version, size = cursor.fetchone()
            return "PostgreSQL", version.split()[0], size
        cursor.execute("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
        (size,) = cursor.fetchone()
        return "SQLite", sqlite3.sqlite_version, size


def last_restore() -> RestoreTiming | None:
    """The newest drill's time, or that of the newest restore."""
    kinds = (Run.Kind.RESTORE_TEST, Run.Kind.RESTORE)
    done = Run.objects.filter(
        kind__in=kinds, status=Run.Status.SUCCEEDED, started_at__isnull=False, finished_at__isnull=False
    )
    run = done.exclude(backup="").order_by("-requested_at").only("kind", "started_at", "finished_at", "backup").first()
    if run is None or run.started_at is None or run.finished_at is None:
        return None
    return RestoreTiming(
        seconds=(run.finished_at - run.started_at).total_seconds(),
        when=run.finished_at,
        backup=run.backup,
        is_drill=run.kind == Run.Kind.RESTORE_TEST,
    )
