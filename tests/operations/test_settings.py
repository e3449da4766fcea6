"""Changes of the settings that are stored next to the backups: the history, the schedules, and restores."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyrage
import pytest
from django_celery_beat.models import PeriodicTask, PeriodicTasks

from ops import operations, stored_settings
from ops.errors import PreconditionFailed
from ops.models import Run
from ops.operations.settings import change_targets
from ops.runs import index
from ops.runs.context import get_context
from ops.runs.descriptions import describe
from ops.runs.results import SettingsResult, read_result
from ops.runs.schedule_rows import apply_schedules
from ops.schedules.builtin import Timing
from tests.operations.harness import Lab

TOKEN = "json://lab.example.org/very-secret-token"
BACK_UP = "ops.tasks.back_up"


@pytest.fixture(autouse=True)
def directory(settings: Any, tmp_path: Path, db: None) -> Path:
    settings.BACKUP_DIR = tmp_path / "backups"
    settings.BACKUP_AGE_IDENTITY = str(pyrage.x25519.Identity.generate())
    apply_schedules()
    return tmp_path / "backups"


def run() -> Run:
    return Run(kind=Run.Kind.SETTINGS, requested_by="ada@example.com", origin=Run.Origin.ADMIN)


def crontab_of(name: str) -> str:
    task = PeriodicTask.objects.get(name=name)
    return f"{task.crontab.minute} {task.crontab.hour} {task.crontab.day_of_week}" if task.enabled else "off"


def test_change_of_numbers_counts_at_once_and_is_recorded_without_a_lock() -> None:
    context = get_context()
    with context.engine.locked("a long backup"):
        operations.change_numbers(context, run(), {"BACKUP_RETENTION_DAYS": 30, "UNDO_KEEP_DAYS": 7})
    assert (get_context().policy.days, get_context().previous_days) == (30, 7)
    assert context.with_current_policy().policy.days == 30
    assert get_context(retention_days=5).with_current_policy().policy.days == 5
    recorded = Run.objects.get()
    assert (recorded.status, recorded.requested_by) == (Run.Status.SUCCEEDED, "ada@example.com")
    result = read_result(recorded.kind, recorded.result)
    assert result
    assert describe(result) == [
        "Keep all backups for … days: 30, before 7.",
        "Keep the previous database of a restore for … days: 7, before 3.",
    ]


def test_number_goes_back_to_its_default() -> None:
    operations.change_numbers(get_context(), run(), {"BACKUP_RETENTION_DAYS": 30})
    operations.change_numbers(get_context(), run(), {"BACKUP_RETENTION_DAYS": None})
    assert stored_settings.number("BACKUP_RETENTION_DAYS", stored_settings.read()).source == "default"


def test_change_of_nothing_is_not_recorded() -> None:
    operations.change_numbers(get_context(), run(), {"BACKUP_RETENTION_DAYS": 7})
    operations.change_schedules(get_context(), run(), {BACK_UP: Timing(hour=2)})
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"BACKUP_RETENTION_DAYS": 0}, r"BACKUP_RETENTION_DAYS is from 1 to 36,500\. Nothing was changed\."),
        ({"BACKUP_KEEP_DAILY": 4}, r"BACKUP_KEEP_DAILY is set in the file \.env\. Nothing was changed\."),
    ],
)
def test_number_that_is_fixed_or_out_of_range_is_refused(settings: Any, numbers: Any, message: str) -> None:
    settings.OPS_SETTING_SOURCES = {"BACKUP_KEEP_DAILY": "file .env"}
    with pytest.raises(PreconditionFailed, match=message):
        operations.change_numbers(get_context(), run(), numbers)
    assert stored_settings.read() == stored_settings.StoredSettings()


def test_schedule_that_is_changed_counts_from_now_and_beat_hears_of_it() -> None:
    PeriodicTask.objects.filter(task=BACK_UP).update(last_run_at="2026-01-01T02:00:00Z")
    before = PeriodicTasks.last_change()
    timing = Timing(hour=14, minute=30, every_hours=12, days=(1, 7))
    result = operations.change_schedules(get_context(), run(), {BACK_UP: timing})
    assert crontab_of("Back up") == "30 2,14 0,1"
    assert PeriodicTask.objects.get(task=BACK_UP).last_run_at is None
    assert PeriodicTasks.last_change() != before
    assert describe(result) == [
        "Back up: every 12 hours (02:30, 14:30), on Monday and Sunday, before every day at 02:00."
    ]


def test_schedule_can_be_switched_off_and_on() -> None:
    operations.change_schedules(get_context(), run(), {BACK_UP: Timing(hour=2, enabled=False)})
    assert crontab_of("Back up") == "off"
    operations.change_schedules(get_context(), run(), {BACK_UP: Timing(hour=2)})
    assert crontab_of("Back up") == "0 2 *"
    assert stored_settings.read().schedules == {}


@pytest.mark.parametrize("task", ["ops.tasks.reconcile", "os.system"])
def test_other_schedules_cannot_be_changed(task: str) -> None:
    with pytest.raises(PreconditionFailed, match="cannot be changed"):
        operations.change_schedules(get_context(), run(), {task: Timing(hour=2)})


def test_restored_rows_get_the_stored_times() -> None:
    operations.change_schedules(get_context(), run(), {BACK_UP: Timing(hour=5)})
    # What a restore of an older backup leaves, and what was deleted or changed by hand.
    PeriodicTask.objects.filter(name="Prune backups").delete()
    task = PeriodicTask.objects.get(name="Back up")
    task.crontab = PeriodicTask.objects.get(name="Restore test").crontab
    task.save()
    index.rebuild_index(get_context().repository, restored=True)
    assert (crontab_of("Back up"), crontab_of("Prune backups")) == ("0 5 *", "0 3 *")


def test_times_stay_while_the_stored_settings_are_ignored(directory: Path) -> None:
    operations.change_schedules(get_context(), run(), {BACK_UP: Timing(hour=5)})
    (directory / "settings.json").write_text("{}")
    PeriodicTask.objects.filter(name="Prune backups").delete()
    apply_schedules()
    assert (crontab_of("Back up"), crontab_of("Prune backups")) == ("0 5 *", "0 3 *")


def recorded_text(directory: Path) -> str:
    return "".join(path.read_text() for path in directory.rglob("*.json")) + str(Run.objects.values_list())


def test_targets_are_recorded_without_their_secrets(directory: Path) -> None:
    operations.add_target(get_context(), run(), TOKEN)
    operations.change_heartbeat(get_context(), run(), "https://hc.example.org/also-secret-token")
    assert stored_settings.notify_urls() == (TOKEN,)
    assert stored_settings.heartbeat_url() == "https://hc.example.org/also-secret-token"
    assert "secret-token" not in recorded_text(directory)
    results = [read_result(Run.Kind.SETTINGS, each.result) for each in Run.objects.order_by("requested_at")]
    assert [describe(result) for result in results if result] == [
        ["Targets of notifications: json at lab.example.org, before none."],
        ["Heartbeat monitor: https at hc.example.org, before none."],
    ]


def test_targets_keep_the_others_and_another_token_is_a_change() -> None:
    operations.change_heartbeat(get_context(), run(), "https://hc.example.org/1")
    operations.add_target(get_context(), run(), TOKEN)
    result = change_targets(get_context(), run(), lambda _urls: [f"{TOKEN}-2"])
    assert stored_settings.heartbeat_url() == "https://hc.example.org/1"
    assert describe(result) == ["Targets of notifications: replaced (json at lab.example.org)."]


def test_target_is_added_to_those_that_others_have_added_meanwhile_and_only_once() -> None:
    for url in (TOKEN, "json://other.example.org", TOKEN):
        operations.add_target(get_context(), run(), url)
    assert stored_settings.notify_urls() == ("json://other.example.org", TOKEN)
    operations.remove_target(get_context(), run(), "json://other.example.org")
    assert stored_settings.notify_urls() == (TOKEN,)


def test_last_target_leaves_no_secrets() -> None:
    operations.add_target(get_context(), run(), TOKEN)
    operations.remove_target(get_context(), run(), TOKEN)
    assert stored_settings.read().secrets == ""


@pytest.mark.parametrize(
    ("change", "url"),
    [
        (operations.add_target, "very-secret-token"),
        (operations.add_target, "nosuchservice://very-secret-token"),
        (operations.add_target, "json://a.example.org/ json://b.example.org/very-secret-token"),
        (operations.change_heartbeat, "ftp://hc.example.org/very-secret-token"),
        (operations.change_heartbeat, "https:///very-secret-token"),
        (operations.change_heartbeat, "https://[very-secret-token"),
    ],
)
def test_address_that_is_none_is_refused_without_showing_it(
    change: Callable[..., SettingsResult], url: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(PreconditionFailed, match="Nothing was saved") as refused:
        change(get_context(), run(), url)
    shown = f"{refused.value} {refused.value.hint} {caplog.text} {capfd.readouterr()}"
    assert "very-secret-token" not in shown
    assert not Run.objects.exists()


def test_targets_replace_those_that_no_key_opens(settings: Any) -> None:
    operations.add_target(get_context(), run(), TOKEN)
    settings.BACKUP_AGE_IDENTITY = str(pyrage.x25519.Identity.generate())
    operations.add_target(get_context(), run(), "json://new.example.org")
    assert stored_settings.notify_urls() == ("json://new.example.org",)


def test_ignored_file_is_replaced_by_numbers_only(directory: Path) -> None:
    """Its retention is unknown: after a replacement, the default deletes what is older."""
    directory.mkdir(exist_ok=True)
    (directory / "settings.json").write_text("{}")
    changes: tuple[Callable[[], SettingsResult], ...] = (
        lambda: operations.change_schedules(get_context(), run(), {BACK_UP: Timing(hour=5)}),
        lambda: operations.add_target(get_context(), run(), TOKEN),
        lambda: operations.remove_target(get_context(), run(), TOKEN),
        lambda: operations.change_heartbeat(get_context(), run(), TOKEN.replace("json", "https")),
    )
    for change in changes:
        with pytest.raises(PreconditionFailed, match=r"are ignored.* Nothing was changed"):
            change()
    assert (directory / "settings.json").read_text() == "{}"
    assert get_context().policy.unknown
    assert not Run.objects.exists()
    operations.change_numbers(get_context(), run(), {})
    assert not get_context().policy.unknown
    assert Run.objects.count() == 1


# --- Other processes ----------------------------------------------------------------------------------------------

CHANGE = """
from ops import operations
from ops.models import Run
from ops.runs.context import get_context
def run():
    return Run(kind=Run.Kind.SETTINGS, requested_by="ada@example.com", origin=Run.Origin.ADMIN)
