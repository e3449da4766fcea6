"""The pages of the admin make as many queries for many rows as for few: every list, every form, every page of `ops`."""

from collections.abc import Iterator
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.db import connection, models
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from homerack.accounts.models import User
from homerack.history.models import ChangeSet
from homerack.inventory.models import Brand, Device, Rack
from ops import stored_settings
from ops.models import Backup, BackupQuerySet
from ops.runs.context import get_context
from tests.admin.support import add_backup, add_run
from tests.inventory.factories import connect, make_model, make_rack, make_type, place

pytestmark = pytest.mark.django_db

FEW, MANY = 4, 12
OWN_PAGES = ("admin:index", "admin:ops_settings", "admin:ops_schedules", "admin:ops_notifications")
SEARCHED = {"q": "n"}
ASKS_FOR_EACH_ROW = {AccessAttempt}
"""Its list has at most 25 rows, and asks for each what a sign-in asks: whether it is locked."""

WITHOUT_HISTORY = {ChangeSet}
"""It is the history."""


def add_rows(numbers: range) -> None:
    """Rows of every model. One rack and one device have all positions and cables."""
    rack, hub = make_or_get_rack(), make_or_get_hub()
    live = get_context().engine
    for number in numbers:
        kind = make_type(f"type-{number}")
        model = make_model(brand=Brand.objects.create(name=f"B{number}", slug=f"b{number}"), device_type=kind)
        device = Device.objects.create(custom_name=f"n{number}", model=model)
        place(device, rack, number + 2)
        make_rack(f"another {number}")
        connect(device, hub, from_port="1", to_port=f"in {number}")
        connect(hub, device, from_port=f"out {number}", to_port="2")
        group = Group.objects.create(name=f"n{number}")
        User.objects.create_user(f"n{number}@example.com", is_staff=True).groups.add(group)
        AccessAttempt.objects.create(username=f"n{number}", ip_address="10.0.0.1", failures_since_start=1)
        backup = add_backup(engine=live.kind, database=live.database, copies=[{"location": "local"}])
        add_run(backup=backup.name)
        for changed in (rack, hub):
            LogEntry.objects.create(
                user=User.objects.latest("pk"),
                content_type=ContentType.objects.get_for_model(changed),
                object_id=str(changed.pk),
                object_repr="n",
                action_flag=2,
            )


def make_or_get_rack() -> Rack:
    return Rack.objects.filter(name="full").first() or make_rack("full")


def make_or_get_hub() -> Device:
    found = Device.objects.filter(custom_name="hub").first()
    if found is None:
        found = Device.objects.create(custom_name="hub", model=make_model())
        place(found, make_or_get_rack())
    return found


def paths() -> Iterator[str]:
    """Of all lists, in their order and searched, and of a page of each model with all that belongs to it."""
    yield from map(reverse, OWN_PAGES)
    for model, model_admin in admin.site._registry.items():
        if model in ASKS_FOR_EACH_ROW:
            continue
        label = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield reverse(f"{label}_changelist")
        if model_admin.search_fields:
            yield reverse(f"{label}_changelist", query=SEARCHED)
        if row := row_of(model):
            yield reverse(f"{label}_change", args=[row.pk])
            if model not in WITHOUT_HISTORY:
                yield reverse(f"{label}_history", args=[row.pk])


def row_of(model: type[models.Model]) -> Any:
    """The row to which others belong, or the oldest one, whose page stays the same."""
    belonging = {Rack: {"name": "full"}, Device: {"custom_name": "hub"}}
    rows = model._default_manager.filter(**belonging.get(model, {}))  # type: ignore[type-var]
    return rows.order_by("-taken_at" if model is Backup else "pk").first()


def queries_of(client: Client, path: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        response = client.get(path)
        assert response.status_code == 200, path
        assert response.content
    return len(captured)


def test_every_page_makes_as_many_queries_for_many_rows_as_for_few(admin_client: Client) -> None:
    add_rows(range(FEW))
    listed = list(paths())
    for path in listed:
        admin_client.get(path)  # some things are remembered from the first time on
    few = {path: queries_of(admin_client, path) for path in listed}
    add_rows(range(FEW, MANY))
    # A page of the history has fewer where its newest entries are of fewer models.
    assert {path: max(few[path], queries_of(admin_client, path)) for path in listed} == few


def test_matrix_has_a_page_of_every_model(admin_client: Client) -> None:
    add_rows(range(1))
    missing = [model for model in admin.site._registry if row_of(model) is None]
    assert missing == []


@pytest.mark.parametrize("name", ["restore", "note", "delete"])
def test_pages_of_a_backup_make_as_many_queries_for_many_backups_as_for_few(admin_client: Client, name: str) -> None:
    backup = add_backup()
    path = reverse(f"admin:ops_backup_{name}", args=[backup.pk])
    admin_client.get(path)
    few = queries_of(admin_client, path)
    for _ in range(MANY):
        add_run(backup=add_backup().name)
    assert queries_of(admin_client, path) == few


def test_page_of_a_run_makes_as_many_queries_for_many_runs_as_for_few(admin_client: Client) -> None:
    run = add_run(backup=add_backup().name)
    path = reverse("admin:ops_run_change", args=[run.pk])
    admin_client.get(path)
    few = queries_of(admin_client, path)
    for _ in range(MANY):
        add_run(backup=add_backup().name)
    assert queries_of(admin_client, path) == few


@pytest.mark.parametrize("page", ["admin:index", "admin:ops_backup_changelist"])
def test_page_reads_the_stored_settings_once(admin_client: Client, monkeypatch: pytest.MonkeyPatch, page: str) -> None:
    add_backup()
    read, readings = stored_settings.read, []
    monkeypatch.setattr(stored_settings, "read", lambda: readings.append(page) or read())
    assert admin_client.get(reverse(page)).status_code == 200
    assert readings == [page]


def test_list_of_backups_asks_once_which_of_them_cannot_be_deleted(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_backup()
    ask, asked = BackupQuerySet.undeletable_names, []
    monkeypatch.setattr(BackupQuerySet, "undeletable_names", lambda rows: asked.append(rows) or ask(rows))
    assert admin_client.get(reverse("admin:ops_backup_changelist")).status_code == 200
    assert len(asked) == 1
