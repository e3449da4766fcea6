"""The page of schedules: *Run now*, and its warnings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django_celery_beat.models import CrontabSchedule, PeriodicTask

from homerack.accounts.models import User
from ops import operations
from ops.admin import schedules
from ops.admin.dashboard.summary import SchedulerState
from ops.models import Run
from ops.runs.schedule_rows import apply_schedules
from ops.schedules import timetable
from ops.schedules.builtin import BUILT_IN, Timing
from tests.admin.support import messages_of
from tests.admin.test_schedules import (
    BACK_UP,
    COPY,
    DROP,
    PAGE,
    PRUNE,
    RESTORE_TEST,
    RUN_NOW,
    card,
    change,
    entered,
    words,
)
from tests.support.postgres import free_port

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def directory(storage: Path) -> Path:
    apply_schedules()
    return storage


@pytest.fixture
def ada(admin_client: Client) -> Client:
    return admin_client


# --- Warnings -----------------------------------------------------------------------------------------------------
NO_BACKUP = "No backup will be made by schedule: Back up is off."


def test_page_warns_when_no_backup_will_be_made(ada: Client) -> None:
    assert NO_BACKUP not in words(ada.get(PAGE))
    change(BACK_UP, Timing(hour=2, enabled=False))
    assert NO_BACKUP in words(ada.get(PAGE))
    every = CrontabSchedule.objects.create(hour="1")
    other = PeriodicTask.objects.create(name="Mine", task=BACK_UP, crontab=every)
    assert NO_BACKUP not in words(ada.get(PAGE))
    PeriodicTask.objects.filter(pk=other.pk).update(enabled=False)
    assert NO_BACKUP in words(ada.get(PAGE))


@pytest.mark.parametrize(("hours", "warns"), [(26, True), (168, True), (169, False)])
def test_page_warns_of_a_limit_that_the_times_exceed(ada: Client, settings: Any, hours: int, warns: bool) -> None:
    settings.BACKUP_MAX_AGE_HOURS = hours
    change(BACK_UP, Timing(hour=2, days=(7,)))
    warning = f"Up to 168 hours pass between two backups, and the limit for their age (BACKUP_MAX_AGE_HOURS) is {hours}"
    assert (warning in words(ada.get(PAGE))) is warns


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (SchedulerState.BEAT_DOWN, "Nothing starts by schedule: the scheduler does not answer."),
        (SchedulerState.NOT_CONFIGURED, "Nothing starts by schedule: no worker is set up."),
        (SchedulerState.RUNNING, ""),
    ],
)
def test_page_says_why_nothing_starts(
    ada: Client, monkeypatch: pytest.MonkeyPatch, state: SchedulerState, sentence: str
) -> None:
    monkeypatch.setattr(schedules, "scheduler_state", lambda _checks: state)
    shown = words(ada.get(PAGE))
    assert sentence in shown
    assert ("Nothing starts" in shown) is bool(sentence)


def test_page_says_that_there_is_no_scheduler(ada: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timetable, "is_installed", lambda: False)
    page = ada.get(PAGE)
    assert "Nothing starts by schedule: django-celery-beat is not installed." in words(page)
    assert "Next start not planned" in card(page, "Back up")


def test_page_names_redis_that_does_not_answer_in_time(ada: Client, settings: Any) -> None:
    settings.REDIS_URL, settings.OPS_CELERY_APP = f"redis://127.0.0.1:{free_port()}/0", "homerack.celery.app"
    assert "Nothing starts by schedule: Redis does not answer." in words(ada.get(PAGE))


def test_default_times_are_within_the_default_limit(ada: Client) -> None:
    assert "limit for their age" not in words(ada.get(PAGE))


def test_page_says_that_the_stored_times_are_ignored_and_shows_those_in_force(ada: Client, directory: Path) -> None:
    change(BACK_UP, Timing(hour=5, minute=10))
    (directory / "settings.json").write_text("{}")
    page = ada.get(PAGE)
    assert "The settings in settings.json, next to the backups, are ignored." in words(page)
    assert "Starts At 05:10" in card(page, "Back up")
    refused = ada.post(PAGE, entered(ada))
    assert "Nothing was changed. Save the page of settings first." in "".join(messages_of(refused))
    assert "Starts At 05:10" in card(ada.get(PAGE), "Back up")
    assert (directory / "settings.json").read_text() == "{}"


# --- Run now ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("task", "kind", "arguments"),
    [
        (BACK_UP, Run.Kind.BACKUP, {}),
        (PRUNE, Run.Kind.PRUNE, {}),
        (COPY, Run.Kind.COPY, {}),
        (RESTORE_TEST, Run.Kind.RESTORE_TEST, {"farthest": True}),
    ],
)
def test_run_now_queues_what_the_schedule_starts(
    ada: Client, queue: list[str], settings: Any, monkeypatch: pytest.MonkeyPatch, task: str, kind: str, arguments: Any,
    django_capture_on_commit_callbacks: Any, tmp_path: Path,
) -> None:  # fmt: skip
    settings.BACKUP_LOCATIONS = [{"name": "nas", "url": str(tmp_path / "nas")}]
    monkeypatch.setattr(operations, "newest_verified", lambda _context: object())
    with django_capture_on_commit_callbacks(execute=True):
        answer = ada.post(RUN_NOW, {"task": task})
    run = Run.objects.get()
    assert (run.kind, run.arguments, run.origin) == (kind, arguments, "admin")
    assert answer["Location"] == f"/admin/ops/run/{run.pk}/change/"
    assert queue == [str(run.pk)]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (RESTORE_TEST, "There is no verified backup to test. Make one first: Back up. Nothing was started."),
        (COPY, "There is no other storage location to copy to. Nothing was started."),
        (DROP, "No previous database and no SQLite file has expired. Nothing was started."),
    ],
)
def test_run_now_says_that_there_is_nothing_to_do(ada: Client, queue: list[str], task: str, message: str) -> None:
    answer = ada.post(RUN_NOW, {"task": task})
    assert (answer["Location"], messages_of(answer)) == (PAGE, [message])
    assert queue == []
    assert not Run.objects.exists()


@pytest.mark.parametrize("task", ["", "ops.tasks.execute_run", "os.system"])
def test_run_now_of_anything_else_is_not_found(ada: Client, queue: list[str], task: str) -> None:
    assert ada.post(RUN_NOW, {"task": task}).status_code == 404


@pytest.mark.parametrize(
    ("group", "allowed"),
    [
        ("Backup viewers", set()),
        ("Backup operators", {BACK_UP, COPY, RESTORE_TEST}),
        ("Backup restorers", {BACK_UP, COPY, RESTORE_TEST}),
    ],
)
def test_run_now_is_for_users_who_may_start_what_it_starts(
    sign_in: Callable[..., Client], queue: list[str], settings: Any, group: str, allowed: set[str], tmp_path: Path
) -> None:
    settings.BACKUP_LOCATIONS = [{"name": "nas", "url": str(tmp_path / "nas")}]
    client = sign_in(group)
    page = client.get(PAGE).content.decode()
    for schedule in BUILT_IN:
        status = client.post(RUN_NOW, {"task": schedule.task}).status_code
        assert (status != 403) is (schedule.task in allowed), schedule.task
        assert (f'form="run-now" name="task" value="{schedule.task}"' in page) is (schedule.task in allowed)


def test_run_now_needs_a_post_and_a_token(ada: Client) -> None:
    assert ada.get(RUN_NOW).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get())
    assert strict.post(RUN_NOW, {"task": BACK_UP}).status_code == 403
    assert not Run.objects.exists()


def test_page_shows_commands_where_there_is_no_worker(ada: Client, settings: Any) -> None:
    settings.OPS_CELERY_APP = ""
    page = ada.get(PAGE)
    assert "Run now" not in words(page)
    for command in ("backup_database", "prune_backups", "verify_backup --latest --restore"):
        assert f'data-copy-command aria-label="Copy manage.py {command}"' in page.content.decode()
    answer = ada.post(RUN_NOW, {"task": BACK_UP})
    assert messages_of(answer) == [
        "The site has no worker. Set REDIS_URL. Nothing was started. Or run: manage.py backup_database"
    ]
