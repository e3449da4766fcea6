"""One operation at a time, each recorded even if its process or the database fails."""

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, connections
from django.utils import timezone

from ops.backups.engines.base import Engine
from ops.backups.locations.catalog import BackupCatalog
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.errors import AlreadyRunning, Cancelled, OpsError, PreconditionFailed
from ops.models import Backup, Run
from ops.runs import row_writer
from ops.runs.lock import CLEANING_UP
from ops.runs.recorder import RunRecorder
from ops.runs.results import DeletionResult
from ops.utils.progress import Progress
from tests.runs.support import add_backup, engine_in, kill, reconcile, recorded, repository_in, request, start_process
from tests.support.backend import eventually

pytestmark = pytest.mark.django_db(transaction=True)

HOST = socket.gethostname()


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return engine_in(tmp_path)


@pytest.fixture
def repository(tmp_path: Path) -> BackupCatalog:
    return repository_in(tmp_path)


def event_kinds(repository: BackupCatalog) -> list[str]:
    return [event["event"] for event in repository.events()]


def minute(moment: Any) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def killed_sentence(kind: str, run: Run) -> str:
    return f"The {kind} that jane@example.org started on {HOST} at {minute(run.started_at)} was killed."


def test_run_is_recorded_from_start_to_end(engine: Engine, repository: BackupCatalog) -> None:
    reports: list[Progress] = []
    requested = request(arguments={"note": "before the move"})
    with recorded(requested, engine=engine, repository=repository, on_progress=reports.append) as recorder:
        assert event_kinds(repository) == ["started"]
        recorder.report(Progress(stage="dump", total=10))
        recorder.report(Progress(stage="dump", item="rack", done=3))
        recorder.report(Progress(stage="dump", item="device", done=4))
        eventually(lambda: Run.objects.filter(stage="dump", done=7, total=10, status="running").exists(), within=3)
        recorder.report(Progress(stage="verify"))
        recorder.set_backup("lab_20260301_120000.sql")
        recorder.log("Read back in full.")
        recorder.result = DeletionResult(backup="lab_20260301_120000.sql", size=7)
        recorder.index(repository.get(add_backup(repository, 0).name))
    run = Run.objects.get()
    assert (run.pk, run.kind, run.requested_by, run.origin) == (requested.id, "backup", "jane@example.org", "command")
    assert (run.status, run.stage, run.backup, run.error) == ("succeeded", "verify", "lab_20260301_120000.sql", "")
    assert (run.arguments, run.result) == (
        {"note": "before the move"},
        {"backup": "lab_20260301_120000.sql", "size": 7},
    )
    assert (run.host, run.pid) == (HOST, os.getpid())
    assert run.requested_at <= run.started_at <= run.finished_at
    assert run.log[8:] == " Read back in full.\n"
    assert [stage["stage"] for stage in run.stages] == ["dump", "verify"]
    assert all(0 <= stage["seconds"] < 5 for stage in run.stages)
    assert [progress.done for progress in reports] == [0, 3, 4, 0]
    assert event_kinds(repository) == ["started", "ended"]
    assert repository.events()[1]["result"] == run.result
    assert Backup.objects.get().name == "lab_20260301_120000.sql"


def test_error_is_recorded_with_its_hint(engine: Engine, repository: BackupCatalog) -> None:
    with pytest.raises(OpsError), recorded(request(), engine=engine, repository=repository):
        raise OpsError("The disk is full.", "Free some space.")
    run = Run.objects.get()
    assert (run.status, run.error, run.hint) == ("failed", "The disk is full.", "Free some space.")


def test_error_is_recorded_without_secrets(engine: Engine, repository: BackupCatalog) -> None:
    password = str(settings.DATABASES["default"]["PASSWORD"])
    with pytest.raises(LookupError), recorded(request(), engine=engine, repository=repository) as recorder:
        recorder.log(f"connecting with {password}")
        raise LookupError(f"no entry for {password}")
    run = Run.objects.get()
    assert (run.status, run.error) == ("failed", "LookupError: no entry for …")
    assert password not in run.log + str(repository.events())


def test_interrupted_run_is_not_failed(engine: Engine, repository: BackupCatalog) -> None:
    with pytest.raises(KeyboardInterrupt), recorded(request(), engine=engine, repository=repository):
        raise KeyboardInterrupt
    run = Run.objects.get()
    assert (run.status, run.error) == ("interrupted", "The run was interrupted.")


def test_interruption_after_the_cut_over_is_a_success(engine: Engine, repository: BackupCatalog) -> None:
    with pytest.raises(KeyboardInterrupt), recorded(request(), engine=engine, repository=repository) as recorder:
        recorder.mark_applied()
        raise KeyboardInterrupt
    assert Run.objects.get().status == "succeeded"


