"""Every branch of the summary, word for word."""

import datetime as dt
from typing import Any

import pytest

from ops.admin.dashboard.summary import BackupStatus, SchedulerState, Severity, summarize
from ops.backups.locations.coverage import Coverage, KnownBackup, KnownCopy, KnownLocation, Shortfall
from ops.backups.locations.state import LocationState

NOW = dt.datetime(2026, 11, 24, 15, 0, tzinfo=dt.UTC)
"""A Tuesday."""
TONIGHT = dt.datetime(2026, 11, 25, 2, 0, tzinfo=dt.UTC)
SUNDAY = dt.datetime(2026, 11, 22, 3, 30, tzinfo=dt.UTC)


def hours(number: float) -> dt.datetime:
    return NOW - dt.timedelta(hours=number)


def status(**changed: Any) -> BackupStatus:
    """A healthy site, except for what `changed` says."""
    well: dict[str, Any] = {"first": hours(24 * 9), "verified": hours(3), "restored": SUNDAY, "due": TONIGHT}
    totals: dict[str, Any] = {"number": 9, "size": 9, "failed": None, "error": ""}
    return BackupStatus(now=NOW, max_age=dt.timedelta(hours=26), **{**totals, **well, **changed})


LOCAL = KnownLocation(name="local", address="/var/backups", type="directory")
NAS = KnownLocation(name="nas", address="/mnt/nas", type="directory", state=LocationState(answered_at=hours(1)))
FAILING = KnownLocation(
    name="nas",
    address="/mnt/nas",
    type="directory",
    state=LocationState(answered_at=hours(30), error="It is off.", failing_since=hours(27)),
)
COPIES = (KnownCopy(location="local"), KnownCopy(location="nas"))


def coverage(*copies: KnownCopy, other: KnownLocation = NAS, since: dt.datetime | None = None) -> Coverage:
    """Of a backup with these copies, of which two are required."""
    return Coverage(
        locations=(LOCAL, other),
        required=2,
        newest=KnownBackup(taken_at=hours(3), copies=copies) if copies else None,
        shortfall=Shortfall(since=since, is_reach_only=False) if since else None,
    )


NOTHING = {"first": None, "verified": None, "restored": None}
OLD = {"verified": hours(24 * 4 + 1)}


