"""The rows of runs and backups, rebuilt from the files in the storage."""

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
from django_celery_beat.models import PeriodicTask

from ops import stored_settings
from ops.backups.locations.catalog import BackupCatalog
from ops.backups.manifest import Encryption, Level, Verification
from ops.backups.record import BackupRecord
from ops.backups.signing import Trust
from ops.databases.override import override_database, sqlite_wrapper
from ops.health.backups import BACKUP_TASK
from ops.models import Backup, Run
from ops.runs import event_log, index
from ops.schedules.builtin import Timing
from ops.stored_settings import StoredSettings
from tests.runs.support import NOON, add_backup, engine_in, manifest, recorded, repository_in, request

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def repository(tmp_path: Path) -> BackupCatalog:
    return repository_in(tmp_path)


def run_once(folder: Path, kind: Run.Kind = Run.Kind.BACKUP) -> uuid.UUID:
    requested = request(kind)
    with recorded(requested, engine=engine_in(folder), repository=repository_in(folder)):
        pass
    return requested.id


def rows() -> list[Any]:
    return [*Backup.objects.order_by("pk").values(), *Run.objects.order_by("pk").values()]


def test_row_of_a_backup_has_the_values_of_its_manifest(repository: BackupCatalog) -> None:
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
    assert (backup.trust, backup.file_missing, backup.recipients) == ("signed", False, None)
    assert backup.manifest["tables"]["inventory_rack"] == {"rows": 3, "digest": "12"}


def test_row_of_an_encrypted_backup_has_its_recipients(repository: BackupCatalog) -> None:
    add_backup(repository, 1, encryption=Encryption(size=9, sha256="0" * 64, recipients=("age1one", "age1two")))
    index.rebuild_index(repository)
    assert Backup.objects.get(recipients__isnull=False).recipients == ["age1one", "age1two"]


def test_rebuild_follows_changed_and_deleted_files(repository: BackupCatalog) -> None:
    first, second, third = (add_backup(repository, number) for number in (1, 2, 3))
    index.rebuild_index(repository)
    repository.change(first.name, verification=Verification(level=Level.RESTORED, verified_at=NOON, duration=3))
    repository.storage.delete(second.name)
    repository.delete(third.name)
    index.rebuild_index(repository)
    found = {backup.name: (backup.verified_level, backup.file_missing) for backup in Backup.objects.all()}
    assert found == {first.name: ("restored", False), second.name: ("read", True)}


def test_backup_with_the_name_of_another_replaces_its_row(repository: BackupCatalog) -> None:
    first, second = manifest(1), manifest(2)
    index.write_backup(BackupRecord(name=first.name, manifest=first, trust=Trust.SIGNED))
    replacing = manifest(1, id=second.id)
    index.write_backup(BackupRecord(name=first.name, manifest=replacing, trust=Trust.SIGNED))
    assert [str(backup.pk) for backup in Backup.objects.all()] == [second.id]


def test_second_rebuild_writes_nothing(
    tmp_path: Path, repository: BackupCatalog, django_assert_num_queries: Any
) -> None:
    add_backup(repository, 1)
    run_once(tmp_path)
    index.rebuild_index(repository)
    before = rows()
    with django_assert_num_queries(
        7
    ):  # two queries before the files are read, BEGIN, two queries for the rows, one for schedules, COMMIT, schedules
        index.rebuild_index(repository)
    assert rows() == before


def test_rebuild_does_not_change_queued_and_running_runs(tmp_path: Path, repository: BackupCatalog) -> None:
    queued = Run.objects.create(kind="backup", requested_by="jane@example.org")
    with recorded(request(), engine=engine_in(tmp_path), repository=repository) as recorder:
        index.rebuild_index(repository)
        found = dict(Run.objects.values_list("pk", "status"))
        assert found == {queued.pk: "queued", uuid.UUID(recorder.id): "running"}


def test_running_row_without_events_is_marked_as_interrupted(repository: BackupCatalog) -> None:
    Run.objects.create(kind="backup", requested_by="jane@example.org", status="running")
    index.rebuild_index(repository)
    run = Run.objects.get()
    assert (run.status, run.error) == ("interrupted", "The start of the run is not recorded next to the backups.")


def test_malformed_event_is_logged_and_skipped(
    tmp_path: Path, repository: BackupCatalog, caplog: pytest.LogCaptureFixture
) -> None:
    key = run_once(tmp_path)
    Run.objects.all().delete()
    repository.add_event({"event": "started", "run": "17", "when": timezone.now().isoformat()})
    index.rebuild_index(repository)
    assert list(Run.objects.values_list("pk", "status")) == [(key, "succeeded")]
    assert "An event of the run '17' cannot be read: The event is not valid: " in caplog.text


def test_event_of_a_queued_run_is_ignored(repository: BackupCatalog) -> None:
    """One run of each kind can be queued: a forged event would block the queue."""
    run = Run(kind="backup", requested_by="mallory@example.org", status="queued")
    event_log.record(repository, event_log.STARTED, run)
    index.rebuild_index(repository)
    assert not Run.objects.exists()


