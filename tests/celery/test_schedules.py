"""When schedules are due, and the default schedules."""

import contextlib
import datetime as dt
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from homerack.celery import app
from ops.apps import make_schedules
from ops.health.dependencies import check_schedules
from ops.health.results import CheckResult, Status
from ops.schedules import timetable
from ops.schedules.builtin import Timing
from tests.celery.support import manage, running, wait_for
from tests.celery.test_beat import BEAT, WORKER
from tests.celery.test_tasks import shell


@pytest.fixture
def task(db: None) -> Callable[..., PeriodicTask]:
    def make(**fields: Any) -> PeriodicTask:
        if "crontab" not in fields:
            fields["interval"] = IntervalSchedule.objects.get_or_create(every=1, period="hours")[0]
        name = f"Task {PeriodicTask.objects.count()}"
        return PeriodicTask.objects.create(**{"name": name, "task": "ops.tasks.back_up"} | fields)

    return make


def ago(**duration: float) -> dt.datetime:
    return (timezone.now() - dt.timedelta(**duration)).replace(microsecond=0)


# --- When ---------------------------------------------------------------------------------------------------------
def test_next_run_of_an_interval_counts_from_the_last_start(task: Callable[..., PeriodicTask]) -> None:
    started = ago(minutes=20)
    assert timetable.next_run(task(last_run_at=started)) == started + dt.timedelta(hours=1)


def test_next_run_of_a_crontab_is_in_its_own_time_zone(task: Callable[..., PeriodicTask]) -> None:
    crontab = CrontabSchedule.objects.create(minute="30", hour="3", timezone="Asia/Kolkata")
    due = timetable.next_run(task(crontab=crontab, last_run_at=timezone.now()))
    assert due is not None
    assert (due.astimezone(dt.UTC).hour, due.minute, due.second) == (22, 0, 0)
    assert timezone.now() < due <= timezone.now() + dt.timedelta(days=1)


@pytest.mark.parametrize(
    "fields",
    [
        {"enabled": False},
        {"one_off": True, "total_run_count": 1},
        {"expires": dt.datetime(2020, 1, 1, tzinfo=dt.UTC)},
    ],
)
def test_next_run_of_a_disabled_finished_or_expired_schedule_is_none(
    task: Callable[..., PeriodicTask], fields: dict[str, Any]
) -> None:
    assert timetable.next_run(task(**fields)) is None


def test_next_run_before_the_start_time_is_the_start_time(task: Callable[..., PeriodicTask]) -> None:
    begin = timezone.now().replace(microsecond=0) + dt.timedelta(days=3)
    assert timetable.next_run(task(start_time=begin)) == begin


def test_find_missed_returns_name_and_due_time(task: Callable[..., PeriodicTask], settings: Any) -> None:
    PeriodicTask.objects.all().delete()
    task(name="Just due", last_run_at=ago(hours=1, minutes=5))
    assert check_schedules("default") == CheckResult()
    due = task(name="Back up", last_run_at=ago(hours=3)).last_run_at + dt.timedelta(hours=1)
    task(name="Later", last_run_at=ago(hours=2))
    assert check_schedules("default") == CheckResult(
        status=Status.DEGRADED,
        error="MissedSchedules",
        detail=f"'Back up' was due at {due:%Y-%m-%d %H:%M} UTC and was not started (2 are late)."
        " Is Celery's beat running?",
    )


@pytest.mark.parametrize(
    ("timing", "hours"),
    [
        (Timing(hour=2), 24),
        (Timing(hour=2, every_hours=6), 6),
        (Timing(hour=23, minute=15, days=(1, 2, 3, 4, 5)), 72),
        (Timing(hour=3, days=(7,)), 168),
        # From Friday at 20:00 to Monday at 08:00.
        (Timing(hour=8, every_hours=12, days=(1, 2, 3, 4, 5)), 60),
    ],
)
def test_longest_gap_is_between_the_starts_that_are_farthest_apart(timing: Timing, hours: int) -> None:
    assert timing.longest_gap() == dt.timedelta(hours=hours)


# --- What HomeRack begins with ------------------------------------------------------------------------------------
def test_migrate_makes_the_schedules_and_keeps_others(
    task: Callable[..., PeriodicTask], transactional_db: None
) -> None:
    PeriodicTask.objects.all().delete()
    call_command("migrate", verbosity=0)
    found = {task.name: str(task.crontab or task.interval) for task in PeriodicTask.objects.all()}
    assert found == {
        "Back up": "0 2 * * * (m/h/dM/MY/d) UTC",
        "Prune backups": "0 3 * * * (m/h/dM/MY/d) UTC",
        "Restore test": "30 3 * * 0 (m/h/dM/MY/d) UTC",
        "Drop expired previous databases": "0 4 * * * (m/h/dM/MY/d) UTC",
        "Reconcile": "every 5 minutes",
        "Copy backups": "45 * * * * (m/h/dM/MY/d) UTC",
        "Prune history": "30 4 * * * (m/h/dM/MY/d) UTC",
    }
    PeriodicTask.objects.get(name="Prune backups").delete()
    mine = task(enabled=False)
    call_command("migrate", verbosity=0)
    assert PeriodicTask.objects.filter(name="Prune backups").exists()
    mine.refresh_from_db()
    assert not mine.enabled


