"""The plan of an import of device types, and what it does to the catalogue."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from homerack.inventory.imports.device_types.planning import plan_device_types
from homerack.inventory.imports.device_types.reading import Found, read_device_types
from homerack.inventory.imports.device_types.sources import files_in
from homerack.inventory.imports.plan import ImportRefused, Plan, carry_out
from homerack.inventory.models import Brand, DeviceModel, DeviceType
from tests.inventory.factories import make_device, make_model, make_rack, make_type, place
from tests.inventory.imports.support import PDU, SWITCH, device_type, public_files, read

pytestmark = pytest.mark.django_db


def plan(*texts: str, **options: Any) -> Plan:
    return plan_device_types(read(*texts), **options)


def run(*texts: str, overwrite: bool = False, **options: Any) -> Plan:
    made = plan(*texts, **options)
    carry_out(made, overwrite=overwrite)
    return made


def labels(rows: list[Any]) -> list[str]:
    return [row.label for row in rows]


def changes(made: Plan) -> list[str]:
    return [f"{row.label}: {', '.join(str(change) for change in row.changed.values())}" for row in made.changed]


def test_an_empty_catalogue_gets_types_brands_and_models() -> None:
    made = run(SWITCH, PDU)
    assert labels(made.new(DeviceType)) == ["Switch", "PDU"]
    assert labels(made.new(Brand)) == ["Acme Networks", "Acme Power"]
    assert labels(made.new(DeviceModel)) == ["Acme Networks AX-24", "Acme Power Strip 2"]
    model = DeviceModel.objects.get(name="AX-24")
    assert (model.brand.name, model.brand.slug, model.device_type.slug) == ("Acme Networks", "acme-networks", "switch")
    assert (model.part_number, model.height_u, model.weight_kg, model.power_watts) == ("0123", 1, 1.133981, 80)
    assert model.airflow_pattern == "front_to_back"
    assert model.typical_ports == {
        "1000base-t": 2,
        "10gbase-x-sfpp": 1,
        "console rj-45": 1,
        "power iec-60320-c14": 2,
    }
    assert model.description == "A switch\n\n[Data sheet](https://acme.example/ax-24)"
    strip = DeviceModel.objects.get(name="Strip 2")
    assert (strip.height_u, strip.power_watts, strip.airflow_pattern) == (0, None, None)
    assert strip.device_type.color == "#EAB308"


def test_a_plan_writes_nothing() -> None:
    plan(SWITCH)
    assert not DeviceModel.objects.exists()
    assert not Brand.objects.exists()
    assert not DeviceType.objects.exists()


def test_a_second_import_changes_nothing() -> None:
    run(SWITCH, PDU, device_type())
    stored = list(DeviceModel.objects.order_by("pk").values())
    made = run(SWITCH, PDU, device_type(), overwrite=True)
    assert (made.changed, made.refused, len(made.unchanged)) == ([], (), 3)
    assert list(DeviceModel.objects.order_by("pk").values()) == stored


def test_own_values_are_kept_unless_the_user_says_otherwise() -> None:
    run(SWITCH, PDU)
    DeviceModel.objects.filter(name="AX-24").update(height_u=2, weight_kg=None, description="Mine\r\n", power_watts=60)
    made = run(SWITCH, PDU)
    difference = (
        "Acme Networks AX-24: height (U) 2 → 1, weight (kg) – → 1.13398, power (W) 60 → 80,"
        " description Mine → A switch [Data sheet](https://acme.example/ax-24)"
    )
    assert changes(made) == [difference]
    assert DeviceModel.objects.get(name="AX-24").height_u == 2
    made = run(SWITCH, PDU, overwrite=True)
    assert changes(made) == [difference]
    model = DeviceModel.objects.get(name="AX-24")
    assert (model.height_u, model.weight_kg, model.power_watts) == (1, 1.133981, 80)
    assert model.last_updated is not None
    assert run(SWITCH, PDU).changed == []


def test_what_the_file_does_not_say_is_not_changed() -> None:
    run(SWITCH)
    DeviceModel.objects.update(depth_mm=300, variant="", height_u=1)
    before = DeviceModel.objects.values().get()
    made = run(device_type(manufacturer="Acme Networks", model="AX-24"), overwrite=True)
    assert made.changed == []
    assert DeviceModel.objects.values().get() == before


def test_line_ends_that_a_form_has_stored_are_no_change() -> None:
    text = device_type(comments='"a\\nb"')
    run(text)
    DeviceModel.objects.update(description="a\r\nb\r\n")
    assert plan(text).changed == []


def test_brands_models_and_types_are_found_by_their_names() -> None:
    brand = Brand.objects.create(name="ACME", slug="x")
    kind = DeviceType.objects.create(name="server", slug="y")
    plain = DeviceModel.objects.create(brand=brand, device_type=kind, name="one")
    variant = DeviceModel.objects.create(brand=brand, device_type=kind, name="Two", variant="48 Ports")
    made = run(device_type(model="ONE"), device_type(model="two 48 ports"), device_type(model="Three server"))
    assert labels(made.unchanged) == [str(plain), str(variant)]
    assert labels(made.new(DeviceModel)) == ["ACME Three server"]
    assert DeviceModel.objects.get(name="Three server").device_type == kind
    assert Brand.objects.count() == DeviceType.objects.count() == 1


def test_a_type_of_the_demo_is_found_by_its_short_name() -> None:
    kind = DeviceType.objects.create(name="Netzwerkverteiler", slug="switch")
    run(SWITCH)
    assert DeviceModel.objects.get().device_type == kind


def test_the_type_is_the_chosen_one_for_new_models_only() -> None:
    own, chosen = make_type("own"), make_type("chosen")
    brand = Brand.objects.create(name="Acme Networks", slug="acme")
    DeviceModel.objects.create(brand=brand, device_type=own, name="AX-24")
    made = run(SWITCH, PDU, device_type=chosen, overwrite=True)
    assert made.new(DeviceType) == []
    assert dict(DeviceModel.objects.values_list("name", "device_type__slug")) == {"AX-24": "own", "Strip 2": "chosen"}


def test_short_names_are_free() -> None:
    Brand.objects.create(name="Other", slug="acme")
    run(device_type(manufacturer="Acme"), device_type(manufacturer="A C M E!"), device_type(manufacturer="华为"))
    run(device_type(manufacturer="小米"), device_type(manufacturer="ACME+", model="B"))
    slugs = dict(Brand.objects.values_list("name", "slug"))
    assert slugs == {
        "Other": "acme",
        "Acme": "acme-2",
        "A C M E!": "a-c-m-e",
        "华为": "brand",
        "小米": "brand-2",
        "ACME+": "acme-3",
    }


def test_a_change_that_breaks_a_rule_is_refused_with_the_rules_own_words() -> None:
    run(SWITCH, device_type())
    device = make_device("core")
    device.model = DeviceModel.objects.get(name="AX-24")
    device.save()
    rack = make_rack(total_height_u=10)
    place(device, rack, 10)
    taller = SWITCH.replace("u_height: 1", "u_height: 2")
    made = run(taller, device_type(u_height=2), overwrite=True)
    assert [str(refused) for refused in made.refused] == [
        "1.yaml, line 2, height (U): core would reach up to U11; Main ends at U10."
    ]
    assert changes(made) == ["Acme A1: height (U) 1 → 2"]
    assert dict(DeviceModel.objects.exclude(name__startswith="Model").values_list("name", "height_u")) == {
        "AX-24": 1,
        "A1": 2,
    }


def test_refused_files_do_not_keep_the_others_out() -> None:
    made = run("a: [", SWITCH)
    assert len(made.refused) == 1
    assert DeviceModel.objects.count() == 1


def test_all_or_nothing() -> None:
    """Another user adds a model between the plan and the import."""
    made = plan(SWITCH, device_type(), PDU)
    brand = Brand.objects.create(name="Acme", slug="acme")
    DeviceModel.objects.create(brand=brand, device_type=make_type(), name="A1")
    with pytest.raises(ImportRefused) as caught:
        carry_out(made, overwrite=False)
    assert str(caught.value) == (
        "2.yaml, line 1, name: Brand with this Name already exists.\n"
        "2.yaml, line 1, short name: Brand with this Short name already exists."
    )
    assert list(DeviceModel.objects.values_list("name", flat=True)) == ["A1"]
    assert list(Brand.objects.values_list("name", flat=True)) == ["Acme"]


def test_the_digest_tells_plans_apart() -> None:
    run(device_type())
    digests = {
        plan(device_type()).digest,
        plan(device_type(), device_type(model="B")).digest,
        plan(device_type(u_height=2)).digest,
        plan(device_type(u_height=3)).digest,
    }
    assert len(digests) == 4
    assert plan(device_type(u_height=3)).digest in digests


def test_saving_row_by_row_obeys_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault at the last row leaves nothing of the others."""
    made = plan(SWITCH, PDU)
    real = DeviceModel.clean

    def fail(model: DeviceModel) -> None:
        if model.name == "Strip 2":
            raise ValidationError({"name": "No."})
        real(model)

    monkeypatch.setattr(DeviceModel, "clean", fail)
    with pytest.raises(ImportRefused, match=r"^2\.yaml, line 1, name: No\.$"):
        carry_out(made, overwrite=False)
    assert not DeviceModel.objects.exists()
    assert not Brand.objects.exists()


def test_all_public_device_types_are_imported_and_a_second_time_nothing() -> None:
    results = read_device_types(files_in(public_files()))
    made = plan_device_types(results)
    assert (len(made.new(DeviceModel)), len(made.new(Brand)), made.refused) == (810, 28, ())
    carry_out(made, overwrite=False)
    assert DeviceModel.objects.count() == 810
    assert DeviceModel.objects.filter(height_u=0).count() == sum(
        isinstance(each, Found) and each.height_u == 0 for each in results
    )
    again = plan_device_types(read_device_types(files_in(public_files())))
    assert (len(again.unchanged), again.changed, again.refused) == (810, [], ())


def test_make_model_of_tests_is_not_touched() -> None:
    model = make_model()
    run(SWITCH)
    model.refresh_from_db()
    assert model.height_u == 1
