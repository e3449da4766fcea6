"""What an import adds, changes and refuses."""

import pytest

from homerack.accounts.models import User
from homerack.history.models import ChangeSet
from homerack.inventory.imports.plan import ImportRefused, PlanChanged
from homerack.inventory.models import Brand, Cable, Device, DeviceModel, Rack, RackPosition
from homerack.inventory.spreadsheets.importing import import_inventory, plan_import
from tests.inventory.factories import connect, make_device, make_model, make_rack, place
from tests.inventory.spreadsheets.support import carry_out, changes, csv_file, refusals

pytestmark = pytest.mark.django_db

TYPES = csv_file("types.csv", "name", "Switch", "Server")
BRANDS = csv_file("brands.csv", "name", "Acme")
MODELS = csv_file("models.csv", "brand,name,type,height (U)", "Acme,AX-24,Switch,1", "Acme,Big,Server,4")
RACKS = csv_file("racks.csv", "name,location,height (U)", "Main,Basement,42")
SAME_DEVICE = (
    "The same device is in line 4 of devices.csv. If this is another one, number both in the column “number”: 1 and 2."
)
WHICH_DEVICE = (
    "The inventory has 2 devices of this name. Say in the column “number” which one: 1 (not in a rack), 2 (Main, U4)."
)


def test_a_whole_lab_is_added_with_all_that_refers_to_each_other() -> None:
    devices = csv_file("devices.csv", "name,brand,model,rack,lowest unit", "sw,Acme,AX-24,Main,1", "nas,Acme,Big,,")
    cables = csv_file("cables.csv", "from device,from port,to device,to port", "sw,1,nas,eth0")
    plan = carry_out(cables, devices, MODELS, BRANDS, TYPES, RACKS)
    assert plan.describe() == (
        "2 new device types, 1 new brand, 2 new models, 1 new rack, 2 new devices and 1 new cable"
    )
    assert str(Cable.objects.get()) == "sw · 1 to nas · eth0"
    assert str(RackPosition.objects.get()) == "sw at U1 of Main"
    assert Brand.objects.get().slug == "acme"
    assert Device.objects.get(custom_name="sw").access_frequency == "medium"  # the default of a missing column
    assert Rack.objects.get().depth_mm == 700


def test_a_second_import_changes_nothing() -> None:
    files = [TYPES, BRANDS, MODELS, RACKS]
    carry_out(*files)
    plan = carry_out(*files)
    assert plan.describe() == ""
    assert len(plan.unchanged) == 6


def test_changes_are_shown_cell_by_cell_and_missing_columns_keep_their_values() -> None:
    nas, rack = make_device("nas"), make_rack()
    place(nas, rack, 3)
    Device.objects.filter(pk=nas.pk).update(notes="Old")
    file = csv_file("devices.csv", "name;serial number;lowest unit;notes", "nas;X1;5;")
    assert changes(carry_out(file)) == ["nas: serial number – → X1, notes Old → –, lowest unit 3 → 5"]
    nas.refresh_from_db()
    assert (nas.serial_number, nas.notes, nas.model_id is not None) == ("X1", None, True)
    assert RackPosition.objects.get().start_u == 5


def test_an_empty_rack_takes_a_device_out_and_a_locked_one_stays() -> None:
    one, two, rack = make_device("one"), make_device("two"), make_rack()
    place(one, rack, 1)
    place(two, rack, 2, locked=True)
    assert changes(carry_out(csv_file("devices.csv", "name,rack", "one,"))) == [
        "one: rack Main → –, lowest unit 1 → –, locked no → –"
    ]
    assert refusals(csv_file("devices.csv", "name,rack", "two,")) == [
        "devices.csv, line 2, lowest unit: two is locked at U2. Unlock it, save, and then move it."
    ]
    assert [position.device for position in RackPosition.objects.all()] == [two]


