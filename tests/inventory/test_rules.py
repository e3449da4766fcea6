"""What the model layer refuses, from forms and code alike, and what it only warns about."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection

from homerack.inventory.models import Brand, Cable, Device, DeviceModel, Rack, RackPosition
from tests.inventory.factories import connect, make_device, make_model, make_rack, make_type, place

pytestmark = pytest.mark.django_db


def refusal(action: Callable[..., Any], *arguments: Any, **options: Any) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as caught:
        action(*arguments, **options)
    return caught.value.message_dict


class TestHeight:
    def test_position_above_the_rack_is_refused(self) -> None:
        rack, device = make_rack(total_height_u=10), make_device("nas", height_u=2)
        assert refusal(place, device, rack, 10) == {"start_u": ["nas would reach up to U11; Main ends at U10."]}
        assert not RackPosition.objects.exists()

    def test_position_up_to_the_top_unit_is_accepted(self) -> None:
        assert place(make_device(height_u=2), make_rack(total_height_u=10), 9).pk

    def test_position_below_u1_is_refused(self) -> None:
        messages = refusal(place, make_device("nas"), make_rack(), 0)
        assert messages == {"start_u": ["The lowest unit is U1."]}

    def test_partial_units_are_rounded_up(self) -> None:
        rack = make_rack()
        place(make_device("one", height_u=1.5), rack, 1)
        messages = refusal(place, make_device("two"), rack, 2)
        assert messages == {"start_u": ["two needs U2, but one is at U1 to U2."]}

    def test_rack_of_unknown_size_accepts_every_device(self) -> None:
        rack = make_rack(total_height_u=None, width_inches=None, depth_mm=None)
        assert place(make_device(height_u=40, depth_mm=3000), rack, 50).pk


class TestWidthAndDepth:
    def test_device_wider_than_the_rack_is_refused(self) -> None:
        rack = make_rack(width_inches='11"')
        messages = refusal(place, make_device("sw", width_type='19"'), rack)
        assert messages == {"device": ['sw is 19" wide; Main takes devices of up to 11".']}

    def test_device_narrower_than_the_rack_is_accepted(self) -> None:
        assert place(make_device(width_type='11"'), make_rack(width_inches='19"')).pk

    def test_device_deeper_than_the_rack_is_refused(self) -> None:
        messages = refusal(place, make_device("srv", depth_mm=715), make_rack(depth_mm=700))
        assert messages == {"device": ["srv is 715 mm deep; Main has room for 700 mm."]}

    def test_device_of_unknown_depth_is_accepted(self) -> None:
        assert place(make_device(depth_mm=None), make_rack(depth_mm=100)).pk


class TestOverlap:
    def test_overlapping_devices_are_refused(self) -> None:
        rack = make_rack()
        place(make_device("below", height_u=4), rack, 1)
        messages = refusal(place, make_device("above", height_u=2), rack, 4)
        assert messages == {"start_u": ["above needs U4 to U5, but below is at U1 to U4."]}

    def test_adjacent_devices_are_accepted(self) -> None:
        rack = make_rack()
        place(make_device(height_u=4), rack, 1)
        assert place(make_device(), rack, 5).pk

    def test_zero_u_devices_are_accepted_at_any_unit(self) -> None:
        rack = make_rack(width_inches='11"', depth_mm=100)
        place(make_device(height_u=1, width_type='11"'), rack, 1)
        for _ in range(2):
            assert place(make_device(height_u=0, width_type='19"', depth_mm=900), rack, 1).pk

    def test_second_position_of_a_device_is_refused(self) -> None:
        device = make_device("nas")
        place(device, make_rack("One"), 3)
        assert refusal(place, device, make_rack("Two"), 1) == {"device": ["nas is in One at U3 already."]}

    def test_moving_a_locked_device_is_refused(self) -> None:
        position = place(make_device("ups"), make_rack(), 1, locked=True)
        position.start_u = 5
        assert refusal(position.save) == {"start_u": ["ups is locked at U1. Unlock it, save, and then move it."]}

    def test_bulk_create_validates_rows_against_each_other(self) -> None:
        rack = make_rack()
        rows = [RackPosition(device=make_device(name), rack=rack, start_u=1) for name in ("a", "b")]
        assert refusal(RackPosition.objects.bulk_create, rows) == {"start_u": ["b needs U1, but a is at U1."]}
        assert not RackPosition.objects.exists()

    def test_bulk_update_validates_rows(self) -> None:
        rack = make_rack()
        place(make_device("a"), rack, 1)
        other = place(make_device("b"), rack, 2)
        other.start_u = 1
        assert "start_u" in refusal(RackPosition.objects.bulk_update, [other], ["start_u"])

    def test_bulk_create_with_ignore_conflicts_is_refused(self) -> None:
        with pytest.raises(TypeError, match=r"^Rows that are validated cannot be created with ignore_conflicts\.$"):
            RackPosition.objects.bulk_create([], ignore_conflicts=True)


class TestLaterChanges:
    def test_shrinking_a_rack_below_its_devices_is_refused(self) -> None:
        rack = make_rack(total_height_u=42)
        place(make_device("top"), rack, 42)
        rack.total_height_u = 40
        assert refusal(rack.save) == {"total_height_u": ["top would reach up to U42; Main ends at U40."]}

    def test_growing_a_model_into_a_neighbour_is_refused(self) -> None:
        rack, device = make_rack(), make_device("grows")
        place(device, rack, 1)
        place(make_device("neighbour"), rack, 2)
        model = DeviceModel.objects.get(pk=device.model_id)
        model.height_u = 2
        assert refusal(model.save) == {"height_u": ["grows needs U1 to U2, but neighbour is at U2."]}

    def test_growing_a_model_with_adjacent_devices_is_refused(self) -> None:
        rack, model = make_rack(), make_model()
        for start, name in ((1, "low"), (2, "high")):
            place(Device.objects.create(custom_name=name, model=model), rack, start)
        model.height_u = 2
        (message,) = refusal(model.save)["height_u"]
        assert message in {
            "high needs U2 to U3, but low is at U1 to U2. 1 more device does not fit.",
            "low needs U1 to U2, but high is at U2 to U3. 1 more device does not fit.",
        }

    def test_changing_to_a_model_that_does_not_fit_is_refused(self) -> None:
        device = make_device("nas")
        place(device, make_rack(total_height_u=3), 3)
        device.model = make_model(height_u=2)
        assert refusal(device.save) == {"model": ["nas would reach up to U4; Main ends at U3."]}

    def test_invalid_legacy_row_can_be_renamed_but_not_made_worse(self) -> None:
        rack, device = make_rack(), make_device("wide", width_type='19"')
        position = place(device, rack, 1)
        Rack.objects.filter(pk=rack.pk).update(width_inches='11"')
        rack.refresh_from_db()
        rack.name = "Cellar"
        rack.save()
        assert rack.warnings() == ['wide is 19" wide; Cellar takes devices of up to 11".']
        position.start_u = 2
        assert "device" in refusal(position.save)


class TestCables:
    def test_cable_from_a_port_to_itself_is_refused(self) -> None:
        device = make_device()
        message = {"to_port": ["A cable from a device to itself needs two different ports."]}
        assert refusal(connect, device, device, from_port="eth0", to_port="ETH0") == message
        assert refusal(connect, device, device) == message

    def test_cable_between_two_ports_of_a_device_is_accepted(self) -> None:
        device = make_device()
        assert connect(device, device, from_port="eth0", to_port="eth1").pk

    def test_second_cable_in_a_port_is_refused(self) -> None:
        one, two, three = make_device("one"), make_device("two"), make_device("three")
        connect(one, two, from_port="eth0", to_port="1")
        expected = {"to_port": ["one has a cable in Eth0 already: one · eth0 to two · 1."]}
        assert refusal(connect, three, one, to_port="Eth0") == expected

    def test_ports_without_a_name_accept_several_cables(self) -> None:
        one, two = make_device(), make_device()
        connect(one, two)
        assert connect(one, two).pk

    @pytest.mark.parametrize("length", [0, -1.5, float("inf"), float("nan")])
    def test_invalid_cable_length_is_refused(self, length: float) -> None:
        messages = refusal(connect, make_device(), make_device(), calculated_length_m=length)
        assert messages == {"calculated_length_m": ["Enter a number greater than 0."]}

    def test_legacy_cables_in_one_port_can_be_saved(self) -> None:
        one, two = make_device(), make_device()
        connect(one, two, from_port="eth0")
        second = connect(one, two, from_port="eth1")
        Cable.objects.filter(pk=second.pk).update(from_port="eth0")
        second.refresh_from_db()
        second.calculated_length_m = 2.5
        second.save()


class TestCatalogue:
    def test_second_model_without_variant_is_refused(self) -> None:
        model = make_model(name="K1")
        message = {"name": ["This brand already has a model with this name and no variant."]}
        assert refusal(make_model, name="K1", brand=model.brand) == message

    def test_second_model_with_the_same_variant_is_refused(self) -> None:
        make_model(name="K1", variant="AC")
        message = {"__all__": ["This brand already has a model with this name and variant."]}
        assert refusal(make_model, name="K1", variant="AC") == message
        assert make_model(name="K1", variant="DC").pk

    def test_database_accepts_legacy_models_without_variant_twice(self) -> None:
        make_model(name="K1", variant="a")
        other = make_model(name="K1", variant="b")
        DeviceModel.objects.update(variant=None)
        with pytest.raises(IntegrityError):
            DeviceModel.objects.filter(pk__lte=other.pk).update(variant="c")

    def test_ports_without_counts_are_refused(self) -> None:
        message = {"typical_ports": ['Enter port types and counts, such as {"gigabit_ethernet": 48}.']}
        assert refusal(make_model, typical_ports=["sfp"]) == message
        assert refusal(make_model, typical_ports={"sfp": "4"}) == message

    def test_invalid_colour_is_refused(self) -> None:
        assert refusal(make_type, "odd", color="red;}") == {"color": ["Enter a colour such as #3B82F6."]}

    def test_unknown_legacy_value_is_kept_until_it_is_changed(self) -> None:
        model = make_model()
        DeviceModel.objects.update(airflow_pattern="chimney")
        model.refresh_from_db()
        model.description = "Smokes."
        model.save()
        model.airflow_pattern = "sideways"
        assert refusal(model.save) == {"airflow_pattern": ["Value 'sideways' is not a valid choice."]}


class TestDevices:
    def test_device_without_a_model_is_refused(self) -> None:
        assert refusal(Device.objects.create, custom_name="box") == {"model": ["This field cannot be null."]}

    def test_device_without_a_model_is_refused_at_a_position(self) -> None:
        """As a form does that has an error at the model."""
        position = RackPosition(device=Device(custom_name="box"), rack=make_rack(), start_u=1)
        assert position.placement.size.height_u == 0


class TestBudgets:
    def test_exceeded_weight_and_power_are_warnings(self) -> None:
        rack = make_rack(max_power_watts=500, max_weight_kg=10)
        place(make_device(power_watts=520, weight_kg=9.5), rack)
        assert rack.warnings() == [
            "Power: 520 of 500 W, 20 W over the limit.",
            "Weight: 9.5 of 10 kg (95%), nearly used up.",
        ]

    def test_power_of_a_ups_is_not_counted(self) -> None:
        rack = make_rack(max_power_watts=500)
        place(make_device(power_watts=2700, device_type=make_type("ups")), rack)
        assert rack.warnings() == []

    def test_capacity_counts_devices_without_a_value(self) -> None:
        rack = make_rack()
        place(make_device(), rack)
        assert [budget.note for budget in rack.capacities(rack.placed())] == [
            "",
            *["1 device has no value on record"] * 2,
        ]

    def test_rack_without_limits_has_no_warnings(self) -> None:
        rack = make_rack(max_power_watts=None, max_weight_kg=None, total_height_u=None)
        place(make_device(power_watts=9000), rack)
        assert rack.warnings() == []
        assert [budget.text for budget in rack.capacities(rack.placed())] == ["1 U", "9000 W", "0 kg"]


class TestDeleting:
    def test_deleting_a_rack_keeps_its_devices(self) -> None:
        rack = make_rack()
        place(make_device(), rack)
        rack.delete()
        assert (Device.objects.count(), RackPosition.objects.count()) == (1, 0)

    def test_deleting_a_device_deletes_its_position_and_cables(self) -> None:
        one, two = make_device(), make_device()
        place(one, make_rack())
        connect(one, two)
        connect(two, one)
        one.delete()
        assert (RackPosition.objects.count(), Cable.objects.count(), Rack.objects.count()) == (0, 0, 1)

    def test_deleting_a_model_in_use_is_refused(self) -> None:
        device = make_device()
        for needed in (device.model, Brand.objects.get()):
            with pytest.raises(Exception, match="Cannot delete some instances"):
                needed.delete()


@pytest.mark.django_db(transaction=True)
def test_concurrent_saves_at_one_position_keep_one() -> None:
    rack, devices = make_rack(), [make_device(), make_device()]
    barrier, outcomes = threading.Barrier(2), []

    def want(device: Device) -> None:
        barrier.wait()
        try:
            place(device, rack, 1)
            outcomes.append("placed")
        except ValidationError:
            outcomes.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=want, args=(device,)) for device in devices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["placed", "refused"]
