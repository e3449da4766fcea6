"""Which notifications are sent, and that each is sent once."""

import datetime as dt
import json
import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest
from axes.models import AccessAttempt
from django.utils import timezone

from homerack.accounts.models import User
from ops import stored_settings
from ops.backups.encryption import new_identity, recipient_of
from ops.backups.manifest import Level, Verification
from ops.backups.recovery_kit import PROOF_INTERVAL, RecoveryKit
from ops.databases.postgres.differences import NotKept
from ops.keys import recovery_kits_from_settings
from ops.models import Backup, Run
from ops.notifications import alerts, sent_alerts
from ops.runs.results import CopyResult, LocationResult, VerificationResult
from ops.schedules import timetable
from ops.stored_settings import StoredSettings
from ops.utils.schema import to_json
from tests.admin.support import add_backup, add_suspicious_backup
from tests.dashboard.conftest import MakeBackup, make_backup
from tests.notifications.conftest import Receiver
from tests.support.locations import add_location, answered, failed, row_copies

__all__ = ["make_backup"]

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def targets(settings: Any, receiver: Receiver, storage: Path) -> None:
    settings.NOTIFY_URLS = [f"json://{receiver.host}/hook"]
    settings.HEARTBEAT_URL = ""


def titles(receiver: Receiver) -> list[str]:
    return [json.loads(body)["title"] for method, _, body in receiver.requests if method == "POST"]


def finished(status: Run.Status = Run.Status.FAILED, kind: Run.Kind = Run.Kind.BACKUP) -> Run:
    return Run(
        kind=kind,
        status=status,
        requested_by="ada",
        host="attic",
        finished_at=timezone.now(),
        error="The disk is full.",
        hint="Tidy.",
    )


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "attic")


def test_failed_run_is_notified_once_and_its_recovery_once(receiver: Receiver, host: None) -> None:
    for status in (Run.Status.FAILED, Run.Status.INTERRUPTED, Run.Status.SUCCEEDED, Run.Status.SUCCEEDED):
        alerts.notify_runs([finished(status)])

    assert titles(receiver) == ["The backup failed on attic.", "The backup succeeded again on attic."]
    assert "The disk is full. Tidy." in receiver.requests[0][2]


def test_sent_alerts_are_recorded_in_the_backup_storage(receiver: Receiver, storage: Path, host: None) -> None:
    alerts.notify_runs([finished()])

    assert json.loads((storage / "alerts.json").read_text()).keys() == {"run backup"}


def test_each_kind_of_run_has_an_alert_of_its_own(receiver: Receiver, host: None) -> None:
    alerts.notify_runs(
        [finished(), finished(kind=Run.Kind.RESTORE_TEST), finished(Run.Status.SUCCEEDED, Run.Kind.PRUNE)]
    )

    assert titles(receiver) == ["The backup failed on attic.", "The restore test failed on attic."]


LOST = NotKept(key="owner", what="the owner ada of the table rack", reason="may not", statement="ALTER TABLE …;")
TESTED = Verification(level=Level.RESTORED, verified_at=timezone.now(), duration=1)


@pytest.mark.parametrize("kind", [Run.Kind.RESTORE, Run.Kind.RESTORE_TEST, Run.Kind.UNDO])
def test_properties_that_a_run_could_not_keep_are_notified_once(receiver: Receiver, host: None, kind: Run.Kind) -> None:
    for not_kept in ((LOST,), (LOST, LOST), (), ()):
        run = finished(Run.Status.SUCCEEDED, kind)
        run.result = to_json({"not_kept": not_kept})
        if kind == Run.Kind.RESTORE_TEST:
            verifications = {"lab.sql": msgspec.structs.replace(TESTED, not_kept=not_kept)}
            run.result = to_json(VerificationResult(verifications=verifications))
        alerts.notify_runs([run])

    name = kind.label
    assert titles(receiver) == [
        f"The {name} could not keep 1 property of the database on attic.",
        f"The {name} keeps all properties of the database again on attic.",
    ]
    text = json.loads(receiver.requests[0][2])["message"]
    assert text.startswith("Not kept: the owner ada of the table rack (may not). As an administrator: ALTER TABLE …;")


def test_suspicious_backup_is_notified_once_and_resolved_when_it_is_decided(receiver: Receiver, host: None) -> None:
    add_backup()
    first = add_suspicious_backup(taken_at=timezone.now())
    backup, decision = (finished(Run.Status.SUCCEEDED, kind) for kind in (Run.Kind.BACKUP, Run.Kind.DECISION))
    alerts.notify_runs([backup, backup])
    text = json.loads(receiver.requests[0][2])["message"].splitlines()
    assert text == [
        f"{first.name} is verified, but the database has lost rows.",
        "The table racks lost 50% of its rows: 400 before, 200 now.",
        f"If this is right: manage.py decide_backup {first.name} --right",
        "If not, restore the last good backup: manage.py restore_database homerack_20261122_120000.sql.gz",
    ]
    Backup.objects.update(suspicion="wrong")
    alerts.notify_runs([decision, decision])
    assert titles(receiver) == [
        "A backup is suspicious on attic.",
        "The newest backup is not suspicious any more on attic.",
    ]


