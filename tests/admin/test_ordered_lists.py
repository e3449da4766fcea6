"""The order of lists on one database. tests/servers/test_order_of_lists.py compares databases."""

from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import connection, models
from django.test import RequestFactory

from homerack.accounts.models import User
from homerack.inventory.models import Device, Rack
from homerack.ordering import Alphabetical
from homerack.web import ordered_lists
from tests.inventory.factories import make_device, make_rack

pytestmark = pytest.mark.django_db

NAME, LOCATION = 1, 2
"""Columns of the list of racks."""


def rack_list(query: str = "") -> Any:
    request = RequestFactory().get(f"/?{query}")
    request.user = User(is_superuser=True, is_staff=True, is_active=True)
    return admin.site.get_model_admin(Rack).get_changelist_instance(request)


def names(query: str = "") -> list[str]:
    return [rack.name for rack in rack_list(query).result_list]


def make_racks(*found: str) -> None:
    for name in found:
        make_rack(name)


def test_list_is_in_the_order_of_the_alphabet() -> None:
    make_racks("Zebra", "zoo", "apple", "Äther", "Rack 2", "rack 1", "Apple")
    assert names() == ["apple", "Apple", "rack 1", "Rack 2", "Zebra", "zoo", "Äther"]
    assert names(f"o=-{NAME}") == ["Äther", "zoo", "Zebra", "Rack 2", "rack 1", "apple", "Apple"]


def test_rows_without_value_are_last_in_either_direction() -> None:
    for name, location in {"none": None, "empty": "", "attic": "attic", "cellar": "Cellar"}.items():
        make_rack(name, location=location)
    assert names(f"o={LOCATION}") == ["empty", "attic", "cellar", "none"]
    assert names(f"o=-{LOCATION}") == ["cellar", "attic", "empty", "none"]


def test_default_order_is_marked_at_its_column() -> None:
    assert rack_list().get_ordering_field_columns() == {NAME: "asc"}
    assert rack_list(f"o=-{LOCATION}").get_ordering_field_columns() == {LOCATION: "desc"}


@pytest.mark.parametrize("query", ["", f"o={NAME}", f"o=-{NAME}", f"o=-{LOCATION}"])
def test_each_row_is_on_one_page(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_racks(*["same"] * 5, *["Same"] * 5)
    monkeypatch.setattr(type(admin.site.get_model_admin(Rack)), "list_per_page", 3)
    shown = [rack.pk for page in (1, 2, 3, 4) for rack in rack_list(f"{query}&p={page}").result_list]
    assert sorted(shown) == list(Rack.objects.order_by("pk").values_list("pk", flat=True))


def test_values_of_a_filter_are_in_the_order_of_the_alphabet() -> None:
    for location in ("Zoo", "attic", None, "Attic", "cellar"):
        make_rack(location=location)
    (shown,) = (found for found in rack_list().filter_specs if found.title == "location")
    assert list(shown.lookup_choices) == ["Attic", "attic", "cellar", "Zoo", None]


def test_order_of_a_foreign_key_names_the_collation_and_the_place_of_nulls() -> None:
    ordering = ordered_lists.in_order(Device.objects.all(), ["-model"])
    assert ordering == [
        Alphabetical("model__brand__name").desc(),
        Alphabetical("model__name").desc(),
        Alphabetical("model__variant").desc(nulls_last=True),
        models.F("model__pk").desc(),
        "pk",
    ]


def test_other_terms_stay_as_they_are() -> None:
    expression = models.functions.Length("name")
    assert ordered_lists.in_order(Rack.objects.all(), [expression, "?", "no_such_field"]) == [
        expression, "?", "no_such_field", "pk",
    ]  # fmt: skip


def test_every_default_order_names_the_collation() -> None:
    """Of lists that are not in the admin, too."""
    unnamed = []
    for model in apps.get_models():
        if model.__module__.startswith("homerack."):
            for term in model._meta.ordering:
                name, _ = ordered_lists.parse(term) or ("", False)
                field, _ = ordered_lists.find(models.QuerySet(model), name)
                expression = term.expression if isinstance(term, models.OrderBy) else term
                if field is not None and ordered_lists.is_text(field) and not isinstance(expression, Alphabetical):
                    unnamed.append(f"{model._meta.label}: {name}")
    assert unnamed == []


def test_list_of_devices_is_read_from_an_index() -> None:
    make_device()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_sort = off; SET LOCAL enable_seqscan = off")
    assert "devices_in_order" in Device.objects.values("pk")[:50].explain()


def test_rows_that_are_counted_are_grouped_by_columns_only() -> None:
    """PostgreSQL groups racks by their primary key then, and not by a text as well."""
    query = str(rack_list().queryset.query)
    grouped, ordered = query.partition(" GROUP BY ")[2].split(" ORDER BY ")
    assert "LOWER" not in grouped
    assert "LOWER" in ordered
