"""One sentence for one mistake about a position, at the field that it is about: on both pages that have positions."""

from typing import Any

import pytest
from django.test import Client

from homerack.inventory.models import Device, DeviceModel, Rack, RackPosition
from tests.inventory.factories import make_device, make_model, make_rack, place
from tests.support.slow import slow_except

pytestmark = pytest.mark.django_db

UNITS = {
    "0": "The lowest unit is U1.",
    "-1": "The lowest unit is U1.",
    "": "This field is required.",
    "abc": "Enter a whole number.",
    "1.5": "Enter a whole number.",
    "99999999999": "Ensure this value is less than or equal to 2147483647.",
    "999": "nas would reach up to U999; Main ends at U42.",
    "43": "nas would reach up to U43; Main ends at U42.",
    "10": "nas needs U10, but switch is at U10.",
}
"""What is typed, and the sentence: U10 is taken."""

TOO_LARGE = {
    "a taller device at the end": ({"height_u": 3}, "41", "start_u", "nas would reach up to U43; Main ends at U42."),
    "a taller device over two others": (
        {"height_u": 3},
        "9",
        "start_u",
        "nas needs U9 to U11, but switch is at U10 and patch is at U11.",
    ),
    "a taller device over four others": (
        {"height_u": 5},
        "9",
        "start_u",
        "nas needs U9 to U13, but switch is at U10, patch is at U11 and 2 more devices are there.",
    ),
    "a wider device": ({"width_type": '23"'}, "5", "device", 'nas is 23" wide; Main takes devices of up to 19".'),
    "a deeper device": ({"depth_mm": 900}, "5", "device", "nas is 900 mm deep; Main has room for 700 mm."),
}
"""The device, its lowest unit, and the field and the sentence."""


@pytest.fixture
def rack() -> Rack:
    rack = make_rack()
    for unit, name in ((10, "switch"), (11, "patch"), (12, "kvm"), (13, "router")):
        place(make_device(name), rack, unit)
    return rack


def rows(formset: Any) -> list[dict[str, list[str]]]:
    assert formset.non_form_errors() == []
    return [dict(errors) for errors in formset.errors]


def save_rack(client: Client, rack: Rack, *positions: dict[str, Any], **fields: Any) -> list[dict[str, list[str]]]:
    """Save the rack's page with these rows instead of the stored ones; the errors of the rows."""
    stored = RackPosition.objects.filter(rack=rack).order_by("pk")
    kept = [{"id": row.pk, "device": row.device_id, "start_u": row.start_u} for row in stored]
    data: dict[str, Any] = {"name": rack.name, "total_height_u": 42, "width_inches": '19"', "depth_mm": 700, **fields}
    data |= {"positions-INITIAL_FORMS": len(kept), "positions-TOTAL_FORMS": len(kept) + len(positions)}
    for number, row in enumerate([*kept, *positions]):
        data |= {f"positions-{number}-{name}": value for name, value in row.items()}
        data[f"positions-{number}-rack"] = rack.pk
    response = client.post(f"/admin/inventory/rack/{rack.pk}/change/", data)
    assert response.status_code == 200
    return rows(response.context["inline_admin_formsets"][0].formset)[len(kept) :]


def save_device(client: Client, device: Device, **position: Any) -> list[dict[str, list[str]]]:
    """Save the device's page with this position; the errors of its row."""
    data = {"custom_name": device.custom_name, "model": device.model_id, "access_frequency": "medium"}
    for prefix in ("positions", "cables_from", "cables_to"):
        data |= {f"{prefix}-TOTAL_FORMS": 0, f"{prefix}-INITIAL_FORMS": 0}
    row = {f"positions-0-{name}": value for name, value in position.items()}
    data |= {**row, "positions-TOTAL_FORMS": 1, "positions-0-device": device.pk}
    response = client.post(f"/admin/inventory/device/{device.pk}/change/", data)
    assert response.status_code == 200
    assert response.context["adminform"].errors == {}
    return rows(response.context["inline_admin_formsets"][0].formset)


def add_device(client: Client, model: DeviceModel, **fields: Any) -> dict[str, list[str]]:
    """Send the form to add a device of `model`; its errors."""
    data = {"custom_name": "nas", "number": 1, "brand": model.brand.name, "product": model.name, **fields}
    response = client.post("/admin/inventory/device/add/", data)
    assert response.status_code == 200
    return dict(response.context["adminform"].errors)


class TestUnits:
    @pytest.mark.parametrize(("typed", "sentence"), UNITS.items())
    def test_on_the_page_of_the_rack(self, editor_client: Client, rack: Rack, typed: str, sentence: str) -> None:
        row = {"device": make_device("nas").pk, "start_u": typed}
        assert save_rack(editor_client, rack, row) == [{"start_u": [sentence]}]

    @pytest.mark.parametrize(("typed", "sentence"), slow_except(UNITS.items(), ("0", UNITS["0"]), ("10", UNITS["10"])))
    def test_on_the_page_of_the_device(self, editor_client: Client, rack: Rack, typed: str, sentence: str) -> None:
        device = make_device("nas")
        assert save_device(editor_client, device, rack=rack.pk, start_u=typed) == [{"start_u": [sentence]}]

    @pytest.mark.parametrize(("typed", "sentence"), slow_except(UNITS.items(), ("0", UNITS["0"]), ("10", UNITS["10"])))
    def test_on_the_form_to_add_one(self, editor_client: Client, rack: Rack, typed: str, sentence: str) -> None:
        """It may leave out the rack."""
        expected = sentence if typed else "Enter the lowest unit, or leave the rack empty."
        assert add_device(editor_client, make_model(), rack=rack.pk, start_u=typed) == {"start_u": [expected]}


