"""The calendar and the chart of sizes after backups were pruned: real runs, whose results the dashboard reads."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.test import Client

from homerack.accounts.models import User
from ops import operations
from ops.models import Backup, Run
from ops.runs.context import get_context
from ops.utils.formatting import format_size

pytestmark = pytest.mark.django_db(transaction=True)


def start(operation: Any, kind: Run.Kind, **arguments: Any) -> Any:
    return operation(get_context(), Run(kind=kind, requested_by="ada@example.com", arguments=arguments))


@pytest.fixture
def storage(settings: Any, tmp_path: Path) -> None:
    settings.BACKUP_DIR = tmp_path / "backups"
    settings.BACKUP_KEEP_WEEKLY = settings.BACKUP_KEEP_MONTHLY = 0


@pytest.mark.usefixtures("storage")
def test_dashboard_shows_sizes_and_tests_of_pruned_backups(admin_client: Client) -> None:
    # PostgreSQL's clock, which dates the snapshots, does not travel.
    now = dt.datetime.now(dt.UTC)
    later = now + dt.timedelta(days=8)
    old = start(operations.back_up, Run.Kind.BACKUP)
    start(operations.restore_test, Run.Kind.RESTORE_TEST, names=[old.backup])
    with time_machine.travel(later):
        new = start(operations.back_up, Run.Kind.BACKUP)
        assert set(new.deleted) == {old.backup}
    # The sentence does not contradict the calendar and the list of runs, which have the restore test.
    assert ", restore tested today." in admin_client.get("/admin/").content.decode()
    Backup.objects.all().delete()  # only the history of runs is left
    with time_machine.travel(later):
        admin_client.force_login(User.objects.get())
        page = admin_client.get("/admin/").content.decode()
    assert f"<title>{now:%Y-%m-%d}: {format_size(old.size)}</title>" in page
    assert f"<title>{later:%Y-%m-%d}: {format_size(new.size)}</title>" in page
    assert f"<title>{now:%A %Y-%m-%d}: 1 backup, 1 restore tested</title>" in page
