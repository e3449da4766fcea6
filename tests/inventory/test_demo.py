"""The demo lab."""

from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from homerack.inventory.models import Brand, Cable, Device, DeviceModel, DeviceType, Rack, RackPosition
from tests.inventory.factories import make_device, make_rack, place

pytestmark = pytest.mark.django_db


def load(**options: bool) -> str:
    out = StringIO()
    call_command("load_demo", stdout=out, **options)
    return out.getvalue()


def counts() -> list[int]:
    tables = (DeviceType, Brand, DeviceModel, Rack, Device, RackPosition, Cable)
    return [table.objects.count() for table in tables]


def test_load_demo_fills_an_empty_inventory_once() -> None:
    expected = "Added the demo lab: 9 device types, 12 brands, 42 models, 3 racks, 40 devices, 80 cables.\n"
    assert load(if_empty=True) == expected
    assert counts() == [9, 12, 42, 3, 40, 39, 80]
    racks = {rack.name: (rack.warnings(), rack.capacities(rack.placed())[0].text) for rack in Rack.objects.all()}
    assert racks == {
        "Main rack": (["Power: 4599 of 5000 W (91%), nearly used up."], "37 of 42 U"),
        "Network cabinet": ([], "11 of 18 U"),
        "Workshop cabinet": ([], "6 of 12 U"),
    }
    Device.objects.filter(custom_name="nas-01").update(notes="Mine now.")
    assert load() == "The demo lab is complete already; nothing was added.\n"
    assert counts() == [9, 12, 42, 3, 40, 39, 80]
    assert Device.objects.get(custom_name="nas-01").notes == "Mine now."


def test_if_empty_with_an_inventory_adds_nothing() -> None:
    make_device()
    before = counts()
    assert load(if_empty=True) == "HomeRack already has users or an inventory; the demo lab was not loaded.\n"
    assert counts() == before


def test_if_empty_with_users_adds_nothing() -> None:
    get_user_model().objects.create_superuser("admin@homerack.local", "password")
    assert load(if_empty=True) == "HomeRack already has users or an inventory; the demo lab was not loaded.\n"
    assert set(counts()) == {0}


def test_load_demo_with_conflicting_rows_adds_nothing() -> None:
    place(make_device("mine"), make_rack("Main rack"), 42)
    before = counts()
    with pytest.raises(CommandError) as caught:
        load()
    assert str(caught.value) == (
        "The demo lab conflicts with rows of the inventory. Nothing was added. "
        "patch-main-01 needs U42, but mine is at U42."
    )
    assert counts() == before
