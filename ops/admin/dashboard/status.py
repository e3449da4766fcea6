"""The data of the dashboard, from rows and from the engine. Of files, only the list of recovery kits is read.

Services that may not answer (Redis, the worker, a remote storage) are asked first, in threads, and waited for last.
"""

import datetime as dt
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import connection
from django.db.models import Count, Max, Sum
from django.utils import timezone

from ops.admin.dashboard.backup_calendar import first_day
from ops.admin.dashboard.history import History, read_history
from ops.admin.dashboard.recovery import RECOVERY_TIME
from ops.admin.dashboard.summary import BackupStatus, SchedulerState
from ops.backups.record import LOCAL
from ops.backups.recovery_kit import Concern
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.conf import conf
from ops.errors import OpsError
from ops.health.backups import BACKUP_TASK, max_age, of_this_database, read_backups
from ops.health.copies import read_coverage, read_locations
from ops.health.database import pool_status
from ops.health.dependencies import check_beat, ping_redis, ping_worker
from ops.health.recovery import concerns_of, read_kits, unusable
from ops.health.results import CheckResult, Status
from ops.models import Backup, Run
from ops.schedules import timetable
from ops.utils import clock
from ops.utils.single_flight import Call, shared_calls

TIMEOUT = 0.8
"""Seconds for Redis, the worker and the storage together: a little more than workers have to answer."""
Checks = Mapping[str, Call[Any]]


@dataclass(frozen=True, kw_only=True)
class Database:
    """`size` is bytes; `pool` as `pool_status` returns it."""

    kind: str
    name: str
    version: str
    size: int
    pool: Mapping[str, int] | None


@dataclass(frozen=True, kw_only=True)
class LocalCopies:
    """The data files in BACKUP_DIR; `size` is bytes."""

    number: int
    size: int


@dataclass(frozen=True, kw_only=True)
class DashboardData:
    """`free` is bytes; None if the storage does not report it or does not answer."""

    status: BackupStatus
    last_verified: Backup | None
    history: History
    database: Database
    restored: Run | None
    """The newest restore or restore test that succeeded."""
    free: int | None
    storage_answers: bool
    local: LocalCopies


def read_dashboard_data() -> DashboardData:
    """Nine queries, two more on PostgreSQL for its version and size, and three at most where there are other storage
    locations. Raises Django's database errors.
    """
    checks = _start_checks()
    now, limit = clock.now(), max_age()
    today = timezone.localdate(now)
    backups, schedules = read_backups(), _backup_schedules()
    is_running = Run.objects.filter(kind=Run.Kind.BACKUP, status=Run.Status.RUNNING).exists()
    verified = Backup.objects.verified().filter(of_this_database("default"))
    last_verified = verified.order_by("-taken_at").defer("manifest").first()
    since = timezone.make_aware(dt.datetime.combine(first_day(today), dt.time()))
    history = read_history(today=today, since=since, schedules=schedules)
    database, restored = describe_database(), last_restore()
    # From here on it waits for the checks.
    free, locations = checks["storage"].result(within=TIMEOUT), checks["locations"].result(within=TIMEOUT)
    coverage = None if isinstance(locations, BaseException) else read_coverage(locations, limit=limit)
    due = min(filter(None, map(timetable.next_run, schedules)), default=None)
    status = BackupStatus(
        now=now,
        max_age=limit,
        **vars(backups) | {"restored": last_restore_test(backups.restored)},
        is_running=is_running,
        due=due,
        is_missed=timetable.is_missed(due, now),
        scheduler=scheduler_state(checks),
        keys=tuple(concern.text for concern in _concerns(checks)),
        coverage=coverage,
    )
    return DashboardData(
        status=status,
        last_verified=last_verified,
        history=history,
        database=database,
        restored=restored,
        free=None if isinstance(free, BaseException) else free,
        storage_answers=not isinstance(free, BaseException),
        local=read_local() if conf.BACKUP_LOCATIONS else LocalCopies(number=backups.number, size=backups.size),
    )