operations.change_numbers(get_context(), run(), {"BACKUP_RETENTION_DAYS": 1})
operations.change_heartbeat(get_context(), run(), "http://localhost:1/very-secret-token")
"""
AN_OLD_BACKUP = """
import datetime as dt
from ops.runs import index
from ops.runs.context import get_context
from ops.utils import clock
from tests.backups import factories
context = get_context()
about = {"engine": context.engine.kind, "database": context.engine.database}
for days in (0, 2):
    print(factories.backup(context.repository, taken_at=clock.now() - dt.timedelta(days=days), **about).name)
index.rebuild_index(context.repository)
"""


def test_other_processes_see_a_change_at_once_and_options_of_commands_win(sqlite_lab: Lab) -> None:
    key = {"BACKUP_AGE_IDENTITY": str(pyrage.x25519.Identity.generate())}
    _new, old = sqlite_lab.run("shell", "--no-imports", "-c", AN_OLD_BACKUP).out.split()
    assert sqlite_lab.run_json("prune_backups", "--dry-run")["deleted"] == {}
    sqlite_lab.run("shell", "--no-imports", "-c", CHANGE, **key)
    assert list(sqlite_lab.run_json("prune_backups", "--dry-run")["deleted"]) == [old]
    assert sqlite_lab.run_json("prune_backups", "--dry-run", "--retention-days", "7")["deleted"] == {}
    assert sqlite_lab.run_json("prune_backups", "--dry-run", BACKUP_RETENTION_DAYS="7")["deleted"] == {}
    tested = sqlite_lab.manage("send_test_notification", **key)
    assert tested.code == 1
    assert "✗ http at localhost: " in tested.out
    assert "very-secret-token" not in tested.output
    (sqlite_lab.backups / "settings.json").write_text("{}")
    assert sqlite_lab.run_json("prune_backups", "--dry-run")["deleted"] == {}
    checked = sqlite_lab.manage("check_database", "--json").json["checks"]["settings"]
    assert checked["error"] == "StoredSettingsIgnored"
