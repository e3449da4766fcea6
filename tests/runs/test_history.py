"""The rows say what the files beside the backups say, whatever has become of the rows."""

import datetime as dt
import shutil
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.utils import timezone

from ops.backups.manifest import Level, Verification
from ops.backups.repository import BackupRecord, BackupRepository
from ops.backups.signing import Trust
from ops.databases.migration_state import run_migrations
from ops.databases.override import override_database, sqlite_wrapper
from ops.models import Backup, Run
from ops.runs import event_log, index
from tests.runs.support import NOON, add_backup, engine_in, manifest, recorded, repository_in, request

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def repository(tmp_path: Path) -> BackupRepository:
    return repository_in(tmp_path)


def run_once(folder: Path, kind: Run.Kind = Run.Kind.BACKUP) -> uuid.UUID:
    asked = request(kind)
    with recorded(asked, engine=engine_in(folder), repository=repository_in(folder)):
        pass
    return asked.id


def rows() -> list[Any]:
    return [*Backup.objects.order_by("pk").values(), *Run.objects.order_by("pk").values()]


def test_a_backup_as_its_manifest_describes_it(repository: BackupRepository) -> None:
    made = add_backup(repository, 1, note="before the move", pinned=True, run=str(uuid.uuid4()))
    index.rebuild_index(repository)
    backup = Backup.objects.get()
    assert (str(backup.pk), backup.name, backup.kind, backup.origin) == (made.id, made.name, "sql", "manual")
    assert (backup.engine, backup.database, backup.created_by) == ("postgresql", "lab", "jane@example.org")
    assert (backup.taken_at, backup.size, backup.uncompressed_size, backup.rows) == (
        NOON + dt.timedelta(seconds=1),
        4,
        4,
        7,
    )
    assert (backup.note, backup.pinned, backup.run) == ("before the move", True, made.run)
    assert (backup.verified_level, backup.verified_at, backup.verification_error) == ("read", made.taken_at, "")
    assert (backup.trust, backup.file_missing) == ("signed", False)
    assert backup.manifest["tables"]["inventory_rack"] == {"rows": 3, "digest": "12"}


def test_changes_and_losses_are_followed(repository: BackupRepository) -> None:
    first, second, third = (add_backup(repository, number) for number in (1, 2, 3))
    index.rebuild_index(repository)
    Backup.objects.update(retention_reason="younger than 7 days")
    repository.change(first.name, verification=Verification(level=Level.RESTORED, verified_at=NOON, duration=3))
    repository.storage.delete(second.name)
    repository.delete(third.name)
    index.rebuild_index(repository)
    found = {backup.name: (backup.verified_level, backup.file_missing) for backup in Backup.objects.all()}
    assert found == {first.name: ("restored", False), second.name: ("read", True)}
    assert set(Backup.objects.values_list("retention_reason", flat=True)) == {"younger than 7 days"}


def test_a_name_may_move_from_one_backup_to_another(repository: BackupRepository) -> None:
    first, second = manifest(1), manifest(2)
    index.write_backup(BackupRecord(name=first.name, manifest=first, trust=Trust.SIGNED))
    replacing = manifest(1, id=second.id)
    index.write_backup(BackupRecord(name=first.name, manifest=replacing, trust=Trust.SIGNED))
    assert [str(backup.pk) for backup in Backup.objects.all()] == [second.id]


def test_it_is_written_once(tmp_path: Path, repository: BackupRepository, django_assert_num_queries: Any) -> None:
    add_backup(repository, 1)
    run_once(tmp_path)
    index.rebuild_index(repository)
    before = rows()
    with django_assert_num_queries(6):  # two looks before, BEGIN, two looks at what is there, COMMIT
        index.rebuild_index(repository)
    assert rows() == before


def test_what_is_under_way_is_left_alone(tmp_path: Path, repository: BackupRepository) -> None:
    queued = Run.objects.create(kind="backup", requested_by="jane@example.org")
    with recorded(request(), engine=engine_in(tmp_path), repository=repository) as recording:
        index.rebuild_index(repository)
        found = dict(Run.objects.values_list("pk", "status"))
        assert found == {queued.pk: "queued", uuid.UUID(recording.id): "running"}


def test_a_row_that_nobody_is_at_work_on_is_closed(repository: BackupRepository) -> None:
    Run.objects.create(kind="backup", requested_by="jane@example.org", status="running")
    index.rebuild_index(repository)
    run = Run.objects.get()
    assert (run.status, run.error) == ("interrupted", "The start of the run is not recorded next to the backups.")


def test_events_that_can_not_be_read_do_not_hide_the_others(
    tmp_path: Path, repository: BackupRepository, caplog: pytest.LogCaptureFixture
) -> None:
    key = run_once(tmp_path)
    Run.objects.all().delete()
    repository.add_event({"event": "started", "run": "17", "when": timezone.now().isoformat()})
    index.rebuild_index(repository)
    assert list(Run.objects.values_list("pk", "status")) == [(key, "succeeded")]
    assert "An event of the run '17' cannot be read: The event is not valid: " in caplog.text


