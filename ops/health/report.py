"""All health checks, run in parallel with one deadline."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from django.db import DEFAULT_DB_ALIAS, connections

from ops.conf import conf
from ops.health.backups import check_backups
from ops.health.copies import check_copies
from ops.health.database import READ_ONLY, DatabaseAnswer, pool_status, query_database
from ops.health.dependencies import (
    check_beat,
    check_disk,
    check_maintenance,
    check_operations,
    check_schedules,
    check_sequences,
    ping_redis,
    ping_worker,
)
from ops.health.recovery import check_recovery
from ops.health.replacement import check_replacement
from ops.health.results import CheckResult, HealthReport, Status
from ops.health.settings import check_settings
from ops.schedules import timetable
from ops.utils.redaction import redact
from ops.utils.single_flight import Call, shared_calls

Checks = dict[str, Callable[[], CheckResult]]
DEADLINE = 1.5
"""Seconds for all checks, which run in parallel; `/health/` promises an answer in 2."""


def check_health(
    alias: str = DEFAULT_DB_ALIAS, *, within: float = DEADLINE, with_sequences: bool = False
) -> HealthReport:
    """Check all that is configured. Returns `within` so many seconds, whatever hangs; never raises for a fault.

    `with_sequences`: those of PostgreSQL too, of which one value in each numbered table is read.
    """
    deadline = time.monotonic() + within
    dependencies = _start(_dependency_checks(alias), suffix="")
    database = _query_database(alias)
    answer = database.result(within=within)
    checks = _results_of_database(answer, seconds=database.seconds)
    rows = _start(_row_checks(answer, alias, with_sequences=with_sequences), suffix=f" {alias}")
    checks |= {name: _result_of(call, within=deadline - time.monotonic()) for name, call in rows.items()}
    checks |= {name: _result_of(call, within=within) for name, call in dependencies.items()}
    connection = connections[alias]
    return HealthReport(
        database_type=connection.vendor,
        query_time_ms=answer.milliseconds if isinstance(answer, DatabaseAnswer) else None,
        pool_info=pool_status(connection),
        pool_scope=f"process {os.getpid()}",
        version=conf.OPS_VERSION,
        checks=checks,
    )


def check_database() -> dict[str, CheckResult]:
    """The checks of the default database alone: ``database`` and, when it answers, ``migrations``."""
    call = _query_database(DEFAULT_DB_ALIAS)
    return _results_of_database(call.result(within=DEADLINE), seconds=call.seconds)


def _query_database(alias: str) -> Call[DatabaseAnswer]:
    return shared_calls.run(f"database {alias}", partial(query_database, alias))


def _start(checks: Checks, *, suffix: str) -> dict[str, Call[CheckResult]]:
    return {name: shared_calls.run(f"{name}{suffix}", check) for name, check in checks.items()}


def _dependency_checks(alias: str) -> Checks:
    redis, app = conf.REDIS_URL, conf.OPS_CELERY_APP
    checks: Checks = {"maintenance": partial(check_maintenance, alias)}
    if redis:
        checks["redis"] = partial(ping_redis, redis)
        if app:
            checks["worker"] = partial(ping_worker, app, redis)
            if timetable.is_installed():
                checks["beat"] = partial(check_beat, redis)
    return {**checks, "backup_disk": partial(check_disk, conf.BACKUP_DIR), "settings": check_settings}


def _row_checks(database: DatabaseAnswer | BaseException, alias: str, *, with_sequences: bool) -> Checks:
    """Not of a database that is unreachable, full, or without its tables: those say enough."""
    if not isinstance(database, DatabaseAnswer) or database.pool_exhausted or database.unapplied:
        return {}
    keeps_schedules = timetable.is_installed() and bool(conf.OPS_CELERY_APP)
    checks: Checks = {"backups": partial(check_backups, alias, expected=keeps_schedules)}
    checks["copies"] = partial(check_copies, alias)
    checks["backup_keys"] = partial(check_recovery, alias)
    if connections[alias].vendor == "postgresql":
        checks["operations"] = partial(check_operations, alias)
        checks["last_restore"] = partial(check_replacement, alias)
        if with_sequences:
            checks["sequences"] = partial(check_sequences, alias)
    if keeps_schedules:
        checks["schedules"] = partial(check_schedules, alias)
    return checks


def _results_of_database(answer: DatabaseAnswer | BaseException, *, seconds: float) -> dict[str, CheckResult]:
    if isinstance(answer, BaseException):
        return {"database": _fault(answer, Status.UNHEALTHY, seconds=seconds)}
    database, migrations = CheckResult(seconds=seconds), CheckResult(seconds=seconds)
    if answer.pool_exhausted:
        detail = "The database answers, but every connection of this process's pool is in use."
        database = replace(database, status=Status.DEGRADED, error="PoolExhausted", detail=detail)
    elif answer.read_only:
        database = replace(database, status=Status.DEGRADED, error=READ_ONLY, detail=answer.read_only)
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
