"""A suspicious backup in a real browser: on the dashboard, in the list, on its page, and the decision."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.test_admin import AXE, LIST, serious

pytestmark = [pytest.mark.browser, pytest.mark.slow]

BACK_UP = "from django.core.management import call_command as call; call('backup_database')"
LOSE = "from django.db import connection; connection.cursor().execute('DELETE FROM connections')"


LOOKS = [(1440, "dark"), (1024, "light"), (390, "light")]
"""Widths of the window and colour schemes."""


def lose_cables(site: Site) -> None:
    """A full backup, and one in which the cables are missing."""
    site.shell(BACK_UP)
    site.shell(LOSE)
    site.shell(BACK_UP)


def check_looks(page: Page, name: str) -> None:
    page.evaluate(AXE.read_text())
    for width, scheme in LOOKS:
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate("dark => document.documentElement.classList.toggle('dark', dark)", scheme == "dark")
        page.wait_for_timeout(300)
        assert serious(page) == [], (name, width, scheme)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, (name, width, scheme)
    page.set_viewport_size({"width": 1440, "height": 900})


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_loss_is_shown_decided_and_recorded(site: Site) -> None:
    lose_cables(site)
    with site.page() as page:
        site.sign_in(page)
        page.goto("/admin/")
        banner = page.get_by_label("Suspicious backup")
        expect(banner).to_contain_text("The table connections has no rows: ")
        check_looks(page, "dashboard")
        banner.get_by_role("link", name="Show the backup").click()
        expect(page.get_by_text("This backup is suspicious.")).to_be_visible()
        check_looks(page, "backup")
        page.get_by_role("link", name="Restore the last good backup…").click()
        expect(page.get_by_role("heading", name="Restore", exact=True).first).to_be_visible()
        page.go_back()
        page.get_by_label("Suspicious backup").get_by_role("link", name="Decide…").click()
        check_looks(page, "decide")
        page.get_by_role("button", name="This is right").click()
        expect(page.get_by_text(re.compile("ada@example.com decided on .* that it is right."))).to_be_visible()
        expect(page.get_by_role("link", name="Change the decision…")).to_be_visible()
        page.goto("/admin/")
        expect(page.get_by_label("Suspicious backup")).to_have_count(0)
        page.goto(f"{LIST}?state=suspicious")
        expect(page.locator("#result_list tbody tr")).to_have_count(0)
        page.goto("/admin/ops/run/")
        expect(page.get_by_role("link", name="Decision on a suspicious backup").first).to_be_visible()