class TestTooLarge:
    @pytest.mark.parametrize(("hardware", "unit", "field", "sentence"), TOO_LARGE.values(), ids=TOO_LARGE)
    def test_on_the_page_of_the_rack(
        self, editor_client: Client, rack: Rack, hardware: dict[str, Any], unit: str, field: str, sentence: str
    ) -> None:
        row = {"device": make_device("nas", **hardware).pk, "start_u": unit}
        assert save_rack(editor_client, rack, row) == [{field: [sentence]}]

    @pytest.mark.parametrize(
        ("hardware", "unit", "field", "sentence"),
        slow_except(TOO_LARGE, "a taller device at the end", "a wider device"),
    )
    def test_on_the_page_of_the_device(
        self, editor_client: Client, rack: Rack, hardware: dict[str, Any], unit: str, field: str, sentence: str
    ) -> None:
        """It has no field for the device; the rack is one that does not take it."""
        shown = {"device": "rack"}.get(field, field)
        device = make_device("nas", **hardware)
        assert save_device(editor_client, device, rack=rack.pk, start_u=unit) == [{shown: [sentence]}]

    @pytest.mark.parametrize(
        ("hardware", "unit", "field", "sentence"),
        slow_except(TOO_LARGE, "a taller device at the end", "a wider device"),
    )
    def test_on_the_form_to_add_one(
        self, editor_client: Client, rack: Rack, hardware: dict[str, Any], unit: str, field: str, sentence: str
    ) -> None:
        shown = {"device": "rack"}.get(field, field)
        assert add_device(editor_client, make_model(**hardware), rack=rack.pk, start_u=unit) == {shown: [sentence]}


class TestTwoMistakes:
    def test_missing_device_and_u0_are_two_sentences(self, editor_client: Client, rack: Rack) -> None:
        errors = {"device": ["This field is required."], "start_u": ["The lowest unit is U1."]}
        assert save_rack(editor_client, rack, {"device": "", "start_u": "0"}) == [errors]

    def test_unit_that_is_no_number_is_not_compared(self, editor_client: Client, rack: Rack) -> None:
        """Of the row's old unit nothing is said."""
        device = make_device("nas", height_u=3)
        small = make_rack("Small", total_height_u=2)
        stored = place(device, rack, 20)
        data = {"custom_name": "nas", "model": device.model_id, "positions-0-id": stored.pk}
        data |= {"positions-TOTAL_FORMS": 1, "positions-INITIAL_FORMS": 1, "positions-0-device": device.pk}
        data |= {"positions-0-rack": small.pk, "positions-0-start_u": "x"}
        for prefix in ("cables_from", "cables_to"):
            data |= {f"{prefix}-TOTAL_FORMS": 0, f"{prefix}-INITIAL_FORMS": 0}
        response = editor_client.post(f"/admin/inventory/device/{device.pk}/change/", data)
        errors = rows(response.context["inline_admin_formsets"][0].formset)
        assert errors == [{"start_u": ["Enter a whole number."]}]

    def test_rack_of_no_height_is_said_at_the_height_only(self, editor_client: Client, rack: Rack) -> None:
        path = f"/admin/inventory/rack/{rack.pk}/change/"
        data = {"name": "Main", "total_height_u": "0", "width_inches": '19"', "depth_mm": "700"}
        response = editor_client.post(path, data | {"positions-TOTAL_FORMS": 0, "positions-INITIAL_FORMS": 0})
        assert response.context["adminform"].errors == {"total_height_u": ["A rack has at least 1 U."]}

    def test_rack_that_is_too_small_for_many_is_one_sentence(self, editor_client: Client, rack: Rack) -> None:
        path = f"/admin/inventory/rack/{rack.pk}/change/"
        data = {"name": "Main", "total_height_u": "5", "width_inches": '19"', "depth_mm": "700"}
        response = editor_client.post(path, data | {"positions-TOTAL_FORMS": 0, "positions-INITIAL_FORMS": 0})
        sentence = "router would reach up to U13; Main ends at U5. 3 more devices do not fit."
        assert response.context["adminform"].errors == {"total_height_u": [sentence]}

    def test_device_without_a_name_is_still_compared(self, editor_client: Client, rack: Rack) -> None:
        assert add_device(editor_client, make_model(), custom_name="", rack=rack.pk, start_u="10") == {
            "custom_name": ["This field is required."],
            "start_u": ["The device needs U10, but switch is at U10."],
        }


def test_corrected_value_is_compared_again(rack: Rack) -> None:
    """An invalid value leaves nothing behind that would let a position through."""
    position = RackPosition(device=make_device("nas"), rack=rack, start_u=0)
    with pytest.raises(Exception, match="The lowest unit is U1"):
        position.full_clean()
    position.start_u = 10
    with pytest.raises(Exception, match="nas needs U10, but switch is at U10"):
        position.save()
