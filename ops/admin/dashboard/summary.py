"""The one sentence that the dashboard begins with, and the colour that it deserves."""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum

from django.utils import timezone

from ops.admin.dashboard.relative_dates import ago, past_day, span, upcoming
from ops.utils.formatting import describe_unknown_keys

RESTORE_TEST_MAX_AGE = dt.timedelta(days=15)
"""Two weekly restore drills and a day."""


class Severity(StrEnum):
    """From best to worst."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


class SchedulerState(StrEnum):
    """Who makes backups by themselves. The values complete a sentence after a colon."""

    WELL = ""
    NONE = "no worker is set up"
    BROKER = "Redis does not answer"
    WORKER = "the worker does not answer"
    BEAT = "the scheduler does not answer"


@dataclass(frozen=True, kw_only=True)
class BackupStatus:
    """What is known at `now`. Backups of other people's making do not count."""

    now: dt.datetime
    max_age: dt.timedelta
    """How old the last verified backup may be."""
    first: dt.datetime | None = None
    """When the oldest backup that is there was made, of whatever quality."""
    verified: dt.datetime | None = None
    """When the newest backup was made whose proof passed."""
    restored: dt.datetime | None = None
    """When a backup last proved itself by being restored."""
    failed: dt.datetime | None = None
    """When the newest attempt at a backup failed; None when it did not."""
    error: str = ""
    is_running: bool = False
    due: dt.datetime | None = None
    """When the schedule starts the next backup; in the past where it should have; None without a schedule."""
    is_missed: bool = False
    scheduler: SchedulerState = SchedulerState.WELL
    foreign: int = 0
    """How many backups are signed with a key that is not known here, and the name of the newest of them."""
    newest_foreign: str = ""


@dataclass(frozen=True, kw_only=True)
class Sentence:
    text: str
    severity: Severity


def summarize(facts: BackupStatus) -> Sentence:
    """What somebody has to know who reads no more than this."""
    running = "A backup is being made right now." if facts.is_running else ""
    key = describe_unknown_keys(facts.foreign, facts.newest_foreign) if facts.foreign else ""
    said = (running, *_what_there_is(facts), key, _what_comes(facts))
    return Sentence(text=" ".join(filter(None, said)), severity=severity(facts))


def severity(facts: BackupStatus) -> Severity:
    """Bad: there is no recent backup to go back to. Warning: there is, but something about it has to be put right."""
    if facts.verified is None:
        return Severity.WARNING if facts.first is None and facts.is_running else Severity.BAD
    if is_overdue(facts):
        return Severity.BAD
    tested = facts.restored or facts.first or facts.verified
    stale = facts.now - tested > RESTORE_TEST_MAX_AGE
    will_come = facts.due and not facts.is_missed and facts.scheduler is SchedulerState.WELL
    return Severity.GOOD if will_come and not (facts.failed or stale or facts.foreign) else Severity.WARNING


def is_overdue(facts: BackupStatus) -> bool:
    return facts.verified is not None and facts.now - facts.verified > facts.max_age


def _what_there_is(facts: BackupStatus) -> tuple[str, ...]:
    if facts.first is None:
        return _nothing(facts)
    if facts.verified is None:
        return ("There are backups, but none that is verified.", _failure(facts) or "Verify one, or make a new one.")
    if is_overdue(facts):
        return (f"No backup for {span(facts.now - facts.verified)}{_reason(facts)}.",)
    made = ago(facts.verified, facts.now)
    return (f"Backed up {made}, {_proof(facts)}.", _failure(facts))


def _nothing(facts: BackupStatus) -> tuple[str, ...]:
    if facts.failed:
        return ("No backup yet.", _failure(facts))
    return ("It is the first one.",) if facts.is_running else ("No backup yet. Make the first one.",)


def _proof(facts: BackupStatus) -> str:
    if facts.restored is None:
        return "read back in full, without a restore test so far"
    if facts.now - facts.restored > RESTORE_TEST_MAX_AGE:
        return f"read back in full, without a restore test since {past_day(facts.restored, facts.now)[3:]}"
    return f"restore tested {past_day(facts.restored, facts.now)}"


def _failure(facts: BackupStatus) -> str:
    if not facts.failed:
        return ""
    return f"The last attempt failed {ago(facts.failed, facts.now)}{_because(facts)}"


def _because(facts: BackupStatus) -> str:
    return f": {facts.error.rstrip('.')}." if facts.error else "."


def _reason(facts: BackupStatus) -> str:
    """Why there is no backup, as far as one can tell; the error's own stop is left out."""
    if facts.failed:
        return f": the last attempt failed {ago(facts.failed, facts.now)}{_because(facts).rstrip('.')}"
    if facts.scheduler not in {SchedulerState.WELL, SchedulerState.NONE}:
        return f": {facts.scheduler}"
    if facts.due is None:
        return ": none is scheduled"
    if facts.scheduler is SchedulerState.NONE:
        return f": {facts.scheduler}"
    return f": the one due {_when(facts.due, facts)} was not started" if facts.is_missed else ""


def _what_comes(facts: BackupStatus) -> str:
    """The next backup, unless what has been said already says that there will be none."""
    if facts.due is None:
        return "" if is_overdue(facts) else "None is scheduled."
    if facts.scheduler is not SchedulerState.WELL:
        return "" if is_overdue(facts) and not facts.failed else f"The next one will not be made: {facts.scheduler}."
    if facts.is_missed:
        return "" if is_overdue(facts) else f"The one due {_when(facts.due, facts)} was not started."
    if facts.due <= facts.now:
        return "The next one is due now."
    return f"Next backup {upcoming(facts.due, facts.now)}."


def _when(moment: dt.datetime, facts: BackupStatus) -> str:
    return f"{past_day(moment, facts.now)} at {timezone.localtime(moment):%H:%M}"
