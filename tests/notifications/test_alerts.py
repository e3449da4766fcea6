"""What is told, and that it is told once."""

import datetime as dt
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.utils import timezone

from homerack.accounts.models import User
from ops.models import Run
from ops.notifications import alerts
from ops.schedules import timetable
from tests.dashboard.conftest import MakeBackup, make_backup
from tests.notifications.conftest import Receiver

__all__ = ["make_backup"]

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def told_to(settings: Any, receiver: Receiver, storage: Path) -> None:
    settings.NOTIFY_URLS = [f"json://{receiver.host}/told"]
    settings.HEARTBEAT_URL = ""


def titles(receiver: Receiver) -> list[str]:
    return [json.loads(body)["title"] for method, _, body in receiver.requests if method == "POST"]


def over(status: Run.Status = Run.Status.FAILED, kind: Run.Kind = Run.Kind.BACKUP) -> Run:
    return Run(
        kind=kind,
        status=status,
        requested_by="somebody",
        host="attic",
        finished_at=timezone.now(),
        error="The disk is full.",
        hint="Tidy.",
    )


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "attic")


def test_a_failure_is_told_once_and_the_recovery_too(receiver: Receiver, host: None) -> None:
    for status in (Run.Status.FAILED, Run.Status.INTERRUPTED, Run.Status.SUCCEEDED, Run.Status.SUCCEEDED):
        alerts.notify_runs([over(status)])

    assert titles(receiver) == ["The backup failed on attic.", "The backup works again on attic."]
    assert "The disk is full. Tidy." in receiver.requests[0][2]


def test_what_was_told_outlives_the_database(receiver: Receiver, storage: Path, host: None) -> None:
    alerts.notify_runs([over()])

    assert json.loads((storage / "alerts.json").read_text()).keys() == {"run backup"}


def test_kinds_of_runs_are_told_apart(receiver: Receiver, host: None) -> None:
    alerts.notify_runs([over(), over(kind=Run.Kind.RESTORE_TEST), over(Run.Status.SUCCEEDED, Run.Kind.PRUNE)])

    assert titles(receiver) == ["The backup failed on attic.", "The restore test failed on attic."]


def test_what_a_person_cancelled_is_no_news(receiver: Receiver) -> None:
    alerts.notify_runs([over(Run.Status.CANCELLED)])

    assert receiver.requests == []


def test_a_success_after_a_success_is_no_news(receiver: Receiver, storage: Path) -> None:
    alerts.notify_runs([over(Run.Status.SUCCEEDED)])

    assert receiver.requests == []
    assert not storage.exists()


def test_what_nobody_took_is_told_again(
    receiver: Receiver, host: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("ops"), "propagate", True)
    receiver.status, receiver.answer = 503, b"later"
    alerts.notify_runs([over()])
    receiver.status = 200
    alerts.notify_runs([over()])

    assert titles(receiver) == ["The backup failed on attic."] * 2
    (line,) = [record.getMessage() for record in caplog.records if record.name == "ops.notifications.alerts"]
    assert line.startswith("A notice to json at 127.0.0.1 was not taken:")


def test_a_storage_that_takes_nothing_does_not_keep_a_failure_quiet(
    receiver: Receiver, storage: Path, host: None
) -> None:
    storage.write_text("not a directory")

    alerts.notify_runs([over()])

    assert titles(receiver) == ["The backup failed on attic."]


def test_the_heart_beats_with_backups_only(receiver: Receiver, settings: Any) -> None:
    settings.NOTIFY_URLS = []
    settings.HEARTBEAT_URL = f"http://{receiver.host}/beat"

    alerts.notify_runs([over(Run.Status.SUCCEEDED), over(), over(kind=Run.Kind.PRUNE)])

    assert receiver.paths == ["/beat", "/beat/fail"]


def test_where_nobody_is_to_be_told_nothing_happens(receiver: Receiver, settings: Any, storage: Path) -> None:
    settings.NOTIFY_URLS = []

    alerts.notify_runs([over()])
    alerts.check()

    assert receiver.requests == []
    assert not storage.exists()


def test_a_missed_schedule_is_told_once(receiver: Receiver, host: None, monkeypatch: pytest.MonkeyPatch) -> None:
    due = dt.datetime(2026, 11, 22, 2, 0, tzinfo=dt.UTC)
    missed = [("Back up", due)]
    monkeypatch.setattr(timetable, "find_missed", lambda _alias: missed)
    alerts.check()
    alerts.check()
    assert titles(receiver) == ["'Back up' was not started on attic."]
    assert "It was due at 2026-11-22 02:00 UTC." in receiver.requests[0][2]

    missed.clear()
    alerts.check()
    assert titles(receiver)[1:] == ["'Back up' is on time again on attic."]


def test_a_trouble_of_the_project_is_told_once(receiver: Receiver, host: None, settings: Any) -> None:
    settings.OPS_ALERT_SOURCES = [
        "homerack.accounts.reporting.password_guessing_alerts",
        f"{__name__}.{trouble_in_the_attic.__name__}",
    ]
    alerts.check()
    user = User.objects.create_user("ada@example.com")
    AccessAttempt.objects.create(username=f"account:{user.pk}", ip_address="192.0.2.1", failures_since_start=10)
    alerts.check()
    alerts.check()
    guessed = "Possible password guessing for ada@example.com on attic."
    assert titles(receiver) == ["It drips.", guessed]

    AccessAttempt.objects.update(attempt_time=timezone.now() - dt.timedelta(minutes=16))
    alerts.check()
    assert titles(receiver)[2:] == ["Password guessing for ada@example.com on attic has stopped."]


def trouble_in_the_attic(_alias: str) -> dict[str, alerts.Alert]:
    return {"roof": alerts.Alert(title="It drips.", text="On the racks.", relief="It is dry again.")}


def test_an_old_backup_is_told_once(receiver: Receiver, host: None, make_backup: MakeBackup) -> None:
    make_backup(hours=30)
    alerts.check()
    alerts.check()
    assert titles(receiver) == ["There is no recent backup on attic."]
    assert "The last verified backup is 30 hours old; BACKUP_MAX_AGE_HOURS is 26." in receiver.requests[0][2]

    make_backup(hours=1)
    alerts.check()
    assert titles(receiver)[1:] == ["There is a recent backup again on attic."]


def test_little_room_is_told_once_and_relief_needs_more(
    receiver: Receiver, host: None, make_backup: MakeBackup, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {"bytes": 2_900_000_000}
    monkeypatch.setattr("ops.backups.storage.local.PrivateFileSystemStorage.free_bytes", lambda _self: free["bytes"])
    make_backup(size=1_000_000_000)
    alerts.check()
    free["bytes"] = 3_100_000_000
    alerts.check()
    assert titles(receiver) == ["The storage of the backups is nearly full on attic."]
    assert "2.9 GB are free; 3.0 GB should be." in receiver.requests[0][2]

    free["bytes"] = 3_800_000_000
    alerts.check()
    assert titles(receiver)[1:] == ["The storage of the backups has room again on attic."]


def test_a_look_that_fails_does_not_keep_the_others_from_looking(
    receiver: Receiver, host: None, make_backup: MakeBackup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_alias: str) -> None:
        raise OSError("no such device")

    monkeypatch.setattr(timetable, "find_missed", broken)
    make_backup(hours=30)

    alerts.check()

    assert titles(receiver) == ["There is no recent backup on attic."]
