"""Whether there is a recent verified backup, from the rows of backups and runs."""

import datetime as dt
from dataclasses import dataclass

from django.db import connections
from django.db.models import Count, Max, Min, Q, Sum

from ops import stored_settings
from ops.backups.engines.base import PreviousDatabase
from ops.backups.engines.configured import engine_of
from ops.backups.engines.postgresql import undo_comment
from ops.health.database import with_health_deadline
from ops.health.results import CheckResult, Status
from ops.models import IS_RESTORE_TESTED, IS_VERIFIED, Backup, Run
from ops.schedules import timetable
from ops.utils import clock
from ops.utils.formatting import describe_suspicious, describe_unknown_keys, format_datetime

FOREIGN = Q(trust="foreign key")
UNDECIDED = Q(suspicion="undecided", trust="signed")
OUTCOMES = (Run.Status.SUCCEEDED, Run.Status.FAILED, Run.Status.INTERRUPTED)
"""A cancelled run says nothing about the next one."""
BACKUP_TASK = "ops.tasks.back_up"
MAKES_PRE_RESTORE_BACKUP = (Run.Kind.RESTORE, Run.Kind.BACKUP)
MAKE_IT = "Until then it is kept, and no other restore can start. Make that backup: manage.py backup_database"


@dataclass(frozen=True, kw_only=True)
class Backups:
    """Totals of the rows; sizes are bytes. Uploads and backups that were not signed here are not verified.

    BACKUP_DIR may have backups of other databases. Those count in `number`, `size`, `first` and `foreign` only.
    """

    number: int
    size: int
    first: dt.datetime | None
    """When the oldest backup was taken, verified or not."""
    verified: dt.datetime | None
    """When the newest verified backup was taken."""
    restored: dt.datetime | None
    """When a restore test last passed."""
    failed: dt.datetime | None
    """When the last backup run failed, and the `error`; None if it did not fail."""
    error: str
    foreign: int = 0
    """How many are signed with an unknown key, and the name of the newest of them."""
    newest_foreign: str = ""
    suspicious: int = 0
    """How many are suspicious and not decided on, and the name of the first of them."""
    first_suspicious: str = ""


def max_age() -> dt.timedelta:
    """How old the last verified backup may be: BACKUP_MAX_AGE_HOURS."""
    return dt.timedelta(hours=stored_settings.max_age_hours())


def read_backups(alias: str = "default") -> Backups:
    """Two queries, however many backups there are. Raises Django's database errors, and PreconditionFailed."""
    ours = of_this_database(alias)
    totals = Backup.objects.using(alias).aggregate(
        number=Count("pk"),
        bytes=Sum("size"),
        first=Min("taken_at"),
        verified=Max("taken_at", filter=IS_VERIFIED & ours),
        restored=Max("verified_at", filter=IS_RESTORE_TESTED & ours),
        foreign=Count("pk", filter=FOREIGN),
        newest_foreign=Max("name", filter=FOREIGN),
        suspicious=Count("pk", filter=UNDECIDED & ours),
        first_suspicious=Min("name", filter=UNDECIDED & ours),
    )
    attempts = Run.objects.using(alias).filter(kind=Run.Kind.BACKUP, status__in=OUTCOMES)
    # A run that ended before it began has no database.
    attempts = attempts.filter(database__in=("", engine_of(alias).database)).order_by("-requested_at")
    last = attempts.values("status", "requested_at", "finished_at", "error").first()
    failed = last if last and last["status"] != Run.Status.SUCCEEDED else None
    return Backups(
        number=totals["number"],
        size=totals["bytes"] or 0,
        first=totals["first"],
        verified=totals["verified"],
        restored=totals["restored"],
        failed=(failed["finished_at"] or failed["requested_at"]) if failed else None,
        error=failed["error"] if failed else "",
        foreign=totals["foreign"],
        newest_foreign=totals["newest_foreign"] or "",
        suspicious=totals["suspicious"],
        first_suspicious=totals["first_suspicious"] or "",
    )


def of_this_database(alias: str) -> Q:
    """The backups of the database `alias`. A restore does not change its name. Raises PreconditionFailed."""
    engine = engine_of(alias)
    return Q(engine=engine.kind, database=engine.database)


def check_backups(alias: str, *, expected: bool) -> CheckResult:
    """Whether backups are recent and succeed; `expected`: schedules are in use. Raises Django's database errors."""
    with with_health_deadline(connections[alias]):
        backups, due = read_backups(alias), find_backup_due(alias)
        scheduled = expected and any(task.task == BACKUP_TASK for task in timetable.enabled_tasks(alias))
    return evaluate_backups(backups, now=clock.now(), limit=max_age(), scheduled=scheduled, due=due)


def find_backup_due(alias: str) -> PreviousDatabase | None:
    """The previous database whose pre-restore backup is due, while no run is making it. Raises database errors."""
    connection = connections[alias]
    if connection.vendor != "postgresql":
        return None
    with connection.cursor() as cursor:
        # A pooler may know the database by another name.
        cursor.execute("SELECT current_database()")
        due = undo_comment.find_backup_due(cursor, cursor.fetchone()[0])
    making = Run.objects.using(alias).filter(status=Run.Status.RUNNING, kind__in=MAKES_PRE_RESTORE_BACKUP)
    return None if due is None or making.exists() else due


def describe_backup_due(previous: PreviousDatabase) -> str:
    when = format_datetime(previous.replaced_at)
    return f"The database that was replaced at {when} ({previous.name}) has no verified backup yet. {MAKE_IT}"


def evaluate_backups(
    backups: Backups,
    *,
    now: dt.datetime,
    limit: dt.timedelta,
    scheduled: bool,
    due: PreviousDatabase | None = None,
) -> CheckResult:
    """`limit` is the age that the last verified backup may have. Having neither a schedule nor a backup is healthy.

    The backup that is `due`, suspicious backups and unknown keys are reported in addition to the rest: a key may be why
    there is no verified one.
    """
    missing = ("PreRestoreBackupDue", describe_backup_due(due)) if due else None
    found = (_fault(backups, now, limit, scheduled=scheduled), missing, _suspicious(backups), _unknown_key(backups))
    faults = [fault for fault in found if fault]
    if not faults:
        return CheckResult()
    details = " ".join(detail for _, detail in faults)
    return CheckResult(status=Status.DEGRADED, error=faults[0][0], detail=details)


def _fault(backups: Backups, now: dt.datetime, limit: dt.timedelta, *, scheduled: bool) -> tuple[str, str] | None:
    if backups.failed:
        when = format_datetime(backups.failed)
        return "BackupFailed", f"The last backup failed at {when}: {backups.error}"
    if backups.verified is None:
        if not (scheduled or backups.number):
            return None
        return "NoBackup", "There is no verified backup. Run: manage.py backup_database"
    if now - backups.verified <= limit:
        return None
    age, most = ((span // dt.timedelta(hours=1)) for span in (now - backups.verified, limit))
    return "BackupTooOld", f"The last verified backup is {age} hours old; BACKUP_MAX_AGE_HOURS is {most}."


def _suspicious(backups: Backups) -> tuple[str, str] | None:
    if not backups.suspicious:
        return None
    problem = describe_suspicious(backups.suspicious, backups.first_suspicious)
    return "SuspiciousBackup", f"{problem} Decide: manage.py decide_backup {backups.first_suspicious}"


def _unknown_key(backups: Backups) -> tuple[str, str] | None:
    return ("UnknownKey", describe_unknown_keys(backups.foreign, backups.newest_foreign)) if backups.foreign else None
