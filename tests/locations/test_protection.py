"""What retention in one storage location does not delete because of the others."""

import datetime as dt

from ops.backups.locations.protection import protect
from ops.backups.record import BackupRecord
from ops.backups.retention import RetentionDecision
from ops.backups.signing import Trust
from ops.backups.suspicion import Loss, LossOf, Suspicion
from tests.backups.factories import NOON, manifest

LOST = Loss(of=LossOf.ROWS, before=400, after=0, at=NOON)


def record(days: int, suspicion: Suspicion | None = None) -> BackupRecord:
    when = NOON - dt.timedelta(days=days)
    made = manifest(name=f"homerack_{when:%Y%m%d_%H%M%S}.sql.gz", taken_at=when, suspicion=suspicion)
    return BackupRecord(name=made.name, manifest=made, trust=Trust.SIGNED)


def test_last_verified_and_last_good_backup_of_all_locations_are_kept() -> None:
    suspicious = record(1, Suspicion(losses=(LOST,), number=1, compared_with="lab.sql"))
    records = [suspicious, record(2), record(3)]
    decisions = [RetentionDecision(name=each.name, keep=False, reason="older than 0 days") for each in records]
    protected = protect(decisions, location="nas", records=records, wanted={}, now=NOON)
    assert [(decision.keep, decision.reason) for decision in protected] == [
        (True, "kept as the last verified backup of all locations"),
        (True, "kept as the last backup of all locations that is not suspicious"),
        (False, "older than 0 days"),
    ]
