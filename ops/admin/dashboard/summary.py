"""The summary at the top of the dashboard, and its severity."""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum

from django.utils import timezone

from ops.backups.locations.coverage import Coverage, describe_copies, describe_failure, describe_shortfall
from ops.health.backups import Backups
from ops.utils.formatting import (
    describe_suspicious,
    describe_unknown_keys,
    format_age,
    format_past_day,
    format_timespan,
    format_upcoming,
)

RESTORE_TEST_MAX_AGE = dt.timedelta(days=15)
"""Two weekly restore tests and a day."""


class Severity(StrEnum):
    """From best to worst."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


class SchedulerState(StrEnum):
    """Whether schedules start backups. The values are reasons, which follow a colon."""

    RUNNING = ""
    NOT_CONFIGURED = "no worker is set up"
    REDIS_DOWN = "Redis does not answer"
    WORKER_DOWN = "the worker does not answer"
    BEAT_DOWN = "the scheduler does not answer"


@dataclass(frozen=True, kw_only=True)
class BackupStatus(Backups):
    """What is known at `now`."""

    now: dt.datetime
    max_age: dt.timedelta
    """How old the last verified backup may be."""
    is_running: bool = False
    due: dt.datetime | None = None
    """When the next backup is due; in the past if it was not started; None without a schedule."""
    is_missed: bool = False
    scheduler: SchedulerState = SchedulerState.RUNNING
    keys: tuple[str, ...] = ()
    """What should be done about keys of encryption, in sentences."""
    coverage: Coverage | None = None
    """None while the states of the storage locations cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    text: str
    severity: Severity


def summarize(status: BackupStatus) -> Summary:
    """The state of the backups in a few sentences."""
    running = "A backup is being made right now." if status.is_running else ""
    key = describe_unknown_keys(status.foreign, status.newest_foreign) if status.foreign else ""
    suspicious = describe_suspicious(status.suspicious, status.first_suspicious) if status.suspicious else ""
    states = (*_existing_backups(status), *_copies(status), suspicious, key)
    sentences = (running, *states, _next_backup(status), *status.keys)
    return Summary(text=" ".join(filter(None, sentences)), severity=severity(status))


def severity(status: BackupStatus) -> Severity:
    """Bad: there is no recent verified backup. Warning: there is one, but something needs attention."""
    if status.verified is None:
        return Severity.WARNING if status.first is None and status.is_running else Severity.BAD
    if is_overdue(status):
        return Severity.BAD
    tested = status.restored or status.first or status.verified
    stale = status.now - tested > RESTORE_TEST_MAX_AGE
    will_come = status.due and not status.is_missed and status.scheduler is SchedulerState.RUNNING
    short = status.coverage and (status.coverage.shortfall or status.coverage.failing)
    attention = status.failed or stale or status.foreign or status.suspicious or status.keys or short
    return Severity.GOOD if will_come and not attention else Severity.WARNING


def is_overdue(status: BackupStatus) -> bool:
    return status.verified is not None and status.now - status.verified > status.max_age


def _existing_backups(status: BackupStatus) -> tuple[str, ...]:
    if status.first is None:
        return _no_backups(status)
    if status.verified is None:
        return ("There are backups, but none is verified.", _failure(status) or "Verify one, or make a new one.")
    if is_overdue(status):
        return (f"No backup for {format_timespan(status.now - status.verified)}{_reason(status)}.",)
    made = format_age(status.verified, status.now)
    return (f"Backed up {made}, {_verification(status)}.", _failure(status))


def _no_backups(status: BackupStatus) -> tuple[str, ...]:
    if status.failed:
        return ("No backup yet.", _failure(status))
    return ("It is the first one.",) if status.is_running else ("No backup yet. Make the first one.",)


def _verification(status: BackupStatus) -> str:
    if status.restored is None:
        return "read back in full, without a restore test so far"
    day = format_past_day(status.restored, status.now)
    if status.now - status.restored > RESTORE_TEST_MAX_AGE:
        return f"read back in full, without a restore test since {day[3:]}"
    return f"restore tested {day}"


def _copies(status: BackupStatus) -> tuple[str, ...]:
    """How many copies the newest verified backup has, if there should be others than in BACKUP_DIR."""
    coverage = status.coverage
    if coverage is None:
        return ()
    failures = [describe_failure(each, since=_since(each.failing_since, status)) for each in coverage.failing]
    if coverage.newest is None:
        return tuple(failures)
    if coverage.is_complete:
        return (f"{describe_copies(coverage.holders)}.", *failures)
    when = f"since {_since(coverage.shortfall.since, status)}" if coverage.shortfall else "so far"
    return (describe_shortfall(coverage, when=when), *failures)


def _since(moment: dt.datetime, status: BackupStatus) -> str:
    """``Sunday at 02:00``."""
    return _day_and_time(moment, status).removeprefix("on ")


def _failure(status: BackupStatus) -> str:
    if not status.failed:
        return ""
    return f"The last attempt failed {format_age(status.failed, status.now)}{_error(status)}"


def _error(status: BackupStatus) -> str:
    return f": {status.error.rstrip('.')}." if status.error else "."


def _reason(status: BackupStatus) -> str:
    """Why there is no recent backup, as far as is known."""
    if status.failed:
        return f": the last attempt failed {format_age(status.failed, status.now)}{_error(status).rstrip('.')}"
    if status.scheduler not in {SchedulerState.RUNNING, SchedulerState.NOT_CONFIGURED}:
        return f": {status.scheduler}"
    if status.due is None:
        return ": none is scheduled"
    if status.scheduler is SchedulerState.NOT_CONFIGURED:
        return f": {status.scheduler}"
    return f": the one due {_day_and_time(status.due, status)} was not started" if status.is_missed else ""


def _next_backup(status: BackupStatus) -> str:
    """When the next backup is due, unless the sentences before say why there will be none."""
    if status.due is None:
        return "" if is_overdue(status) else "No backup is scheduled."
    if status.scheduler is not SchedulerState.RUNNING:
        return "" if is_overdue(status) and not status.failed else f"The next one will not be made: {status.scheduler}."
    if status.is_missed:
        return "" if is_overdue(status) else f"The one due {_day_and_time(status.due, status)} was not started."
    if status.due <= status.now:
        return "The next one is due now."
    return f"Next backup {format_upcoming(status.due, status.now)}."


def _day_and_time(moment: dt.datetime, status: BackupStatus) -> str:
    return f"{format_past_day(moment, status.now)} at {timezone.localtime(moment):%H:%M}"