def _backup_schedules() -> list[Any]:
    """Rows of django-celery-beat that make backups, in one query; none where that app is not installed."""
    if not timetable.is_installed():
        return []
    return [task for task in timetable.enabled_tasks("default") if task.task == BACKUP_TASK]


# --- Services that may not answer -------------------------------------------------------------------------------


def _start_checks() -> Checks:
    checks: dict[str, Callable[[], Any]] = {"storage": free_bytes, "kits": read_kits, "locations": read_locations}
    return {**_start(checks), **start_scheduler_checks()}


def start_scheduler_checks() -> Checks:
    """Those that `scheduler_state` waits for."""
    checks: dict[str, Callable[[], Any]] = {}
    redis, app = conf.REDIS_URL, conf.OPS_CELERY_APP
    if redis and app:
        checks |= {"redis": partial(ping_redis, redis), "worker": partial(ping_worker, app, redis)}
        if timetable.is_installed():
            checks["beat"] = partial(check_beat, redis)
    return _start(checks)


def _start(checks: Mapping[str, Callable[[], Any]]) -> Checks:
    return {name: shared_calls.run(name, check) for name, check in checks.items()}


def free_bytes() -> int | None:
    """Free space of the first storage location; None if it is unknown. Raises what the storage raises."""
    return PrivateFileSystemStorage(conf.BACKUP_DIR).free_bytes()


def read_local() -> LocalCopies:
    """One query. Backups that only other locations have are not in it."""
    totals = Backup.objects.in_location(LOCAL).aggregate(number=Count("pk"), bytes=Sum("size"))
    return LocalCopies(number=totals["number"], size=totals["bytes"] or 0)


def scheduler_state(checks: Checks) -> SchedulerState:
    """Whether what starts by schedule will start."""
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


def _concerns(checks: Checks) -> list[Concern]:
    """What should be done about keys; nothing if the directory with the list of kits does not answer."""
    kits = checks["kits"].result(within=TIMEOUT)
    try:
        if isinstance(kits, OpsError):
            raise kits
        return [] if isinstance(kits, BaseException) else concerns_of(kits)
    except OpsError as error:
        return [unusable(error)]


def _is_healthy(check: Call[CheckResult]) -> bool:
    outcome = check.result(within=TIMEOUT)
    return isinstance(outcome, CheckResult) and outcome.status is Status.HEALTHY


# --- The database -----------------------------------------------------------------------------------------------


def describe_database() -> Database:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT current_setting('server_version'), pg_database_size(current_database())")
            version, size = cursor.fetchone()
            kind, version = "PostgreSQL", version.split()[0]
        else:
            cursor.execute("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
            kind, version, (size,) = "SQLite", sqlite3.sqlite_version, cursor.fetchone()
    name = str(connection.settings_dict["NAME"]).rpartition("/")[2]
    return Database(kind=kind, name=name, version=version, size=size, pool=pool_status(connection))


def last_restore_test(of_backups: dt.datetime | None) -> dt.datetime | None:
    """When a restore test last passed. `of_backups`: of those that still exist; others may have been pruned since."""
    passed = Run.objects.filter(kind=Run.Kind.RESTORE_TEST, status=Run.Status.SUCCEEDED)
    last = passed.aggregate(last=Max("finished_at"))["last"]
    return max(filter(None, (of_backups, last)), default=None)


def last_restore() -> Run | None:
    """The newest restore or restore test that succeeded, with the `recovery_time` of a test."""
    kinds = (Run.Kind.RESTORE_TEST, Run.Kind.RESTORE)
    done = Run.objects.filter(kind__in=kinds, status=Run.Status.SUCCEEDED, started_at__isnull=False)
    done = done.annotate(recovery_time=RECOVERY_TIME)
    return done.exclude(backup="").order_by("-requested_at").defer("log", "result", "arguments", "stages").first()
