"""An editor renames a rack, finds this in the history by keyboard, looks at the rack of that day, and reverts it."""

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from tests.browser.conftest import PASSWORD, Site
from tests.browser.page_checks import faults_of

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("site", ["sqlite"], indirect=True)]

EDITOR = f"""
from django.contrib.auth.models import Group
from homerack.accounts.models import User
User.objects.create_user("edda@example.com", "{PASSWORD}", is_staff=True).groups.add(Group.objects.get(name="Editors"))
"""
TIMEOUT = 30_000
"""Milliseconds."""


def press_on(page: Page, name: str) -> None:
    """Follow a link of the page with the keyboard."""
    link = page.locator("#content").get_by_role("link", name=name, exact=True).first
    link.focus()
    page.keyboard.press("Enter")


@pytest.mark.slow
def test_an_editor_reverts_a_change(site: Site) -> None:
    site.shell(EDITOR)
    with site.page() as page:
        site.sign_in(page, "edda@example.com", "/admin/inventory/rack/")
        page.get_by_role("link", name="Main rack", exact=True).click()
        page.get_by_label("Name").first.fill("Cellar rack")
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_text("Cellar rack").first).to_be_visible(timeout=TIMEOUT)

        page.get_by_role("link", name="History", exact=True).click()
        expect(page.get_by_role("heading", name="Rack Cellar rack changed")).to_be_visible(timeout=TIMEOUT)
        assert faults_of(page) == []
        page.get_by_label("Kind").select_option("Racks")
        page.get_by_label("Person").fill("edda")
        page.keyboard.press("Enter")
        expect(page.get_by_role("link", name="Show all")).to_be_visible(timeout=TIMEOUT)
        expect(page.locator(".history-entry")).to_have_count(1)
        expect(page.locator(".history-cells")).to_contain_text("from Main rack → to Cellar rack")

        press_on(page, "History of Cellar rack")
        expect(page.get_by_text("What has changed of the rack Cellar rack")).to_be_visible(timeout=TIMEOUT)
        assert faults_of(page) == []
        press_on(page, "As of a day")
        page.get_by_label("As of").fill(timezone.localdate().isoformat())
        page.get_by_label("As of").press("Enter")
        expect(page.get_by_text("This is the past: nothing can be changed here.")).to_be_visible(timeout=TIMEOUT)
        assert faults_of(page) == []

        page.go_back()
        page.go_back()
        press_on(page, "Revert: rack Cellar rack changed")
        expect(page.get_by_role("heading", name="What will change")).to_be_visible(timeout=TIMEOUT)
        expect(page.locator(".history-cells")).to_contain_text("from Cellar rack → to Main rack")
        assert faults_of(page) == []
        button = page.get_by_role("button", name="Revert", exact=True)
        button.focus()
        page.keyboard.press("Enter")
        page.get_by_role("link", name="See the entry of the history").click(timeout=TIMEOUT)
        expect(page.get_by_text("It reverts")).to_be_visible(timeout=TIMEOUT)
        assert faults_of(page) == []
