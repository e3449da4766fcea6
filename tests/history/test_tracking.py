"""What is recorded of each way to write a row."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import models, transaction
from django.db.models import F
from django.db.models.deletion import Collector
from django.test import Client

from homerack.accounts.models import User
from homerack.history.change_sets import change_set
from homerack.history.entry_points import EntryPoint
from homerack.history.models import ChangeSet
from homerack.history.tracking import (
    BEGINNING,
    RowsGone,
    TrackedQuerySet,
    historical_models,
    tracked_models,
    write_rows,
)
from homerack.inventory.models import Brand, Device, Rack, RackPosition
from tests.inventory.factories import make_device, make_model, make_rack, place

pytestmark = pytest.mark.django_db


def history_of(row: models.Model, key: int | None = None) -> list[tuple[str, Any]]:
    """Type and change set of each historical row, the oldest first."""
    rows = type(row).history.filter(id=key or row.pk).order_by("history_id")  # type: ignore[attr-defined]
    return [(each.history_type, each.change_set_id) for each in rows]


def forget(row: models.Model) -> None:
    """As for rows that were there before the history."""
    type(row).history.filter(id=row.pk).delete()  # type: ignore[attr-defined]


def test_a_new_row_is_recorded() -> None:
    rack = make_rack("A")
    only = Rack.history.get(id=rack.pk)
    assert (only.name, only.history_type, only.change_set.entry_point) == ("A", "+", EntryPoint.SCRIPT)


def test_the_first_change_of_a_row_without_history_records_what_it_was_before() -> None:
    rack = make_rack("A")
    forget(rack)
    rack.name = "B"
    rack.save()
    baseline, change = Rack.history.filter(id=rack.pk).order_by("history_id")
    assert (baseline.name, baseline.history_date, baseline.is_baseline) == ("A", BEGINNING, True)
    assert (change.name, change.history_type, change.is_baseline) == ("B", "~", False)


def test_a_save_that_changes_nothing_records_nothing() -> None:
    rack = make_rack("A")
    rack.save()
    assert [kind for kind, _ in history_of(rack)] == ["+"]


def test_update_fields_record_what_is_stored() -> None:
    rack = make_rack("A", location="Cellar")
    rack.name, rack.location = "B", "not saved"
    rack.save(update_fields=["name"])
    assert Rack.history.filter(id=rack.pk).values_list("name", "location").first() == ("B", "Cellar")


def test_an_expression_is_recorded_with_its_value() -> None:
    user = User.objects.create_user("a@example.com")
    User.objects.filter(pk=user.pk).update(full_name=F("email"))
    assert User.history.filter(id=user.pk)[0].full_name == "a@example.com"


def test_update_records_each_row_that_changes() -> None:
    one, other = make_rack("A", location="Cellar"), make_rack("B", location="Attic")
    assert Rack.objects.filter(pk__in=[one.pk, other.pk]).update(location="Attic") == 2
    assert [kind for kind, _ in history_of(one)] == ["+", "~"]
    assert [kind for kind, _ in history_of(other)] == ["+"]


def test_bulk_update_is_one_change_set() -> None:
    racks = [make_rack("A"), make_rack("B")]
    for rack in racks:
        rack.location = "Attic"
    Rack.objects.bulk_update(racks, ["location"])
    assert history_of(racks[0])[-1] == history_of(racks[1])[-1]


def test_what_a_deletion_deletes_elsewhere_is_recorded_in_its_change_set() -> None:
    device, rack = make_device(), make_rack()
    position = place(device, rack)
    key, of_position = rack.pk, position.pk
    forget(position)
    rack.delete()
    assert history_of(rack, key)[-1] == history_of(position, of_position)[-1]
    assert [kind for kind, _ in history_of(position, of_position)] == ["~", "-"]


def test_the_values_of_a_deleted_row_are_those_that_were_stored() -> None:
    rack = make_rack("A")
    key = rack.pk
    rack.name = "not saved"
    rack.delete()
    assert Rack.history.filter(id=key)[0].name == "A"


def test_what_a_deletion_sets_to_null_is_recorded() -> None:
    rack = make_rack("A", location="Cellar")
    collector = Collector(using="default")
    field: Any = Rack._meta.get_field("location")
    collector.add_field_update(field, None, Rack._base_manager.filter(pk=rack.pk))
    collector.delete()
    assert Rack.history.filter(id=rack.pk)[0].location is None


def test_the_base_manager_of_each_tracked_model_records() -> None:
    assert [model for model in tracked_models() if not isinstance(model._base_manager.all(), TrackedQuerySet)] == []


def test_write_rows_records_new_and_changed_rows() -> None:
    old = make_rack("A", location="Cellar")
    forget(old)
    old.name, old.location = "B", "not written"
    with change_set(EntryPoint.IMPORT, description="racks.csv"):
        write_rows(Rack, new=(Rack(name=name) for name in "CD"), changed=[old], fields=["name"])
    assert list(Rack.objects.order_by("name").values_list("name", "location")) == [
        ("B", "Cellar"),
        ("C", None),
        ("D", None),
    ]
    assert [kind for kind, _ in history_of(old)] == ["~", "~"]
    assert ChangeSet.objects.get(entry_point=EntryPoint.IMPORT).description == "racks.csv"


def test_write_rows_refuses_rows_that_are_gone() -> None:
    rack = make_rack("A")
    Rack.objects.filter(pk=rack.pk).delete()
    with pytest.raises(RowsGone):
        write_rows(Rack, changed=[rack], fields=["name"])


def test_write_rows_writes_the_times_of_changes() -> None:
    brand = make_model().brand
    before = brand.updated_at
    brand.website = "https://acme.example"
    write_rows(Brand, changed=[brand], fields=["website"])
    assert Brand.objects.get(pk=brand.pk).updated_at > before


def test_password_and_last_login_are_not_recorded() -> None:
    user = User.objects.create_user("a@example.com", "secret")
    user.set_password("other")
    user.save()
    User.objects.filter(pk=user.pk).update(last_login=user.created_at)
    assert [kind for kind, _ in history_of(user)] == ["+"]
    names = {field.name for field in User.history.model._meta.fields}
    assert not names & {"password", "last_login"}


def test_groups_of_a_user_are_recorded() -> None:
    user, group = User.objects.create_user("a@example.com"), Group.objects.create(name="Lab")
    user.groups.add(group)
    group.user_set.clear()
    group.user_set.add(user)
    group.delete()
    found = User.history.filter(id=user.pk).order_by("history_id").values_list("group_names", flat=True)
    assert list(found) == [[], ["Lab"], [], ["Lab"], []]


def test_one_change_set_for_all_changes_within() -> None:
    with change_set(EntryPoint.COMMAND, description="outer"):
        with change_set(EntryPoint.DEMO, description="inner"):
            one = make_rack("A")
        other = make_rack("B")
    assert history_of(one)[0][1] == history_of(other)[0][1]
    made = ChangeSet.objects.get(pk=history_of(one)[0][1])
    assert (made.entry_point, made.description) == (EntryPoint.DEMO, "inner")


def test_a_change_set_without_changes_leaves_no_row() -> None:
    with change_set(EntryPoint.COMMAND):
        pass
    assert not ChangeSet.objects.exists()


def test_a_change_after_a_rollback_gets_a_change_set() -> None:
    with change_set(EntryPoint.COMMAND):
        with transaction.atomic():
            make_rack("A")
            transaction.set_rollback(True)
        rack = make_rack("B")
    assert ChangeSet.objects.get().pk == history_of(rack)[0][1]


def test_a_user_who_deletes_themselves_is_named() -> None:
    user = User.objects.create_user("a@example.com")
    key = user.pk
    with change_set(EntryPoint.FORM, user=user):
        user.delete()
    made = User.history.filter(id=key)[0].change_set
    assert (made.user, made.user_name) == (None, "a@example.com")


def test_a_request_is_one_change_set_of_its_user(admin_client: Client) -> None:
    admin_client.post(
        "/admin/inventory/rack/add/",
        {"name": "A", "total_height_u": 42, "positions-TOTAL_FORMS": 0, "positions-INITIAL_FORMS": 0},
    )
    made = Rack.history.get(name="A").change_set
    assert (made.entry_point, made.user.email, made.description) == (
        EntryPoint.FORM,
        "admin@example.com",
        "/admin/inventory/rack/add/",
    )


def test_an_action_is_recorded_as_one(admin_client: Client) -> None:
    device = make_device()
    key = device.pk
    values = {"action": "delete_selected", "_selected_action": key, "post": "yes"}
    admin_client.post("/admin/inventory/device/", values)
    assert Device.history.filter(id=key)[0].change_set.entry_point == EntryPoint.ACTION


def test_historical_models_have_no_permissions() -> None:
    assert {model._meta.default_permissions for model in historical_models()} == {()}


def test_one_save_takes_few_queries(django_assert_num_queries: Any) -> None:
    rack = make_rack("A")
    rack.name = "B"
    rack.validated_by_formset = True
    with change_set(EntryPoint.COMMAND), django_assert_num_queries(8):
        # A savepoint and its release, two locks, the update; the change set, whether there is a history, its row.
        rack.save()


def test_positions_are_recorded_with_their_rack() -> None:
    position = place(make_device(), make_rack())
    assert RackPosition.history.get(id=position.pk).rack_id == position.rack_id
