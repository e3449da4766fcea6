"""What lists say below their rows, and when they are empty: for those who may add rows, and for those who may not."""

import re

import pytest
from django.contrib import admin
from django.test import Client

from homerack.inventory.models import Brand, Device
from tests.inventory.factories import make_model, make_rack

pytestmark = pytest.mark.django_db

LISTS = {
    model._meta.model_name: str(model._meta.verbose_name)
    for model in admin.site._registry
    if model._meta.app_label == "inventory"
}


def page_of(client: Client, path: str) -> str:
    return re.sub(r"\s+", " ", client.get(f"/admin/inventory/{path}").content.decode())


def rows_shown(client: Client, path: str) -> str:
    found = re.search(r'<div class="py-4">([^<]*)</div>', page_of(client, path))
    assert found
    return found[1]


class TestRowsShown:
    def test_one_row_is_singular(self, admin_client: Client) -> None:
        make_rack()
        assert rows_shown(admin_client, "rack/") == "1 rack"

    def test_all_rows_on_one_page(self, admin_client: Client) -> None:
        for name in "ab":
            make_rack(name)
        assert rows_shown(admin_client, "rack/") == "2 racks"

    def test_search_says_how_many_of_all_match(self, admin_client: Client) -> None:
        for name in ("cellar", "attic", "attic 2"):
            make_rack(name)
        assert rows_shown(admin_client, "rack/?q=attic") == "2 matching racks of 3"
        assert rows_shown(admin_client, "rack/?q=cellar") == "1 matching rack of 3"

    def test_filter_of_a_list_that_is_not_counted(self, admin_client: Client) -> None:
        Device.objects.create(custom_name="nas", model=make_model())
        assert rows_shown(admin_client, "device/?mounted=no") == "1 matching device"
        assert rows_shown(admin_client, "device/") == "1 device"

    def test_pages_say_which_rows_they_show(self, admin_client: Client) -> None:
        for number in range(103):
            Brand.objects.create(name=f"B{number}", slug=f"b{number}")
        assert rows_shown(admin_client, "brand/") == "1 to 50 of 103 brands"
        assert rows_shown(admin_client, "brand/?p=3") == "101 to 103 of 103 brands"
        assert rows_shown(admin_client, "brand/?q=B1&p=1") == "14 matching brands of 103"
        assert rows_shown(admin_client, "brand/?all=") == "103 brands"
        assert 'aria-current="page">3<' in page_of(admin_client, "brand/?p=3")


def test_left_out_pages_are_no_link(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(admin.site.get_model_admin(Brand)), "list_per_page", 2)
    for number in range(50):
        Brand.objects.create(name=f"B{number}", slug=f"b{number}")
    page = page_of(admin_client, "brand/")
    assert "<span>…</span>" in page
    assert "?p=%E2%80%A6" not in page


WITH_FIRST_STEPS = {"rack", "device", "devicemodel"}
"""Their empty lists show the first steps, with buttons of their own."""


@pytest.mark.parametrize(("name", "noun"), LISTS.items())
class TestEmptyLists:
    def test_editors_get_a_button(self, editor_client: Client, name: str, noun: str) -> None:
        page = page_of(editor_client, f"{name}/")
        if name in WITH_FIRST_STEPS:
            assert "Begin your inventory" in page
            assert f'href="/admin/inventory/{name}/add/' in page
        else:
            assert re.search(rf'<a class="frame-button" href="/admin/inventory/{name}/add/[^"]*">Add {noun}</a>', page)
        assert "can add the first one" not in page

    def test_viewers_get_a_sentence(self, viewer_client: Client, name: str, noun: str) -> None:
        page = page_of(viewer_client, f"{name}/")
        assert f"Add {noun}</a>" not in page
        assert "<p>Editors and administrators can add the first one.</p>" in page
        assert "frame-button" not in page

    def test_search_without_a_match_offers_all_rows(self, editor_client: Client, name: str, noun: str) -> None:
        page = page_of(editor_client, f"{name}/?q=nothing")
        assert ">Show all</a>" in page
        assert f">Add {noun}</a>" not in page


def test_list_of_cables_says_what_is_needed_first(editor_client: Client) -> None:
    assert "A cable connects two devices. Add the devices first." in page_of(editor_client, "cable/")
