"""The first sign-in: the password that `make run` shows, a new one of one's own, a look around, and out again."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Site
from tests.celery.support import manage, served

pytestmark = pytest.mark.browser

EMAIL = "admin@homerack.local"
NEW_PASSWORD = "a new long passphrase"


@pytest.fixture
def fresh(tmp_path: Path, migrated: Path, browser: Browser) -> Iterator[tuple[Site, str]]:
    """HomeRack with an empty inventory, and the password of its only user."""
    changes = {"BACKUP_DIR": str(tmp_path / "backups"), "DJANGO_SETTINGS_MODULE": "homerack.settings"}
    shutil.copy(migrated / "homerack.db", tmp_path)
    created = manage(tmp_path, "createinitialsuperuser", **changes).stdout
    found = re.search(r"^Password: (\S+)$", created, re.MULTILINE)
    assert found
    with served(tmp_path, **changes) as (_, port):
        yield Site(f"http://127.0.0.1:{port}", "homerack", browser, lambda _code: ""), found[1]


def sign_in(page: Page, password: str) -> None:
    """With the keyboard only. After a failure the address is already in the form."""
    address = page.get_by_label("E-mail address")
    if not address.input_value():
        expect(address).to_be_focused()
        page.keyboard.type(EMAIL)
        page.keyboard.press("Tab")
    expect(page.get_by_label("Password")).to_be_focused()
    page.keyboard.type(password)
    page.keyboard.press("Enter")


def stop_at(page: Page, name: str, *, within: int = 40) -> None:
    """Press Tab until the link or button is reached."""
    for _ in range(within):
        page.keyboard.press("Tab")
        if name in page.evaluate("document.activeElement.ariaLabel || document.activeElement.innerText"):
            return
    pytest.fail(f"{name!r} is no stop of the Tab key within {within}.")


def open_account_menu(page: Page) -> None:
    page.locator("[x-on\\:click*=openUserLinks]").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.closest('nav[x-show=openUserLinks]')")


@pytest.mark.slow
@pytest.mark.parametrize("width", [1440, 390])
def test_first_sign_in_with_mistakes(fresh: tuple[Site, str], width: int) -> None:
    site, password = fresh
    with site.page(width=width) as page:
        page.goto("/")
        page.wait_for_url("**/admin/login/**")
        sign_in(page, "wrong")
        expect(
            page.get_by_text("No account that may sign in has this e-mail address and this password.")
        ).to_be_in_viewport()
        expect(page.get_by_label("E-mail address")).to_have_value(EMAIL)
        sign_in(page, password)
        expect(page.get_by_role("heading", level=1)).to_have_text("Dashboard")

        change_password(page, password, width)
        look_around(page, width)
        sign_out(page, width)
        sign_in(page, NEW_PASSWORD)
        expect(page.get_by_role("heading", level=1)).to_have_text("Users")  # where the user was


def change_password(page: Page, password: str, width: int) -> None:
    open_sidebar(page, width)
    open_account_menu(page)
    stop_at(page, "Change password", within=4)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Password change")
    fill_passwords(page, password, "12345", "123456")
    mistakes = page.get_by_role("alert")
    expect(mistakes).to_be_in_viewport()
    expect(mistakes).to_contain_text("Nothing was saved.")
    expect(mistakes).to_contain_text("The two password fields didn’t match.")
    fill_passwords(page, password, "12345", "12345")
    expect(mistakes).to_contain_text("This password is too short.")
    expect(page.get_by_label("New password confirmation")).to_be_focused()
    fill_passwords(page, password, NEW_PASSWORD, NEW_PASSWORD)
    page.wait_for_url("**/admin/")
    expect(page.get_by_text("Your password was changed.")).to_be_in_viewport()
    expect(page.get_by_role("heading", level=1)).to_have_text("Dashboard")


def fill_passwords(page: Page, old: str, new: str, again: str) -> None:
    page.get_by_label("Old password").fill(old)
    page.get_by_label("New password", exact=False).first.fill(new)
    page.get_by_label("New password confirmation").fill(again)
    page.keyboard.press("Enter")


def look_around(page: Page, width: int) -> None:
    for name in ("Racks", "Backups", "Users"):
        open_sidebar(page, width)
        page.locator("#palette-open").focus()
        stop_at(page, name)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text(name)


def sign_out(page: Page, width: int) -> None:
    open_sidebar(page, width)
    open_account_menu(page)
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("You are signed out")
    page.go_back()
    page.reload()
    page.wait_for_url("**/admin/login/**")


def open_sidebar(page: Page, width: int) -> None:
    if width < 1280:
        page.get_by_role("button", name="Menu").focus()
        page.keyboard.press("Enter")
        page.wait_for_function("document.activeElement.closest('#nav-sidebar')")
