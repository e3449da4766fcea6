"""The pages of backups in a real browser: buttons that copy commands, widths, and the keyboard."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.test_admin import AXE, LIST, serious
from tests.support.slow import slow_except

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


@pytest.mark.slow
@pytest.mark.parametrize("clipboard", slow_except({"TLS": KEEP, "plain": REFUSE}, "plain"))
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


# --- The list and the page of a backup at all widths -----------------------------------------------------------------
LOOKS = [(1440, "light"), (1024, "light"), (1024, "dark"), (390, "light"), (390, "dark")]
MAKE = """
from django.core.management import call_command as call
from ops.models import Backup
note = "before the move of all racks to the other room, with a cable that nobody knows: " * 3
for number in range(2):
    call("backup_database", "--note", note)
call("verify_backup", Backup.objects.first().name)
print(Backup.objects.first().pk)
"""
CUT = """() => [...document.querySelectorAll(".ops-icon-button, .ops-button, .ops-name, .ops-table, .ops-copy-command")]
    .filter(element => {
        const box = element.getBoundingClientRect();
        if (!box.width || element.closest(".ops-scroll")) return false;
        for (let parent = element.parentElement; parent; parent = parent.parentElement)
            if (getComputedStyle(parent).overflowX !== "visible"
                && box.right > parent.getBoundingClientRect().right + 1) return true;
        return box.right > innerWidth + 1 || box.left < 0;
    }).map(element => element.outerHTML.slice(0, 120))"""
"""The elements of which a part cannot be seen."""
BROKEN = """() => [...document.querySelectorAll(
        "#result_list span.uppercase, .ops-table .ops-nowrap, .ops-copy-command")]
    .filter(element => element.offsetHeight > 30).map(element => element.textContent)"""
"""What should have one line, and has several."""


@pytest.fixture(scope="module")
def backup(site: Site) -> str:
    """The path of the page of the newest of two backups, which have long notes."""
    return f"{LIST}{site.shell(MAKE).split()[-1]}/change/"


def show(page: Page, width: int, scheme: str) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate("dark => document.documentElement.classList.toggle('dark', dark)", scheme == "dark")
    page.wait_for_timeout(300)


@pytest.mark.slow
@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_nothing_is_cut_at_any_width(site: Site, backup: str) -> None:
    pages = [LIST, backup, backup.replace("change", "note"), backup.replace("change", "restore"), f"{LIST}upload/"]
    with site.page() as page:
        site.sign_in(page)
        page.evaluate(AXE.read_text())
        for path in (*pages, f"{LIST}migrate-to-postgresql/", f"{LIST}recovery-kits/", "/admin/"):
            page.goto(path)
            page.evaluate(AXE.read_text())
            for width, scheme in LOOKS:
                show(page, width, scheme)
                assert page.evaluate(CUT) == [], (path, width)
                assert page.evaluate(BROKEN) == [], (path, width)
                assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, (path, width)
                assert serious(page) == [], (path, width, scheme)


@pytest.mark.parametrize("width", slow_except([1440, 390], 390))
@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_row_buttons_are_reached_and_used_with_the_keyboard(site: Site, backup: str, width: int) -> None:
    with site.page(width=width) as page:
        site.sign_in(page)
        page.goto(f"{LIST}?origin=manual")
        row = page.locator("#result_list .data-row").first
        row.get_by_role("link").first.focus()
        reached: list[str] = []
        while len(reached) < 12:
            page.keyboard.press("Tab")
            label = page.evaluate("document.activeElement.getAttribute('aria-label')")
            assert label, reached
            reached.append(label.partition(":")[0])
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
            if reached[-1] in {"Pin", "Unpin"}:
                break
        assert reached[:3] == ["Restore", "Verify", "Restore test"]
        page.keyboard.press("Enter")
        words = "is pinned." if reached[-1] == "Pin" else "was unpinned."
        expect(page.get_by_text(words)).to_be_visible()
        expect(page).to_have_url(re.compile(r"/admin/ops/backup/\?origin=manual$"))


@pytest.mark.slow
@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_focus_is_in_the_first_wrong_field(site: Site, backup: str) -> None:
    """In the name of the database, not in the password below it."""
    with site.page() as page:
        site.sign_in(page)
        page.goto(backup.replace("change", "restore"))
        name = page.get_by_label("To confirm, type the database name")
        name.fill("another")
        page.get_by_label("Your password").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_text("Wrong name.")).to_be_visible()
        expect(name).to_be_focused()
