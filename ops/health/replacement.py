"""Whether the live database has the last restore, undo or migration that is recorded next to the backups.

Its swap makes the row of the run live, with `Run.applied`. If a server takes over in a failover before it has received
the swap, the event log is ahead of its database.
"""

from dataclasses import dataclass

from django.db import connections
from django.db.models import Q

from ops.backups.event_files import EventFiles, Replacement
from ops.backups.repository import BackupRepository
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.conf import conf
from ops.databases.postgres.server_id import read_server_id
from ops.health.database import with_health_deadline
from ops.health.results import CheckResult, Status
from ops.keys import keys_from_settings
from ops.models import Run
from ops.utils.formatting import format_datetime


@dataclass(frozen=True, kw_only=True)
class Contradiction:
    """The event log says of a replacement that the live database has it, or that it is lost; the database differs.

    `is_lost`: the database does not have it.
    """

    replacement: Replacement
    is_lost: bool


def find_contradiction(alias: str, events: EventFiles) -> Contradiction | None:
    """None also on SQLite, on a standby, and where the role may not ask which server it is. Raises database errors."""
    connection = connections[alias]
    if connection.vendor != "postgresql":
        return None
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database(), pg_is_in_recovery()")
        database, in_recovery = cursor.fetchone()
        server = "" if in_recovery else read_server_id(cursor)
    # Before the rows: a run that ends meanwhile is newer than what the log says.
    if not server or not (found := events.last_replacement(server=server, database=database)):
        return None
    replacement, known_as_lost = found
    its_own, newer = Q(pk=replacement.run), Q(started_at__gt=replacement.started_at)
    live = Run.objects.using(alias).filter(its_own if known_as_lost else its_own | newer, applied=True).exists()
    return Contradiction(replacement=replacement, is_lost=not live) if live == known_as_lost else None


def describe_loss(lost: Replacement | Run) -> str:
    """What is lost, and how that may have happened."""
    what = f" of {lost.backup}" if lost.kind == Run.Kind.RESTORE and lost.backup else ""
    when = format_datetime(lost.started_at or lost.requested_at)
    return (
        f"The {Run.Kind(lost.kind).label}{what} that began at {when} is lost: the live database does not have it. A"
        " server that had not received it took over in a failover, or the database was replaced by other means. What"
        " was there before is live."
    )


def check_replacement(alias: str) -> CheckResult:
    """Degraded until the next run has recorded that a restore is lost. Raises database errors."""
    events = BackupRepository(PrivateFileSystemStorage(conf.BACKUP_DIR), keys_from_settings(), conf.OPS_BACKUP_PREFIX)
    with with_health_deadline(connections[alias]):
        found = find_contradiction(alias, events)
    if found is None or not found.is_lost:
        return CheckResult()
    detail = f"{describe_loss(found.replacement)} Record that: manage.py rebuild_backup_index"
    return CheckResult(status=Status.DEGRADED, error="LostReplacement", detail=detail)