def test_larger_loss_is_notified_although_the_first_is_undecided(receiver: Receiver, host: None) -> None:
    add_suspicious_backup(taken_at=timezone.now() - dt.timedelta(days=1))
    alerts.check_suspicion("default")
    worse = add_suspicious_backup(taken_at=timezone.now(), name="homerack_20261124_120000.sql.gz")
    worse.manifest["suspicion"]["losses"][0]["name"] = "devices"
    worse.save()
    alerts.check_suspicion("default")
    alerts.check_suspicion("default")
    assert titles(receiver) == ["A backup is suspicious on attic."] * 2


def test_suspicion_is_resolved_when_the_rows_are_back(receiver: Receiver, host: None) -> None:
    add_suspicious_backup(taken_at=timezone.now() - dt.timedelta(days=1))
    alerts.check_suspicion("default")
    add_backup(taken_at=timezone.now())
    alerts.check_suspicion("default")
    assert len(titles(receiver)) == 2


def test_cancelled_run_is_not_notified(receiver: Receiver) -> None:
    alerts.notify_runs([finished(Run.Status.CANCELLED)])

    assert receiver.requests == []


def test_success_after_success_is_not_notified(receiver: Receiver, storage: Path) -> None:
    alerts.notify_runs([finished(Run.Status.SUCCEEDED)])

    assert receiver.requests == []
    assert not storage.exists()


def test_rejected_notification_is_sent_again(
    receiver: Receiver, host: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("ops"), "propagate", True)
    receiver.status, receiver.answer = 503, b"later"
    alerts.notify_runs([finished()])
    receiver.status = 200
    alerts.notify_runs([finished()])

    assert titles(receiver) == ["The backup failed on attic."] * 2
    (line,) = [record.getMessage() for record in caplog.records if record.name == "ops.notifications.sent_alerts"]
    assert line.startswith("A notification to json at 127.0.0.1 failed:")


def test_failed_run_is_notified_when_the_storage_cannot_be_written(
    receiver: Receiver, storage: Path, host: None
) -> None:
    storage.write_text("not a directory")

    alerts.notify_runs([finished()])

    assert titles(receiver) == ["The backup failed on attic."]


def test_heartbeat_is_pinged_for_backups_only(receiver: Receiver, settings: Any) -> None:
    settings.NOTIFY_URLS = []
    settings.HEARTBEAT_URL = f"http://{receiver.host}/beat"

    alerts.notify_runs([finished(Run.Status.SUCCEEDED), finished(), finished(kind=Run.Kind.PRUNE)])

    assert receiver.paths == ["/beat", "/beat/fail"]


def test_check_without_targets_does_nothing(receiver: Receiver, settings: Any, storage: Path) -> None:
    settings.NOTIFY_URLS = []

    alerts.notify_runs([finished()])
    alerts.check()

    assert receiver.requests == []
    assert not storage.exists()


