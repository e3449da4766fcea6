"""The search over everything, and those of the lists: the same rows, and nothing that the user may not see."""

import re
from html import unescape

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from homerack import search
from homerack.accounts.models import User
from homerack.inventory.models import Brand, Device, Rack
from homerack.search import words_of
from homerack.web import palette
from tests.inventory.factories import connect, make_device, make_model, make_rack, make_type, place

pytestmark = pytest.mark.django_db

GROUP = re.compile(r'role="presentation">([^<]*)</div>(.*?)</div>', re.DOTALL)
RESULT = re.compile(r'href="([^"]*)"><b>(.*?)</b>(?: <span>(.*?)</span>)?</a>')


@pytest.fixture(name="nas")
def fixture_nas() -> Device:
    """A device with a distinct word in each place that is searched."""
    model = make_model(
        name="Vault 9",
        variant="twelve disks",
        part_number="P/N-77",
        device_type=make_type("storage"),
        brand=Brand.objects.create(name="Ørbis", slug="orbis"),
    )
    texts = {"custom_name": "Nas-01", "serial_number": "XK-4711-Ü", "notes": "Borrowed from Grace"}
    nas = Device.objects.create(model=model, **texts)
    place(nas, make_rack("Cellar rack", location="Building 5"), 7)
    return nas


def found(client: Client, term: str) -> dict[str, list[tuple[str, str]]]:
    """Titles and notes by group."""
    page = client.get("/admin/search/", {"s": term}).content.decode()
    return {
        group: [(unescape(title), unescape(note)) for _, title, note in RESULT.findall(results)]
        for group, results in GROUP.findall(page)
    }


def listed(client: Client, term: str) -> list[str]:
    """Names in the list of devices."""
    return [
        device.custom_name for device in client.get("/admin/inventory/device/", {"q": term}).context["cl"].result_list
    ]


@pytest.mark.parametrize(
    "term",
    [
        *(
            "nas-01",
            "AS-0",
            "vault",
            "twelve",
            "p/n-77",
            "xk-4711",
            "xk-4711-ü",
            "ørb",
            "storage",
            "cellar",
            "building",
        ),
        *("building", "grace", "vault cellar ørbis", '"borrowed from"', "'cellar rack' nas"),
    ],
)
def test_sidebar_and_list_find_a_device_by_each_of_its_texts(admin_client: Client, nas: Device, term: str) -> None:
    make_device("other")
    assert found(admin_client, term)["Devices"] == [
        (nas.custom_name, "Storage · Cellar rack, U7 · Ørbis Vault 9 twelve disks · XK-4711-Ü")
    ]
    assert listed(admin_client, term) == [nas.custom_name]


@pytest.mark.parametrize("term", ["nas cupboard", '"from borrowed"', "%", "_", "\\"])
def test_all_words_must_be_in_it_and_no_character_is_a_pattern(admin_client: Client, nas: Device, term: str) -> None:
    assert found(admin_client, term) == {}
    assert listed(admin_client, term) == []


