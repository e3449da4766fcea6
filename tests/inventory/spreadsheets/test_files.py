"""Files as spreadsheet programs write them: encodings, separators, decimal commas, headers, and damage."""

import datetime as dt
import io
import zipfile
from typing import Any

import pytest
from openpyxl import Workbook

from homerack.inventory.models import DeviceModel, Rack
from homerack.inventory.spreadsheets import files
from homerack.inventory.spreadsheets.exporting import CannotExport, write_xlsx
from homerack.inventory.spreadsheets.files import SpreadsheetFile
from homerack.inventory.spreadsheets.importing import plan_import
from homerack.inventory.spreadsheets.tables import TABLES
from tests.inventory.factories import make_model, make_rack
from tests.inventory.spreadsheets.support import carry_out, changes, csv_file, refusals

pytestmark = pytest.mark.django_db


def workbook(*rows: list[Any], sheet: str = "racks") -> SpreadsheetFile:
    book = Workbook()
    book.active.title = sheet
    for row in rows:
        book.active.append(row)
    content = io.BytesIO()
    book.save(content)
    return SpreadsheetFile(name="lab.xlsx", content=content)


@pytest.mark.parametrize(
    ("encoding", "separator", "facts"),
    [
        ("utf-8-sig", ",", "UTF-8, separated by commas"),
        ("utf-8", "\t", "UTF-8, separated by tabs"),
        ("utf-16", "\t", "UTF-16, separated by tabs, decimal commas"),
        ("utf-16-le", ";", "UTF-16, separated by semicolons, decimal commas"),
        ("cp1252", ";", "Windows-1252, separated by semicolons, decimal commas"),
    ],
)
def test_encoding_separator_and_decimal_commas_are_recognised_and_named(
    encoding: str, separator: str, facts: str
) -> None:
    number = "2,5" if "decimal" in facts else "2.5"
    rows = [["Location", "NAME", "maximum load (kg)"], ["Küche – 5 €", "Gerät", number]]
    plan = carry_out(csv_file("racks.csv", *(separator.join(row) for row in rows), encoding=encoding))
    assert plan.sources == (f"racks.csv: racks, 1 row ({facts})",)
    rack = Rack.objects.get()
    assert (rack.name, rack.location, rack.max_weight_kg) == ("Gerät", "Küche – 5 €", 2.5)


def test_a_point_in_a_file_with_decimal_commas_is_refused() -> None:
    file = csv_file("racks.csv", "name;maximum load (kg)", "A;2,5", "B;1.500")
    assert refusals(file) == ["racks.csv, line 3, maximum load (kg): “1.500” value must be a float."]


def test_a_declared_separator_and_lines_of_other_systems() -> None:
    carry_out(csv_file("racks.csv", "sep=|", "name|location", "A|x,y;z", newline="\n"))
    assert Rack.objects.get().location == "x,y;z"


@pytest.mark.parametrize(
    ("name", "lines", "fault"),
    [
        ("racks.csv", ["name,colour"], "racks.csv, line 1: Unknown column: “colour”. The columns of racks are: name,"),
        ("racks.csv", ["location"], "racks.csv, line 1: Missing column: name."),
        ("racks.csv", ["name,Name"], "racks.csv, line 1: There are two columns “name”."),
        ("racks.csv", ["name,location", "A"], "racks.csv, line 2: The row has 1 cell, and the header has 2."),
        ("racks.csv", ["name,location", "A,b,c"], "racks.csv, line 2: The row has 3 cells, and the header has 2."),
        (
            "racks.csv",
            ["name,location", 'A,"b"c'],
            "racks.csv, line 2: This is no row of CSV: ',' expected after '\"'.",
        ),
        ("devices.csv", ["name,lowest unit,rack number"], "devices.csv, line 1: Missing column: rack."),
        ("devices.csv", ["name,model"], "devices.csv, line 1: Missing column: brand."),
        ("things.csv", ["name"], "things.csv: Neither its name nor its header says which table this is."),
        ("racks.csv", ["", ""], "racks.csv: The file is empty."),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(name: str, lines: list[str], fault: str) -> None:
    (found,) = refusals(csv_file(name, *lines))
    assert found.startswith(fault)


def test_bytes_of_no_encoding_and_other_kinds_of_files_are_refused() -> None:
    for content, reason in (
        (b"name\r\n\x81\x8d", "neither UTF-8, UTF-16 nor Windows-1252"),
        (b"\xd0\xcf\x11\xe0rest", "file of an old Excel"),
        (b"PK\x03\x04rest", "no XLSX file"),
    ):
        (found,) = refusals(SpreadsheetFile(name="racks.csv", content=io.BytesIO(content)))
        assert reason in found


def test_files_that_are_too_large_are_refused_before_they_are_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"0" * 2000)
    monkeypatch.setattr(files, "MAX_UNPACKED", 1000)
    (found,) = refusals(SpreadsheetFile(name="a.xlsx", content=bomb))
    assert found == "a.xlsx: The file unpacks to 2,000 bytes, which is too much. Save it as CSV."
    monkeypatch.setattr(files, "MAX_BYTES", 3)
    (found,) = refusals(csv_file("racks.csv", "name"))
    assert "at most 3 are read" in found


def test_a_table_is_found_by_the_header_or_a_longer_name() -> None:
    plan = plan_import([csv_file("mine.csv", "name,total_height_u"), csv_file("Racks 2026.csv", "name")])
    assert [source.partition(",")[0] for source in plan.sources] == ["mine.csv: racks", "Racks 2026.csv: racks"]


def test_cells_of_xlsx_have_types_and_formulas_are_refused() -> None:
    make_model(name="7")
    file = workbook(
        ["brand", "name", "released", "weight (kg)", "part number"],
        ["Acme", 7, dt.date(2024, 2, 3), 2, 1.0],
        sheet="models",
    )
    assert changes(carry_out(file)) == ["Acme 7: part number – → 1, weight (kg) – → 2.0, released – → 2024-02-03"]
    assert DeviceModel.objects.get().release_date == dt.date(2024, 2, 3)
    assert refusals(workbook(["name", "location"], ["A", "=1+1"], [], ["B", "x", "y"])) == [
        "lab.xlsx, sheet racks, line 2, location: The cell holds a formula. Paste its value instead.",
        "lab.xlsx, sheet racks, line 4: The row has 3 cells, and the header has 2.",
    ]


def test_a_text_that_xlsx_would_cut_off_is_refused() -> None:
    make_rack("Main", location="x" * 32_768)
    with pytest.raises(CannotExport, match="racks, “Main”, location: a cell of XLSX has at most 32,767 characters"):
        write_xlsx(io.BytesIO(), [TABLES["racks"]])