def test_missed_schedule_is_notified_once(receiver: Receiver, host: None, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_alert_of_the_project_is_notified_once(receiver: Receiver, host: None, settings: Any) -> None:
    settings.OPS_ALERT_SOURCES = [
        "homerack.accounts.reporting.password_guessing_alerts",
        f"{__name__}.{leaking_roof.__name__}",
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


def leaking_roof(_alias: str) -> dict[str, sent_alerts.Alert]:
    return {"roof": sent_alerts.Alert(title="It drips.", text="On the racks.", resolved_title="It is dry again.")}


def test_old_backup_is_notified_once(receiver: Receiver, host: None, make_backup: MakeBackup) -> None:
    make_backup(hours=30)
    alerts.check()
    alerts.check()
    assert titles(receiver) == ["There is no recent backup on attic."]
    assert "The last verified backup is 30 hours old; BACKUP_MAX_AGE_HOURS is 26." in receiver.requests[0][2]

    make_backup(hours=1)
    alerts.check()
    assert titles(receiver)[1:] == ["There is a recent backup again on attic."]


def test_missing_copies_are_notified_once(
    receiver: Receiver, host: None, make_backup: MakeBackup, settings: Any
) -> None:
    add_location(settings, "nas")
    answered("nas")
    make_backup(hours=3, **row_copies())
    alerts.check()
    alerts.check()
    assert titles(receiver) == ["Backups have too few copies on attic."]
    assert "1 good copy instead of 2 since" in receiver.requests[0][2]
    assert ": no copy in nas. Copy what is missing: manage.py copy_backups" in receiver.requests[0][2]

    Backup.objects.update(**row_copies("nas"))
    alerts.check()
    assert titles(receiver)[1:] == ["Backups have enough copies again on attic."]


def test_location_is_notified_once_after_it_has_failed_for_hours(
    receiver: Receiver, host: None, make_backup: MakeBackup, settings: Any
) -> None:
    """Not also as missing copies: the location has them, and does not answer."""
    add_location(settings, "nas", password="a secret")
    make_backup(hours=9, **row_copies("nas"))
    failed("nas", hours=1)
    alerts.check()
    assert titles(receiver) == []

    failed("nas", hours=3, error="Wrong password: a secret.")
    alerts.check()
    alerts.check()
    assert titles(receiver) == ["No backups can be copied to nas from attic."]
    assert "nas has failed since" in receiver.requests[0][2]
    assert "a secret" not in receiver.requests[0][2]

    answered("nas")
    alerts.check()
    assert titles(receiver)[1:] == ["Backups are copied to nas from attic again."]


@pytest.mark.parametrize(
    ("errors", "failing", "sent"),
    [
        ({"nas": "It is off."}, ["nas"], []),
        ({"nas": "It is off.", "usb": ""}, ["nas"], []),
        ({"nas": "It returns other bytes."}, [], ["The copying of backups failed on attic."]),
        ({"nas": "It is off.", "usb": "Other bytes."}, ["nas"], ["The copying of backups failed on attic."]),
        ({}, ["nas"], ["The copying of backups failed on attic."]),
    ],
)
def test_run_that_only_met_failing_locations_is_not_notified(
    receiver: Receiver, host: None, settings: Any, errors: dict[str, str], failing: list[str], sent: list[str]
) -> None:
    for name in ("nas", "usb"):
        add_location(settings, name)
    for name in failing:
        failed(name, hours=0.1)
    run = finished(kind=Run.Kind.COPY)
    locations = {name: LocationResult(error=error) for name, error in errors.items()}
    run.result = to_json(CopyResult(locations=locations)) if errors else {}

    alerts.notify_runs([run])

    assert titles(receiver) == sent


def test_low_disk_space_is_notified_once_and_resolved_with_a_margin(
    receiver: Receiver, host: None, make_backup: MakeBackup, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {"bytes": 2_900_000_000}
    monkeypatch.setattr("ops.backups.storage.local.PrivateFileSystemStorage.free_bytes", lambda _self: free["bytes"])
    make_backup(size=1_000_000_000)
    alerts.check()
    free["bytes"] = 3_100_000_000
    alerts.check()
    assert titles(receiver) == ["The backup storage is nearly full on attic."]
    assert "2.9 GB is free; at least 3.0 GB is needed." in receiver.requests[0][2]

    free["bytes"] = 3_800_000_000
    alerts.check()
    assert titles(receiver)[1:] == ["The backup storage has enough free space again on attic."]


def test_failing_check_does_not_prevent_the_others(
    receiver: Receiver, host: None, make_backup: MakeBackup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_alias: str) -> None:
        raise OSError("no such device")

    monkeypatch.setattr(timetable, "find_missed", broken)
    make_backup(hours=30)

    alerts.check()

    assert titles(receiver) == ["There is no recent backup on attic."]


def test_proof_of_a_recovery_kit_that_is_due_is_notified_once_and_its_end_once(
    settings: Any, receiver: Receiver, host: None
) -> None:
    kits = recovery_kits_from_settings()
    made = timezone.now() - PROOF_INTERVAL
    kits.add(kit := RecoveryKit(recipient=recipient_of(new_identity()), created_at=made, created_by="ada"))
    for _ in range(2):
        alerts.check_recovery_kits("default")
    assert titles(receiver) == ["A proof of a recovery kit is due on attic."]
    assert f"the recovery kit {kit.name} is still at hand" in receiver.requests[0][2]
    kits.prove(kit.name, by="ada", at=timezone.now())
    for _ in range(2):
        alerts.check_recovery_kits("default")
    assert titles(receiver)[1:] == ["All recovery kits are proven on attic."]


def test_encrypted_location_without_a_recovery_kit_is_notified(
    settings: Any, receiver: Receiver, host: None, storage: Path
) -> None:
    settings.BACKUP_LOCATIONS = [{"name": "disk", "url": "/mnt/disk"}]
    alerts.check_recovery_kits("default")
    (storage / "recovery_kits.json").write_text("{}")
    alerts.check_recovery_kits("default")
    assert titles(receiver) == ["There is no recovery kit on attic.", "The keys of backups cannot be used on attic."]
    (storage / "recovery_kits.json").unlink()
    alerts.check_recovery_kits("default")
    assert titles(receiver)[2:] == ["The keys of backups can be used again on attic."]


def test_ignored_settings_are_notified_once_and_their_end_once(receiver: Receiver, host: None, storage: Path) -> None:
    storage.mkdir()
    (storage / "settings.json").write_text("{}")
    for _ in range(2):
        alerts.check()
    assert titles(receiver) == ["Settings that were made in the admin are ignored on attic."]
    assert "Nothing is pruned until they are saved again on the page of settings." in receiver.requests[0][2]
    stored_settings.write(StoredSettings())
    for _ in range(2):
        alerts.check()
    assert titles(receiver)[1:] == ["Settings that are made in the admin are in use again on attic."]
