"""The page of schedules: what it shows, and changes with their mistakes."""

import datetime as dt
import html
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone
from django.utils.html import strip_tags
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from pytest_django import DjangoAssertNumQueries

from homerack.accounts.models import User
from ops import operations, stored_settings
from ops.errors import OpsError
from ops.models import Run
from ops.runs.context import get_context
from ops.runs.schedule_rows import apply_schedules
from ops.schedules import timetable
from ops.schedules.builtin import BUILT_IN, Timing
from ops.stored_settings import StoredSettings
from tests.admin.support import add_backup, add_run, messages_of

pytestmark = pytest.mark.django_db
PAGE, RUN_NOW = "/admin/ops/run/schedules/", "/admin/ops/run/schedules/run-now/"
BACK_UP, PRUNE, RESTORE_TEST = "ops.tasks.back_up", "ops.tasks.prune", "ops.tasks.restore_test"
COPY, DROP = "ops.tasks.copy_backups", "ops.tasks.drop_expired_previous"
NO_TIME = "Enter a time from 00:00 to 23:59, such as 02:00."


@pytest.fixture(autouse=True)
def directory(storage: Path) -> Path:
    apply_schedules()
    return storage


@pytest.fixture
def ada(admin_client: Client) -> Client:
    return admin_client


def words(response: HttpResponse) -> str:
    """The text of the page, on one line."""
    assert response.status_code == 200
    shown = response.content.decode().partition('class="ops-page"')[2]
    return html.unescape(re.sub(r"\s+", " ", strip_tags(shown.replace("<", " <"))))


def card(response: HttpResponse, name: str) -> str:
    """The text of the card of the schedule `name`."""
    names = "|".join(f" {each.name} " for each in BUILT_IN)
    parts = re.split(f"({names})", words(response).replace("Run Back up first", ""))
    return parts[parts.index(f" {name} ") + 1]


