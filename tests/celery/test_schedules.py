"""When schedules are due, the default schedules, and their pages in the admin."""

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask
from pytest_django import DjangoAssertNumQueries

from homerack.celery import app
from ops.health.dependencies import check_schedules
from ops.health.results import CheckResult, Status
from ops.models import Run
from ops.schedules import timetable

LIST = "admin:django_celery_beat_periodictask_changelist"


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
    }
    PeriodicTask.objects.get(name="Prune backups").delete()
    mine = task(enabled=False)
    call_command("migrate", verbosity=0)
    assert PeriodicTask.objects.filter(name="Prune backups").exists()
    mine.refresh_from_db()
    assert not mine.enabled


def test_migration_of_the_schedules_can_be_taken_back(transactional_db: None) -> None:
    """Without their tables there are no rows to make."""
    call_command("migrate", "django_celery_beat", "zero", verbosity=0)
    call_command("migrate", verbosity=0)
    assert PeriodicTask.objects.count() == 6


def test_celery_settings_deliver_once_and_accept_only_json() -> None:
    assert not app.conf.task_acks_late
    assert not app.conf.task_reject_on_worker_lost
    assert not app.conf.task_track_started
    assert app.conf.accept_content == ["json"]
    assert app.conf.broker_transport_options["visibility_timeout"] > app.conf.task_time_limit
    assert app.conf.task_time_limit > app.conf.task_soft_time_limit > 0


# --- In the console -----------------------------------------------------------------------------------------------
@pytest.fixture
def administrator(sign_in: Callable[..., Client]) -> Client:
    return sign_in(is_superuser=True)


def test_number_of_queries_of_the_list_is_constant(
    task: Callable[..., PeriodicTask], administrator: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    administrator.get(reverse(LIST))
    task()
    with django_assert_num_queries(6):
        administrator.get(reverse(LIST))
    crontab = CrontabSchedule.objects.create(hour="5")
    for number in range(30):
        task(**({"crontab": crontab} if number % 2 else {}))
    with django_assert_num_queries(6):
        assert administrator.get(reverse(LIST)).status_code == 200


def test_list_shows_next_run_in_the_time_zone_of_the_site(
    task: Callable[..., PeriodicTask], administrator: Client, settings: Any
) -> None:
    settings.TIME_ZONE = "Asia/Kolkata"
    task(last_run_at=dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC))
    page = administrator.get(reverse(LIST)).content.decode()
    assert '<span class="moment">2026-01-01 17:30 IST</span>' in page
    assert '<span class="schedule-missed">missed: 2026-01-01 18:30 IST</span>' in page


def test_list_shows_the_outcome_of_the_last_run(task: Callable[..., PeriodicTask], administrator: Client) -> None:
    PeriodicTask.objects.all().delete()
    task(task="ops.tasks.restore_test")
    assert "succeeded" not in administrator.get(reverse(LIST)).content.decode()
    Run.objects.create(
        kind=Run.Kind.RESTORE_TEST, status=Run.Status.SUCCEEDED, requested_at=ago(days=1), requested_by="beat"
    )
    Run.objects.create(
        kind=Run.Kind.RESTORE_TEST, status=Run.Status.FAILED, requested_at=ago(days=8), requested_by="beat"
    )
    Run.objects.create(kind=Run.Kind.BACKUP, status=Run.Status.FAILED, requested_at=ago(hours=1), requested_by="beat")
    page = administrator.get(reverse(LIST)).content.decode()
    assert "succeeded" in page
    assert "failed" not in page


@pytest.mark.parametrize(
    "model", ["periodictask", "intervalschedule", "crontabschedule", "solarschedule", "clockedschedule"]
)
@pytest.mark.parametrize("page", ["changelist", "add"])
def test_list_and_add_pages_open(administrator: Client, model: str, page: str) -> None:
    assert administrator.get(reverse(f"admin:django_celery_beat_{model}_{page}")).status_code == 200


@pytest.mark.parametrize("page", ["changelist", "add", "change", "delete", "history"])
def test_pages_call_periodic_tasks_schedules(
    task: Callable[..., PeriodicTask], administrator: Client, page: str
) -> None:
    row, view = task(), f"admin:django_celery_beat_periodictask_{page}"
    address = reverse(view, args=() if page in {"changelist", "add"} else (row.pk,))
    shown = administrator.get(address).content.decode()
    # django-celery-beat's help text of a field remains.
    assert re.findall(r"periodic task", shown.replace("details of this Periodic Task", ""), re.IGNORECASE) == []
    assert "Schedules" in re.sub(r"<nav.*?</nav>", "", shown, flags=re.DOTALL)


def test_change_page_names_the_task(task: Callable[..., PeriodicTask], administrator: Client) -> None:
    row = task(name="Night shift", crontab=CrontabSchedule.objects.create(hour="5"))
    for shown in (row, row.crontab):
        address = reverse(f"admin:django_celery_beat_{shown._meta.model_name}_change", args=(shown.pk,))
        assert "Night shift" in administrator.get(address).content.decode()


def test_schedule_can_be_changed(task: Callable[..., PeriodicTask], administrator: Client) -> None:
    row = task()
    address = reverse("admin:django_celery_beat_periodictask_change", args=(row.pk,))
    form = {
        "name": "Hourly",
        "regtask": "",
        "task": row.task,
        "interval": row.interval.pk,
        "args": "[]",
        "kwargs": "{}",
    }
    answer = administrator.post(address, form | {"headers": "{}"})
    assert answer.status_code == 302, answer.content.decode()
    row.refresh_from_db()
    assert (row.name, row.enabled) == ("Hourly", False)


def test_user_with_view_permission_has_no_actions(
    task: Callable[..., PeriodicTask], sign_in: Callable[..., Client]
) -> None:
    onlookers = Group.objects.create(name="Onlookers")
    onlookers.permissions.add(Permission.objects.get(codename="view_periodictask"))
    client, row = sign_in("Onlookers"), task()
    assert "run_tasks" not in client.get(reverse(LIST)).content.decode()
    client.post(reverse(LIST), {"action": "disable_tasks", "_selected_action": [row.pk]})
    row.refresh_from_db()
    assert row.enabled


def test_list_is_forbidden_without_permission(stranger_client: Client) -> None:
    assert stranger_client.get(reverse(LIST)).status_code == 403
