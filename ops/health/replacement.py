"""Whether the live database has the last restore, undo or migration that is recorded next to the backups.

Its swap makes the row of the run live, with `Run.applied`. If a server takes over in a failover before it has received
the swap, the event log is ahead of its database. If no server has answered to the COMMIT of the swap, only the database
knows.
"""

from dataclasses import dataclass
from enum import Enum, auto

from django.db import connections
from django.db.models import Q

from ops.backups import replacements
from ops.backups.replacements import LastReplacement, Replacement
from ops.backups.repository import BackupRepository
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.conf import conf
from ops.databases.postgres import lock
from ops.databases.postgres.server_id import read_server_id
from ops.health.database import with_health_deadline
from ops.health.results import CheckResult, Status
from ops.keys import keys_from_settings
from ops.models import Run
from ops.utils.formatting import format_datetime

RECORD_IT = "Record that: manage.py rebuild_backup_index"


class Finding(Enum):
    """What the live database shows of a run, and the record does not say."""

    LOST = auto()
    """It does not have what the run did."""
    FOUND_AGAIN = auto()
    """It has what was lost."""
    DONE = auto()
    """The run to whose cut-over no server had answered was done."""
    NOT_DONE = auto()


@dataclass(frozen=True, kw_only=True)
class Contradiction:
    """What is to be recorded of `replacement`, a run of `database` on the server with the id `server`."""

    finding: Finding
    replacement: Replacement
    server: str
    database: str


def find_contradiction(alias: str, repository: BackupRepository) -> Contradiction | None:
    """None also on SQLite and on a standby. Raises database errors."""
    connection = connections[alias]
    if connection.vendor != "postgresql":
        return None
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database(), pg_is_in_recovery()")
        database, in_recovery = cursor.fetchone()
        server = read_server_id(cursor)
    if in_recovery:
        return None
    # Before the rows: a run that ends meanwhile is newer than what the record says.
    last = replacements.read(repository.files, server=server, database=database)
    replacement, finding = last.unsure or last.done, compare(alias, last)
    if not (replacement and finding):
        return None
    return Contradiction(finding=finding, replacement=replacement, server=server, database=database)


def compare(alias: str, last: LastReplacement) -> Finding | None:
    """What the rows of the live database show of the `last` replacement, if its record does not say that."""
    applied = Run.objects.using(alias).filter(applied=True)
    if last.unsure:
        return Finding.DONE if applied.filter(pk=last.unsure.run).exists() else Finding.NOT_DONE
    if last.done is None:
        return None
    its_own = Q(pk=last.done.run)
    if last.is_lost:
        return Finding.FOUND_AGAIN if applied.filter(its_own).exists() else None
    newer = Q(started_at__gt=last.done.started_at)
    return None if applied.filter(its_own | newer).exists() else Finding.LOST


def describe_loss(lost: Replacement | Run) -> str:
    """What is lost, and how that may have happened."""
    return (
        f"{describe(lost)} is lost: the live database does not have it. A server that had not received it took over in"
        " a failover, or the database was replaced by other means. What was there before is live."
    )


def describe(run: Replacement | Run) -> str:
    what = f" of {run.backup}" if run.kind == Run.Kind.RESTORE and run.backup else ""
    when = format_datetime(run.started_at or run.requested_at)
    return f"The {Run.Kind(run.kind).label}{what} that began at {when}"


def describe_unanswered(run: Replacement | Run, *, is_done: bool) -> str:
    """How a run has ended to whose cut-over no server had answered."""
    outcome = "has what it made" if is_done else "does not have what it made, and is as before"
    return f"{describe(run)} has ended without an answer to its cut-over. The live database {outcome}."


def check_replacement(alias: str) -> CheckResult:
    """Degraded until the next run has recorded what is found. Raises database errors."""
    repository = BackupRepository(
        PrivateFileSystemStorage(conf.BACKUP_DIR), keys_from_settings(), conf.OPS_BACKUP_PREFIX
    )
    with with_health_deadline(connections[alias]):
        found = find_contradiction(alias, repository)
        if found is None or found.finding is Finding.FOUND_AGAIN or is_running(alias, found):
            return CheckResult()
    if found.finding is Finding.LOST:
        error, detail = "LostReplacement", describe_loss(found.replacement)
    else:
        error = "UnrecordedOutcome"
        detail = describe_unanswered(found.replacement, is_done=found.finding is Finding.DONE)
    return CheckResult(status=Status.DEGRADED, error=error, detail=f"{detail} {RECORD_IT}")


def is_running(alias: str, found: Contradiction) -> bool:
    """Whether a run holds the lock of the database: it may be at its cut-over, or has recorded what was found."""
    if found.finding is Finding.LOST:
        return False
    with connections[alias].cursor() as cursor:
        return lock.is_held(cursor, found.database)
