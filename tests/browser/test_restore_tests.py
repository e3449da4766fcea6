"""A copy in another storage location is restored and reported, in a real browser with a real worker."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from ops.backups.encryption import new_identity, recipient_of
from tests.browser.conftest import Site, open_site
from tests.browser.test_admin import LIST, TIMEOUT, back_up, confirm, devices, wait_until_finished

pytestmark = [pytest.mark.browser, pytest.mark.slow]
MACHINE, PERSON = new_identity(), new_identity()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp(request.param)


@pytest.fixture(scope="module")
def site(folder: Path, browser: Browser, migrated: Path) -> Iterator[Site]:
    """With an encrypted location called nas."""
    settings = {
        "BACKUP_LOCATIONS": "nas",
        "BACKUP_LOCATION_NAS": str(folder / "nas"),
        "BACKUP_AGE_IDENTITY": MACHINE,
        "BACKUP_AGE_RECIPIENTS": recipient_of(PERSON),
    }
    with open_site(folder.name.rstrip("0123456789"), folder, browser, migrated, **settings) as site:
        yield site


def open_backup(page: Page) -> str:
    """The page of the newest backup, which has a copy in nas by then. Returns its address."""
    page.goto(LIST)
    page.locator("#result_list tbody a[href*='/change/']").first.click()
    page.wait_for_url("**/change/**")
    address = page.url
    button = page.get_by_role("button", name="Restore test the copy in nas")
    for _ in range(60):
        if button.count():
            return address
        page.wait_for_timeout(500)
        page.goto(address)
    raise AssertionError("the backup was not copied")


def test_restore_test_of_a_location_leaves_a_report_and_the_copy_restores(site: Site, folder: Path) -> None:
    with site.page() as page:
        site.sign_in_with_password(page)
        back_up(page)
        before = devices(page)
        address = open_backup(page)
        page.set_viewport_size({"width": 390, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        page.set_viewport_size({"width": 1440, "height": 900})
        page.get_by_role("button", name="Restore test the copy in nas").click()
        page.wait_for_url("**/admin/ops/run/**")
        wait_until_finished(page)
        results = page.locator(".ops-results")
        expect(results).to_contain_text("Data loss if only nas is left (RPO): ")
        expect(results).to_contain_text(f"opened with the key {recipient_of(MACHINE)}")
        page.get_by_role("link", name="Report").click()
        expect(page.get_by_role("heading", name="Report of a restore test")).to_be_visible(timeout=TIMEOUT)
        expect(page.get_by_text("Passed", exact=True)).to_be_visible()
        expect(page.get_by_text("is signed with HMAC-SHA256")).to_be_visible()
        page.goto("/admin/")
        expect(page.get_by_role("img", name="Time to restore (RTO) of ")).to_be_visible()

        page.goto(address.replace("/change/", "/restore/"))
        page.get_by_role("link", name="nas (").click()
        page.wait_for_url("**location=nas")
        confirm(page, site, "Restore")
        page.wait_for_url("**/admin/ops/run/**")
        wait_until_finished(page)
        expect(results).to_contain_text(f"Read from nas ({folder}/nas).")
        site.sign_in(page)
        assert devices(page) == before
