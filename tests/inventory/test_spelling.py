"""Names are shown as users have written them: "nvr" is not "Nvr", on any page."""

from collections.abc import Iterator

import pytest
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.test import Client

from homerack.accounts.models import User
from homerack.inventory.models import Brand, Device, DeviceModel, DeviceType, Rack
from tests.inventory.factories import connect, place

pytestmark = pytest.mark.django_db

WORD = "qvr4"
"""In lower case in all names. No page has it for another reason."""
INVENTORY = [model for model in admin.site._registry if model._meta.app_label == "inventory"]


@pytest.fixture
def rows(admin_user: User) -> None:
    kind = DeviceType.objects.create(name=f"{WORD} recorder", slug=WORD, description=WORD)
    brand = Brand.objects.create(name=WORD, slug=WORD, description=WORD, legacy_fields={WORD: WORD})
    ports = {f"{WORD}_ports": 2}
    model = DeviceModel.objects.create(
        name=WORD, variant=WORD, brand=brand, device_type=kind, typical_ports=ports, mounting_type=WORD
    )
    texts = {"model": model, "serial_number": WORD, "notes": WORD}
    one, two = (Device.objects.create(custom_name=f"{WORD} {side}", **texts) for side in ("left", "right"))
    rack = Rack.objects.create(name=WORD, location=f"{WORD} room")
    place(one, rack, 1)
    connect(one, two, from_port=f"{WORD} 1", to_port=f"{WORD} 2")
    LogEntry.objects.log_actions(admin_user.pk, [rack], CHANGE, f"Renamed to {WORD}.")


def pages() -> Iterator[str]:
    yield "/admin/"
    for model in INVENTORY:
        path = f"/admin/inventory/{model._meta.model_name}/"
        row = model._default_manager.get_queryset().order_by("pk")[0]  # type: ignore[attr-defined]
        yield from (path, *(f"{path}{row.pk}/{page}/" for page in ("change", "delete", "history")))
    for field in ("device&field_name=model", "rackposition&field_name=rack", "cable&field_name=from_device"):
        yield f"/admin/autocomplete/?app_label=inventory&model_name={field}"


def test_no_page_changes_the_first_letter_of_a_name(admin_client: Client, rows: None) -> None:
    seen = 0
    for path in pages():
        response = admin_client.get(path)
        assert response.status_code == 200, path
        text = response.content.decode()
        for changed in (WORD.capitalize(), WORD.upper()):
            assert changed not in text, path
        seen += text.count(WORD)
    assert seen > 100
