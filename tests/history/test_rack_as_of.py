"""A rack as it was at the end of a day."""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from homerack.history.models import ChangeSet
from homerack.history.tracking import BEGINNING, historical_models
from homerack.inventory.models import Brand, Device, DeviceModel, DeviceType, Rack
from homerack.inventory.rack_past import rack_before
from tests.inventory.factories import make_device, make_rack, place

pytestmark = pytest.mark.django_db


FIRST, SECOND, THIRD = (dt.date(2026, 3, day) for day in (1, 2, 3))


@contextmanager
def on(day: dt.date) -> Iterator[None]:
    """What changes within has changed at noon of `day`."""
    before = {model: set(model.objects.values_list("pk", flat=True)) for model in (*historical_models(), ChangeSet)}
    yield
    noon = dt.datetime.combine(day, dt.time(12), tzinfo=dt.UTC)
    for model, known in before.items():
        name = "time" if model is ChangeSet else "history_date"
        model.objects.exclude(pk__in=known).filter(**{f"{name}__gt": BEGINNING}).update(**{name: noon})


def page_of(client: Client, key: int, day: dt.date) -> Any:
    response = client.get(f"/admin/inventory/rack/{key}/as-of/?day={day}")
    assert response.status_code == 200
    return response


def devices(response: Any) -> list[str]:
    return [f"{position.device} at U{position.start_u}" for position in response.context["past"].positions]


@pytest.fixture
def attic() -> Rack:
    """A rack to which nas-01 came on the first day. On the third it was renamed, and left for another rack."""
    with on(FIRST):
        position = place(make_device("nas-01", height_u=2), make_rack("Attic"), 5)
    attic = position.rack
    with on(THIRD):
        position.rack, position.start_u = make_rack("Cellar"), 1
        position.save()
        position.device.custom_name = "nas-02"
        position.device.save()
    return attic


def test_it_shows_the_devices_and_the_names_of_that_day(attic: Rack, viewer_client: Client) -> None:
    page = page_of(viewer_client, attic.pk, SECOND)
    assert devices(page) == ["nas-01 at U5"]
    shown = page.content.decode()
    assert "Front of Attic, 42 units, 1 device. U5 to U6: nas-01" in shown
    assert "Attic at the end of 2026-03-02" in shown
    assert "This is the past" in shown
    assert devices(page_of(viewer_client, attic.pk, THIRD)) == []
    cellar = Rack.objects.get(name="Cellar")
    assert devices(page_of(viewer_client, cellar.pk, THIRD)) == ["nas-02 at U1"]


def test_sizes_are_those_of_that_day(attic: Rack, viewer_client: Client) -> None:
    with on(THIRD):
        attic.total_height_u = 12
        attic.save()
        model = DeviceModel.objects.get()
        model.height_u = 1
        model.save()
    past = page_of(viewer_client, attic.pk, SECOND).context["past"]
    assert past.rack.total_height_u == 42
    assert past.positions[0].device.model.height_u == 2
    assert page_of(viewer_client, attic.pk, THIRD).context["past"].rack.total_height_u == 12


def test_rack_that_was_not_there_yet(attic: Rack, viewer_client: Client) -> None:
    page = page_of(viewer_client, Rack.objects.get(name="Cellar").pk, SECOND)
    assert page.context["past"] is None
    assert "There was no such rack at the end of 2026-03-02" in page.content.decode()
    assert attic.pk


def test_deleted_rows_are_shown_without_links(attic: Rack, viewer_client: Client) -> None:
    address = f"/admin/inventory/device/{Device.objects.get().pk}/change/"
    assert address in page_of(viewer_client, attic.pk, SECOND).content.decode()
    key = attic.pk
    for model in (Rack, Device, DeviceModel, DeviceType, Brand):
        model.objects.all().delete()
    page = page_of(viewer_client, key, SECOND)
    assert devices(page) == ["nas-01 at U5"]
    assert address not in page.content.decode()
    assert "The rack was deleted since." in page.content.decode()
    assert page_of(viewer_client, key, timezone.localdate()).context["past"] is None


def test_before_the_history_begins_rows_are_as_before_their_first_change(viewer_client: Client) -> None:
    """As after an update of HomeRack: the rows are there, and nothing is recorded."""
    position = place(make_device("nas-01"), make_rack("Attic"), 5)
    attic = position.rack
    for model in historical_models():
        model.objects.all().delete()
    ChangeSet.objects.all().delete()
    assert devices(page_of(viewer_client, attic.pk, FIRST)) == ["nas-01 at U5"]
    with on(SECOND):
        position.start_u = 9
        position.save()
    page = page_of(viewer_client, attic.pk, FIRST)
    assert devices(page) == ["nas-01 at U5"]
    assert "HomeRack has recorded changes since 2026-03-02" in page.content.decode()
    assert devices(page_of(viewer_client, attic.pk, SECOND)) == ["nas-01 at U9"]


def test_day_ends_in_the_time_zone_of_the_site(attic: Rack, viewer_client: Client) -> None:
    """Noon in UTC of the third day is the fourth in Kiritimati."""
    with timezone.override("Pacific/Kiritimati"):
        assert devices(page_of(viewer_client, attic.pk, THIRD)) == ["nas-01 at U5"]


def test_queries_do_not_grow_with_devices(attic: Rack) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert rack_before(attic.pk, timezone.now()) is not None
        return len(captured)

    place(make_device("one"), attic, 1)
    few = queries()
    for unit in range(10, 15):
        place(make_device(), attic, unit)
    assert queries() == few


@pytest.mark.parametrize(
    ("day", "message"),
    [
        ("2999-01-01", "This day has not begun yet."),
        ("1969-12-31", "This day is too early."),
        ("2026-02-30", "Enter a day, such as 2026-11-30."),
        ("", "Choose a day."),
    ],
)
def test_wrong_day_is_explained(attic: Rack, viewer_client: Client, day: str, message: str) -> None:
    response = viewer_client.get(f"/admin/inventory/rack/{attic.pk}/as-of/?day={day}")
    assert response.status_code == 422
    assert message in response.content.decode()


def test_page_of_the_rack_leads_there(attic: Rack, viewer_client: Client) -> None:
    page = viewer_client.get(f"/admin/inventory/rack/{attic.pk}/change/").content.decode()
    assert f'action="/admin/inventory/rack/{attic.pk}/as-of/"' in page


def test_it_needs_the_permission_to_view_racks(attic: Rack, stranger_client: Client, viewer_client: Client) -> None:
    assert stranger_client.get(f"/admin/inventory/rack/{attic.pk}/as-of/?day=2026-03-02").status_code == 403
    assert viewer_client.get("/admin/inventory/rack/999999/as-of/?day=2026-03-02").status_code == 404
    assert viewer_client.post(f"/admin/inventory/rack/{attic.pk}/as-of/?day=2026-03-02").status_code == 405