@pytest.mark.parametrize(
    ("changed", "severity", "text"),
    [
        ({}, Severity.GOOD, "Backed up 3 hours ago, restore tested on Sunday. Next backup tonight at 02:00."),
        (
            {"coverage": coverage(*COPIES)},
            Severity.GOOD,
            (
                "Backed up 3 hours ago, restore tested on Sunday. 2 copies in 2 locations, none off-site."
                " Next backup tonight at 02:00."
            ),
        ),
        (
            {"coverage": coverage(COPIES[0])},
            Severity.GOOD,
            (
                "Backed up 3 hours ago, restore tested on Sunday. The newest backup has 1 good copy instead of 2"
                " so far: no copy in nas. Next backup tonight at 02:00."
            ),
        ),
        (
            {"coverage": coverage(COPIES[0], since=SUNDAY)},
            Severity.WARNING,
            (
                "Backed up 3 hours ago, restore tested on Sunday. The newest backup has 1 good copy instead of 2 since"
                " Sunday at 03:30: no copy in nas. Next backup tonight at 02:00."
            ),
        ),
        (
            {"coverage": coverage(*COPIES, other=FAILING)},
            Severity.WARNING,
            (
                "Backed up 3 hours ago, restore tested on Sunday. The newest backup has 1 good copy instead of 2"
                " so far: unreachable in nas. nas has failed since yesterday at 12:00: It is off."
                " Next backup tonight at 02:00."
            ),
        ),
        (
            {**NOTHING, "coverage": coverage(other=FAILING)},
            Severity.BAD,
            (
                "No backup yet. Make the first one. nas has failed since yesterday at 12:00: It is off."
                " Next backup tonight at 02:00."
            ),
        ),
        (
            {"restored": None},
            Severity.GOOD,
            "Backed up 3 hours ago, read back in full, without a restore test so far. Next backup tonight at 02:00.",
        ),
        (
            {"restored": None, "first": hours(24 * 16)},
            Severity.WARNING,
            "Backed up 3 hours ago, read back in full, without a restore test so far. Next backup tonight at 02:00.",
        ),
        (
            {"foreign": 1, "newest_foreign": "lab_1.sql"},
            Severity.WARNING,
            (
                "Backed up 3 hours ago, restore tested on Sunday. The backup lab_1.sql is signed with an"
                " unknown key and not trusted. If the key was changed, add the old key to BACKUP_SIGNING_KEY_FALLBACKS"
                " and restart the site. Next backup tonight at 02:00."
            ),
        ),
        (
            {"keys": ("There is no recovery kit.",)},
            Severity.WARNING,
            (
                "Backed up 3 hours ago, restore tested on Sunday. Next backup tonight at 02:00."
                " There is no recovery kit."
            ),
        ),
        (
            {"suspicious": 3, "first_suspicious": "lab_1.sql"},
            Severity.WARNING,
            (
                "Backed up 3 hours ago, restore tested on Sunday. 3 backups are suspicious since lab_1.sql: the"
                " database has lost much of what it contained before. Next backup tonight at 02:00."
            ),
        ),
        (
            {"restored": hours(24 * 20)},
            Severity.WARNING,
            (
                "Backed up 3 hours ago, read back in full, without a restore test since 4 November."
                " Next backup tonight at 02:00."
            ),
        ),
        (
            {"is_running": True},
            Severity.GOOD,
            (
                "A backup is being made right now. Backed up 3 hours ago, restore tested on Sunday."
                " Next backup tonight at 02:00."
            ),
        ),
        (
            {"failed": hours(0.5), "error": "pg_dump ended with exit code 1."},
            Severity.WARNING,
            (
                "Backed up 3 hours ago, restore tested on Sunday. The last attempt failed 30 minutes ago:"
                " pg_dump ended with exit code 1. Next backup tonight at 02:00."
            ),
        ),
        (
            {"scheduler": SchedulerState.WORKER_DOWN},
            Severity.WARNING,
            (
                "Backed up 3 hours ago, restore tested on Sunday."
                " The next one will not be made: the worker does not answer."
            ),
        ),
        (
            {"scheduler": SchedulerState.NOT_CONFIGURED},
            Severity.WARNING,
            "Backed up 3 hours ago, restore tested on Sunday. The next one will not be made: no worker is set up.",
        ),
        (
            {"due": None},
            Severity.WARNING,
            "Backed up 3 hours ago, restore tested on Sunday. No backup is scheduled.",
        ),
        (
            {"due": hours(1), "is_missed": True},
            Severity.WARNING,
            "Backed up 3 hours ago, restore tested on Sunday. The one due today at 14:00 was not started.",
        ),
        (
            {"due": hours(0.05)},
            Severity.GOOD,
            "Backed up 3 hours ago, restore tested on Sunday. The next one is due now.",
        ),
        (NOTHING, Severity.BAD, "No backup yet. Make the first one. Next backup tonight at 02:00."),
        ({**NOTHING, "due": None}, Severity.BAD, "No backup yet. Make the first one. No backup is scheduled."),
        (
            {**NOTHING, "is_running": True},
            Severity.WARNING,
            "A backup is being made right now. It is the first one. Next backup tonight at 02:00.",
        ),
        (
            {**NOTHING, "failed": hours(0.01), "error": "The disk is full"},
            Severity.BAD,
            "No backup yet. The last attempt failed just now: The disk is full. Next backup tonight at 02:00.",
        ),
        (
            {"verified": None, "restored": None},
            Severity.BAD,
            ("There are backups, but none is verified. Verify one, or make a new one. Next backup tonight at 02:00."),
        ),
        (
            {"verified": None, "restored": None, "failed": hours(2)},
            Severity.BAD,
            (
                "There are backups, but none is verified. The last attempt failed 2 hours ago."
                " Next backup tonight at 02:00."
            ),
        ),
        (
            {**OLD, "scheduler": SchedulerState.WORKER_DOWN},
            Severity.BAD,
            "No backup for 4 days: the worker does not answer.",
        ),
        ({**OLD, "scheduler": SchedulerState.REDIS_DOWN}, Severity.BAD, "No backup for 4 days: Redis does not answer."),
        (
            {**OLD, "scheduler": SchedulerState.BEAT_DOWN},
            Severity.BAD,
            "No backup for 4 days: the scheduler does not answer.",
        ),
        (
            {**OLD, "scheduler": SchedulerState.NOT_CONFIGURED},
            Severity.BAD,
            "No backup for 4 days: no worker is set up.",
        ),
        ({**OLD, "due": None}, Severity.BAD, "No backup for 4 days: none is scheduled."),
        (
            {**OLD, "due": None, "scheduler": SchedulerState.NOT_CONFIGURED},
            Severity.BAD,
            "No backup for 4 days: none is scheduled.",
        ),
        (
            {**OLD, "due": dt.datetime(2026, 11, 21, 2, 0, tzinfo=dt.UTC), "is_missed": True},
            Severity.BAD,
            "No backup for 4 days: the one due on Saturday at 02:00 was not started.",
        ),
        (OLD, Severity.BAD, "No backup for 4 days. Next backup tonight at 02:00."),
        (
            {**OLD, "failed": hours(13), "error": "The disk is full."},
            Severity.BAD,
            (
                "No backup for 4 days: the last attempt failed 13 hours ago: The disk is full."
                " Next backup tonight at 02:00."
            ),
        ),
        (
            {**OLD, "failed": hours(13), "scheduler": SchedulerState.WORKER_DOWN},
            Severity.BAD,
            (
                "No backup for 4 days: the last attempt failed 13 hours ago."
                " The next one will not be made: the worker does not answer."
            ),
        ),
    ],
)
def test_summary_has_text_and_severity(changed: dict[str, Any], severity: Severity, text: str) -> None:
    summary = summarize(status(**changed))

    assert summary.text == text
    assert summary.severity is severity