def test_many_rows_of_another_table_are_found_by_a_subquery(
    admin_client: Client, nas: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    rack = Rack.objects.get()
    names = [nas.custom_name]
    for number in range(3):
        place(make_device(f"node-{number}", brand=nas.model.brand), rack, 10 + number)
        names.append(f"node-{number}")
    make_device("elsewhere")
    monkeypatch.setattr(search, "MANY_KEYS", 1)
    for term in ("cellar", "building ørbis"):
        assert listed(admin_client, term) == sorted(names, key=str.lower)


def test_rows_that_begin_with_the_term_come_first(admin_client: Client) -> None:
    for name in ("a-nas", "NAS-2", "nas-1", "b nas"):
        make_device(name)
    assert [title for title, _ in found(admin_client, "Nas")["Devices"]] == ["nas-1", "NAS-2", "a-nas", "b nas"]


def test_devices_of_one_name_are_told_apart(admin_client: Client) -> None:
    for unit in (1, 2):
        place(make_device("node"), Rack.objects.first() or make_rack(), unit)
    make_device("node")
    notes = [note.split(" · ")[1] for _, note in found(admin_client, "node")["Devices"]]
    assert notes == ["Main, U1", "Main, U2", "not in a rack"]


def test_more_results_lead_to_the_list_that_has_them_all(admin_client: Client) -> None:
    for number in range(palette.MOST + 1):
        make_device(f"node & {number}")
    *shown, last = found(admin_client, "node &")["Devices"]
    assert len(shown) == palette.MOST
    assert last == ("All matching devices", "")
    page = admin_client.get("/admin/search/", {"s": "node &"}).content.decode()
    address = unescape(re.findall(r'href="(/admin/inventory/device/\?[^"]*)"', page)[0])
    assert len(admin_client.get(address).context["cl"].result_list) == palette.MOST + 1


def test_each_list_is_searched(admin_client: Client, nas: Device) -> None:
    connect(nas, make_device("switch-1"), from_port="eth0", to_port="uplink-3")
    assert found(admin_client, "cellar")["Racks"] == [("Cellar rack", "Building 5 · 42 U")]
    assert found(admin_client, "p/n-77")["Models"] == [("Ørbis Vault 9 twelve disks", "Storage · 1 U · 1 device")]
    assert found(admin_client, "ørbis")["Brands"] == [("Ørbis", "1 model")]
    assert found(admin_client, "storage")["Device types"] == [("Storage", "1 model")]
    for term in ("uplink", "nas-01", "switch-1 eth0"):
        assert found(admin_client, term)["Cables"] == [("Nas-01 · eth0 to switch-1 · uplink-3", "Cat6")]
    User.objects.create_user("grace@example.com", "x", full_name="Grace Hopper")
    assert found(admin_client, "hopper") == {"Users": [("grace@example.com", "Grace Hopper · No permissions yet")]}


def test_pages_are_found_by_their_entry_in_the_sidebar(admin_client: Client, viewer_client: Client) -> None:
    assert found(admin_client, "schedu") == {"Pages": [("Schedules", "Database")]}
    assert found(viewer_client, "schedu") == {}


def test_users_find_only_what_they_may_see(viewer_client: Client, stranger_client: Client, nas: Device) -> None:
    User.objects.create_user("nas@example.com", "x")
    assert [*found(viewer_client, "nas")] == ["Devices"]
    assert found(stranger_client, "nas") == {}
    user = User.objects.get(pk=stranger_client.session["_auth_user_id"])
    user.user_permissions.add(Permission.objects.get(codename="view_rack"))
    assert [*found(stranger_client, "cellar")] == ["Racks"]


def test_names_are_escaped(admin_client: Client) -> None:
    make_device("<img src=x>")
    page = admin_client.get("/admin/search/", {"s": "<img"}).content.decode()
    assert "<img" not in page
    assert "&lt;img src=x&gt;" in page


def test_without_a_term_nothing_is_read(admin_client: Client) -> None:
    make_device()
    for term in ("", "   "):
        assert found(admin_client, term) == {}


def test_what_was_changed_is_found_at_once(admin_client: Client) -> None:
    device = make_device("before")
    assert found(admin_client, "before")
    device.delete()
    assert found(admin_client, "before") == {}


def test_number_of_queries_does_not_grow_with_the_results(admin_client: Client, nas: Device) -> None:
    def number(term: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            found(admin_client, term)
        return len(queries)

    number("nas")
    few = number("nas")
    for each in range(palette.MOST - 1):
        place(make_device(f"nas-1{each}"), make_rack(f"nas rack {each}"))
    assert number("nas") <= few + 2  # racks are found now, too


def test_long_terms_are_cut(admin_client: Client) -> None:
    make_device("x" * palette.LONGEST)
    assert found(admin_client, "x" * 10_000)["Devices"]


def test_words() -> None:
    assert [*words_of("one 'two three' \"four\" it's")] == ["one", "two three", "four", "it's"]


def test_lists_of_the_search_name_what_tells_rows_apart() -> None:
    for label in settings.UNFOLD["COMMAND"]["search_models"]:
        found = type(admin.site.get_model_admin(apps.get_model(label)))
        assert found.describe_found is not search.SearchedAdmin.describe_found, label
