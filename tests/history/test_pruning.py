"""Old history is deleted, and the time since is known whole."""

import datetime as dt

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from homerack.history.as_of import rows_as_of
from homerack.history.models import ChangeSet
from homerack.history.pruning import prune
from homerack.history.restores import record_restore
from homerack.history.revert import RevertRefused, revert_change
from homerack.history.schedule import TASK
from homerack.history.tasks import prune_history
from homerack.history.tracking import historical_models
from homerack.inventory.models import Rack
from tests.inventory.factories import make_rack

pytestmark = pytest.mark.django_db
DAY = dt.timedelta(days=1)


def age(days: int) -> None:
    """Make all that is recorded so far older."""
    for row in Rack.history.exclude(change_set=None):
        Rack.history.filter(history_id=row.history_id).update(history_date=row.history_date - days * DAY)
    for made in ChangeSet.objects.all():
        ChangeSet.objects.filter(pk=made.pk).update(time=made.time - days * DAY)


def test_the_last_old_change_becomes_the_baseline() -> None:
    make_rack("A")
    Rack.objects.update(name="B")
    age(10)
    Rack.objects.update(name="C")
    assert prune(before=timezone.now() - DAY) == 2
    assert list(Rack.history.values_list("name", "change_set__entry_point")) == [("C", "script"), ("B", None)]
    assert ChangeSet.objects.count() == 1
    assert [row.name for row in rows_as_of(Rack, timezone.now() - DAY)] == ["B"]


def test_nothing_stays_of_a_row_that_was_deleted_long_ago() -> None:
    make_rack("A").delete()
    age(10)
    prune(before=timezone.now() - DAY)
    assert not Rack.history.exists()
    assert not ChangeSet.objects.exists()


def test_a_change_after_pruning_is_reverted_to_the_baseline() -> None:
    make_rack("A")
    age(10)
    prune(before=timezone.now() - DAY)
    Rack.objects.update(name="B")
    revert_change(Rack.history.first())
    assert Rack.objects.get().name == "A"


def test_a_change_whose_past_is_unknown_is_not_reverted() -> None:
    make_rack("A")
    Rack.objects.update(name="B")
    Rack.history.filter(name="A").delete()
    with pytest.raises(RevertRefused, match="not recorded any more"):
        revert_change(Rack.history.get())


def test_the_task_keeps_the_days_of_the_setting() -> None:
    make_rack("A").delete()
    age(settings.HISTORY_DAYS - 1)
    prune_history()
    assert Rack.history.count() == 2
    age(2)
    prune_history()
    assert Rack.history.count() == 0


def test_the_command_says_what_it_has_deleted(capsys: pytest.CaptureFixture[str]) -> None:
    make_rack("A").delete()
    age(10)
    call_command("prune_history", days=5)
    assert capsys.readouterr().out == "Deleted 2 changes older than 5 days.\n"
    with pytest.raises(CommandError, match="the minimum is 1"):
        call_command("prune_history", days=0)


def test_migrations_make_the_schedule() -> None:
    assert PeriodicTask.objects.get(task=TASK).crontab.hour == "4"


def test_the_preview_of_a_restore_leaves_out_the_history() -> None:
    tables = {model._meta.db_table for model in (ChangeSet, *historical_models())}
    assert tables == set(settings.OPS_PREVIEW_EXCLUDED_TABLES)


def test_a_restore_is_recorded_with_the_name_of_who_requested_it() -> None:
    record_restore(description="Backup homerack_1", requested_by="root@host")
    made = ChangeSet.objects.get()
    assert (made.entry_point, made.user, made.user_name) == ("restore", None, "root@host")
