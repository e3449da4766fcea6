"""The admin of the inventory: lists, pages, permissions."""

import re
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext

from homerack.inventory.demo import load_demo
from homerack.inventory.models import Brand, Cable, Device, Rack, RackPosition
from tests.inventory.factories import connect, make_device, make_model, make_rack, make_type, place
from tests.support.slow import slow_except

pytestmark = pytest.mark.django_db

LISTS = ("brand", "cable", "device", "devicemodel", "devicetype", "rack")


def html(response: HttpResponse) -> str:
    assert response.status_code == 200
    return response.content.decode()


def messages_of(response: HttpResponse) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]  # type: ignore[attr-defined]


def queries_of(client: Client, path: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        html(client.get(path))
    return len(captured)


def add_rows(numbers: range) -> None:
    """Rows in every list, each with related rows to count."""
    for number in numbers:
        kind = make_type(f"type-{number}")
        model = make_model(brand=Brand.objects.create(name=f"B{number}", slug=f"b{number}"), device_type=kind)
        device = Device.objects.create(custom_name=f"n{number}", model=model)
        place(device, make_rack(f"R{number}"), 1)
        connect(device, Device.objects.create(custom_name=f"m{number}", model=model), from_port="1")


class TestLists:
    def test_list_uses_constant_queries_when_rows_are_added(self, admin_client: Client) -> None:
        paths = [f"/admin/inventory/{name}/" for name in LISTS]
        for path in paths:
            admin_client.get(path)  # content types are remembered from the first time on
        add_rows(range(3))
        short = {path: queries_of(admin_client, path) for path in paths}
        add_rows(range(3, 12))
        assert {path: queries_of(admin_client, path) for path in paths} == short

    def test_lists_are_searched_and_sorted_by_every_column(self, admin_client: Client) -> None:
        add_rows(range(3))
        paths = [f"/admin/inventory/{name}/?q=1&o=1.-2.3.-4.5.-6" for name in LISTS]
        assert {path: admin_client.get(path).status_code for path in paths} == dict.fromkeys(paths, 200)

    def test_cables_of_both_directions_are_counted(self, admin_client: Client) -> None:
        one, two = make_device("one"), make_device("two")
        connect(one, two, from_port="1")
        connect(one, two, from_port="2")
        connect(two, one, from_port="3")
        (listed,) = admin_client.get("/admin/inventory/device/?q=one").context["cl"].result_list
        assert listed.cables_count == 3

    def test_devices_are_filtered_by_position_and_type(self, admin_client: Client) -> None:
        place(make_device("mounted"), make_rack())
        loose = make_device("loose", device_type=make_type("switch"))
        for query, names in (
            ("mounted=yes", ["mounted"]),
            ("mounted=no", ["loose"]),
            (f"model__device_type__id__exact={loose.model.device_type_id}", ["loose"]),
        ):
            listed = admin_client.get(f"/admin/inventory/device/?{query}").context["cl"].result_list
            assert [device.custom_name for device in listed] == names

    def test_cables_are_filtered_by_length(self, admin_client: Client) -> None:
        connect(make_device(), make_device(), calculated_length_m=2)
        connect(make_device(), make_device())
        for query, number in (("known", 1), ("unknown", 1), ("", 2)):
            assert len(admin_client.get(f"/admin/inventory/cable/?length={query}").context["cl"].result_list) == number


class TestLegacyTexts:
    """Texts of HomeRack 1.0.1 that a form would refuse: paths, addresses without a scheme, names."""

    PATH = "/wiki/kestrel"

    def make_brand(self, **values: str) -> Brand:
        brand = Brand.objects.create(name="Kestrel", slug="kestrel")
        Brand.objects.filter(pk=brand.pk).update(**values)
        return brand

    def test_brand_can_be_saved_with_a_path(self, admin_client: Client) -> None:
        brand = self.make_brand(support_url=self.PATH, slug="Kestrel Inc.")
        path = f"/admin/inventory/brand/{brand.pk}/change/"
        page = html(admin_client.get(path))
        assert re.search(r'<input type="text" name="support_url" value="([^"]*)"', page)[1] == self.PATH  # type: ignore[index]
        assert "This is not a web address. HomeRack keeps it until you enter another one." in page
        assert f'href="{self.PATH}"' not in page
        sent = {"name": "Kestrel Ltd", "slug": "Kestrel Inc.", "support_url": self.PATH}
        assert admin_client.post(path, sent).status_code == 302
        brand.refresh_from_db()
        assert (brand.name, brand.slug, brand.support_url) == ("Kestrel Ltd", "Kestrel Inc.", self.PATH)

    def test_another_path_is_refused_and_an_address_is_taken(self, admin_client: Client) -> None:
        brand = self.make_brand(support_url=self.PATH)
        path = f"/admin/inventory/brand/{brand.pk}/change/"
        sent = {"name": "Kestrel", "slug": "kestrel", "support_url": "/wiki/other"}
        refused = admin_client.post(path, sent)
        assert refused.context["adminform"].form.errors == {"support_url": ["Enter a valid URL."]}
        assert admin_client.post(path, sent | {"support_url": "https://kestrel.example/help"}).status_code == 302
        assert 'type="url" name="support_url"' in html(admin_client.get(path))

    def test_address_without_a_scheme_gets_one(self, admin_client: Client) -> None:
        brand = self.make_brand(website="www.kestrel.example")
        path = f"/admin/inventory/brand/{brand.pk}/change/"
        page = html(admin_client.get(path))
        assert 'type="text" name="website"' in page
        assert "This is not a web address" not in page
        sent = {"name": "Kestrel", "slug": "kestrel", "website": "www.kestrel.example"}
        assert admin_client.post(path, sent).status_code == 302
        brand.refresh_from_db()
        assert brand.website == "https://www.kestrel.example"


class TestRackPage:
    def test_list_and_page_show_elevation_capacities_and_warnings(self, admin_client: Client) -> None:
        load_demo()
        listed = html(admin_client.get("/admin/inventory/rack/"))
        for text in ("37 of 42 U", "4599 of 5000 W", "399.4 of 600 kg", "is-nearly"):
            assert text in listed
        rack = Rack.objects.get(name="Main rack")
        page = html(admin_client.get(f"/admin/inventory/rack/{rack.pk}/change/"))
        gpu = Device.objects.get(custom_name="gpu-01")
        assert 'class="rack-elevation"' in page
        assert f'<a href="/admin/inventory/device/{gpu.pk}/change/"><title>gpu-01, Server' in page
        assert "Power: 4599 of 5000 W (91%), nearly used up." in page
        assert "0 U at U1" in page

    @pytest.mark.parametrize("height", [1, 48, None])
    def test_page_shows_empty_rack_of_any_height(self, admin_client: Client, height: int | None) -> None:
        rack = make_rack(total_height_u=height)
        assert "U free" in html(admin_client.get(f"/admin/inventory/rack/{rack.pk}/change/"))

    def test_names_are_escaped(self, admin_client: Client) -> None:
        rack = make_rack("<script>alert(1)</script>")
        place(make_device("<script>alert(2)</script>", power_watts=99_000), rack)
        assert "<script>alert" not in html(admin_client.get(f"/admin/inventory/rack/{rack.pk}/change/"))

    def test_page_lists_devices_outside_the_rack(self, admin_client: Client) -> None:
        position = place(make_device("lost"), make_rack())
        RackPosition.objects.filter(pk=position.pk).update(start_u=99)
        page = html(admin_client.get(f"/admin/inventory/rack/{position.rack_id}/change/"))
        assert "lost would reach up to U99; Main ends at U42." in page
        assert "1 U at U99" in page

    def test_page_of_deleted_rack_redirects(self, admin_client: Client) -> None:
        assert admin_client.get("/admin/inventory/rack/987/change/").status_code == 302


def rack_form(rack: Rack, rows: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """What the browser sends for the rack's page with these positions."""
    data = {
        "name": rack.name,
        "total_height_u": rack.total_height_u,
        "width_inches": rack.width_inches,
        "depth_mm": rack.depth_mm,
        "max_weight_kg": 500,
        "max_power_watts": 5000,
        "positions-TOTAL_FORMS": len(rows),
        "positions-INITIAL_FORMS": sum("id" in row for row in rows),
        **changes,
    }
    for number, row in enumerate(rows):
        data |= {f"positions-{number}-{name}": value for name, value in row.items()}
        data[f"positions-{number}-rack"] = rack.pk
    return data


def row_of(position: RackPosition, **changes: Any) -> dict[str, Any]:
    return {"id": position.pk, "device": position.device_id, "start_u": position.start_u, **changes}


class TestRackPositions:
    def save(self, client: Client, rack: Rack, *rows: dict[str, Any], **changes: Any) -> HttpResponse:
        path = f"/admin/inventory/rack/{rack.pk}/change/"
        return client.post(path, rack_form(rack, list(rows), **changes))  # type: ignore[return-value]

    def errors(self, response: HttpResponse) -> list[dict[str, list[str]]]:
        assert response.status_code == 200
        formset = response.context["inline_admin_formsets"][0].formset  # type: ignore[attr-defined]
        return list(formset.errors)

    def test_two_devices_swap_positions_in_one_save(self, editor_client: Client) -> None:
        rack = make_rack()
        low, high = place(make_device(), rack, 1), place(make_device(), rack, 2)
        response = self.save(editor_client, rack, row_of(high, start_u=1), row_of(low, start_u=2))
        assert response.status_code == 302
        assert [position.start_u for position in RackPosition.objects.order_by("pk")] == [2, 1]

    def test_two_devices_in_one_unit_are_refused(self, editor_client: Client) -> None:
        rack = make_rack()
        rows = [{"device": make_device(name).pk, "start_u": 5} for name in ("a", "b")]
        assert self.errors(self.save(editor_client, rack, *rows)) == [
            {},
            {"start_u": ["b needs U5, but a is at U5."]},
        ]

    def test_device_takes_the_unit_of_a_removed_one(self, editor_client: Client) -> None:
        rack, device = make_rack(), make_device()
        leaving = place(make_device(), rack, 1)
        rows = [row_of(leaving, DELETE="on"), {"device": device.pk, "start_u": 1}]
        assert self.save(editor_client, rack, *rows).status_code == 302
        assert RackPosition.objects.get().device == device

    def test_positions_are_validated_with_the_new_height(self, editor_client: Client) -> None:
        rack = make_rack(total_height_u=4)
        row = {"device": make_device().pk, "start_u": 6}
        assert self.save(editor_client, rack, row, total_height_u=6).status_code == 302

    def test_locked_repeated_and_already_mounted_devices_are_refused(self, editor_client: Client) -> None:
        rack, twice, elsewhere = make_rack(), make_device("twice"), make_device("elsewhere")
        locked = place(make_device("locked"), rack, 1, locked=True)
        place(elsewhere, make_rack("Other"), 7)
        rows = [
            row_of(locked, start_u=3, locked="on"),
            {"device": twice.pk, "start_u": 5},
            {"device": twice.pk, "start_u": 6},
            {"device": elsewhere.pk, "start_u": 8},
        ]
        assert self.errors(self.save(editor_client, rack, *rows)) == [
            {"start_u": ["locked is locked at U1. Unlock it, save, and then move it."]},
            {},
            {"device": ["twice is listed twice."]},
            {"device": ["elsewhere is in Other at U7 already."]},
        ]

    def test_unchanged_invalid_row_does_not_prevent_a_save(self, editor_client: Client) -> None:
        rack = make_rack()
        invalid = place(make_device(), rack, 1)
        RackPosition.objects.filter(pk=invalid.pk).update(start_u=99)
        invalid.refresh_from_db()
        rows = [row_of(invalid), {"device": make_device().pk, "start_u": 5}]
        assert self.save(editor_client, rack, *rows).status_code == 302

    def test_save_warns_when_a_limit_is_exceeded(self, editor_client: Client) -> None:
        rack = make_rack()
        row = {"device": make_device(power_watts=6000).pk, "start_u": 5}
        messages = messages_of(self.save(editor_client, rack, row))
        assert "Main: Power: 6000 of 5000 W, 1000 W over the limit." in messages

    def test_save_shows_at_most_three_warnings(self, editor_client: Client) -> None:
        rack = make_rack()
        for unit in range(1, 6):
            place(make_device(f"d{unit}", width_type='19"'), rack, unit)
        Rack.objects.update(width_inches='11"')
        rack.refresh_from_db()
        messages = messages_of(self.save(editor_client, rack, **{"positions-TOTAL_FORMS": 0}))
        wide = [f'Main: d{unit} is 19" wide; Main takes devices of up to 11".' for unit in (5, 4, 3)]
        assert messages[:-1] == [*wide, "Main: 2 more on its page."]

    def test_viewer_cannot_save(self, viewer_client: Client) -> None:
        rack = make_rack()
        assert self.save(viewer_client, rack, name="Mine").status_code == 403


def device_form(device: Device | None = None, **changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = {"custom_name": "box", "access_frequency": "medium"}
    if device is not None:
        data |= {"custom_name": device.custom_name, "model": device.model_id}
    for prefix in ("positions", "cables_from", "cables_to"):
        data |= {f"{prefix}-TOTAL_FORMS": 0, f"{prefix}-INITIAL_FORMS": 0}
    return data | changes


class TestDevicePage:
    def test_device_without_a_model_is_refused(self, editor_client: Client) -> None:
        device, placed = make_device("nas"), {"positions-TOTAL_FORMS": 1, "positions-0-start_u": 4}
        form = device_form(device, model="", **placed, **{"positions-0-rack": make_rack().pk})
        response = editor_client.post(f"/admin/inventory/device/{device.pk}/change/", form)
        assert response.context["adminform"].errors == {"model": ["This field is required."]}

    def test_list_shows_type_brand_and_model(self, admin_client: Client) -> None:
        model = make_model(name="N1", variant="4 bays", device_type=make_type("storage"))
        Device.objects.create(custom_name="nas", model=model)
        page = html(admin_client.get("/admin/inventory/device/?q=4+bays"))
        for text in ("Storage", "Acme", "N1, 4 bays"):
            assert text in page

    def test_page_saves_position_and_cables(self, editor_client: Client) -> None:
        device, other, rack = make_device("box"), make_device(), make_rack()
        form = device_form(
            device,
            **{"positions-TOTAL_FORMS": 1, "positions-0-rack": rack.pk, "positions-0-start_u": 4},
            **{"cables_from-TOTAL_FORMS": 1, "cables_from-0-to_device": other.pk, "cables_from-0-from_port": "eth0"},
            **{"cables_to-TOTAL_FORMS": 1, "cables_to-0-from_device": other.pk, "cables_to-0-to_port": "eth1"},
        )
        assert editor_client.post(f"/admin/inventory/device/{device.pk}/change/", form).status_code == 302
        assert (device.positions.get().start_u, device.cables_from.count(), device.cables_to.count()) == (4, 1, 1)

    def test_two_new_cables_in_one_port_are_refused_with_message(self, editor_client: Client) -> None:
        device, other = make_device("nas"), make_device("sw")
        form = device_form(
            device,
            **{"cables_from-TOTAL_FORMS": 1, "cables_from-0-to_device": other.pk, "cables_from-0-from_port": "eth0"},
            **{"cables_to-TOTAL_FORMS": 1, "cables_to-0-from_device": other.pk, "cables_to-0-to_port": "eth0"},
        )
        response = editor_client.post(f"/admin/inventory/device/{device.pk}/change/", form)
        assert response.status_code == 302
        assert messages_of(response) == ["Nothing was saved. nas has a cable in eth0 already: nas · eth0 to sw."]
        assert not Cable.objects.exists()

    def test_page_shows_cables_of_both_directions_and_ports(self, admin_client: Client) -> None:
        device = make_device(typical_ports={"sfp_plus": 4})
        connect(device, make_device(), from_port="out-port")
        connect(make_device(), device, to_port="in-port")
        page = html(admin_client.get(f"/admin/inventory/device/{device.pk}/change/"))
        for text in ("out-port", "in-port", "<b>4</b> sfp plus"):
            assert text in page

    def test_unknown_legacy_choice_survives_an_edit(self, editor_client: Client) -> None:
        device = make_device()
        Device.objects.update(access_frequency="hourly")
        path = f"/admin/inventory/device/{device.pk}/change/"
        assert "hourly (unknown)" in html(editor_client.get(path))
        form = device_form(device, custom_name="renamed", access_frequency="hourly")
        assert editor_client.post(path, form).status_code == 302
        device.refresh_from_db()
        assert (device.custom_name, device.access_frequency) == ("renamed", "hourly")


class TestDeletion:
    def test_rack_deletion_lists_positions_and_keeps_devices(self, editor_client: Client) -> None:
        rack = make_rack()
        place(make_device("nas"), rack, 3)
        path = f"/admin/inventory/rack/{rack.pk}/delete/"
        page = html(editor_client.get(path))
        assert "nas at U3 of Main" in page
        assert "The devices stay in the inventory; only their positions in this rack are deleted." in page
        assert Rack.objects.exists()
        editor_client.post(path, {"post": "yes"})
        assert (Rack.objects.count(), Device.objects.count()) == (0, 1)

    def test_device_deletion_lists_position_and_cables(self, editor_client: Client) -> None:
        device = make_device("nas")
        place(device, make_rack(), 3)
        connect(device, make_device("sw"), from_port="eth0", to_port="7")
        page = html(editor_client.get(f"/admin/inventory/device/{device.pk}/delete/"))
        assert "nas at U3 of Main" in page
        assert "nas · eth0 to sw · 7" in page
        assert "Its rack position and all cables to and from it are deleted as well." in page

    @pytest.mark.parametrize(("name", "make"), [("rack", make_rack), ("device", make_device)])
    def test_delete_action_shows_the_note(self, editor_client: Client, name: str, make: Callable[[], Any]) -> None:
        data = {"action": "delete_selected", "_selected_action": [make().pk]}
        page = html(editor_client.post(f"/admin/inventory/{name}/", data))  # type: ignore[arg-type]
        assert 'class="delete-note"' in page

    def test_model_with_devices_cannot_be_deleted(self, editor_client: Client) -> None:
        device = make_device("nas")
        page = html(editor_client.get(f"/admin/inventory/devicemodel/{device.model_id}/delete/"))
        assert "would require deleting the following protected related objects" in page


class TestPermissions:
    @pytest.mark.parametrize("name", slow_except(LISTS, "rack", "device"))
    def test_viewer_opens_pages_and_cannot_change_rows(self, viewer_client: Client, name: str) -> None:
        add_rows(range(1))
        path = f"/admin/inventory/{name}/"
        row = viewer_client.get(path).context["cl"].result_list[0]
        assert viewer_client.get(f"{path}{row.pk}/change/").status_code == 200
        assert viewer_client.post(f"{path}{row.pk}/change/", {"name": "x"}).status_code == 403
        assert viewer_client.get(f"{path}add/").status_code == 403
        assert viewer_client.get(f"{path}{row.pk}/delete/").status_code == 403

    @pytest.mark.parametrize("name", slow_except(LISTS, "rack", "device"))
    def test_editor_opens_the_add_page(self, editor_client: Client, name: str) -> None:
        assert editor_client.get(f"/admin/inventory/{name}/add/").status_code == 200

    @pytest.mark.parametrize("name", LISTS)
    def test_user_without_group_is_refused(self, stranger_client: Client, name: str) -> None:
        assert stranger_client.get(f"/admin/inventory/{name}/").status_code == 403

    def test_sidebar_shows_pages_that_the_user_may_open(self, viewer_client: Client, admin_client: Client) -> None:
        viewers, administrators = (html(client.get("/admin/")) for client in (viewer_client, admin_client))
        assert "/admin/inventory/rack/" in viewers
        assert "/admin/accounts/user/" not in viewers
        assert "/admin/accounts/user/" in administrators


def test_second_page_of_device_list_has_rows_in_order(admin_client: Client) -> None:
    model = make_model()
    for number in range(60):
        Device.objects.create(custom_name=f"device-{number:02}", model=model)

    second = admin_client.get("/admin/inventory/device/?p=2").context["cl"].result_list

    assert [device.custom_name for device in second] == [f"device-{number}" for number in range(50, 60)]
    backwards = admin_client.get("/admin/inventory/device/?p=2&o=-1").context["cl"].result_list
    assert [device.custom_name for device in backwards] == [f"device-{number:02}" for number in range(9, -1, -1)]


@pytest.mark.parametrize("name", slow_except(LISTS, "rack", "device"))
def test_form_to_add_a_row_shows_no_times_of_it(admin_client: Client, name: str) -> None:
    page = html(admin_client.get(f"/admin/inventory/{name}/add/"))
    assert ">Created</label>" not in page
    assert ">Changed</label>" not in page


def test_page_of_a_row_shows_its_times(admin_client: Client) -> None:
    page = html(admin_client.get(f"/admin/inventory/brand/{Brand.objects.create(name='Acme', slug='acme').pk}/change/"))
    assert ">Created</label>" in page


class TestLegacyFields:
    """What HomeRack 1.0.1 stored and HomeRack does not use."""

    FIELDS: ClassVar = {"source": "manual", "specifications": [{"id": 3, "source_url": "<b>x</b>"}]}

    def test_page_shows_them_escaped_and_keeps_them(self, editor_client: Client) -> None:
        model = make_model(legacy_fields=self.FIELDS)
        path = f"/admin/inventory/devicemodel/{model.pk}/change/"
        page = html(editor_client.get(path))
        for text in ("Legacy fields", "<dt>source url</dt><dd>&lt;b&gt;x&lt;/b&gt;</dd>", "<dd>manual</dd>"):
            assert text in page
        sent = {"name": "New", "brand": model.brand_id, "device_type": model.device_type_id, "height_u": 1}
        assert editor_client.post(path, {**sent, "legacy_fields": "{}"}).status_code == 302
        model.refresh_from_db()
        assert (model.name, model.legacy_fields) == ("New", self.FIELDS)

    @pytest.mark.parametrize("empty", [None, {}])
    def test_page_of_a_row_without_them_does_not_mention_them(self, admin_client: Client, empty: Any) -> None:
        model = make_model(legacy_fields=empty)
        assert "Legacy fields" not in html(admin_client.get(f"/admin/inventory/devicemodel/{model.pk}/change/"))
        assert "Legacy fields" not in html(admin_client.get("/admin/inventory/devicemodel/add/"))
