"""The undo in the admin: its buttons and pages name what it brings back now."""

import datetime as dt
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from django.http import HttpRequest, HttpResponseRedirect
from django.test import Client
from django.utils import timezone

from ops import operations, tasks
from ops.admin import undo
from ops.backups.engines.base import PreviousDatabase
from ops.errors import PreconditionFailed
from ops.models import Run
from ops.operations.restore import require_confirmed
from ops.runs.results import UNDO
from ops.utils.formatting import format_local
from tests.admin.support import add_run, messages_of, text

pytestmark = pytest.mark.django_db
LIST, PAGE, DROP = (f"/admin/ops/backup/{name}" for name in ("", "undo/", "drop-previous-database/"))
NOW = timezone.now()
BACKUP = "lab_1.sql.gz"


def minutes_ago(number: int) -> dt.datetime:
    return NOW - dt.timedelta(minutes=number)


@pytest.fixture
def keep(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Callable[..., None]:
    """Pretend that this previous database is kept."""
    settings.OPS_CELERY_APP = "homerack.celery.app"

    def pretend(*, run: Run | None, backup: str) -> None:
        previous = PreviousDatabase(
            name="lab_undo", replaced_at=minutes_ago(1), run=str(run.pk) if run else "", backup=backup, size=1000
        )
        engine: Any = SimpleNamespace(
            previous_database=lambda: previous,
            require_previous=lambda: previous,
            database="lab",
            where="the database lab",
        )
        monkeypatch.setattr(undo, "context_of", lambda _request: SimpleNamespace(engine=engine, previous_days=3))
        monkeypatch.setattr(operations, "rights_of_undo", lambda _engine: None)

    return pretend


def swap(kind: str, minutes: int, **values: Any) -> Run:
    return add_run(kind=kind, finished_at=minutes_ago(minutes), requested_by="rita@example.com", **values)


@pytest.mark.parametrize(
    ("undos", "undone", "cause", "content"),
    [
        (0, "the restore", f"restored {BACKUP}", f"the database as it was before {BACKUP} was restored."),
        (
            1,
            "the undo",
            f"undid the restore of {BACKUP}",
            f"the database that was restored from {BACKUP}, as it was until",
        ),
        (
            2,
            "the undo",
            "undid an undo",
            f"the database as it was before {BACKUP} was restored, with its changes until",
        ),
        (
            3,
            "the undo",
            f"undid the restore of {BACKUP}",
            f"the database that was restored from {BACKUP}, as it was until",
        ),
    ],
)
def test_pages_name_what_an_undo_brings_back(
    admin_client: Client, keep: Callable[..., None], undos: int, undone: str, cause: str, content: str
) -> None:
    swap("restore", 30, backup="earlier.sql.gz")
    swap("restore", 20, backup="copy.sql.gz", arguments={"to": "another"})
    runs = [swap("restore", 10, backup=BACKUP), *(swap("undo", 9 - number) for number in range(undos))]
    swap("undo", 0, status="failed")
    keep(run=runs[-1], backup=UNDO if undos else BACKUP)

    page = text(admin_client.get(PAGE))
    assert f'<h2 class="ops-title">Undo {undone}</h2>' in page
    assert f">Undo {undone}</button>" in page
    assert f", rita@example.com {cause}. This was the live database until then." in page
    assert f"This brings back {content}" in page
    listed = text(admin_client.get(LIST))
    assert f">Undo {undone}…</a>" in listed
    assert f", rita@example.com {cause}. An undo brings back {content}" in listed
    assert f"Then you can no longer undo {undone}." in text(admin_client.get(DROP))


def test_pages_without_the_rows_of_runs_name_the_time(admin_client: Client, keep: Callable[..., None]) -> None:
    keep(run=None, backup=UNDO)
    page = text(admin_client.get(PAGE))
    assert ", a restore was undone. This was the live database until then." in page
    assert f"This brings back the database as it was until {format_local(minutes_ago(1))}." in page


def test_list_without_a_previous_database_offers_no_undo(admin_client: Client) -> None:
    assert PAGE not in text(admin_client.get(LIST))


@pytest.mark.parametrize("page", [PAGE, DROP])
def test_page_says_that_it_is_not_known_what_a_server_that_does_not_answer_keeps(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    def fail() -> None:
        raise psycopg2.OperationalError("too many connections")

    engine: Any = SimpleNamespace(previous_database=fail, database="lab", where="the database lab")
    monkeypatch.setattr(undo, "context_of", lambda _request: SimpleNamespace(engine=engine, previous_days=3))
    assert messages_of(admin_client.get(page)) == [undo.UNKNOWN]


@pytest.mark.parametrize("fault", [psycopg2.OperationalError("too many connections"), PreconditionFailed("no answer")])
def test_list_is_shown_when_the_server_does_not_say_what_it_keeps(
    admin_client: Client, keep: Callable[..., None], monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    keep(run=swap("restore", 10, backup=BACKUP), backup=BACKUP)
    assert PAGE in text(admin_client.get(LIST))
    asked: list[Exception] = []

    def fail() -> None:
        asked.append(fault)
        raise fault

    monkeypatch.setattr(undo.context_of(HttpRequest()).engine, "previous_database", fail)
    assert PAGE not in text(admin_client.get(LIST))
    assert asked == [fault]


@pytest.mark.parametrize(("page", "kind"), [(PAGE, Run.Kind.UNDO), (DROP, Run.Kind.DROP_PREVIOUS)])
def test_confirmation_names_the_run_whose_previous_database_was_shown(
    admin_client: Client, keep: Callable[..., None], monkeypatch: pytest.MonkeyPatch, page: str, kind: str
) -> None:
    """While a user reads the page, and while the run waits in the queue, another restore may end."""
    queued: list[dict[str, Any]] = []
    answer = HttpResponseRedirect(LIST)
    monkeypatch.setattr(
        undo, "enqueue_run", lambda _request, kind, **values: queued.append({"kind": kind} | values) or answer
    )
    keep(run=(shown := swap("restore", 10, backup=BACKUP)), backup=BACKUP)
    found = re.search(r'name="replaced_by" value="([^"]*)"', text(admin_client.get(page)))
    assert found
    keep(run=swap("restore", 0, backup=BACKUP), backup=BACKUP)
    entered = {"database": "lab", "password": "password", "replaced_by": found[1]}
    admin_client.post(page, entered)
    assert queued == [{"kind": kind, "back_to": LIST, "replaced_by": str(shown.pk)}]
    with pytest.raises(PreconditionFailed, match=r"another previous database is kept now\. Nothing was changed."):
        require_confirmed(undo.context_of(HttpRequest()), found[1])


def test_schedule_drops_the_database_that_has_expired_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[dict[str, Any]] = []
    monkeypatch.setattr(operations, "find_expired_previous", lambda _context: SimpleNamespace(run="the last restore"))
    monkeypatch.setattr(operations, "files_expired", lambda: False)
    monkeypatch.setattr(tasks, "run_scheduled", lambda kind, **arguments: dropped.append({"kind": kind} | arguments))
    tasks.drop_expired_previous()
    assert dropped == [{"kind": Run.Kind.DROP_PREVIOUS, "replaced_by": "the last restore"}]
