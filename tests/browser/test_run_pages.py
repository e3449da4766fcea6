"""The page of a run that was open until its end shows what it shows after a reload."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PASSWORD, Site, open_site

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LIST = "/admin/ops/backup/"
TIMEOUT = 60_000
"""Milliseconds."""


@pytest.fixture(scope="module")
def site(browser: Browser, migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site("sqlite", tmp_path_factory.mktemp("run-pages"), browser, migrated) as site:
        yield site


def watch_until_the_end(page: Page) -> None:
    """On the page to which a click has led, which is not loaded again."""
    page.wait_for_url("**/admin/ops/run/**")
    page.evaluate("window.wasHere = true")
    expect(page.locator(".ops-run[data-finished]")).to_have_attribute("data-outcome", "succeeded", timeout=TIMEOUT)
    expect(page.locator("[data-while-running]:visible")).to_have_count(0)
    assert page.evaluate("window.wasHere")


def text_of(page: Page) -> str:
    return re.sub(r"\s+", " ", page.locator("[data-run-page]").inner_text()).strip()


def assert_same_after_a_reload(page: Page) -> str:
    """The text of the page. The rest of it is fetched when the run has ended."""
    page.wait_for_load_state("networkidle")
    shown = text_of(page)
    page.reload()
    assert shown == text_of(page)
    return shown


def test_pages_of_runs_are_complete_at_their_end(site: Site) -> None:
    with site.page() as page:
        site.sign_in(page)
        page.get_by_role("button", name="Back up now").click()
        watch_until_the_end(page)
        backup = page.get_by_role("link", name=re.compile(r"^homerack_.*gz$"))
        expect(backup).to_be_visible()
        assert "Verified by reading it back" in assert_same_after_a_reload(page)
        for name in ("Verify", "Restore test"):
            page.goto(LIST)
            page.get_by_role("button", name=re.compile(f"^{name}: ")).first.click()
            watch_until_the_end(page)
            expect(backup).to_be_visible()
            assert_same_after_a_reload(page)
        page.goto(f"{LIST}migrate-to-postgresql/")
        page.get_by_role("button", name=re.compile("preflight check", re.IGNORECASE)).click()
        watch_until_the_end(page)
        expect(page.get_by_role("link", name="Migrate to PostgreSQL…")).to_be_visible()
        assert_same_after_a_reload(page)


def test_page_of_a_restore_has_undo_until_that_is_done(site: Site) -> None:
    with site.page(allowed=["/admin/ops/run/"]) as page:
        site.sign_in(page)
        if not page.locator("#result_list").count():
            page.get_by_role("button", name="Back up now").click()
            watch_until_the_end(page)
            page.goto(LIST)
        page.get_by_role("link", name=re.compile("^Restore")).first.click()
        confirm(page, site, "Restore")
        watch_until_the_end(page)
        restore = page.url
        expect(page.get_by_role("link", name="Undo…")).to_be_visible()
        assert page.get_by_role("link", name=re.compile(r"^homerack_.*gz$")).count() == 2
        site.sign_in(page)
        page.goto(restore)
        page.get_by_role("link", name="Undo…").click()
        confirm(page, site, re.compile("^Undo"))
        watch_until_the_end(page)
        expect(page.get_by_role("link", name="Undo…")).to_be_visible()
        site.sign_in(page)
        page.goto(restore)
        expect(page.get_by_role("link", name="Undo…")).to_have_count(0)
        expect(page.get_by_text("this run cannot be undone")).to_be_visible()


def confirm(page: Page, site: Site, button: str | re.Pattern[str]) -> None:
    page.get_by_label(re.compile("To confirm, type the database name")).fill(site.database)
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name=button).last.click()
