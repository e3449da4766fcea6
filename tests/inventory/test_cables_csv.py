"""The export of cables."""

import csv
import io

import pytest
from django.http import StreamingHttpResponse
from django.test import Client
from django.utils import timezone

from homerack.inventory.cables_csv import escape_formula
from homerack.inventory.models import Cable
from tests.inventory.factories import connect, make_device

pytestmark = pytest.mark.django_db
HEADER = ["From device", "From port", "To device", "To port", "Type", "Length (m)", "Routing"]


def export(client: Client) -> StreamingHttpResponse:
    data = {"action": "export_as_csv", "_selected_action": list(Cable.objects.values_list("pk", flat=True))}
    response = client.post("/admin/inventory/cable/", data)
    assert isinstance(response, StreamingHttpResponse)
    return response


def test_viewers_get_the_selected_cables(viewer_client: Client) -> None:
    one, two = make_device("nas, left"), make_device('switch "top"')
    connect(one, two, from_port="eth0", to_port="1", calculated_length_m=2.5, cable_type="Fiber-SM")
    connect(two, one)
    response = export(viewer_client)
    text = response.getvalue().decode("utf-8")
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"] == f'attachment; filename="cables-{timezone.localdate():%Y-%m-%d}.csv"'
    assert not text.startswith("\ufeff")
    assert list(csv.reader(io.StringIO(text, newline=""))) == [
        HEADER,
        ["nas, left", "eth0", 'switch "top"', "1", "Fiber, single-mode", "2.5", "direct"],
        ['switch "top"', "", "nas, left", "", "Cat6", "", "direct"],
    ]


def test_export_without_permission_is_refused(client: Client, stranger_client: Client) -> None:
    assert stranger_client.post("/admin/inventory/cable/", {"action": "export_as_csv"}).status_code == 403
    assert client.post("/admin/inventory/cable/", {"action": "export_as_csv"}).status_code == 302


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        (" =1", "' =1"),
        ("Gi0/1", "Gi0/1"),
        ("", ""),
        (None, ""),
    ],
)
def test_cells_are_never_formulas(text: str | None, cell: str) -> None:
    assert escape_formula(text) == cell
