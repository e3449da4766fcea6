"""An editor imports a spreadsheet with 20 mistakes, corrects them from the report alone, and exports the inventory."""

import csv
import io
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.page_checks import faults_of
from tests.browser.test_import_story import EDITOR

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.parametrize("site", ["sqlite", "postgresql"], indirect=True),
]

TIMEOUT = 60_000
"""Milliseconds."""
MISTAKES = 20
LARGE = 3_000
"""Rows, for the worker."""


def upload(page: Page, *paths: Path) -> None:
    page.get_by_label("CSV files, a zip archive of them, or an XLSX file").set_input_files(paths)
    page.get_by_role("button", name="Preview").click()


def write_racks(path: Path, heights: dict[int, str]) -> None:
    """Racks from line 2 on; `heights` are those of lines, the others are right."""
    rows = [f"Story rack {line:02};{heights.get(line, '42')}" for line in range(2, 32)]
    path.write_text("\n".join(["name;height (U)", *rows]), encoding="utf-8")


def correct(report: Path) -> set[int]:
    """The lines that the report names, by what it says of them alone."""
    _, *lines = csv.reader(io.StringIO(report.read_text(encoding="utf-8-sig"), newline=""))
    assert {(file, column) for file, _, column, _ in lines} == {("racks.csv", "height (U)")}
    return {int(line) for _, line, _, _ in lines}


def test_an_editor_imports_what_was_corrected(site: Site, tmp_path: Path) -> None:
    site.shell(EDITOR)
    racks, report = tmp_path / "racks.csv", tmp_path / "problems.csv"
    wrong = {line: "tall" if line % 2 else "-3" for line in range(5, 5 + MISTAKES)}
    write_racks(racks, wrong)
    with site.page(allowed=["status of 422", "status 422"]) as page:
        site.sign_in(page, "edda@example.com", "/admin/inventory/rack/")
        assert faults_of(page) == []
        page.get_by_role("link", name="Import spreadsheets…").click()
        page.get_by_role("button", name="Preview").click()
        expect(page.get_by_role("alert")).to_contain_text("Choose a file.", timeout=TIMEOUT)
        assert faults_of(page) == []

        upload(page, racks)
        expect(page.get_by_text(f"{MISTAKES} problems.")).to_be_visible(timeout=TIMEOUT)
        expect(page.get_by_text("racks.csv: racks, 30 rows (UTF-8, separated by semicolons)")).to_be_visible()
        expect(page.get_by_role("region", name="Problems").get_by_role("row")).to_have_count(MISTAKES + 1)
        assert faults_of(page) == []
        with page.expect_download() as download:
            page.get_by_role("link", name="Download all problems as CSV").click()
        download.value.save_as(report)
        for line in correct(report):
            del wrong[line]
        write_racks(racks, wrong)

        page.get_by_role("link", name="Choose the corrected files").click()
        upload(page, racks)
        expect(page.get_by_text("30 new racks will be imported.")).to_be_visible(timeout=TIMEOUT)
        assert faults_of(page) == []
        page.get_by_role("button", name="Import", exact=True).click()
        expect(page.get_by_text("Imported 30 new racks.")).to_be_visible(timeout=TIMEOUT)
        assert faults_of(page) == []

        page.goto("/admin/inventory/rack/?q=rack+3")
        with page.expect_download() as download:
            page.get_by_role("link", name="Export CSV").click()
        download.value.save_as(report)
        exported = list(csv.reader(io.StringIO(report.read_text(encoding="utf-8-sig"), newline="")))[1:]
        assert [row[0] for row in exported] == [f"Story rack {number}" for number in ("03", "13", "23", "30", "31")]
        page.goto("/admin/spreadsheets/")
        with page.expect_download() as download:
            page.get_by_role("link", name="Export everything as CSV (zip)").click()
        download.value.save_as(report)
        with zipfile.ZipFile(report) as archive:
            assert "users.csv" not in archive.namelist()
            assert "Story rack 02" in archive.read("racks.csv").decode()


def test_a_worker_imports_a_large_file(site: Site, tmp_path: Path) -> None:
    brands = tmp_path / "brands.csv"
    brands.write_text("\n".join(["name", *(f"Brand of many {number:05}" for number in range(LARGE))]))
    with site.page() as page:
        site.sign_in(page, "ada@example.com", "/admin/spreadsheets/")
        upload(page, brands)
        # The page follows the worker without being loaded again.
        expect(page.get_by_text(f"{LARGE} new brands will be imported.")).to_be_visible(timeout=TIMEOUT)
        page.get_by_role("button", name="Import", exact=True).click()
        expect(page.get_by_text(f"Imported {LARGE} new brands.")).to_be_visible(timeout=TIMEOUT)
        assert faults_of(page) == []
