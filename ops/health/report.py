"""All health checks, run in parallel with one deadline."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from django.db import connections

from ops.conf import conf
from ops.health.backups import check_backups
from ops.health.database import DatabaseAnswer, query_database
from ops.health.dependencies import (
    check_disk,
    check_maintenance,
    check_schedules,
    ping_beat,
    ping_redis,
    ping_worker,
)
from ops.health.results import CheckResult, HealthReport, Status
from ops.schedules import timetable
from ops.utils.redaction import redact
from ops.utils.single_flight import Call, shared_calls

Checks = dict[str, Callable[[], CheckResult]]
DEADLINE = 1.5
"""Seconds for all checks, which run in parallel; `/health/` promises an answer in 2."""


@dataclass(frozen=True, kw_only=True)
class HealthOptions:
    """What there is to check. `celery_app` is a dotted path; what is empty, False or None is not configured."""

    alias: str = "default"
    version: str = ""
    redis_url: str = ""
    celery_app: str = ""
    has_schedules: bool = False
    backup_dir: Path | None = None


def options_from_settings(alias: str = "default") -> HealthOptions:
    return HealthOptions(
        alias=alias,
        version=conf.OPS_VERSION,
        redis_url=conf.REDIS_URL,
        celery_app=conf.OPS_CELERY_APP,
        has_schedules=timetable.is_installed(),
        backup_dir=conf.BACKUP_DIR,
    )


def check_health(options: HealthOptions, *, within: float = DEADLINE) -> HealthReport:
    """Check everything that is configured. Returns in `within` seconds, whatever hangs; never raises for a fault."""
    deadline = time.monotonic() + within
    dependencies = _start(_dependency_checks(options), suffix="")
    database = _query_database(options)
    answer = database.result(within=within)
    checks = _results_of_database(answer, seconds=database.seconds)
    rows = _start(_row_checks(answer, options), suffix=f" {options.alias}")
    checks |= {name: _result_of(call, within=deadline - time.monotonic()) for name, call in rows.items()}
    checks |= {name: _result_of(call, within=within) for name, call in dependencies.items()}
    connection = connections[options.alias]
    pool_status = getattr(connection, "pool_status", None)
    return HealthReport(
        database_type=connection.vendor,
        query_time_ms=answer.milliseconds if isinstance(answer, DatabaseAnswer) else None,
        pool_info=pool_status() if pool_status else None,
        pool_scope=f"process {os.getpid()}",
        version=options.version,
        checks=checks,
    )


def check_database(options: HealthOptions, *, within: float = DEADLINE) -> dict[str, CheckResult]:
    """The checks of the database alone: ``database`` and, when it answers, ``migrations``."""
    call = _query_database(options)
    return _results_of_database(call.result(within=within), seconds=call.seconds)


def _query_database(options: HealthOptions) -> Call[DatabaseAnswer]:
    return shared_calls.run(f"database {options.alias}", partial(query_database, options.alias))


def _start(checks: Checks, *, suffix: str) -> dict[str, Call[CheckResult]]:
    return {name: shared_calls.run(f"{name}{suffix}", check) for name, check in checks.items()}


def _dependency_checks(options: HealthOptions) -> Checks:
    checks: Checks = {"maintenance": partial(check_maintenance, options.alias)}
    if options.redis_url:
        checks["redis"] = partial(ping_redis, options.redis_url)
        if options.celery_app:
            checks["worker"] = partial(ping_worker, options.celery_app, options.redis_url)
            if options.has_schedules:
                checks["beat"] = partial(ping_beat, options.celery_app, options.redis_url)
    if options.backup_dir:
        checks["backup_disk"] = partial(check_disk, options.backup_dir)
    return checks


def _row_checks(database: DatabaseAnswer | BaseException, options: HealthOptions) -> Checks:
    """Not of a database that is unreachable, full, or without its tables: those say enough."""
    if not isinstance(database, DatabaseAnswer) or database.pool_exhausted or database.unapplied:
        return {}
    keeps_schedules = options.has_schedules and bool(options.celery_app)
    checks: Checks = {"backups": partial(check_backups, options.alias, expected=keeps_schedules)}
    if keeps_schedules:
        checks["schedules"] = partial(check_schedules, options.alias)
    return checks


def _results_of_database(answer: DatabaseAnswer | BaseException, *, seconds: float) -> dict[str, CheckResult]:
    if isinstance(answer, BaseException):
        return {"database": _fault(answer, Status.UNHEALTHY, seconds=seconds)}
    database, migrations = CheckResult(seconds=seconds), CheckResult(seconds=seconds)
    if answer.pool_exhausted:
        detail = "The database answers, but every connection of this process's pool is in use."
        database = replace(database, status=Status.DEGRADED, error="PoolExhausted", detail=detail)
    if answer.unapplied:
        detail = f"{len(answer.unapplied)} to apply, from {answer.unapplied[0]} on. Run: manage.py migrate"
        migrations = replace(migrations, status=Status.DEGRADED, error="UnappliedMigrations", detail=detail)
    return {"database": database, "migrations": migrations}


def _result_of(call: Call[CheckResult], *, within: float) -> CheckResult:
    outcome = call.result(within=within)
    if isinstance(outcome, BaseException):
        return _fault(outcome, Status.DEGRADED, seconds=call.seconds)
    return replace(outcome, seconds=call.seconds)


def _fault(error: BaseException, status: Status, *, seconds: float) -> CheckResult:
    return CheckResult(status=status, error=type(error).__name__, detail=redact(str(error).strip()), seconds=seconds)