def test_second_run_is_refused_with_the_holder_of_the_lock(
    tmp_path: Path, engine: Engine, repository: BackupCatalog
) -> None:
    queued = Run.objects.create(kind="restore", requested_by="jane@example.org")
    process = start_process(tmp_path, "backup")
    try:
        with (
            pytest.raises(AlreadyRunning) as refusal,
            recorded(Run.objects.get(pk=queued.pk), engine=engine, repository=repository),
        ):
            pytest.fail("Two runs at once.")
        assert reconcile(engine, repository) == ()
    finally:
        kill(process)
    assert refusal.value.message == f"Running: backup by jane@example.org on {HOST}."
    assert event_kinds(repository) == ["started", "claimed"]
    queued.refresh_from_db()
    assert (queued.status, queued.error) == ("queued", "")


def test_run_waits_for_a_process_that_only_cleans_up(engine: Engine, repository: BackupCatalog) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(engine.locked(f"{CLEANING_UP} on {HOST}"))
        timer = threading.Timer(0.3, stack.close)
        timer.start()
        with recorded(request(), engine=engine, repository=repository):
            pass
        timer.join()
    assert Run.objects.get().status == "succeeded"


def test_next_run_cleans_up_after_a_killed_run(tmp_path: Path, engine: Engine, repository: BackupCatalog) -> None:
    process = start_process(tmp_path, "backup")
    kill(process)
    killed = Run.objects.get()
    assert (killed.status, killed.stage, killed.done) == ("running", "dump", 3)
    run = request()
    with recorded(run, engine=engine, repository=repository):
        assert run.recovered == (
            f"{killed_sentence('backup', killed)} It was marked as interrupted.",
            "Deleted lab_20260301_120000.sql.partial, which a killed run had left unfinished.",
        )
    killed.refresh_from_db()
    assert (killed.status, killed.error) == ("interrupted", f"The process {process.pid} on {HOST} was killed.")
    assert killed.finished_at is not None
    assert sorted(event_kinds(repository)) == ["claimed", "ended", "ended", "started", "started"]
    assert repository.storage.listdir("")[1] == []
    assert reconcile(engine, repository) == ()


def test_reconcile_ignores_runs_on_other_databases(tmp_path: Path, engine: Engine, repository: BackupCatalog) -> None:
    kill(start_process(tmp_path, "backup"))
    engine.database = "another"
    assert reconcile(engine, repository) == ()
    assert Run.objects.get().status == "running"


def test_restore_killed_after_the_cut_over_has_succeeded(
    tmp_path: Path, engine: Engine, repository: BackupCatalog
) -> None:
    kill(start_process(tmp_path, "restore"))
    killed = Run.objects.get()
    assert (killed.status, killed.stage, killed.applied) == ("running", "cut-over", True)
    assert reconcile(engine, repository) == (f"{killed_sentence('restore', killed)} It was marked as succeeded.",)
    killed.refresh_from_db()
    assert (killed.status, killed.hint) == ("succeeded", "The restored database was already live.")
    assert event_kinds(repository) == ["started", "ended"]


def test_killed_run_stays_open_while_the_database_does_not_answer(
    tmp_path: Path, engine: Engine, repository: BackupCatalog, hide_runs_table: Callable[[], None]
) -> None:
    kill(start_process(tmp_path, "restore"))
    hide_runs_table()
    (sentence,) = reconcile(engine, repository)
    assert sentence.endswith("was killed; its state is unknown until the database answers.")
    assert event_kinds(repository) == ["started"]


def test_cancelled_run_ends_within_a_second(engine: Engine, repository: BackupCatalog) -> None:
    def report_forever(recorder: RunRecorder) -> None:
        while True:
            recorder.report(Progress(stage="dump"))
            time.sleep(0.01)

    requested = request()
    with (
        pytest.raises(Cancelled, match=r"^The backup was cancelled on request\. The database was not changed\.$"),
        recorded(requested, engine=engine, repository=repository) as recorder,
    ):
        eventually(
            lambda: Run.objects.filter(status="running").update(cancel_requested=True, cancelled_by="ada"), within=3
        )
        start = time.monotonic()
        try:
            report_forever(recorder)
        finally:
            assert time.monotonic() - start < 1
    run = Run.objects.get()
    sentence = "Cancelled by ada while it was running. The database was not changed."
    assert (run.status, run.error) == ("cancelled", sentence)
    assert repository.events()[-1]["error"] == sentence


def test_running_run_reports_although_nothing_is_new(
    engine: Engine, repository: BackupCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_writer, "REPORT_INTERVAL", 0.1)
    with recorded(request(), engine=engine, repository=repository):
        eventually(Run.objects.exists, within=3)
        first = Run.objects.get().reported_at
        assert first
        eventually(lambda: Run.objects.filter(reported_at__gt=first).exists(), within=3)


