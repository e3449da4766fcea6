"""The data of the dashboard, from rows and from the engine. No files are read.

Services that may not answer (Redis, the worker, a remote storage) are asked first, in threads, and waited for last.
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

from ops.admin.dashboard.backup_calendar import first_day
from ops.admin.dashboard.history import History, read_history
from ops.admin.dashboard.summary import BackupStatus, SchedulerState
from ops.conf import conf
from ops.health.backups import BACKUP_TASK, Backups, max_age, read_backups
from ops.health.dependencies import ping_beat, ping_redis, ping_worker
from ops.health.results import CheckResult, Status
from ops.models import Backup, Run
from ops.schedules import timetable
from ops.utils.single_flight import Call, shared_calls

TIMEOUT = 0.8
"""Seconds for Redis, the worker and the storage together: a little more than workers have to answer."""
Checks = Mapping[str, Call[Any]]


@dataclass(frozen=True, kw_only=True)
class Database:
    """`size` is bytes. `connections_used` and `pool_size` are of this process; None where there is no pool."""

    kind: str
    name: str
    version: str
    size: int
    connections_used: int | None
    pool_size: int | None


@dataclass(frozen=True, kw_only=True)
class RestoreTiming:
    """How long the newest restore or restore test took, and when it ended."""

    seconds: float
    when: dt.datetime
    backup: str
    is_test: bool


@dataclass(frozen=True, kw_only=True)
class DashboardData:
    """`free` is bytes; None if the storage does not report it or does not answer."""

    status: BackupStatus
    backups: Backups
    last_verified: Backup | None
    history: History
    database: Database
    restore_timing: RestoreTiming | None
    free: int | None
    storage_answers: bool


def read_dashboard_data() -> DashboardData:
    """Seven queries, and two more on PostgreSQL for its version and size. Raises Django's database errors."""
    checks = _start_checks()
    now = timezone.now()
    today = timezone.localdate(now)
    backups, schedules = read_backups(), _backup_schedules()
    is_running = Run.objects.filter(kind=Run.Kind.BACKUP, status=Run.Status.RUNNING).exists()
    last_verified = Backup.objects.verified().order_by("-taken_at").defer("manifest").first()
    since = timezone.make_aware(dt.datetime.combine(first_day(today), dt.time()))
    history = read_history(today=today, since=since, schedules=schedules)
    database, restore_timing = describe_database(), last_restore()
    # From here on it waits for the checks.
    free = checks["storage"].result(within=TIMEOUT)
    due = min(filter(None, map(timetable.next_run, schedules)), default=None)
    status = BackupStatus(
        now=now,
        max_age=max_age(),
        first=backups.first,
        verified=backups.verified,
        restored=backups.restored,
        failed=backups.failed,
        error=backups.error,
        is_running=is_running,
        due=due,
        is_missed=timetable.is_missed(due, now),
        scheduler=_scheduler_state(checks),
        foreign=backups.foreign,
        newest_foreign=backups.newest_foreign,
    )
    return DashboardData(
        status=status,
        backups=backups,
        last_verified=last_verified,
        history=history,
        database=database,
        restore_timing=restore_timing,
        free=None if isinstance(free, BaseException) else free,
        storage_answers=not isinstance(free, BaseException),
    )


def _backup_schedules() -> list[Any]:
    """Rows of django-celery-beat that make backups, in one query; none where that app is not installed."""
    if not timetable.is_installed():
        return []
    return [task for task in timetable.enabled_tasks("default") if task.task == BACKUP_TASK]


# --- Services that may not answer -------------------------------------------------------------------------------


def _start_checks() -> Checks:
    checks: dict[str, Callable[[], Any]] = {"storage": free_bytes}
    redis, app = conf.REDIS_URL, conf.OPS_CELERY_APP
    if redis and app:
        checks |= {"redis": partial(ping_redis, redis), "worker": partial(ping_worker, app, redis)}
        if timetable.is_installed():
            checks["beat"] = partial(ping_beat, app, redis)
    return {name: shared_calls.run(name, check) for name, check in checks.items()}


def free_bytes() -> int | None:
    """Free space of the backup storage; None if it is unknown. Raises what the storage raises."""
    try:
        storage = storages["backups"]
    except InvalidStorageError:
        return None
    measure: Callable[[], int | None] | None = getattr(storage, "free_bytes", None)
    return measure() if measure else None


def _scheduler_state(checks: Checks) -> SchedulerState:
    if "redis" not in checks:
        return SchedulerState.NOT_CONFIGURED
    for name, state in (
        ("redis", SchedulerState.REDIS_DOWN),
        ("worker", SchedulerState.WORKER_DOWN),
        ("beat", SchedulerState.BEAT_DOWN),
    ):
        if name in checks and not _is_healthy(checks[name]):
            return state
    return SchedulerState.RUNNING


def _is_healthy(check: Call[CheckResult]) -> bool:
    outcome = check.result(within=TIMEOUT)
    return isinstance(outcome, CheckResult) and outcome.status is Status.HEALTHY


# --- The database -----------------------------------------------------------------------------------------------


def describe_database() -> Database:
    pool: Callable[[], Mapping[str, int] | None] | None = getattr(connection, "pool_status", None)
    status = pool() if pool else None
    kind, version, size = _read_version_and_size()
    return Database(
        kind=kind,
        name=str(connection.settings_dict["NAME"]).rpartition("/")[2],
        version=version,
        size=size,
        connections_used=status["checked_out"] if status else None,
        pool_size=status["pool_size"] if status else None,
    )


def _read_version_and_size() -> tuple[str, str, int]:
    """Name of the engine, version, bytes."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT current_setting('server_version'), pg_database_size(current_database())")
            version, size = cursor.fetchone()
            return "PostgreSQL", version.split()[0], size
        cursor.execute("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
        (size,) = cursor.fetchone()
        return "SQLite", sqlite3.sqlite_version, size


def last_restore() -> RestoreTiming | None:
    """The newest restore or restore test that succeeded."""
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
        is_test=run.kind == Run.Kind.RESTORE_TEST,
    )