def test_all_mistakes_are_named_at_once_in_the_words_of_the_rules() -> None:
    rack, other = make_rack("Main", total_height_u=10), make_device("old", height_u=2)
    place(other, rack, 1)
    brand = other.model.brand
    model = make_model(name="One U")
    make_model(name="Wide", width_type='23"')
    devices = csv_file(
        "devices.csv",
        "name,brand,model,rack,lowest unit,access,locked",
        f"a,{brand},One U,Main,2,medium,no",
        f"b,{brand},One U,Main,11,medium,no",
        f"c,{brand},One U,Main,5,medium,no",
        f"d,{brand},One U,Main,5,medium,no",
        f"e,{brand},Wide,Main,7,often,no",
        f"f,{brand},Unknown,Main,0,medium,perhaps",
        f",{brand},One U,Cellar,x,medium,no",
        f"g,{brand},,Main,,medium,no",
        f"c,{brand},One U,,,medium,no",
        f"h,{brand},One U,,4,medium,no",
    )
    assert refusals(devices) == [
        "devices.csv, line 2, lowest unit: a needs U2, but old is at U1 to U2.",
        "devices.csv, line 3, lowest unit: b would reach up to U11; Main ends at U10.",
        "devices.csv, line 5, lowest unit: d needs U5, but c is at U5.",
        "devices.csv, line 6, access: Value 'often' is not a valid choice.",
        'devices.csv, line 6, rack: e is 23" wide; Main takes devices of up to 19".',
        "devices.csv, line 7, locked: “perhaps” must be yes or no.",
        "devices.csv, line 7, model: There is no model “Acme Unknown”, neither in the inventory nor in the files.",
        "devices.csv, line 7, lowest unit: The lowest unit is U1.",
        "devices.csv, line 8, lowest unit: “x” value must be an integer.",
        "devices.csv, line 8, rack: There is no rack “Cellar”, neither in the inventory nor in the files.",
        "devices.csv, line 8, name: This field cannot be blank.",
        "devices.csv, line 9, model: This field cannot be null.",
        "devices.csv, line 9, lowest unit: This field cannot be null.",
        f"devices.csv, line 10, number: {SAME_DEVICE}",
        "devices.csv, line 11, rack: This field cannot be null.",
    ]
    with pytest.raises(ImportRefused):
        import_inventory([devices])
    assert [*Device.objects.all()] == [other]
    assert model.devices.count() == 0


def test_devices_swap_their_places_and_a_device_takes_a_place_that_becomes_free() -> None:
    one, two, three, rack = make_device("one"), make_device("two"), make_device("three"), make_rack()
    place(one, rack, 1)
    place(two, rack, 2)
    carry_out(csv_file("devices.csv", "name,rack,lowest unit", "one,Main,2", "two,Main,3", "three,Main,1"))
    assert [(each.device, each.start_u) for each in RackPosition.objects.order_by("start_u")] == [
        (three, 1),
        (one, 2),
        (two, 3),
    ]


def test_new_sizes_of_racks_and_models_must_hold_what_is_there() -> None:
    rack, device = make_rack("Main", total_height_u=10), make_device("nas")
    DeviceModel.objects.filter(pk=device.model_id).update(name="M")
    place(device, rack, 9)
    place(make_device("top"), rack, 10)
    assert refusals(csv_file("racks.csv", "name,height (U)", "Main,8")) == [
        "racks.csv, line 2, height (U): nas would reach up to U9; Main ends at U8. 1 more device does not fit."
    ]
    assert refusals(csv_file("models.csv", "brand,name,height (U)", "Acme,M,2")) == [
        "models.csv, line 2, height (U): nas needs U9 to U10, but top is at U10."
    ]


def test_a_rack_of_a_legacy_file_that_breaks_rules_can_be_renamed_and_a_model_corrected() -> None:
    rack, device = make_rack("Main", total_height_u=10), make_device("nas")
    DeviceModel.objects.filter(pk=device.model_id).update(name="M")
    place(device, rack, 9)
    Rack.objects.filter(pk=rack.pk).update(total_height_u=5)
    plan = carry_out(
        csv_file("racks.csv", "name,height (U),location", "Main,5,Cellar"),
        csv_file("models.csv", "brand,name,height (U),weight (kg)", "Acme,M,1,2"),
        csv_file("devices.csv", "name,notes,rack,lowest unit", "nas,Heavy,Main,9"),
    )
    assert plan.describe() == "1 changed model, 1 changed rack and 1 changed device"


def test_cables_take_one_port_each() -> None:
    one, two = make_device("one"), make_device("two")
    connect(one, two, from_port="1", to_port="1")
    cables = csv_file(
        "cables.csv",
        "from device,from port,to device,to port,length (m)",
        "two,2,one,1,1",
        "one,3,one,3,1",
        "one,4,two,5,-1",
        "two,6,one,4,1",
        "one,1,two,7,1",
        "two,8,nobody,1,1",
    )
    assert refusals(cables) == [
        "cables.csv, line 2, to port: one has a cable in 1 already: one · 1 to two · 7.",
        "cables.csv, line 3, to port: A cable from a device to itself needs two different ports.",
        "cables.csv, line 4, length (m): Enter a number greater than 0.",
        "cables.csv, line 5, to port: one has a cable in 4 already: one · 4 to two · 5.",
        "cables.csv, line 7, to device: There is no device “nobody”, neither in the inventory nor in the files.",
    ]