def test_no_event_puts_a_run_into_the_queue(repository: BackupRepository) -> None:
    """Of which there is one of each kind: whoever writes to the storage would keep others out of it."""
    run = Run(kind="backup", requested_by="mallory@example.org", status="queued")
    event_log.record_start(repository, run)
    index.rebuild_index(repository)
    assert not Run.objects.exists()


def test_a_run_that_waits_is_in_nobodys_way(tmp_path: Path, repository: BackupRepository) -> None:
    """Of its kind are a run that ended, one that is at work, and their rows were lost."""
    ended = run_once(tmp_path)
    Run.objects.all().delete()
    queued = Run.objects.create(kind="backup", requested_by="jane@example.org")
    with recorded(request(), engine=engine_in(tmp_path), repository=repository) as recording:
        Run.objects.filter(pk=recording.id).delete()
        index.rebuild_index(repository)
        states = dict(Run.objects.values_list("pk", "status"))
        assert states == {queued.pk: "queued", ended: "succeeded", uuid.UUID(recording.id): "running"}
        index.rebuild_index(repository, restored=True)
    assert Run.objects.get(pk=queued.pk).status == "cancelled"


def test_only_events_of_runs_that_have_not_ended_are_read(tmp_path: Path, repository: BackupRepository) -> None:
    run_once(tmp_path)
    with recorded(request(), engine=engine_in(tmp_path), repository=repository) as recording:
        recording.reserve_file("lab_20260301_120000.sql")
        for ended in (tmp_path / "backups" / "events").glob("*_ended.json"):
            ended.write_text("not read")
        events = repository.unended_events()
        assert [(event["event"], event["run"]) for event in events] == [
            ("started", recording.id),
            ("claimed", recording.id),
        ]


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A migrated SQLite database with a backup, a run, another that is queued, and somebody signed in."""
    path = tmp_path / "older.sqlite3"
    with override_database(sqlite_wrapper(str(path))):
        run_migrations()
        add_backup(repository_in(tmp_path), 1)
        Run.objects.create(kind="backup", requested_by="jane@example.org")
        SessionStore().save()
        assert Session.objects.count() == 1
    run_once(tmp_path)
    with override_database(sqlite_wrapper(str(path))):
        index.rebuild_index(repository_in(tmp_path))
    return path


def test_history_is_complete_after_the_tables_were_rolled_back(tmp_path: Path, older: Path) -> None:
    """HAZARDS C3, C6 and C9."""
    repository, scratch = repository_in(tmp_path), tmp_path / "scratch.sqlite3"
    second, later = add_backup(repository, 2), run_once(tmp_path, Run.Kind.RESTORE_TEST)
    shutil.copy(older, scratch)
    asked = request(Run.Kind.RESTORE)
    with recorded(asked, engine=engine_in(tmp_path), repository=repository) as recording:
        recording.point_of_no_return()
        with override_database(sqlite_wrapper(str(scratch))):
            recording.write_history()
            assert second.name in Backup.objects.values_list("name", flat=True)
            restore = Run.objects.get(pk=asked.id)
            assert (restore.status, restore.applied, restore.requested_by) == ("running", True, "jane@example.org")
            assert Run.objects.get(pk=later).status == "succeeded"
            queued = Run.objects.get(status="cancelled")
            assert queued.error == "Queued before a restore, which has replaced the database of the run."
            assert Run.objects.count() == 4
            assert Session.objects.count() == 0
    assert Run.objects.get(pk=asked.id).applied is False, "the database that was live is not the restored one"
    with override_database(sqlite_wrapper(str(scratch))):
        index.rebuild_index(repository)
        assert Run.objects.get(pk=asked.id).status == "succeeded"


@dataclass
class Many:
    """As many backups and runs as nobody will have, without their files."""

    entered: list[BackupRecord]
    happened: list[dict[str, Any]]

    def entries(self) -> list[BackupRecord]:
        return self.entered

    def events(self) -> list[dict[str, Any]]:
        return self.happened


@pytest.mark.slow
def test_ten_thousand_backups_take_seconds(tmp_path: Path, repository: BackupRepository) -> None:
    run_once(tmp_path)
    started, ended = repository.events()
    keys = [str(uuid.uuid4()) for _ in range(10_000)]
    many = Many(
        entered=[
            BackupRecord(name=made.name, manifest=made, trust=Trust.SIGNED) for made in map(manifest, range(10_000))
        ],
        happened=[{**event, "run": key} for key in keys for event in (started, ended)],
    )
    # Of this process: the machine may be busy with other things.
    start = time.process_time()
    index.rebuild_index(many)  # type: ignore[arg-type]
    first = time.process_time() - start
    assert (Backup.objects.count(), Run.objects.count()) == (10_000, 10_001)
    start = time.process_time()
    index.rebuild_index(many)  # type: ignore[arg-type]
    assert first < 20
    assert time.process_time() - start < 10
