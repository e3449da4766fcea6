"""What lists export, and the export of everything."""

import csv
import io
import re
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.http import StreamingHttpResponse
from django.test import Client
from django.utils import timezone
from openpyxl import load_workbook

from homerack.accounts.models import User
from homerack.inventory.models import Device, Rack
from tests.inventory.factories import connect, make_device, make_rack

pytestmark = pytest.mark.django_db

RACKS = "/admin/spreadsheets/export/racks/"


def content(response: Any) -> bytes:
    assert response.status_code == 200
    return b"".join(response.streaming_content)


def rows_of(text: bytes) -> list[list[str]]:
    """Without the header."""
    return list(csv.reader(io.StringIO(text.decode("utf-8-sig"), newline="")))[1:]


def names(text: bytes) -> list[str]:
    return [row[0] for row in rows_of(text)]


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_a_list_exports_all_of_its_pages(viewer_client: Client, kind: str) -> None:
    Rack.objects.bulk_create(Rack(name=f"Rack {number:02}") for number in range(60))
    response = viewer_client.get(f"{RACKS}{kind}/?p=2&o=-1")
    today = timezone.localdate()
    assert response["Content-Disposition"] == f'attachment; filename="racks-{today:%Y-%m-%d}.{kind}"'
    found = content(response)
    if kind == "csv":
        assert isinstance(response, StreamingHttpResponse)
        assert response["Content-Type"] == "text/csv; charset=utf-8"
        exported = names(found)
    else:
        (sheet,) = load_workbook(io.BytesIO(found)).worksheets
        exported = [row[0] for row in sheet.iter_rows(min_row=2, values_only=True)]
    assert exported == [f"Rack {number:02}" for number in range(60)]


def test_search_and_filters_choose_the_rows(viewer_client: Client) -> None:
    make_device("core switch")
    make_device("edge switch")
    server = make_device("server")
    Device.objects.filter(pk=server.pk).update(access_frequency="High")
    page = "/admin/spreadsheets/export/devices/csv/"
    assert names(content(viewer_client.get(f"{page}?q=switch"))) == ["core switch", "edge switch"]
    assert names(content(viewer_client.get(f"{page}?access_frequency__exact=High"))) == ["server"]
    assert names(content(viewer_client.get(f"{page}?q=nothing"))) == []


def test_a_wrong_filter_leads_to_the_list(viewer_client: Client) -> None:
    response = viewer_client.get(f"{RACKS}csv/?no_such_field=1")
    assert (response.status_code, response["Location"]) == (302, "/admin/inventory/rack/?e=1")


def test_the_links_of_a_list_keep_its_query(editor_client: Client) -> None:
    make_rack("A & B")
    page = editor_client.get("/admin/inventory/rack/?q=A+%26").content.decode()
    links = re.findall(r'<a class="frame-button is-plain" href="([^"]+)"', page)
    assert links == [f"{RACKS}csv/?q=A+%26", f"{RACKS}xlsx/?q=A+%26", "/admin/spreadsheets/"]


def test_links_are_those_that_the_user_may_follow(viewer_client: Client, admin_client: Client) -> None:
    assert "Export CSV" not in viewer_client.get("/admin/inventory/rack/").content.decode()
    make_rack()
    page = viewer_client.get("/admin/inventory/rack/").content.decode()
    assert "Export CSV" in page
    assert "Import spreadsheets…" not in page
    for path, word in (("accounts/user", "Export XLSX"), ("inventory/devicemodel", "Import device types…")):
        assert word in admin_client.get(f"/admin/{path}/").content.decode()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("racks/csv/", 200),
        ("users/csv/", 403),
        ("users/xlsx/", 403),
        ("racks/pdf/", 404),
        ("nothing/csv/", 404),
        ("pdf/", 404),
    ],
)
def test_only_what_viewers_may_view(viewer_client: Client, path: str, status: int) -> None:
    assert viewer_client.get(f"/admin/spreadsheets/export/{path}").status_code == status


def test_others_export_nothing(stranger_client: Client, client: Client) -> None:
    for path in ("", "export/racks/csv/", "export/csv/", "export/xlsx/"):
        assert stranger_client.get(f"/admin/spreadsheets/{path}").status_code == 403
        assert client.get(f"/admin/spreadsheets/{path}").status_code == 302


def test_everything_is_what_the_user_may_view(viewer_client: Client, admin_client: Client) -> None:
    make_rack("Main")
    User.objects.create_user("ada@example.com", "a-secret-password")
    tables = ["types", "brands", "models", "racks", "devices", "cables"]
    with zipfile.ZipFile(io.BytesIO(content(viewer_client.get("/admin/spreadsheets/export/csv/")))) as archive:
        assert archive.namelist() == [f"{name}.csv" for name in tables]
        assert names(archive.read("racks.csv")) == ["Main"]
    with zipfile.ZipFile(io.BytesIO(content(admin_client.get("/admin/spreadsheets/export/csv/")))) as archive:
        users = archive.read("users.csv").decode()
    assert "ada@example.com" in users
    assert "password" not in users
    workbook = load_workbook(io.BytesIO(content(admin_client.get("/admin/spreadsheets/export/xlsx/"))))
    assert workbook.sheetnames == [*tables, "users"]


def test_what_xlsx_cannot_hold_is_said_on_the_list(viewer_client: Client) -> None:
    device = make_device("wordy")
    Device.objects.filter(pk=device.pk).update(notes="x" * 40_000)
    response = viewer_client.get("/admin/spreadsheets/export/devices/xlsx/?q=wordy")
    assert (response.status_code, response["Location"]) == (302, "/admin/inventory/device/?q=wordy")
    (message,) = get_messages(response.wsgi_request)
    assert "a cell of XLSX has at most 32,767 characters" in str(message)
    assert viewer_client.get("/admin/spreadsheets/export/xlsx/")["Location"] == "/admin/spreadsheets/"


def test_an_action_exports_the_selected_rows(viewer_client: Client) -> None:
    one, two = make_device("nas, left"), make_device("=switch")
    cable = connect(one, two, from_port="eth0", to_port="1", calculated_length_m=2.5, cable_type="Fiber-SM")
    connect(two, one)
    data = {"action": "export_as_csv", "_selected_action": [cable.pk]}
    (row,) = rows_of(content(viewer_client.post("/admin/inventory/cable/", data)))
    assert "nas, left" in row
    assert "'=switch" in row
    assert "Fiber, single-mode" in row


def test_an_action_without_permission_is_refused(stranger_client: Client) -> None:
    assert stranger_client.post("/admin/inventory/cable/", {"action": "export_as_csv"}).status_code == 403


def test_a_list_is_exported_with_few_queries(
    viewer_client: Client, django_assert_max_num_queries: Callable[[int], Any]
) -> None:
    for number in range(30):
        make_device(f"device {number}")
    with django_assert_max_num_queries(15):
        assert len(rows_of(content(viewer_client.get("/admin/spreadsheets/export/devices/csv/?q=device")))) == 30