def test_the_port_where_a_cable_begins_identifies_it() -> None:
    one, two = make_device("one"), make_device("two")
    cable = connect(one, two, from_port="1", to_port="1")
    assert changes(carry_out(csv_file("cables.csv", "from device,from port,to device,to port", "one,1,two,9"))) == [
        "one · 1 to two · 9: to port 1 → 9"
    ]
    cable.refresh_from_db()
    assert cable.to_port == "9"


def test_devices_of_one_name_are_told_apart_by_number_or_serial_number() -> None:
    first, second, rack = make_device("node"), make_device("node"), make_rack()
    place(second, rack, 4)
    Device.objects.filter(pk=second.pk).update(serial_number="S2")
    assert refusals(csv_file("devices.csv", "name,notes", "node,x")) == [f"devices.csv, line 2, number: {WHICH_DEVICE}"]
    assert refusals(csv_file("cables.csv", "from device,to device", "node,node")) == [
        "cables.csv, line 2, from device: There are several devices “node”. Give the number of one in the next column.",
        "cables.csv, line 2, to device: There are several devices “node”. Give the number of one in the next column.",
    ]
    carry_out(
        csv_file("devices.csv", "name,number,serial number,notes", "node,1,,first", "node,,S2,second"),
        csv_file("cables.csv", "from device,from device number,to device,to device number", "node,2,node,1"),
    )
    assert [*Device.objects.order_by("pk").values_list("notes", flat=True)] == ["first", "second"]
    assert Cable.objects.get().from_device == second
    assert Cable.objects.get().to_device == first


def test_duplicates_of_short_names_and_names_are_refused() -> None:
    make_device()
    assert refusals(
        csv_file("brands.csv", "name,short name", "Other,acme", "Third,x", "Third,y", "Fourth,x"),
        csv_file("models.csv", "brand,name,type,released,end of life", "Acme,M,Server,2024-05-01,2024-04-30"),
    ) == [
        "brands.csv, line 2, short name: Brand with this Short name already exists.",
        "brands.csv, line 4, name: The same row is in line 3 of brands.csv.",
        "brands.csv, line 5, short name: Brand with this Short name already exists.",
        "models.csv, line 2, end of life: The end of life must not be before the release.",
    ]


def test_users_get_neither_rights_nor_a_password_and_are_found_in_upper_and_lower_case() -> None:
    User.objects.create_user("Ann@Example.org", "secret", is_staff=True)
    plan = carry_out(
        csv_file("users.csv", "e-mail address,full name,active", "ann@example.org,Ann,no", "b@c.de,Bo,yes")
    )
    assert changes(plan) == [
        "ann@example.org: e-mail address Ann@example.org → ann@example.org, full name – → Ann, active yes → no"
    ]
    ann, bo = User.objects.order_by("pk")
    assert ann.check_password("secret")
    assert ann.is_staff
    assert (bo.is_staff, bo.is_superuser, bo.has_usable_password()) == (False, False, False)


def test_users_import_what_they_may_change(django_user_model: type[User]) -> None:
    user = django_user_model.objects.create_user("viewer@example.org", is_staff=True)
    assert refusals(RACKS, user=user) == ["racks.csv: You may not add and change racks."]


def test_another_plan_than_the_one_that_was_seen_is_not_carried_out() -> None:
    digest = plan_import([RACKS]).digest
    make_rack("Main", location="Attic")
    with pytest.raises(PlanChanged):
        import_inventory([RACKS], seen=digest)
    assert Rack.objects.get().location == "Attic"


def test_models_without_a_variant_are_found() -> None:
    model = make_model(name="M")
    make_model(name="M", variant="v2")
    carry_out(csv_file("models.csv", "brand,name,weight (kg)", "Acme,M,2.5"))
    assert DeviceModel.objects.get(weight_kg=2.5) == model


def test_an_import_is_one_change_set() -> None:
    one, rack = make_device("one"), make_rack()
    place(one, rack, 1)
    before = ChangeSet.objects.count()
    plan = carry_out(RACKS, csv_file("devices.csv", "name,notes,rack", "one,moved,"))
    made = ChangeSet.objects.latest("pk")
    assert ChangeSet.objects.count() == before + 1
    assert (plan.change_set, made.entry_point) == (made.pk, "import")
    assert made.description == "Imported 1 changed rack and 1 changed device"
    assert Device.history.filter(change_set=made).get().notes == "moved"
    assert RackPosition.history.filter(change_set=made).get().history_type == "-"
