"""The health check of backups."""

import datetime as dt
from typing import Any

import pytest
from django.test import Client

from ops.health.backups import Backups, check_backups, evaluate_backups, read_backups
from ops.health.results import CheckResult, Status
from tests.dashboard.conftest import MakeBackup, MakeRun, make_backup, make_run

__all__ = ["make_backup", "make_run"]

NOW = dt.datetime(2026, 11, 24, 15, 0, tzinfo=dt.UTC)
LIMIT = dt.timedelta(hours=26)


def evaluate(*, scheduled: bool = True, **changed: Any) -> CheckResult:
    healthy = {
        "number": 3, "size": 1, "first": NOW - 9 * LIMIT, "verified": NOW - dt.timedelta(hours=3), "restored": None,
        "failed": None, "error": "",
    }  # fmt: skip
    return evaluate_backups(Backups(**{**healthy, **changed}), now=NOW, limit=LIMIT, scheduled=scheduled)


def test_recent_backup_is_healthy() -> None:
    assert evaluate() == CheckResult()


def test_old_backup_is_degraded() -> None:
    result = evaluate(verified=NOW - dt.timedelta(hours=30))

    assert (result.status, result.error) == (Status.DEGRADED, "BackupTooOld")
    assert result.detail == "The last verified backup is 30 hours old; BACKUP_MAX_AGE_HOURS is 26."


def test_failed_backup_run_is_degraded_despite_a_recent_backup() -> None:
    result = evaluate(failed=NOW, error="The disk is full.")

    assert (result.status, result.error) == (Status.DEGRADED, "BackupFailed")
    assert result.detail == "The last backup failed at 2026-11-24 15:00 UTC: The disk is full."


@pytest.mark.parametrize(
    ("number", "scheduled", "error"), [(0, True, "NoBackup"), (2, False, "NoBackup"), (0, False, "")]
)
def test_no_backup_is_degraded_where_one_is_scheduled_or_others_exist(number: int, scheduled: bool, error: str) -> None:
    assert evaluate(number=number, verified=None, scheduled=scheduled).error == error


def test_unknown_key_is_reported_in_addition_to_another_fault() -> None:
    alone = evaluate(foreign=1, newest_foreign="lab_1.sql")
    assert (alone.status, alone.error) == (Status.DEGRADED, "UnknownKey")
    assert alone.detail == (
        "The backup lab_1.sql is signed with an unknown key and not trusted. If the key was changed, add the old key to"
        " BACKUP_SIGNING_KEY_FALLBACKS and restart the site."
    )
    both = evaluate(foreign=2, newest_foreign="lab_2.sql", verified=None)
    assert both.error == "NoBackup"
    assert both.detail.startswith("There is no verified backup. Run: manage.py backup_database 2 backups are signed")


def test_suspicious_backup_is_reported_until_it_is_decided(make_backup: MakeBackup) -> None:
    make_backup(hours=3)
    first, right = make_backup(hours=2, suspicion="undecided"), make_backup(hours=1, suspicion="right")
    result = check_backups("default", expected=True)
    assert (result.status, result.error) == (Status.DEGRADED, "SuspiciousBackup")
    assert result.detail == (
        f"The backup {first.name} is suspicious: the database has lost much of what it contained before. Decide:"
        f" manage.py decide_backup {first.name}"
    )
    right.suspicion = "undecided"
    right.save()
    assert check_backups("default", expected=True).detail.startswith(f"2 backups are suspicious since {first.name}: ")
    first.suspicion = right.suspicion = "wrong"
    first.save()
    right.save()
    assert check_backups("default", expected=True) == CheckResult()


def test_restore_test_of_a_suspicious_backup_counts(make_backup: MakeBackup) -> None:
    tested = make_backup(hours=2, suspicion="undecided", verified_level="restored")
    backups = read_backups()
    assert (backups.verified, backups.restored) == (tested.taken_at, tested.verified_at)


def test_backups_and_runs_of_other_databases_say_nothing_of_this_one(
    make_backup: MakeBackup, make_run: MakeRun
) -> None:
    """Several databases may have their backups in one place. Of each backup the manifest names database and engine."""
    for hours, other in ((2, {"database": "other"}), (3, {"engine": "sqlite"})):
        make_backup(hours=hours, verified_level="restored", suspicion="undecided", **other)
    make_run(hours=1, status="failed", error="The other server is away.", database="other")
    assert check_backups("default", expected=True).error == "NoBackup"
    backups = read_backups()
    assert (backups.number, backups.verified, backups.restored, backups.suspicious) == (2, None, None, 0)
    ours = make_backup(hours=30)
    assert read_backups().verified == ours.taken_at
    assert check_backups("default", expected=True).error == "BackupTooOld"


def test_backups_with_unknown_keys_are_counted(make_backup: MakeBackup) -> None:
    make_backup(hours=3)
    newest = make_backup(hours=4, trust="foreign key")
    make_backup(hours=5, trust="foreign key")
    make_backup(hours=6, trust="tampered")
    detail = check_backups("default", expected=True).detail
    assert detail.startswith(f"2 backups are signed with an unknown key and not trusted; the newest is {newest.name}.")


def test_missing_backup_is_degraded_only_with_a_schedule(db: None) -> None:
    assert check_backups("default", expected=True).error == "NoBackup"
    assert check_backups("default", expected=False) == CheckResult()


def test_check_backups_follows_the_rows_of_backups_and_runs(
    make_backup: MakeBackup, make_run: MakeRun, settings: Any
) -> None:
    make_backup(hours=3)
    make_run(hours=3)
    assert check_backups("default", expected=True) == CheckResult()

    settings.BACKUP_MAX_AGE_HOURS = 2
    assert check_backups("default", expected=True).error == "BackupTooOld"

    make_run(hours=1, status="interrupted", error="The process 7 on attic was killed.")
    assert check_backups("default", expected=True).error == "BackupFailed"


def test_cancelled_run_is_not_a_failure(make_backup: MakeBackup, make_run: MakeRun) -> None:
    make_backup(hours=3)
    make_run(hours=1, status="cancelled")

    assert check_backups("default", expected=True) == CheckResult()


@pytest.mark.django_db(transaction=True)
def test_health_endpoint_hides_the_detail_of_a_failed_backup(client: Client, make_run: MakeRun) -> None:
    make_run(hours=1, status="failed", error="a secret path")

    answer = client.get("/health/").json()

    assert answer["checks"]["backups"] == {"status": "degraded", "error": "BackupFailed"}
