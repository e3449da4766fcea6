"""The pages of backups in a real browser: buttons that copy commands."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site

pytestmark = pytest.mark.browser
KEEP = "Object.defineProperty(navigator, 'clipboard', {value: {writeText: async text => { window.copied = text }}})"
REFUSE = """
Object.defineProperty(navigator, 'clipboard', {value: undefined});
document.execCommand = () => { window.copied = document.activeElement.value; return true }
"""
"""A page without TLS has no clipboard; the browser's own command takes the selected text."""


def open_commands(site: Site, page: Page) -> None:
    site.sign_in(page)
    page.goto("/admin/ops/backup/migrate-to-postgresql/")


@pytest.mark.parametrize("clipboard", [KEEP, REFUSE], ids=["TLS", "plain"])
@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_button_copies_the_command_with_the_keyboard(site: Site, clipboard: str) -> None:
    with site.page() as page:
        page.add_init_script(clipboard)
        open_commands(site, page)
        button = page.get_by_role("button", name="Copy manage.py migrate_to_postgres")
        button.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("status").filter(has_text="Copied")).to_have_count(1)
        expect(button).to_have_text("Copied")
        expect(button).to_be_focused()
        expect(button).to_have_text("Copy")
        command = page.evaluate("window.copied")
    assert command.startswith("manage.py migrate_to_postgres --sqlite-path /")