def test_rebuild_keeps_a_queued_run_next_to_others_of_its_kind(tmp_path: Path, repository: BackupCatalog) -> None:
    """A finished and a running run of its kind have lost their rows."""
    ended = run_once(tmp_path)
    Run.objects.all().delete()
    queued = Run.objects.create(kind="backup", requested_by="jane@example.org")
    with recorded(request(), engine=engine_in(tmp_path), repository=repository) as recorder:
        Run.objects.filter(pk=recorder.id).delete()
        index.rebuild_index(repository)
        states = dict(Run.objects.values_list("pk", "status"))
        assert states == {queued.pk: "queued", ended: "succeeded", uuid.UUID(recorder.id): "running"}
        index.rebuild_index(repository, restored=True)
    assert Run.objects.get(pk=queued.pk).status == "cancelled"


def test_unended_events_reads_no_files_of_ended_runs(tmp_path: Path, repository: BackupCatalog) -> None:
    run_once(tmp_path)
    with recorded(request(), engine=engine_in(tmp_path), repository=repository) as recorder:
        recorder.reserve_file("lab_20260301_120000.sql")
        for ended in (tmp_path / "backups" / "events").glob("*_ended.json"):
            ended.write_text("not read")
        events = repository.unended_events()
        assert [(event["event"], event["run"]) for event in events] == [
            ("started", recorder.id),
            ("claimed", recorder.id),
        ]


@pytest.fixture
def older(migrated: Path, tmp_path: Path) -> Path:
    """A migrated SQLite database with a backup, a finished run, a queued run and a session."""
    path = shutil.copy(migrated / "homerack.db", tmp_path / "older.sqlite3")
    with override_database(sqlite_wrapper(str(path))):
        add_backup(repository_in(tmp_path), 1)
        Run.objects.create(kind="backup", requested_by="jane@example.org")
        SessionStore().save()
        assert Session.objects.count() == 1
    run_once(tmp_path)
    with override_database(sqlite_wrapper(str(path))):
        index.rebuild_index(repository_in(tmp_path))
    return path


def test_write_history_completes_the_rows_of_an_older_database(tmp_path: Path, older: Path) -> None:
    """The history is complete, queued runs are cancelled, and sessions deleted."""
    repository, scratch = repository_in(tmp_path), tmp_path / "scratch.sqlite3"
    second, later = add_backup(repository, 2), run_once(tmp_path, Run.Kind.RESTORE_TEST)
    shutil.copy(older, scratch)
    requested = request(Run.Kind.RESTORE)
    with recorded(requested, engine=engine_in(tmp_path), repository=repository) as recorder:
        with override_database(sqlite_wrapper(str(scratch))):
            recorder.prepare_history()
            assert Run.objects.get(pk=requested.id).applied is False
        copying = Run(kind=Run.Kind.COPY, status="succeeded", requested_by="scheduler", finished_at=timezone.now())
        event_log.record(repository, event_log.ENDED, copying)
        third = add_backup(repository, 3)
        recorder.point_of_no_return()
        with override_database(sqlite_wrapper(str(scratch))):
            recorder.write_history()
            assert Run.objects.get(pk=copying.pk).status == "succeeded"
            assert third.name in Backup.objects.values_list("name", flat=True), "copying refreshes the rows of backups"
            assert second.name in Backup.objects.values_list("name", flat=True)
            restore = Run.objects.get(pk=requested.id)
            assert (restore.status, restore.applied, restore.requested_by) == ("running", True, "jane@example.org")
            assert Run.objects.get(pk=later).status == "succeeded"
            queued = Run.objects.get(status="cancelled")
            assert queued.error == "Queued before a restore, which has replaced the database of the run."
            assert Run.objects.count() == 5
            assert Session.objects.count() == 0
    assert Run.objects.get(pk=requested.id).applied is False, "the database that was live is not the restored one"
    with override_database(sqlite_wrapper(str(scratch))):
        index.rebuild_index(repository)
        assert Run.objects.get(pk=requested.id).status == "succeeded"


@dataclass
class Many:
    """A repository with many backups and events, without files."""

    manifests: list[BackupRecord]
    happened: list[dict[str, Any]]

    def records(self) -> list[BackupRecord]:
        return self.manifests

    def events(self) -> list[dict[str, Any]]:
        return self.happened


def test_schedule_that_changes_after_the_history_is_prepared_is_written(
    tmp_path: Path, settings: Any, repository: BackupCatalog
) -> None:
    settings.BACKUP_DIR = tmp_path
    index.rebuild_index(repository, restored=True)
    stored_settings.write(StoredSettings(schedules={BACKUP_TASK: Timing(hour=5)}))
    index.write_new(repository, known_events=set(repository.event_names()), records=())
    assert PeriodicTask.objects.get(task=BACKUP_TASK).crontab.hour == "5"


@pytest.mark.slow
def test_rebuild_of_ten_thousand_backups_takes_seconds(tmp_path: Path, repository: BackupCatalog) -> None:
    run_once(tmp_path)
    started, ended = repository.events()
    keys = [str(uuid.uuid4()) for _ in range(10_000)]
    many = Many(
        manifests=[
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