class Fields(HTMLParser):
    """What a browser sends of the form of the times."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.sent: dict[str, list[str]] = {}
        self.select = ""
        self.feed(page.partition('<form class="ops-schedules')[2].partition("</form>")[0])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        name = found.get("name", "")
        if tag == "select":
            self.select = name
        elif tag == "option" and "selected" in found:
            self.sent.setdefault(self.select, []).append(found["value"])
        elif tag == "input" and (found.get("type") != "checkbox" or "checked" in found):
            self.sent.setdefault(name, []).append(found.get("value", "on"))


def entered(client: Client, **changes: Any) -> dict[str, Any]:
    """The form as the page shows it, with `changes`: ``back_up__time="23:15"``. None removes a field."""
    fields: dict[str, Any] = dict(Fields(client.get(PAGE).content.decode()).sent)
    fields |= {name.replace("__", "-"): value for name, value in changes.items()}
    return {name: value for name, value in fields.items() if value is not None}


def stored(task: str) -> Timing | None:
    return stored_settings.read().schedules.get(task)


def change(task: str, timing: Timing) -> None:
    run = Run(kind=Run.Kind.SETTINGS, requested_by="bob@example.com", origin=Run.Origin.ADMIN)
    operations.change_schedules(get_context(), run, {task: timing})


# --- What it shows ------------------------------------------------------------------------------------------------
def test_page_shows_each_schedule_with_its_times_in_words(ada: Client, settings: Any) -> None:
    change(BACK_UP, Timing(hour=23, minute=15, days=(1, 2, 3, 4, 5)))
    page = ada.get(PAGE)
    assert "Starts From Monday to Friday at 23:15" in card(page, "Back up")
    assert "Starts On Sunday at 03:30" in card(page, "Restore test")
    assert "Starts Every hour at minute 45" in card(page, "Copy backups")
    assert "always on" in card(page, "Reconcile")
    assert "Starts Every 5 minutes" in card(page, "Reconcile")
    assert re.search(r"Times are in the UTC time zone, where it is \d\d:\d\d now\.", words(page))


def test_next_start_is_in_words(ada: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    rows = PeriodicTask.objects.filter(name__in=("Back up", "Prune backups"))
    rows.update(last_run_at=now - dt.timedelta(days=3))
    change(RESTORE_TEST, Timing(hour=3, enabled=False))
    page = ada.get(PAGE)
    assert re.search(r"Next start overdue since \w+ at 0[23]:00", card(page, "Back up"))
    assert "Next start off" in card(page, "Restore test")
    assert re.search(r"Next start .*at \d\d:45, in (\d+ minutes?|less than a minute)", card(page, "Copy backups"))


def test_last_run_is_the_newest_run_of_the_kind_whoever_requested_it(ada: Client) -> None:
    """It never contradicts the list of runs, also after a change has reset the start that beat remembers."""
    assert "Last run none so far" in card(ada.get(PAGE), "Back up")


def test_card_of_restore_tests_says_that_a_verified_backup_is_missing_until_there_is_one(ada: Client) -> None:
    missing = "There is no verified backup yet, and without one nothing starts."
    add_backup(verified_level="", verified_at=None)
    assert missing in card(ada.get(PAGE), "Restore test")
    add_backup()
    assert missing not in card(ada.get(PAGE), "Restore test")


def test_breadcrumb_has_no_list_of_runs_above_the_page(ada: Client) -> None:
    above = ada.get(PAGE).content.decode().partition('class="ops-page"')[0]
    assert "Schedules" in above
    assert '<a href="/admin/ops/run/"' not in above.partition("<main")[2]
    old = dt.datetime(2026, 3, 7, 2, 0, tzinfo=dt.UTC)
    add_run(kind="backup", status="failed", requested_at=old, started_at=old, requested_by="scheduler")
    newest = add_run(kind="backup", requested_by="bob@example.com")
    change(BACK_UP, Timing(hour=5))
    page = ada.get(PAGE)
    assert "Last run succeeded" in card(page, "Back up")
    assert "requested by bob@example.com" in card(page, "Back up")
    assert f'href="/admin/ops/run/{newest.pk}/change/"' in page.content.decode()
    assert "Last run none so far" in card(page, "Prune backups")


def test_last_run_of_expired_databases_is_the_newest_of_both_kinds(ada: Client) -> None:
    add_run(kind="drop_previous", requested_at=timezone.now() - dt.timedelta(days=1))
    newest = add_run(kind="sqlite_deletion")
    assert f'href="/admin/ops/run/{newest.pk}/change/"' in ada.get(PAGE).content.decode()


def test_number_of_queries_is_constant(ada: Client, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    ada.get(PAGE)
    hourly = IntervalSchedule.objects.create(every=1, period="hours")
    with django_assert_num_queries(10):
        ada.get(PAGE)
    for number in range(20):
        PeriodicTask.objects.create(name=f"Mine {number}", task="shop.tasks.send", interval=hourly)
        add_run(kind="backup")
    with django_assert_num_queries(10):
        ada.get(PAGE)


def test_schedules_of_the_project_are_listed_and_cannot_be_changed(ada: Client) -> None:
    crontab = CrontabSchedule.objects.create(minute="0", hour="5")
    when = dt.datetime(2026, 3, 7, 5, 0, tzinfo=dt.UTC)
    PeriodicTask.objects.create(name="Send bills", task="shop.tasks.send", crontab=crontab)
    PeriodicTask.objects.filter(name="Send bills").update(last_run_at=when, enabled=False)
    page = ada.get(PAGE)
    assert "Send bills shop.tasks.send At 05:00" in re.sub(r"\s+", " ", words(page).partition("Other schedules")[2])
    assert "off 2026-03-07 05:00" in words(page)
    assert not any("bills" in name for name in entered(ada))


def test_times_that_do_not_exist_are_never(ada: Client) -> None:
    crontab = CrontabSchedule.objects.create(minute="0", hour="0", day_of_month="31", month_of_year="2")
    tomorrow = timezone.now() + dt.timedelta(days=1)
    for name, start in (("Reports", None), ("Later reports", tomorrow)):
        task = PeriodicTask.objects.create(name=name, task="reports.send", crontab=crontab, start_time=start)
        assert timetable.next_run(task) is None
        assert not timetable.scheduled_days(task, [dt.date(2026, 2, 28)])
    assert timetable.find_missed("default") == []
    assert words(ada.get(PAGE)).count("never none so far") == 2


def test_rows_of_an_older_database_become_those_of_ops() -> None:
    """They may have been changed in the forms of celery-beat; no restore or migration may fail because of them."""
    later = timezone.now() + dt.timedelta(days=1)
    solar = SolarSchedule.objects.create(event="sunset", latitude=50, longitude=8)
    clocked = ClockedSchedule.objects.create(clocked_time=later)
    for changed in (
        {"crontab": None, "solar": solar},
        {"crontab": None, "clocked": clocked, "one_off": True},
        {"expires": later, "expire_seconds": None},
        {"start_time": later},
        {"one_off": True},
    ):
        PeriodicTask.objects.filter(name="Back up").update(**changed)
        apply_schedules()
        row = PeriodicTask.objects.get(name="Back up")
        assert (row.crontab.hour, row.expire_seconds, row.one_off) == ("2", 12 * 3600, False)
        assert (row.solar, row.clocked, row.expires, row.start_time) == (None, None, None, None)


def test_admin_has_no_pages_of_django_celery_beat(ada: Client) -> None:
    assert [model for model in admin.site._registry if model._meta.app_label == "django_celery_beat"] == []
    assert ada.get("/admin/django_celery_beat/periodictask/").status_code == 404


def test_viewer_sees_the_times_without_form_and_buttons(viewer: Client) -> None:
    page = viewer.get(PAGE)
    assert "Starts Every day at 02:00" in card(page, "Back up")
    shown = page.content.decode().partition('class="ops-page"')[2]
    assert "Save" not in shown
    assert "Run now" not in words(page)
    assert Fields(shown).sent == {}


# --- Changes ------------------------------------------------------------------------------------------------------
def test_change_is_stored_recorded_and_applied(ada: Client, directory: Path) -> None:
    answer = ada.post(PAGE, entered(ada, back_up__time="23:15", back_up__days=["1", "2", "3", "4", "5"]))
    assert (answer.status_code, answer["Location"]) == (302, PAGE)
    assert messages_of(answer) == ["Saved. Back up: from Monday to Friday at 23:15, before every day at 02:00."]
    assert stored(BACK_UP) == Timing(hour=23, minute=15, days=(1, 2, 3, 4, 5))
    row = PeriodicTask.objects.get(name="Back up")
    assert (row.crontab.minute, row.crontab.hour, row.crontab.day_of_week) == ("15", "23", "1,2,3,4,5")
    run = Run.objects.get()
    assert (run.kind, run.status, run.requested_by) == ("settings", "succeeded", User.objects.get().email)


def test_form_that_was_not_touched_changes_nothing(ada: Client) -> None:
    answer = ada.post(PAGE, entered(ada))
    assert messages_of(answer) == ["Nothing was changed."]
    assert not Run.objects.exists()


def test_each_field_can_be_changed(ada: Client) -> None:
    ada.post(PAGE, entered(ada, prune__every_hours="6", prune__time="14:30", restore_test__enabled=None))
    assert stored(PRUNE) == Timing(hour=14, minute=30, every_hours=6)
    assert stored(RESTORE_TEST) == Timing(hour=3, minute=30, days=(7,), enabled=False)
    ada.post(PAGE, entered(ada, restore_test__enabled="on"))
    assert stored(RESTORE_TEST) is None


def test_change_keeps_what_another_user_has_changed_meanwhile(ada: Client) -> None:
    form = entered(ada, back_up__time="23:15")
    change(PRUNE, Timing(hour=5))
    ada.post(PAGE, form)
    assert (stored(BACK_UP), stored(PRUNE)) == (Timing(hour=23, minute=15), Timing(hour=5))


@pytest.mark.parametrize(
    ("changes", "place", "message"),
    [
        ({"back_up__time": ""}, "Back up: Time", NO_TIME),
        ({"back_up__time": None}, "Back up: Time", NO_TIME),
        ({"back_up__time": "25:00"}, "Back up: Time", NO_TIME),
        ({"back_up__time": "abc"}, "Back up: Time", NO_TIME),
        ({"back_up__time": "02:00:30"}, "Back up: Time", NO_TIME),
        ({"back_up__days": None}, "Back up: Days", "Choose at least one day."),
        ({"back_up__days": ["8"]}, "Back up: Days", "Choose days of the week."),
        ({"back_up__days": ["Monday"]}, "Back up: Days", "Choose days of the week."),
        ({"back_up__every_hours": "5"}, "Back up: Repeat", "Choose one of the list."),
        ({"back_up__every_hours": "abc"}, "Back up: Repeat", "Choose one of the list."),
        ({"back_up__every_hours": None}, "Back up: Repeat", "Choose how often."),
    ],
)
def test_mistake_is_shown_on_top_and_at_its_field(ada: Client, changes: Any, place: str, message: str) -> None:
    answer = ada.post(PAGE, entered(ada, **changes, prune__time="05:05"))
    shown = words(answer)
    assert "Nothing was saved. Correct this mistake, and save again." in shown
    assert shown.index(f"{place} : {message}") < shown.index(" Makes a backup ")
    assert message in shown.partition(" Makes a backup ")[2].partition(" Restores the newest ")[0]
    name = {"Time": "time", "Days": "days", "Repeat": "every_hours"}[place.rpartition(" ")[2]]
    page = answer.content.decode()
    assert f'id="id_back_up-{name}_error"' in page
    assert len(re.findall(r"<(?:input|select)[^>]* autofocus", page)) == 1
    assert stored_settings.read() == StoredSettings()
    assert not Run.objects.exists()
    # What was entered stays.
    assert Fields(page).sent["prune-time"] == ["05:05"]


def test_links_of_mistakes_lead_to_their_fields(ada: Client) -> None:
    answer = ada.post(PAGE, entered(ada, back_up__time="", prune__days=None, copy_backups__every_hours="x"))
    page = answer.content.decode()
    assert "Correct these 3 mistakes" in page
    targets = re.findall(r'<a class="ops-link" href="#([^"]+)"', page)
    assert targets == ["id_back_up-time", "id_copy_backups-every_hours", "id_prune-days_0"]
    assert all(f'id="{target}"' in page for target in targets)


def test_days_that_were_entered_stay_beside_a_mistake(ada: Client) -> None:
    answer = ada.post(PAGE, entered(ada, back_up__time="", back_up__days=["2", "6"], back_up__enabled=None))
    sent = Fields(answer.content.decode()).sent
    assert sent["back_up-days"] == ["2", "6"]
    assert "back_up-enabled" not in sent
    # The values that the form was first shown with stay, too: correcting the mistake saves all of it.
    ada.post(PAGE, {**sent, "back_up-time": ["04:00"]})
    assert stored(BACK_UP) == Timing(hour=4, days=(2, 6), enabled=False)


def test_default_is_offered_where_it_was_changed_and_saves_the_rest(ada: Client) -> None:
    assert "Back to the default" not in words(ada.get(PAGE))
    change(BACK_UP, Timing(hour=5))
    assert "Back to the default (every day at 02:00)" in card(ada.get(PAGE), "Back up")
    answer = ada.post(PAGE, entered(ada, back_up__time="", prune__time="05:05", default=BACK_UP))
    assert messages_of(answer) == [
        "Saved. Back up: every day at 02:00, before every day at 05:00.",
        "Saved. Prune backups: every day at 05:05, before every day at 03:00.",
    ]
    assert stored_settings.read().schedules == {PRUNE: Timing(hour=5, minute=5)}


def test_default_is_kept_beside_a_mistake_of_another_schedule(ada: Client) -> None:
    change(BACK_UP, Timing(hour=5, days=(1,), enabled=False))
    answer = ada.post(PAGE, entered(ada, prune__time="", default=BACK_UP))
    sent = Fields(answer.content.decode()).sent
    assert (sent["back_up-time"], len(sent["back_up-days"])) == (["02:00"], 7)
    ada.post(PAGE, {**sent, "prune-time": ["03:00"]})
    assert stored(BACK_UP) is None


@pytest.mark.parametrize("default", ["ops.tasks.reconcile", "os.system"])
def test_default_of_other_tasks_is_not_changed(ada: Client, default: str) -> None:
    assert messages_of(ada.post(PAGE, entered(ada, default=default))) == ["Nothing was changed."]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OpsError("It failed.", "Do this.")])
def test_failure_is_shown_and_what_was_entered_stays(
    ada: Client, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_arguments: Any) -> None:
        raise error

    form = entered(ada, back_up__time="23:15")
    monkeypatch.setattr(stored_settings, "write", fail)
    answer = ada.post(PAGE, form)
    assert answer.status_code == 200
    expected = "The times were not saved: No space left on device" if isinstance(error, OSError) else "It failed."
    assert expected in html.unescape(answer.content.decode())
    assert Fields(answer.content.decode()).sent["back_up-time"] == ["23:15"]
    assert stored(BACK_UP) is None


@pytest.mark.parametrize("group", ["Backup viewers", "Backup operators", "Backup restorers"])
def test_only_superusers_change_times(sign_in: Callable[..., Client], ada: Client, group: str) -> None:
    form = entered(ada, back_up__time="23:15")
    assert sign_in(group).post(PAGE, form).status_code == 403
    assert stored(BACK_UP) is None
