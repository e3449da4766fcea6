"""The demo lab is removed: what nobody has changed or uses, and nothing else."""

from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.db.models.signals import pre_delete
from django.test import Client

from homerack.accounts.models import User
from homerack.inventory.demo import load_demo, removal
from homerack.inventory.demo.removal import DemoChanged, find_removal, remove_demo
from homerack.inventory.models import Brand, Cable, Device, DeviceModel, DeviceType, Rack, RackPosition
from tests.inventory.factories import connect, make_device, make_model, make_rack, place
from tests.support.slow import slow_except

pytestmark = pytest.mark.django_db

KINDS = (DeviceType, Brand, DeviceModel, Rack, Device, RackPosition, Cable)
PATH = "/admin/inventory/device/remove-demo/"


def counts() -> list[int]:
    return [kind.objects.count() for kind in KINDS]


def kept() -> dict[str, str]:
    """The names and the reasons of what stays."""
    return {row.name: row.reason for row in remove_demo().kept}


class TestUnchanged:
    def test_all_of_it_is_deleted_and_nothing_else(self) -> None:
        place(make_device("mine"), make_rack("Mine"))
        before = counts()
        load_demo()
        assert kept() == {"Server": "changed"}  # the user's own type of that name
        assert counts() == before

    def test_one_row_is_singular(self) -> None:
        load_demo()
        Rack.objects.filter(name__in=["Main rack", "Network cabinet"]).update(location="Attic")
        assert "rack" in find_removal().numbers
        assert "racks" not in find_removal().numbers

    def test_it_can_be_loaded_again(self) -> None:
        loaded = load_demo()
        remove_demo()
        assert counts() == [0] * len(KINDS)
        assert load_demo() == loaded

    def test_opening_and_saving_a_row_changes_nothing(self) -> None:
        load_demo()
        Device.objects.filter(notes=None).update(notes="")
        assert kept() == {}

    def test_without_a_demo_lab_nothing_is_deleted(self) -> None:
        make_device()
        before = counts()
        assert not find_removal()
        assert not remove_demo()
        assert counts() == before


CHANGES: dict[str, tuple[Callable[[], Any], dict[str, str]]] = {
    "a device": (
        lambda: Device.objects.filter(custom_name="nas-shop").update(notes="Mine"),
        {
            "nas-shop": "changed",
            "Workshop cabinet": "used by nas-shop at U1 of Workshop cabinet",
            "Orbis Storage Vault 8": "used by nas-shop",
            "Orbis Storage": "used by Orbis Storage Vault 8",
            "Storage": "used by Orbis Storage Vault 8",
        },
    ),
    "a rack": (lambda: Rack.objects.filter(name="Main rack").update(location="Attic"), {"Main rack": "changed"}),
    "a model": (
        lambda: DeviceModel.objects.filter(name="PI-08").update(weight_kg=3),
        {
            "Pike Industrial PI-08 rugged": "changed",
            "Pike Industrial": "used by Pike Industrial PI-08 rugged",
            "Switch": "used by Pike Industrial PI-08 rugged",
        },
    ),
    "a brand": (lambda: Brand.objects.filter(slug="pike").update(website=None), {"Pike Industrial": "changed"}),
    "a type": (lambda: DeviceType.objects.filter(slug="ups").update(color="#000"), {"UPS": "changed"}),
}
MOVED = {
    "sw-shop": "used by sw-shop at U4 of Workshop cabinet",
    "Workshop cabinet": "used by sw-shop at U4 of Workshop cabinet",
    "Arvida Networks AX-2400": "used by sw-shop",
    "Arvida Networks": "used by Arvida Networks AX-2400",
    "Switch": "used by Arvida Networks AX-2400",
}


@pytest.mark.parametrize(("change", "expected"), slow_except(CHANGES, "a device", "a type"))
def test_what_was_changed_stays_with_what_it_needs(change: Callable[[], Any], expected: dict[str, str]) -> None:
    load_demo()
    change()
    assert kept() == expected
    assert sum(counts()) - RackPosition.objects.count() == len(expected)
    assert not Cable.objects.exists()


@pytest.mark.slow
class TestUsed:
    def test_device_that_was_moved_stays(self) -> None:
        load_demo()
        position = RackPosition.objects.get(device__custom_name="sw-shop")
        position.start_u = 4
        position.save()
        assert kept() == MOVED
        assert RackPosition.objects.get() == position

    def test_rack_in_which_there_is_a_device_of_the_user_stays(self) -> None:
        load_demo()
        place(make_device("mine"), Rack.objects.get(name="Main rack"), 30)
        assert kept()["Main rack"] == "used by mine at U30 of Main rack"
        assert [str(position) for position in RackPosition.objects.all()] == ["mine at U30 of Main rack"]

    def test_model_of_a_device_of_the_user_stays(self) -> None:
        load_demo()
        Device.objects.create(custom_name="mine", model=DeviceModel.objects.get(name="Vault 8"))
        assert kept() == {
            "Orbis Storage Vault 8": "used by mine",
            "Orbis Storage": "used by Orbis Storage Vault 8",
            "Storage": "used by Orbis Storage Vault 8",
        }

    def test_device_with_a_cable_of_the_user_stays_and_so_does_the_cable(self) -> None:
        load_demo()
        cable = connect(make_device("mine"), Device.objects.get(custom_name="sw-spare"), to_port="1")
        assert kept()["sw-spare"] == "used by mine to sw-spare · 1"
        assert Cable.objects.get() == cable

    def test_cable_of_the_demo_stays_between_two_devices_that_stay(self) -> None:
        load_demo()
        Device.objects.filter(custom_name__in=["ups-net", "pdu-net", "rt-01"]).update(notes="Mine")
        remove_demo()
        assert [str(cable) for cable in Cable.objects.all()] == ["ups-net · out 1 to pdu-net · in"]

    def test_rows_of_the_user_with_the_same_names_stay(self) -> None:
        load_demo()
        rack = make_rack("Main rack", location="Garage")
        place(make_device("nas-01"), rack, 1)
        remove_demo()
        assert [str(position) for position in RackPosition.objects.all()] == ["nas-01 at U1 of Main rack"]


