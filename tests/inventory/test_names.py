"""Numbered names of devices, and what tells two devices of one name apart."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from homerack.inventory.models import Brand, Device, DeviceType
from homerack.inventory.names import free_slug, next_name, numbered_names, same_names
from tests.inventory.factories import connect, make_device, make_model, make_rack, place

pytestmark = pytest.mark.django_db


def make(*names: str) -> None:
    model = make_model()
    for name in names:
        Device.objects.create(custom_name=name, model=model)


@pytest.mark.parametrize(
    ("there", "first", "number", "names"),
    [
        ((), "node-01", 3, ["node-01", "node-02", "node-03"]),
        ((), "node-9", 3, ["node-9", "node-10", "node-11"]),
        ((), "node-099", 2, ["node-099", "node-100"]),
        ((), "node", 2, ["node-01", "node-02"]),
        ((), "node", 1, ["node"]),
        (("node-04", "node-4x", "Xnode-9"), "node", 2, ["node-05", "node-06"]),
        ((), "7", 2, ["7", "8"]),
        ((), "sn-1234567890123456789", 2, ["sn-1234567890123456789", "sn-1234567890123456790"]),
        ((), "ü-01 ²", 2, ["ü-01 ²-01", "ü-01 ²-02"]),
    ],
)
def test_names_are_numbered(there: tuple[str, ...], first: str, number: int, names: list[str]) -> None:
    make(*there)
    assert numbered_names(first, number) == names


@pytest.mark.parametrize(
    ("there", "name", "copy"),
    [
        (("nas",), "nas", "nas-02"),
        (("nas", "nas-02"), "nas", "nas-03"),
        (("node-01", "node-02", "node-12"), "node-01", "node-13"),
        (("node-1", "node-9"), "node-1", "node-10"),
        (("node-007",), "node-007", "node-008"),
        (("node-01", "node-011x", "my node-77"), "node-01", "node-02"),
    ],
)
def test_copy_has_the_next_name(there: tuple[str, ...], name: str, copy: str) -> None:
    make(*there)
    assert next_name(name) == copy


def test_same_names_are_found_in_upper_and_lower_case() -> None:
    make("nas", "NAS", "web")
    assert [[str(device) for device in group] for group in same_names(["Nas", "web"])] == [["nas", "NAS"]]


def choices(client: Client, term: str, model: str = "cable", field: str = "to_device") -> list[str]:
    data = {"app_label": "inventory", "model_name": model, "field_name": field, "term": term}
    return [row["text"] for row in client.get("/admin/autocomplete/", data).json()["results"]]


class TestPickers:
    def test_devices_of_one_name_are_told_apart(self, editor_client: Client) -> None:
        rack = make_rack("Main rack")
        place(make_device("nas"), rack, 5)
        make_device("nas")
        labels = ["nas (Main rack, U5)", "nas (not in a rack)"]
        assert choices(editor_client, "nas") == labels
        assert choices(editor_client, "nas", "rackposition", "device") == labels

    def test_other_rows_have_their_names(self, editor_client: Client) -> None:
        model = make_model(name="K1")
        assert choices(editor_client, "K1", "device", "model") == [str(model)]

    def test_as_many_queries_for_many_devices_as_for_few(self, editor_client: Client) -> None:
        rack, numbers = make_rack(), []
        for unit in range(1, 13):
            place(make_device(f"n{unit}"), rack, unit)
            with CaptureQueriesContext(connection) as captured:
                assert len(choices(editor_client, "n")) == unit
            numbers.append(len(captured))
        assert set(numbers[1:]) == {numbers[-1]}

    def test_chosen_device_is_shown_as_in_the_list(self, editor_client: Client) -> None:
        one, other = make_device("nas"), make_device("sw")
        place(other, make_rack("Main rack"), 7)
        cable = connect(one, other, from_port="1", to_port="2")
        for path in (f"cable/{cable.pk}", f"device/{one.pk}"):
            page = editor_client.get(f"/admin/inventory/{path}/change/").content.decode()
            assert "sw (Main rack, U7)</option>" in page, path


class TestWarnings:
    def test_list_marks_devices_of_one_name(self, viewer_client: Client) -> None:
        make("nas", "Nas", "web")
        listed = viewer_client.get("/admin/inventory/device/").context["cl"].result_list
        assert [(device.custom_name, device.name_is_shared) for device in listed] == [
            ("nas", True),
            ("Nas", True),
            ("web", False),
        ]
        page = viewer_client.get("/admin/inventory/device/").content.decode()
        assert page.count("Another device has this name") == 2

    def test_save_warns_and_is_not_refused(self, editor_client: Client) -> None:
        place(make_device("nas"), make_rack("Main rack"), 5)
        device = make_device("other")
        data = {"custom_name": "nas", "model": device.model_id, "access_frequency": "medium"}
        for prefix in ("positions", "cables_from", "cables_to"):
            data |= {f"{prefix}-TOTAL_FORMS": 0, f"{prefix}-INITIAL_FORMS": 0}
        answer = editor_client.post(f"/admin/inventory/device/{device.pk}/change/", data, follow=True)
        assert "2 devices are named nas: Main rack, U5; not in a rack." in answer.content.decode()
        device.refresh_from_db()
        assert device.custom_name == "nas"


def test_short_names_are_free_and_fit() -> None:
    assert free_slug(Brand, "Acme & Sons", set()) == "acme-sons"
    assert free_slug(Brand, "Acme & Sons", {"acme-sons", "acme-sons-2"}) == "acme-sons-3"
    assert free_slug(DeviceType, "日本", {"devicetype"}) == "devicetype-2"
    long = "x" * 100
    assert free_slug(DeviceType, long + "y", {long}) == "x" * 98 + "-2"
    assert free_slug(Brand, long * 3, set()) == "x" * 200
