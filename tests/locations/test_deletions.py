"""A user deletes a backup while other storage locations are pruned, or do not answer."""

import pytest

from ops import operations
from ops.backups.locations import state
from ops.backups.locations.catalog import BackupCatalog
from ops.errors import PreconditionFailed
from ops.models import Run
from tests.locations.support import DAY, NOW, Installation

pytestmark = pytest.mark.django_db(transaction=True)
PLAIN = {"name": "disk", "encrypted": False}


def test_last_backup_within_reach_is_not_deleted(tmp_path):
    lab = Installation(tmp_path, PLAIN)
    older, newer = lab.back_up(NOW - DAY), lab.back_up()
    lab.copy()
    (tmp_path / "backups" / older).unlink()
    (tmp_path / "disk").rename(tmp_path / "unplugged")
    lab.copy()
    run = Run(kind=Run.Kind.DELETION, requested_by="ada", arguments={"name": newer})
    with pytest.raises(PreconditionFailed, match=f"{newer} is the last verified backup within reach"):
        operations.delete_backup(lab.context, run)
    (tmp_path / "unplugged").rename(tmp_path / "disk")
    lab.copy()
    run = Run(kind=Run.Kind.DELETION, requested_by="ada", arguments={"name": newer})
    assert operations.delete_backup(lab.context, run).backup == newer
    assert [record.name for record in lab.catalog.records()] == [older]


def test_backup_that_is_pruned_meanwhile_does_not_count_as_another(tmp_path, monkeypatch):
    lab = Installation(tmp_path, PLAIN)
    lab.back_up(NOW - DAY)
    newer = lab.back_up()
    records = BackupCatalog.records

    def records_without_lock(self):
        with pytest.raises(state.StatesLocked), self.states.locked():
            pass
        return records(self)

    monkeypatch.setattr(state, "LOCK_TIMEOUT", 0.1)
    monkeypatch.setattr(BackupCatalog, "records", records_without_lock)
    run = Run(kind=Run.Kind.DELETION, requested_by="ada", arguments={"name": newer})
    assert operations.delete_backup(lab.context, run).backup == newer