def test_migration_of_another_database_makes_no_schedules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beat does not read it, and celery-beat would write to tables of "default", which may not be there yet."""
    made: list[str] = []
    monkeypatch.setattr("ops.runs.schedule_rows.apply_schedules", made.append)
    for alias in ("other", "default"):
        make_schedules(using=alias, apps=apps)
    assert made == ["default"]


def test_migration_of_the_schedules_can_be_taken_back(transactional_db: None) -> None:
    """Without their tables there are no rows to make."""
    call_command("migrate", "django_celery_beat", "zero", verbosity=0)
    call_command("migrate", verbosity=0)
    assert PeriodicTask.objects.count() == 7


def test_celery_settings_deliver_once_and_accept_only_json() -> None:
    assert not app.conf.task_acks_late
    assert not app.conf.task_reject_on_worker_lost
    assert not app.conf.task_track_started
    assert app.conf.accept_content == ["json"]
    assert app.conf.broker_transport_options["visibility_timeout"] > app.conf.task_time_limit
    assert app.conf.task_time_limit > app.conf.task_soft_time_limit > 0


# --- In the console, with real processes --------------------------------------------------------------------------
POST = """
from django.db import transaction
from django.test import Client
from homerack.accounts.models import User
from ops.admin.schedule_form import initial_of
from ops.schedules.builtin import BUILT_IN
ada = User.objects.filter(is_superuser=True).first() or User.objects.create_superuser("ada@example.com", "a passphrase")
client = Client(headers={"host": "localhost"})
client.force_login(ada)
def post(**changes):
    form = {
        f"{each.short_name}-{name}": value
        for each in BUILT_IN if each.default
        for name, value in initial_of(each.default).items() if value is not False
    }
    form |= {name.replace("__", "-"): value for name, value in changes.items()}
    sent = {name: value for name, value in form.items() if value is not None}
    answer = client.post("/admin/ops/run/schedules/", sent)
    assert answer.status_code == 302, answer.content.decode()
"""
SWITCH_OFF = POST + "post(prune__enabled=None)\nanswer = PeriodicTask.objects.get(name='Prune backups').enabled"
SWITCH_ON = (
    POST
    + """
import datetime as dt
from django.utils import timezone
with transaction.atomic():
    post(prune__time="04:00")  # there is a crontab of it, so beat hears of the change of the schedule alone
    # Due since yesterday, so that the test need not wait for the time that was chosen. Beat does not hear of it.
    long_ago = timezone.now() - dt.timedelta(days=2)
    PeriodicTask.objects.filter(name="Prune backups").update(last_run_at=long_ago)
answer = 0
"""
)
SHOWN = (
    POST
    + """
page = client.get("/admin/ops/run/schedules/").content.decode()
answer = [page, str(PeriodicTask.objects.get(name="Back up").crontab)]
"""
)


def pruned(home: Path) -> int:
    with contextlib.closing(sqlite3.connect(home / "homerack.db")) as connection:
        found = connection.execute("SELECT count(*) FROM ops_run WHERE kind = 'prune' AND origin = 'schedule'")
        return int(found.fetchone()[0])


def test_running_beat_and_worker_follow_a_change_on_the_page(home: Path, redis_url: str) -> None:
    settings = {"REDIS_URL": redis_url, "BACKUP_DIR": str(home / "backups")}
    assert shell(home, SWITCH_OFF, **settings) is False
    with running(home, "worker", *WORKER, **settings) as worker, running(home, "beat", *BEAT, **settings) as beat:
        wait_for(lambda: "Acquired the scheduler lock." in beat.output, beat)
        wait_for(lambda: " ready." in worker.output, worker)
        assert pruned(home) == 0
        shell(home, SWITCH_ON, **settings)
        wait_for(lambda: pruned(home) == 1, beat)


def test_restore_of_an_older_backup_keeps_the_chosen_times(home: Path) -> None:
    settings = {"BACKUP_DIR": str(home / "backups")}
    assert manage(home, "backup_database", **settings).returncode == 0
    shell(home, POST + "post(back_up__time='23:15', back_up__days=['1', '5'])\nanswer = 0", **settings)
    restored = manage(home, "restore_database", "--latest", "--yes", **settings)
    assert restored.returncode == 0, restored.stderr
    page, crontab = shell(home, SHOWN, **settings)
    assert "On Monday and Friday at 23:15" in page
    assert crontab == "15 23 * * 1,5 (m/h/dM/MY/d) UTC"
