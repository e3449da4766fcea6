"""Tables on phones: each value after the name of its column, and nothing is cut."""

from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Site, open_site
from tests.browser.page_checks import faults_of
from tests.browser.test_admin import LIST, back_up

pytestmark = [pytest.mark.browser, pytest.mark.slow]
NAMES = """() => [...document.querySelectorAll(".ops-stacked td[data-label]")]
    .map((cell) => getComputedStyle(cell, "::before").content)"""
CUT = "cut, or only seen after scrolling sideways"


@pytest.fixture(scope="module")
def site(browser: Browser, migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("stacked")
    key = str(pyrage.x25519.Identity.generate())
    changes = {"BACKUP_AGE_IDENTITY": key, "BACKUP_LOCATIONS": "disk", "BACKUP_LOCATION_DISK": str(folder / "disk")}
    with open_site("sqlite", folder, browser, migrated, **changes) as opened:
        yield opened


def test_tables_of_a_backup_and_of_keys_are_blocks_on_a_phone_and_tables_elsewhere(site: Site) -> None:
    with site.page() as page:
        site.sign_in(page)
        back_up(page)
        page.goto(LIST)
        page.locator("#result_list tbody a[href*='/change/']").first.click()
        page.wait_for_url("**/change/**")
        for address, names in (
            (page.url, {'"State"', '"Size"', '"Read back"', '"Result"', '"Requested"'}),
            ("/admin/ops/backup/recovery-kits/", {'"Opens"', '"Public key"'}),
        ):
            page.goto(address)
            assert set(page.evaluate(NAMES)) == {"none"}
            assert [fault for fault in faults_of(page, [(390, "light")]) if CUT in fault] == []
            assert set(page.evaluate(NAMES)) == names
            page.set_viewport_size({"width": 1440, "height": 900})