@pytest.mark.slow
class TestAnotherUser:
    @pytest.fixture
    def meddler(self) -> Iterator[Callable[[Callable[[], Any]], None]]:
        """Runs something when the first rack is about to be deleted, as another session could."""
        receivers = []

        def meddle(act: Callable[[], Any]) -> None:
            def receiver(**_: Any) -> None:
                pre_delete.disconnect(receiver, sender=Rack)
                act()

            receivers.append(receiver)
            pre_delete.connect(receiver, sender=Rack)

        yield meddle
        for receiver in receivers:
            pre_delete.disconnect(receiver, sender=Rack)

    @pytest.mark.django_db(transaction=True)
    def test_new_model_of_a_brand_of_the_demo_keeps_all(self, meddler: Callable[[Callable[[], Any]], None]) -> None:
        load_demo()
        before = counts()
        meddler(lambda: make_model(brand=Brand.objects.get(slug="pike"), name="New"))
        with pytest.raises(DemoChanged):
            remove_demo()
        assert counts() == before

    @pytest.mark.django_db(transaction=True)
    def test_rows_that_others_delete_meanwhile_keep_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        load_demo()
        before = counts()
        found = find_removal()
        found.keys[Device].add(10**9)
        monkeypatch.setattr(removal, "find_removal", lambda: found)
        with pytest.raises(DemoChanged):
            remove_demo()
        assert counts() == before


class TestPage:
    def test_page_says_what_is_deleted_and_what_stays(self, editor_client: Client) -> None:
        load_demo()
        Rack.objects.filter(name="Main rack").update(location="Attic")
        page = editor_client.get(PATH).content.decode()
        for text in ("<b>40</b> devices", "<b>80</b> cables", "<b>2</b> racks", "Rack <b>Main rack</b>: changed"):
            assert text in page
        assert sum(counts()) > 0
        answer = editor_client.post(PATH, follow=True)
        assert answer.redirect_chain == [("/admin/", 302)]
        deleted = "Deleted the demo lab: 9 device types, 12 brands, 42 models, 2 racks, 40 devices, 80 cables."
        assert deleted in answer.content.decode()
        assert sum(counts()) == 1

    def test_dashboard_leads_to_it_while_there_is_something_to_delete(self, editor_client: Client) -> None:
        assert PATH not in editor_client.get("/admin/").content.decode()
        load_demo()
        assert PATH in editor_client.get("/admin/").content.decode()
        Device.objects.create(custom_name="mine", model=DeviceModel.objects.get(name="Vault 8"))
        editor_client.post(PATH)
        assert Brand.objects.filter(slug="orbis").exists()
        assert PATH not in editor_client.get("/admin/").content.decode()
        assert "There is nothing of the demo lab to delete." in editor_client.get(PATH).content.decode()

    def test_only_users_who_may_delete_all_kinds(self, viewer_client: Client, sign_in: Callable[..., Client]) -> None:
        load_demo()
        before = counts()
        most = sign_in()
        permissions = Permission.objects.filter(content_type__app_label="inventory").exclude(codename="delete_brand")
        User.objects.get(email="nobody@example.com").user_permissions.set(permissions)
        for client in (viewer_client, most):
            assert client.get(PATH).status_code == 403
            assert client.post(PATH).status_code == 403
            assert PATH not in client.get("/admin/").content.decode()
        assert counts() == before


def remove(**options: Any) -> str:
    out = StringIO()
    call_command("remove_demo", stdout=out, **options)
    return out.getvalue()


class TestCommand:
    def test_it_lists_and_deletes(self) -> None:
        load_demo()
        Rack.objects.filter(name="Main rack").update(location="Attic")
        numbers = "9 device types, 12 brands, 42 models, 2 racks, 40 devices, 80 cables"
        assert remove(yes=True) == (
            f"To be deleted: {numbers}.\nStays: rack Main rack (changed)\nDeleted the demo lab: {numbers}.\n"
        )
        assert remove(yes=True) == "There is nothing of the demo lab to delete.\nStays: rack Main rack (changed)\n"

    @pytest.mark.parametrize("answer", slow_except(["", "y", "no", None], "no", None))
    def test_without_a_yes_nothing_is_deleted(self, monkeypatch: pytest.MonkeyPatch, answer: str | None) -> None:
        load_demo()
        before = counts()

        def ask(_prompt: str) -> str:
            if answer is None:
                raise EOFError
            return answer

        monkeypatch.setattr("builtins.input", ask)
        with pytest.raises(CommandError) as caught:
            remove()
        assert str(caught.value) == "Not confirmed. Nothing was deleted. To skip the question: --yes"
        assert caught.value.returncode == 5
        assert counts() == before

    def test_start_does_not_load_it_again(self) -> None:
        load_demo()
        User.objects.create_superuser("admin@homerack.local", "password")
        remove(yes=True)
        call_command("load_demo", if_empty=True, stdout=StringIO())
        assert sum(counts()) == 0
