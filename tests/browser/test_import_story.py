"""An editor finds the import of device types, uploads files, one of them with a fault, and imports the others."""

import secrets
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PASSWORD, Site
from tests.browser.page_checks import faults_of
from tests.inventory.imports.support import PDU, SWITCH, device_type, make_archive

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("site", ["sqlite"], indirect=True)]

EDITOR = f"""
from django.contrib.auth.models import Group
from homerack.accounts.models import User
User.objects.create_user("edda@example.com", "{PASSWORD}", is_staff=True).groups.add(Group.objects.get(name="Editors"))
"""
TIMEOUT = 30_000
"""Milliseconds."""


def upload(page: Page, path: Path) -> None:
    page.get_by_label("A zip archive, or YAML files").set_input_files(path)
    page.get_by_role("button", name="Preview").click()


@pytest.mark.slow
def test_an_editor_imports_device_types(site: Site, tmp_path: Path) -> None:
    site.shell(EDITOR)
    archive, changed = tmp_path / "types.zip", tmp_path / "ax-24.yaml"
    # With the picture, it is larger than a form without files may be.
    picture = ("Acme/ax-24.front.png", secrets.token_bytes(1_500_000))
    files = [("Acme/ax-24.yaml", SWITCH), ("strip.yml", PDU), ("bad.yaml", device_type(u_height="two")), picture]
    archive.write_bytes(make_archive(files))
    changed.write_text(SWITCH.replace("u_height: 1", "u_height: 2"))
    with site.page(allowed=["status of 422", "status 422"]) as page:
        site.sign_in(page, "edda@example.com", "/admin/inventory/devicemodel/")
        page.get_by_role("link", name="Import device types…").click()
        page.get_by_role("button", name="Preview").click()
        expect(page.get_by_role("alert")).to_contain_text("Choose a file, or paste a text.", timeout=TIMEOUT)
        expect(page.get_by_label("A zip archive, or YAML files")).to_be_focused()
        assert faults_of(page) == []

        upload(page, archive)
        expect(page.get_by_text("2 new models will be added.")).to_be_visible(timeout=TIMEOUT)
        expect(page.get_by_role("region", name="Faults").get_by_role("listitem")).to_have_text(
            ["bad.yaml, line 3, u_height: “two” is not a number."]
        )
        expect(page.get_by_role("row", name="AX-24")).to_contain_text("Switch")
        assert faults_of(page) == []
        page.get_by_role("button", name="Import 2 models").click()
        message = page.get_by_text("Imported 1 new device type, 2 new brands and 2 new models.")
        expect(message.or_(page.get_by_text("Imported 2 new brands and 2 new models."))).to_be_visible(timeout=TIMEOUT)

        page.get_by_role("link", name="Import device types…").click()
        upload(page, changed)
        row = page.get_by_role("region", name="Other values").get_by_role("row", name="Acme Networks AX-24")
        expect(row.get_by_role("cell")).to_have_text(["height (U)", "1", "2"], timeout=TIMEOUT)
        assert faults_of(page) == []
        page.get_by_label("Replace the values of the catalogue by those of the files.").check()
        page.get_by_role("button", name="Import", exact=True).click()
        expect(page.get_by_text("Imported 1 changed model.")).to_be_visible(timeout=TIMEOUT)
