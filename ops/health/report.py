"""All checks at once, answered together and in time."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from django.db import connections

from ops.conf import conf
from ops.health.backups import check_backups
from ops.health.database import DatabaseAnswer, ask_database
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

DEADLINE = 1.5
"""Seconds for all checks, which run side by side; `/health/` promises an answer in 2."""


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
    others = {name: shared_calls.run(name, question) for name, question in _start_dependency_checks(options).items()}
    database = _ask_database(options, within)
    checks = _judge_database(database)
    in_rows = _in_rows(database, options)
    flights = {name: shared_calls.run(f"{name} {options.alias}", question) for name, question in in_rows.items()}
    for name, flight in flights.items():
        checks[name] = _judge(flight, deadline - time.monotonic())
    for name, flight in others.items():
        checks[name] = _judge(flight, within)
    connection = connections[options.alias]
    pool_status = getattr(connection, "pool_status", None)
    return HealthReport(
        database_type=connection.vendor,
        query_time_ms=database.milliseconds if isinstance(database, DatabaseAnswer) else None,
        pool_info=pool_status() if pool_status else None,
        pool_scope=f"process {os.getpid()}",
        version=options.version,
        checks=checks,
    )


def check_database(options: HealthOptions, *, within: float = DEADLINE) -> dict[str, CheckResult]:
    """The checks of the database alone: ``database`` and, when it answers, ``migrations``."""
    return _judge_database(_ask_database(options, within))


def _ask_database(options: HealthOptions, within: float) -> DatabaseAnswer | BaseException:
    return shared_calls.run(f"database {options.alias}", partial(ask_database, options.alias)).result(within=within)


def _start_dependency_checks(options: HealthOptions) -> Mapping[str, Callable[[], CheckResult]]:
    questions: dict[str, Callable[[], CheckResult]] = {"maintenance": partial(check_maintenance, options.alias)}
    if options.redis_url:
        questions["redis"] = partial(ping_redis, options.redis_url)
        if options.celery_app:
            questions["worker"] = partial(ping_worker, options.celery_app, options.redis_url)
            if options.has_schedules:
                questions["beat"] = partial(ping_beat, options.celery_app, options.redis_url)
    if options.backup_dir:
        questions["backup_disk"] = partial(check_disk, options.backup_dir)
    return questions


def _in_rows(
    database: DatabaseAnswer | BaseException, options: HealthOptions
) -> Mapping[str, Callable[[], CheckResult]]:
    """What is not asked of a database that is away, full, or without its tables: those are news enough."""
    if not isinstance(database, DatabaseAnswer) or database.pool_exhausted or database.unapplied:
        return {}
    keeps_schedules = options.has_schedules and bool(options.celery_app)
    questions = {"backups": partial(check_backups, options.alias, expected=keeps_schedules)}
    if keeps_schedules:
        questions["schedules"] = partial(check_schedules, options.alias)
    return questions


def _judge_database(answer: DatabaseAnswer | BaseException) -> dict[str, CheckResult]:
    if isinstance(answer, BaseException):
        return {"database": _fault(answer, Status.UNHEALTHY)}
    return {
        "database": CheckResult(
            status=Status.DEGRADED,
            error="PoolExhausted",
            detail="The database answers, but every connection of this process's pool is in use.",
        )
        if answer.pool_exhausted
        else CheckResult(),
        "migrations": CheckResult(
            status=Status.DEGRADED,
            error="UnappliedMigrations",
            detail=f"{len(answer.unapplied)} to apply, from {answer.unapplied[0]} on. Run: manage.py migrate",
        )
        if answer.unapplied
        else CheckResult(),
    }


def _judge(flight: Call[CheckResult], within: float) -> CheckResult:
    outcome = flight.result(within=within)
    return _fault(outcome, Status.DEGRADED) if isinstance(outcome, BaseException) else outcome


def _fault(error: BaseException, status: Status) -> CheckResult:
    return CheckResult(status=status, error=type(error).__name__, detail=redact(str(error).strip()))
