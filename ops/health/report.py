"""All checks at once, answered together and in time."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from django.conf import settings
from django.db import connections

from ops.health.backups import look_at_backups
from ops.health.database import DatabaseAnswer, ask_database
from ops.health.dependencies import (
    ask_beat,
    ask_redis,
    ask_worker,
    look_at_disk,
    look_at_schedules,
    look_for_maintenance,
)
from ops.health.results import CheckResult, HealthReport, Status
from ops.schedules import timetable
from ops.utils.redaction import without_secrets
from ops.utils.single_flight import Flight, tower

ANSWER_WITHIN = 1.5
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
        version=getattr(settings, "OPS_VERSION", ""),
        redis_url=getattr(settings, "REDIS_URL", ""),
        celery_app=getattr(settings, "OPS_CELERY_APP", ""),
        has_schedules=timetable.are_installed(),
        backup_dir=getattr(settings, "BACKUP_DIR", None),
    )


def examine(options: HealthOptions, *, within: float = ANSWER_WITHIN) -> HealthReport:
    """Check everything that is configured. Returns in `within` seconds, whatever hangs; never raises for a fault."""
    deadline = time.monotonic() + within
    others = {name: tower.ask(name, question) for name, question in _surroundings(options).items()}
    database = _ask_database(options, within)
    checks = _judge_database(database)
    in_rows = _in_rows(database, options)
    flights = {name: tower.ask(f"{name} {options.alias}", question) for name, question in in_rows.items()}
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


def examine_database(options: HealthOptions, *, within: float = ANSWER_WITHIN) -> dict[str, CheckResult]:
    """The checks of the database alone: ``database`` and, when it answers, ``migrations``."""
    return _judge_database(_ask_database(options, within))


def _ask_database(options: HealthOptions, within: float) -> DatabaseAnswer | BaseException:
    return tower.ask(f"database {options.alias}", partial(ask_database, options.alias)).outcome(within=within)


def _surroundings(options: HealthOptions) -> Mapping[str, Callable[[], CheckResult]]:
    questions: dict[str, Callable[[], CheckResult]] = {"maintenance": partial(look_for_maintenance, options.alias)}
    if options.redis_url:
        questions["redis"] = partial(ask_redis, options.redis_url)
        if options.celery_app:
            questions["worker"] = partial(ask_worker, options.celery_app, options.redis_url)
            if options.has_schedules:
                questions["beat"] = partial(ask_beat, options.celery_app, options.redis_url)
    if options.backup_dir:
        questions["backup_disk"] = partial(look_at_disk, options.backup_dir)
    return questions


def _in_rows(
    database: DatabaseAnswer | BaseException, options: HealthOptions
) -> Mapping[str, Callable[[], CheckResult]]:
    """What is not asked of a database that is away, full, or without its tables: those are news enough."""
    if not isinstance(database, DatabaseAnswer) or database.pool_exhausted or database.unapplied:
        return {}
    keeps_schedules = options.has_schedules and bool(options.celery_app)
    questions = {"backups": partial(look_at_backups, options.alias, expected=keeps_schedules)}
    if keeps_schedules:
        questions["schedules"] = partial(look_at_schedules, options.alias)
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


def _judge(flight: Flight[CheckResult], within: float) -> CheckResult:
    outcome = flight.outcome(within=within)
    return _fault(outcome, Status.DEGRADED) if isinstance(outcome, BaseException) else outcome


def _fault(error: BaseException, status: Status) -> CheckResult:
    return CheckResult(status=status, error=type(error).__name__, detail=without_secrets(str(error).strip()))
