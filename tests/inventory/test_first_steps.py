"""An empty console says what to do, in three steps."""

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from homerack.accounts.models import User
from homerack.inventory.first_steps import first_steps
from homerack.inventory.models import Device, Rack
from tests.inventory.factories import make_device, make_rack, place

pytestmark = pytest.mark.django_db

PAGES = ("/admin/", "/admin/inventory/rack/", "/admin/inventory/device/", "/admin/inventory/devicemodel/")
HEADING = "Begin your inventory"


def page(client: Client, path: str) -> str:
    return re.sub(r"\s+", " ", client.get(path).content.decode())


def steps() -> list[tuple[str, bool, str]]:
    return [(step.title, step.is_done, step.url) for step in first_steps(User(is_superuser=True, is_active=True))]


def test_steps_are_ticked_and_disappear_after_the_last() -> None:
    add_rack, add_device = "/admin/inventory/rack/add/", "/admin/inventory/device/add/"
    assert steps() == [
        ("Add a rack", False, add_rack),
        ("Add a device", False, add_device),
        ("Place it in the rack", False, ""),
    ]
    device = make_device()
    change = f"/admin/inventory/device/{device.pk}/change/"
    assert steps()[1:] == [("Add a device", True, add_device), ("Place it in the rack", False, "")]
    rack = make_rack()
    assert steps() == [
        ("Add a rack", True, add_rack),
        ("Add a device", True, add_device),
        ("Place it in the rack", False, change),
    ]
    place(device, rack)
    assert steps() == []


def test_dashboard_and_empty_lists_show_them(editor_client: Client) -> None:
    for path in PAGES:
        shown = page(editor_client, path)
        assert HEADING in shown, path
        assert 'href="/admin/inventory/rack/add/">Add a rack</a>' in shown, path
    place(make_device(), make_rack())
    for path in PAGES:
        assert HEADING not in page(editor_client, path), path


def test_import_of_models_is_offered_until_there_is_a_device(editor_client: Client) -> None:
    link = 'href="/admin/inventory/devicemodel/import/">Import device types…</a>'
    assert link in page(editor_client, "/admin/")
    make_device()
    assert link not in page(editor_client, "/admin/")


def test_they_come_first_on_the_dashboard(admin_client: Client) -> None:
    shown = page(admin_client, "/admin/")
    assert shown.index(HEADING) < shown.index("dash-summary")


def test_lists_with_rows_and_searches_show_none(editor_client: Client) -> None:
    make_rack()
    assert HEADING not in page(editor_client, "/admin/inventory/rack/")
    assert HEADING not in page(editor_client, "/admin/inventory/device/?q=nas")
    assert "Done: " in page(editor_client, "/admin/inventory/device/")


def test_users_who_may_not_add_see_none(viewer_client: Client, stranger_client: Client) -> None:
    for path in PAGES:
        assert HEADING not in page(viewer_client, path), path
    assert HEADING not in page(stranger_client, "/admin/")


def test_user_who_may_add_one_kind_gets_its_button_only(sign_in: Callable[..., Client]) -> None:
    client = sign_in()
    User.objects.get().user_permissions.set(Permission.objects.filter(codename__in=["add_device", "view_device"]))
    shown = page(client, "/admin/inventory/device/")
    assert 'href="/admin/inventory/device/add/">Add a device</a>' in shown
    assert ">Add a rack</a>" not in shown
    assert not Rack.objects.exists()
    assert not Device.objects.exists()