def test_cancel_after_the_point_of_no_return_is_ignored(engine: Engine, repository: BackupCatalog) -> None:
    with recorded(request(), engine=engine, repository=repository) as recorder:
        recorder.report(Progress(stage="cut-over"))
        recorder.point_of_no_return()
        assert Run.objects.get().stage == "cut-over"
        Run.objects.update(cancel_requested=True)
        time.sleep(1.2)
        recorder.report(Progress(stage="clean up"))
        assert Run.objects.get().stage == "cut-over", "the live database is not written"
    assert Run.objects.get().status == "succeeded"


def test_cancel_before_the_point_of_no_return_ends_the_run(engine: Engine, repository: BackupCatalog) -> None:
    with pytest.raises(Cancelled), recorded(request(), engine=engine, repository=repository) as recorder:
        eventually(lambda: Run.objects.update(cancel_requested=True), within=3)
        recorder.point_of_no_return()


@pytest.fixture
def hide_runs_table(transactional_db: None) -> Iterator[Callable[[], None]]:
    """A function that renames the table of runs until the end of the test."""
    moved = []

    def rename(old: str, new: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")

    def hide() -> None:
        rename("ops_run", "ops_run_hidden")
        moved.append(True)

    yield hide
    eventually(lambda: "run-row" not in {thread.name for thread in threading.enumerate()})
    if moved:
        rename("ops_run_hidden", "ops_run")


@pytest.fixture
def brief_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run wait for the database for 2 s at its end."""
    monkeypatch.setattr("ops.runs.recorder.DATABASE_TIMEOUT", 2.0)


@pytest.mark.usefixtures("brief_patience")
def test_run_succeeds_without_the_table_of_runs(
    engine: Engine, repository: BackupCatalog, hide_runs_table: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    requested = request()
    with recorded(requested, engine=engine, repository=repository) as recorder:
        eventually(Run.objects.exists, within=3)
        hide_runs_table()
        recorder.report(Progress(stage="dump"))
        time.sleep(0.7)
        start = time.monotonic()
    assert time.monotonic() - start < 4
    assert event_kinds(repository) == ["started", "ended"]
    assert [record.message for record in caplog.records if record.name.startswith("ops")] == [
        f"The row of the run {requested.id} cannot be written (ProgrammingError).",
        f"The row of the run {requested.id} could not be updated. Run: manage.py rebuild_backup_index",
    ]


def test_row_is_complete_if_the_database_recovers_in_time(engine: Engine, repository: BackupCatalog) -> None:
    with recorded(request(), engine=engine, repository=repository) as recorder:
        eventually(Run.objects.exists, within=3)
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE ops_run RENAME TO ops_run_hidden")
        recorder.report(Progress(stage="dump"))

        def restore_table() -> None:
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE ops_run_hidden RENAME TO ops_run")
            connections.close_all()

        timer = threading.Timer(1.5, restore_table)
        timer.start()
    timer.join()
    assert (Run.objects.get().status, Run.objects.get().stage) == ("succeeded", "dump")


@pytest.mark.usefixtures("brief_patience")
def test_run_does_not_wait_for_a_locked_table(engine: Engine, repository: BackupCatalog) -> None:
    locked, release = threading.Event(), threading.Event()

    def hold() -> None:
        connection.set_autocommit(False)
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE ops_run IN ACCESS EXCLUSIVE MODE")
        locked.set()
        release.wait(60)
        connection.rollback()
        connections.close_all()

    holder = threading.Thread(target=hold)
    start = time.monotonic()
    with recorded(request(), engine=engine, repository=repository) as recorder:
        holder.start()
        locked.wait(10)
        for number in range(1000):
            recorder.report(Progress(stage="dump", done=number, total=1000))
        assert time.monotonic() - start < 2
    assert time.monotonic() - start < 5
    assert event_kinds(repository) == ["started", "ended"]
    release.set()
    holder.join()
    eventually(lambda: Run.objects.filter(status="succeeded").exists(), within=10)


def test_run_that_cannot_be_recorded_is_refused(
    engine: Engine, repository: BackupCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(_storage: object, name: str, _content: object) -> str:
        """As when the directory was deleted meanwhile."""
        raise FileNotFoundError(2, "No such file or directory", name)

    monkeypatch.setattr(PrivateFileSystemStorage, "save", save)
    queued = Run.objects.create(
        id=uuid.uuid4(), kind="backup", requested_by="jane@example.org", requested_at=timezone.now()
    )
    with (
        pytest.raises(PreconditionFailed) as refusal,
        recorded(Run.objects.get(pk=queued.pk), engine=engine, repository=repository),
    ):
        pytest.fail("A run without a record.")
    assert refusal.value.message.startswith("The backup storage does not take the record of this run: ")
    assert refusal.value.hint == "Nothing was changed. Make it writable, with space for files, and try again."
    queued.refresh_from_db()
    assert (queued.status, queued.error) == ("failed", refusal.value.message)
