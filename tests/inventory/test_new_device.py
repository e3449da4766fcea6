"""The form that adds devices: one or several, with brand, model and type by their names, and a place in a rack."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.http import HttpResponse
from django.test import Client

from homerack.accounts.models import User
from homerack.inventory.models import Brand, Device, DeviceModel, DeviceType, Rack, RackPosition
from tests.inventory.factories import make_device, make_model, make_rack, place

pytestmark = pytest.mark.django_db

PATH = "/admin/inventory/device/add/"
NEW = {"custom_name": "nas", "number": "1", "brand": "Synology", "product": "DS920+", "device_type": "Storage"}


def form(**changes: Any) -> dict[str, Any]:
    return {**NEW, "height_u": "", "start_u": "", "rack": "", "access_frequency": "medium", **changes}


def add(client: Client, **changes: Any) -> HttpResponse:
    return client.post(PATH, form(**changes))  # type: ignore[return-value]


def errors(response: Any) -> dict[str, list[str]]:
    assert response.status_code == 200
    return dict(response.context["adminform"].errors)


def messages_of(response: Any) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


def rows() -> list[int]:
    return [kind.objects.count() for kind in (Brand, DeviceType, DeviceModel, Device, RackPosition)]


@pytest.fixture
def only(sign_in: Callable[..., Client]) -> Callable[..., Client]:
    """Signs in a user who has these permissions of the inventory."""

    def as_user_with(*names: str) -> Client:
        client = sign_in()
        permissions = Permission.objects.filter(content_type__app_label="inventory", codename__in=names)
        User.objects.get().user_permissions.set(permissions)
        return client

    return as_user_with


class TestOne:
    def test_everything_new_is_added_on_the_way(self, editor_client: Client) -> None:
        rack = make_rack(total_height_u=12)
        response = add(editor_client, height_u="2", rack=rack.pk, start_u="5", serial_number="S1", notes="Photos")
        assert response.status_code == 302
        device = Device.objects.get()
        model = device.model
        assert (device.custom_name, device.serial_number, device.notes) == ("nas", "S1", "Photos")
        assert (model.brand.name, model.brand.slug, model.name, model.height_u) == ("Synology", "synology", "DS920+", 2)
        assert (model.device_type.name, model.device_type.slug) == ("Storage", "storage")
        assert (device.positions.get().rack, device.positions.get().start_u) == (rack, 5)
        assert messages_of(response)[0] == (
            "Also added: the brand Synology, the device type Storage, the model Synology DS920+."
        )
        logged = {entry.object_repr for entry in LogEntry.objects.all()}
        assert logged == {"nas", "Synology", "Storage", "Synology DS920+"}

    def test_existing_rows_are_taken_in_any_case(self, editor_client: Client) -> None:
        model = make_model(name="K1", variant="gen 3, rev. b", height_u=3)
        before = rows()
        assert (
            add(editor_client, brand="ACME", product="k1, GEN 3, rev. b", device_type="", height_u="").status_code
            == 302
        )
        assert Device.objects.get().model == model
        assert rows() == [*before[:3], 1, 0]

    def test_new_model_of_an_existing_brand_and_type(self, editor_client: Client) -> None:
        make_model(name="K1")
        assert add(editor_client, brand="Acme", product="K2", device_type="server").status_code == 302
        assert rows() == [1, 1, 2, 1, 0]
        assert DeviceModel.objects.get(name="K2").height_u == 1

    def test_name_without_variant_does_not_choose_one(self, editor_client: Client) -> None:
        for variant in ("24 ports", "48 ports"):
            make_model(name="AX", variant=variant)
        found = errors(add(editor_client, brand="Acme", product="AX", device_type="Server"))
        assert found == {"product": ["Acme has AX with these variants. Enter one of: AX, 24 ports; AX, 48 ports."]}
        make_model(name="AX")
        assert add(editor_client, brand="Acme", product="AX", device_type="").status_code == 302

    def test_type_and_height_of_an_existing_model_are_not_changed(self, editor_client: Client) -> None:
        make_model(name="K1", height_u=3)
        found = errors(add(editor_client, brand="Acme", product="K1", device_type="Switch", height_u="2"))
        assert found == {
            "device_type": ["Acme K1 has the type Server. Leave this empty."],
            "height_u": ["Acme K1 has 3 U. Leave this empty."],
        }
        assert add(editor_client, brand="Acme", product="K1", device_type="Server", height_u="3").status_code == 302

    @pytest.mark.parametrize("name", ["华为", "Ubiquiti", "ubiquiti!"])
    def test_brand_gets_a_short_name_of_its_own(self, editor_client: Client, name: str) -> None:
        for slug in ("brand", "ubiquiti", "ubiquiti-2"):
            Brand.objects.create(name=f"The {slug}", slug=slug)
        assert add(editor_client, brand=name).status_code == 302
        assert Brand.objects.get(name=name).slug == {"华为": "brand-2"}.get(name, "ubiquiti-3")

    def test_zero_u_device_has_a_unit_that_is_taken(self, editor_client: Client) -> None:
        rack = make_rack()
        place(make_device("server"), rack, 1)
        assert add(editor_client, height_u="0", rack=rack.pk, start_u="1").status_code == 302
        assert RackPosition.objects.count() == 2


class TestMistakes:
    def test_all_are_said_at_once_and_nothing_is_added(self, editor_client: Client) -> None:
        rack = make_rack(total_height_u=12)
        place(make_device("switch"), rack, 5)
        before = rows()
        found = errors(
            add(editor_client, custom_name="", device_type="", height_u="2", rack=rack.pk, start_u="4", number="x")
        )
        assert found == {
            "custom_name": ["This field is required."],
            "number": ["Enter a whole number."],
            "device_type": ["Enter the type of the new model."],
            "start_u": ["The device needs U4 to U5, but switch is at U5."],
        }
        assert rows() == before

    def test_empty_form(self, editor_client: Client) -> None:
        required = ["This field is required."]
        found = errors(editor_client.post(PATH, {"number": "1"}))
        assert found == {"custom_name": required, "brand": required, "product": required}

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"height_u": "-1"}, {"height_u": ["Enter 0 or a greater number."]}),
            ({"height_u": "abc"}, {"height_u": ["Enter a number."]}),
            ({"height_u": "1e300"}, {"height_u": ["Ensure this value is less than or equal to 100."]}),
            ({"number": "0"}, {"number": ["Ensure this value is greater than or equal to 1."]}),
            ({"number": "101"}, {"number": ["Ensure this value is less than or equal to 100."]}),
            ({"start_u": "5"}, {"rack": ["Choose the rack of this unit, or leave the unit empty."]}),
            (
                {"number": "2", "serial_number": "S1"},
                {"serial_number": ["Each device has its own. Leave this empty, and enter them afterwards."]},
            ),
            ({"brand": "a\0"}, {"brand": ["Null characters are not allowed."]}),
            ({"rack": "x"}, {"rack": ["Select a valid choice. That choice is not one of the available choices."]}),
        ],
    )
    def test_each_is_said_at_its_field(
        self, editor_client: Client, changes: dict[str, str], expected: dict[str, list[str]]
    ) -> None:
        assert errors(add(editor_client, **changes)) == expected
        assert rows() == [0, 0, 0, 0, 0]

    @pytest.mark.parametrize(
        ("height", "unit", "field", "sentence"),
        [
            ("1", "", "start_u", "Enter the lowest unit, or leave the rack empty."),
            ("1", "0", "start_u", "The lowest unit is U1."),
            ("1", "99999999999", "start_u", "Ensure this value is less than or equal to 2147483647."),
            ("3", "11", "start_u", "nas would reach up to U13; Main ends at U12."),
        ],
    )
    def test_unit(self, editor_client: Client, height: str, unit: str, field: str, sentence: str) -> None:
        rack = make_rack(total_height_u=12)
        assert errors(add(editor_client, height_u=height, rack=rack.pk, start_u=unit)) == {field: [sentence]}
        assert rows() == [0, 0, 0, 0, 0]

    def test_model_that_is_too_deep_is_said_at_the_rack(self, editor_client: Client) -> None:
        make_model(name="K1", depth_mm=900)
        found = errors(add(editor_client, brand="Acme", product="K1", device_type="", rack=make_rack().pk, start_u="1"))
        assert found == {"rack": ["nas is 900 mm deep; Main has room for 700 mm."]}

    def test_what_was_typed_is_shown_again(self, editor_client: Client) -> None:
        page = add(editor_client, custom_name="").content.decode()
        for value in ("Synology", "DS920+", "Storage"):
            assert f'value="{value}"' in page


class TestSeveral:
    def test_twelve_are_placed_one_above_another(self, editor_client: Client) -> None:
        rack = make_rack(total_height_u=26)
        response = add(editor_client, custom_name="node-01", number="12", height_u="2", rack=rack.pk, start_u="3")
        assert response.status_code == 302
        placed = RackPosition.objects.order_by("start_u").values_list("device__custom_name", "start_u")
        assert list(placed) == [(f"node-{number:02}", 1 + 2 * number) for number in range(1, 13)]
        assert Device.objects.values("model").distinct().count() == 1
        messages = messages_of(response)
        assert messages[0].endswith("11 more devices: node-02 to node-12.")
        assert LogEntry.objects.filter(object_repr__startswith="node-").count() == 12

    def test_one_that_does_not_fit_refuses_all(self, editor_client: Client) -> None:
        rack = make_rack(total_height_u=12)
        place(make_device("switch"), rack, 7)
        before = rows()
        found = errors(add(editor_client, custom_name="node-01", number="12", rack=rack.pk, start_u="4"))
        assert found == {
            "start_u": ["node-04 needs U7, but switch is at U7. 3 more devices do not fit."],
        }
        assert rows() == before

    def test_numbers_continue(self, editor_client: Client) -> None:
        make_device("node-11")
        add(editor_client, custom_name="node", number="2")
        assert {device.custom_name for device in Device.objects.all()} == {"node-11", "node-12", "node-13"}

    def test_names_that_exist_are_warned_about(self, editor_client: Client) -> None:
        make_device("node-02")
        response = add(editor_client, custom_name="node-01", number="2")
        messages = messages_of(response)
        assert "2 devices are named node-02: not in a rack; not in a rack." in messages


class TestDuplicate:
    def test_copy_is_filled_in_and_not_yet_saved(self, editor_client: Client) -> None:
        device = Device.objects.create(
            custom_name="node-07", model=make_model(name="K1"), serial_number="S7", notes="Loud", access_frequency="low"
        )
        place(device, make_rack(), 3)
        response = editor_client.get(f"/admin/inventory/device/{device.pk}/duplicate/", follow=True)
        initial = response.context["adminform"].form.initial
        assert initial == {
            "custom_name": "node-08",
            "brand": "Acme",
            "product": "K1",
            "access_frequency": "low",
            "notes": "Loud",
        }
        assert Device.objects.count() == 1
        values = {**initial, "number": "2"}
        assert editor_client.post(response.redirect_chain[0][0], values).status_code == 302
        copies = Device.objects.exclude(pk=device.pk).order_by("custom_name")
        assert [(copy.custom_name, copy.serial_number, copy.notes) for copy in copies] == [
            ("node-08", None, "Loud"),
            ("node-09", None, "Loud"),
        ]
        assert RackPosition.objects.count() == 1

    def test_button_is_on_the_page_and_in_the_list(self, editor_client: Client, viewer_client: Client) -> None:
        device = make_device()
        for path in ("", f"{device.pk}/change/"):
            link = f"/admin/inventory/device/{device.pk}/duplicate/"
            assert link in editor_client.get(f"/admin/inventory/device/{path}").content.decode()
            assert link not in viewer_client.get(f"/admin/inventory/device/{path}").content.decode()
        assert viewer_client.get(f"/admin/inventory/device/{device.pk}/duplicate/").status_code == 403

    @pytest.mark.parametrize("key", ["", "x", "999999", "9" * 40, "../1"])
    def test_unknown_device_gives_an_empty_form(self, editor_client: Client, key: str) -> None:
        response = editor_client.get(f"{PATH}?copy_of={key}")
        assert response.status_code == 200
        assert "brand" not in response.context["adminform"].form.initial


class TestPermissions:
    def test_user_who_may_add_devices_only_takes_existing_rows(self, only: Callable[..., Client]) -> None:
        client = only("add_device", "view_device")
        model = make_model(name="K1")
        assert errors(add(client)) == {
            field: [f"There is no {kind} “{name}”, and you may not add {kind}s. Choose an existing one."]
            for field, kind, name in (
                ("brand", "brand", "Synology"),
                ("product", "model", "DS920+"),
                ("device_type", "device type", "Storage"),
            )
        }
        assert Brand.objects.count() == 1
        assert add(client, brand="Acme", product="K1", device_type="").status_code == 302
        assert Device.objects.get().model == model

    def test_fields_of_the_rack_are_for_users_who_may_place(self, only: Callable[..., Client]) -> None:
        client = only("add_device", "view_device")
        make_model(name="K1")
        fields = client.get(PATH).context["adminform"].form.fields
        assert not {"rack", "start_u"} & set(fields)
        rack = make_rack()
        assert add(client, brand="Acme", product="K1", device_type="", rack=rack.pk, start_u="1").status_code == 302
        assert not RackPosition.objects.exists()

    def test_viewer_is_refused(self, viewer_client: Client) -> None:
        assert add(viewer_client).status_code == 403


class TestSuggestions:
    def ask(self, client: Client, brand: str) -> Any:
        return client.get("/admin/inventory/device/models-of-brand/", {"brand": brand}).json()["models"]

    def test_models_of_the_brand_with_type_and_height(self, editor_client: Client) -> None:
        make_model(name="K1", variant="gen 3", height_u=2)
        other = Brand.objects.create(name="Other", slug="other")
        make_model(name="K2", brand=other)
        assert self.ask(editor_client, "acme") == [{"name": "K1, gen 3", "type": "Server", "height": 2}]
        assert self.ask(editor_client, "") == []

    def test_only_for_users_who_may_view_models(self, stranger_client: Client) -> None:
        make_model(name="K1")
        assert stranger_client.get("/admin/inventory/device/models-of-brand/", {"brand": "Acme"}).status_code == 403

    def test_form_lists_brands_and_types(self, editor_client: Client) -> None:
        DeviceType.objects.create(name="<b>", slug="b")
        make_model()
        page = editor_client.get(PATH).content.decode()
        assert '<datalist id="id_brand_suggestions"><option value="Acme"></option></datalist>' in page
        assert '<option value="&lt;b&gt;"></option>' in page


def test_rack_of_unknown_height_takes_any_unit(editor_client: Client) -> None:
    rack = Rack.objects.create(name="Open", total_height_u=None)
    assert add(editor_client, number="100", height_u="100", rack=rack.pk, start_u="1").status_code == 302
