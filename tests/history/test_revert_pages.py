"""The pages that revert one change or one change set: the preview, conflicts, permissions, the entry."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.messages import get_messages
from django.test import Client

from homerack.accounts.models import User
from homerack.history.admin import reverting
from homerack.history.change_sets import change_set
from homerack.history.entry_points import EntryPoint
from homerack.history.models import ChangeSet
from homerack.history.tracking import historical_models
from homerack.inventory.models import Device, Rack
from tests.inventory.factories import make_device, make_rack, place

pytestmark = pytest.mark.django_db


def newest() -> ChangeSet:
    return ChangeSet.objects.latest("pk")


def page_of(entry: ChangeSet) -> str:
    return f"/admin/history/changeset/{entry.pk}/revert/"


def page_of_row(row: Any) -> str:
    change = row.history.latest("history_id")
    return f"/admin/history/changeset/row/{row._meta.model_name}/{row.pk}/revert/{change.pk}/"


def recorded() -> int:
    return sum(model.objects.count() for model in historical_models())


def rename(rack: Rack, name: str) -> None:
    rack.name = name
    rack.save()


class TestOneChange:
    def test_preview_shows_what_will_be_set_back_and_changes_nothing(self, editor_client: Client) -> None:
        rack = make_rack("Attic")
        rename(rack, "Cellar")
        before = recorded(), ChangeSet.objects.count()
        response = editor_client.get(page_of_row(rack))
        (row,) = response.context["preview"].rows
        assert [(cell.label, cell.old, cell.new) for cell in row.cells] == [("Name", "Cellar", "Attic")]
        assert (recorded(), ChangeSet.objects.count()) == before
        rack.refresh_from_db()
        assert rack.name == "Cellar"

    def test_it_is_set_back_and_the_message_leads_to_the_entry(self, editor_client: Client) -> None:
        rack = make_rack("Attic")
        rename(rack, "Cellar")
        reverted = newest()
        response: Any = editor_client.post(page_of_row(rack))
        assert response.status_code == 302
        rack.refresh_from_db()
        assert rack.name == "Attic"
        made = newest()
        assert (made.reverts, made.entry_point) == (reverted, EntryPoint.REVERT)
        assert made.user_name == "Editors@example.com"
        assert made.description == "Revert of: rack Cellar changed"
        (message,) = get_messages(response.wsgi_request)
        assert f"/admin/history/changeset/{made.pk}/" in str(message)

    def test_revert_can_be_reverted(self, editor_client: Client) -> None:
        rack = make_rack("Attic")
        rename(rack, "Cellar")
        editor_client.post(page_of_row(rack))
        assert editor_client.post(page_of(newest())).status_code == 302
        rack.refresh_from_db()
        assert rack.name == "Cellar"

    def test_deleted_row_comes_back(self, editor_client: Client) -> None:
        rack = make_rack("Attic")
        key = rack.pk
        rack.delete()
        change = Rack.history.model.objects.latest("history_id")
        assert editor_client.post(f"/admin/history/changeset/row/rack/{key}/revert/{change.pk}/").status_code == 302
        assert Rack.objects.get(pk=key).name == "Attic"

    def test_change_of_another_row_is_not_found(self, editor_client: Client) -> None:
        one, two = make_rack("One"), make_rack("Two")
        address = page_of_row(one).replace(f"/{one.pk}/revert", f"/{two.pk}/revert")
        assert editor_client.get(address).status_code == 404


class TestChangeSet:
    @pytest.fixture
    def imported(self) -> ChangeSet:
        with change_set(EntryPoint.IMPORT, description="Import of lab.xlsx"):
            place(make_device("nas-01"), make_rack("Attic"))
            place(make_device("nas-02"), Rack.objects.get(), 2)
        return newest()

    def test_import_is_undone(self, imported: ChangeSet, editor_client: Client) -> None:
        preview = editor_client.get(page_of(imported)).context["preview"]
        assert {str(count) for count in preview.counts} >= {"2 devices deleted", "1 rack deleted"}
        assert editor_client.post(page_of(imported)).status_code == 302
        assert not Device.objects.exists()
        assert newest().description == "Revert of: Import of lab.xlsx"

    def test_all_conflicts_are_listed_and_nothing_is_changed(self, imported: ChangeSet, editor_client: Client) -> None:
        for device in Device.objects.all():
            device.notes = "Mine"
            device.save()
        before = recorded()
        for response in (editor_client.get(page_of(imported)), editor_client.post(page_of(imported))):
            shown = response.content.decode()
            assert "It cannot be reverted: 2 conflicts." in shown
            assert "Notes of the device nas-01 was changed since" in shown
            assert "Notes of the device nas-02 was changed since" in shown
            assert ">Revert</button>" not in shown
        assert response.status_code == 409
        assert recorded() == before

    def test_large_set_is_not_previewed(
        self, imported: ChangeSet, editor_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reverting, "PREVIEWED", 1)
        shown = editor_client.get(page_of(imported)).content.decode()
        assert "too many for a preview" in shown
        assert editor_client.post(page_of(imported)).status_code == 302
        assert not Device.objects.exists()


class TestPermissions:
    def test_viewer_sees_no_button_and_gets_no_page(self, viewer_client: Client) -> None:
        rack = make_rack("Attic")
        for address in (page_of(newest()), page_of_row(rack)):
            assert viewer_client.get(address).status_code == 403
            assert viewer_client.post(address).status_code == 403
        shown = viewer_client.get(f"/admin/history/changeset/{newest().pk}/").content.decode()
        assert "/revert/" not in shown
        assert Rack.objects.exists()

    def test_each_row_of_a_set_needs_the_permission(self) -> None:
        """To change racks does not allow to delete devices, which a revert would."""
        user = User.objects.create_user("limited@example.com", is_staff=True)
        names = ("view_rack", "add_rack", "change_rack", "delete_rack", "view_device")
        user.user_permissions.set(Permission.objects.filter(codename__in=names))
        client = Client()
        client.force_login(user)
        rack = make_rack("Attic")
        with change_set(EntryPoint.IMPORT):
            rename(rack, "Cellar")
            make_device("nas-01")
        assert client.post(page_of(newest())).status_code == 403
        assert client.post(page_of_row(rack)).status_code == 302

    def test_who_changes_users_gives_nobody_more_permissions(self) -> None:
        user = User.objects.create_user("limited@example.com", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=("view_user", "change_user", "add_user")))
        client = Client()
        client.force_login(user)
        target = User.objects.create_user("target@example.com", is_superuser=True)
        target.is_superuser = False
        target.save()
        assert client.post(page_of_row(target)).status_code == 403
        target.groups.add(Group.objects.get(name="Editors"))
        target.groups.clear()
        assert client.post(page_of_row(target)).status_code == 403
        target.full_name = "Carla"
        target.save()
        assert client.post(page_of_row(target)).status_code == 302
        target.refresh_from_db()
        assert (target.full_name, target.is_superuser) == ("", False)
