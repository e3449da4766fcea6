"""The decision on a suspicious backup in the admin, with a real storage."""

import datetime as dt

import pytest
from django.test import Client
from django.utils import timezone

from ops.backups.suspicion import Loss, LossOf, Suspicion
from ops.models import Backup, Run
from ops.runs.context import get_context
from tests.admin.support import messages_of, text
from tests.admin.test_backup_actions import LIST, stored_backup
from tests.backups import factories

pytestmark = pytest.mark.django_db(transaction=True)

LOST = Loss(of=LossOf.TABLE, name="racks", before=400, after=0, at=factories.NOON)


@pytest.fixture
def suspicious() -> Backup:
    """A backup of this database in which rows are missing."""
    engine = get_context().engine
    suspicion = Suspicion(losses=(LOST,), number=3, compared_with="homerack_20261122_120000.sql.gz")
    return stored_backup(engine=engine.kind, database=engine.database, suspicion=suspicion)


@pytest.mark.parametrize(("choice", "state"), [("right", "verified"), ("wrong", "wrong")])
def test_decision_is_written_into_the_manifest_and_recorded(
    admin_client: Client, suspicious: Backup, choice: str, state: str
) -> None:
    page = text(admin_client.get(f"{LIST}{suspicious.pk}/decide/"))
    assert "The table racks has no rows: 400 before." in page
    assert "2 other losses like these." in page
    answer = admin_client.post(f"{LIST}{suspicious.pk}/decide/", {"set": choice})
    assert messages_of(answer)[0].startswith(f"1 suspicious backup is {choice}. Later backups are compared with ")
    backup = Backup.objects.with_state().get(pk=suspicious.pk)
    assert (backup.suspicion, backup.state) == (choice, state)
    manifest = get_context().repository.get(backup.name).require_manifest()
    assert manifest.verdict == choice
    run = Run.objects.get(kind="decision")
    assert (run.status, run.backup, run.arguments) == (
        "succeeded",
        backup.name,
        {"name": backup.name, "right": choice == "right"},
    )
    shown = text(admin_client.get(f"{LIST}{suspicious.pk}/change/"))
    assert f"that it is {choice}." in shown
    assert "Change the decision…" in shown


def test_decision_on_a_backup_that_is_not_suspicious_is_404(admin_client: Client) -> None:
    backup = stored_backup()
    assert admin_client.get(f"{LIST}{backup.pk}/decide/").status_code == 404
    assert admin_client.post(f"{LIST}{backup.pk}/decide/", {"set": "right"}).status_code == 404


def test_decision_on_a_manifest_that_is_gone_shows_the_error(admin_client: Client, suspicious: Backup) -> None:
    get_context().repository.delete(suspicious.name)
    answer = admin_client.post(f"{LIST}{suspicious.pk}/decide/", {"set": "right"})
    assert messages_of(answer)[0].startswith(f"There is no backup '{suspicious.name}'.")


def test_last_good_backup_has_no_button_to_delete_it_and_is_not_deleted(
    admin_client: Client, suspicious: Backup
) -> None:
    engine = get_context().engine
    good = stored_backup(engine=engine.kind, database=engine.database, note="good")
    Backup.objects.filter(pk=good.pk).update(taken_at=timezone.now() - dt.timedelta(days=1))
    page = text(admin_client.get(LIST))
    assert f"{LIST}{good.pk}/delete/" not in page
    assert "that is not suspicious, and it is never deleted." in text(admin_client.get(f"{LIST}{good.pk}/delete/"))
    answer = admin_client.post(f"{LIST}{good.pk}/delete/")
    assert messages_of(answer)[0].startswith(f"{good.name} is the last backup that is not suspicious.")
