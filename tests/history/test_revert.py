"""Undoing a change set or one change, and rows as they were."""

import datetime as dt
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from homerack.accounts.models import User
from homerack.history.as_of import rows_as_of
from homerack.history.change_sets import change_set
from homerack.history.entry_points import EntryPoint
from homerack.history.models import ChangeSet
from homerack.history.revert import RevertRefused, revert, revert_change
from homerack.inventory.models import Brand, Cable, Device, DeviceModel, DeviceType, Rack, RackPosition
from tests.inventory.factories import connect, make_device, make_rack, place

pytestmark = pytest.mark.django_db
MODELS: tuple[Any, ...] = (Rack, RackPosition, Device, Cable, DeviceModel, Brand, DeviceType)


def tables() -> list[Any]:
    """All rows, without the times of changes."""
    return [sorted(model.objects.values_list(*names(model))) for model in MODELS if model.objects.exists()]


def names(model: Any) -> list[str]:
    return [field.attname for field in model.history.model.tracked_fields if field.attname != "legacy_fields"]


def last() -> ChangeSet:
    return ChangeSet.objects.order_by("pk").last()  # type: ignore[return-value]


def refused(made: ChangeSet) -> tuple[str, ...]:
    with pytest.raises(RevertRefused) as found:
        revert(made)
    return found.value.reasons


def test_a_deleted_rack_comes_back_with_its_positions_under_their_numbers() -> None:
    rack = make_rack()
    place(make_device(), rack, 3)
    before = [list(model.objects.values_list("pk", flat=True)) for model in MODELS]
    rack.delete()
    deletion = last()
    revert(deletion)
    assert [list(model.objects.values_list("pk", flat=True)) for model in MODELS] == before
    assert (last().entry_point, last().reverts) == (EntryPoint.REVERT, deletion)


def test_all_that_was_created_is_deleted() -> None:
    with change_set(EntryPoint.IMPORT):
        rack = make_rack()
        one, other = make_device(), make_device()
        place(one, rack)
        connect(one, other, from_port="1", to_port="2")
    revert(last())
    assert tables() == []


def test_two_devices_that_were_swapped_are_swapped_back() -> None:
    rack = make_rack()
    one, other = place(make_device(), rack, 1), place(make_device(), rack, 2)
    with change_set(EntryPoint.FORM):
        for position, start in ((one, 2), (other, 1)):
            position.start_u, position.validated_by_formset = start, True
            position.save()
    revert(last())
    assert dict(RackPosition.objects.values_list("pk", "start_u")) == {one.pk: 1, other.pk: 2}


def test_a_revert_is_reverted() -> None:
    rack = make_rack("A")
    Rack.objects.filter(pk=rack.pk).update(name="B")
    revert(last())
    revert(last())
    assert Rack.objects.get().name == "B"


def test_a_value_that_was_changed_since_is_named_and_nothing_is_changed() -> None:
    rack = make_rack("A", location="Cellar")
    with change_set(EntryPoint.FORM):
        Rack.objects.update(name="B", location="Attic")
    made = last()
    with change_set(EntryPoint.FORM, user=User.objects.create_user("b@example.com")):
        Rack.objects.update(name="C")
    assert refused(made) == ("Name of the rack B was changed since, by b@example.com.",)
    assert Rack.objects.get(pk=rack.pk).location == "Attic"


def test_a_later_change_of_other_values_stays() -> None:
    make_rack("A")
    Rack.objects.update(name="B")
    made = last()
    Rack.objects.update(location="Attic")
    revert(made)
    assert Rack.objects.values_list("name", "location").get() == ("A", "Attic")


def test_a_created_row_that_others_use_is_not_deleted() -> None:
    rack = make_rack("A")
    made = last()
    place(make_device("web"), rack)
    assert refused(made) == ("The rack A is used by the rack position web at U1 of A.",)


def test_a_rule_that_a_recreated_row_breaks_is_named() -> None:
    rack, device = make_rack("A"), make_device("web")
    position = place(device, rack)
    position.delete()
    made = last()
    place(make_device("db"), rack)
    (reason,) = refused(made)
    assert reason.startswith("The rack position number ")
    assert "db" in reason


def test_a_second_revert_is_refused() -> None:
    make_rack("A")
    made = last()
    revert(made)
    assert refused(made) == ("The rack A was deleted since, by revert.",)


def test_a_row_is_not_recreated_without_what_it_refers_to() -> None:
    device = make_device("web")
    model = device.model
    device.delete()
    made = last()
    model.delete()
    assert len(refused(made)) == 1
    assert not Device.objects.exists()


def test_one_change_of_several_is_undone() -> None:
    with change_set(EntryPoint.FORM):
        make_rack("A")
        make_rack("B")
    revert_change(Rack.history.get(name="B"))
    assert Rack.objects.get().name == "A"


def test_a_deleted_user_comes_back_with_groups_and_without_a_password() -> None:
    user = User.objects.create_user("a@example.com", "secret")
    user.groups.add(Group.objects.create(name="Lab"))
    user.delete()
    revert(last())
    back = User.objects.get()
    assert ([group.name for group in back.groups.all()], back.has_usable_password()) == (["Lab"], False)


def test_rows_as_of_a_time() -> None:
    rack, device = make_rack("A"), make_device()
    untouched = place(device, rack)
    RackPosition.history.all().delete()
    Rack.history.all().delete()
    before = timezone.now()
    Rack.objects.update(name="B")
    between = timezone.now()
    rack.delete()
    assert [row.name for row in rows_as_of(Rack, before)] == ["A"]
    assert [row.name for row in rows_as_of(Rack, between)] == ["B"]
    assert rows_as_of(Rack, timezone.now()) == []
    assert [row.pk for row in rows_as_of(RackPosition, before, rack_id=rack.pk or untouched.rack_id)] == [untouched.pk]
    assert rows_as_of(RackPosition, timezone.now() + dt.timedelta(days=1)) == []
