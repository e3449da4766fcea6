"""Copies in a directory and on an encrypted SFTP server, in a browser: good, damaged, unreachable, repaired."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyrage
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Site, open_site
from tests.browser.test_admin import LIST, TIMEOUT, back_up, check_buttons, wait_until_finished
from tests.browser.test_suspicious_backups import check_looks
from tests.support.sshd import Sshd, find_sshd, sshd_server

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(find_sshd() is None, reason="No sshd was found: apt-get install openssh-server"),
]

COMPLETE = "3 copies in 2 locations, 1 off-site."
"""The directory is on the disk of BACKUP_DIR."""


@dataclass
class Lab:
    site: Site
    disk: Path
    nas: Sshd


@pytest.fixture(scope="module")
def lab(browser: Browser, migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("copies")
    machine, person = (pyrage.x25519.Identity.generate() for _ in range(2))
    with sshd_server() as nas:
        changes = {
            "BACKUP_AGE_IDENTITY": str(machine),
            "BACKUP_AGE_RECIPIENTS": str(person.to_public()),
            "BACKUP_LOCATIONS": "disk nas",
            "BACKUP_LOCATION_DISK": str(folder / "disk"),
            "BACKUP_LOCATION_DISK_ENCRYPTED": "false",
            "BACKUP_LOCATION_NAS": f"sftp://{nas.user}@127.0.0.1:{nas.port}{nas.files}",
            "BACKUP_LOCATION_NAS_HOST_KEY": nas.host_key,
            "BACKUP_LOCATION_NAS_IDENTITY_FILE": str(nas.identity_file),
        }
        with open_site("sqlite", folder, browser, migrated, **changes) as site:
            yield Lab(site, folder / "disk", nas)


def wait_for(page: Page, address: str, text: str | re.Pattern[str]) -> None:
    """Load the page until it contains `text`: a worker copies each backup by itself."""
    for _ in range(TIMEOUT // 500):
        page.goto(address)
        if page.locator("#content, main").first.get_by_text(text).count():
            return
        page.wait_for_timeout(500)
    raise AssertionError(f"{text} did not appear on {address}.")


def copy_now(page: Page, outcome: str) -> None:
    page.goto(LIST)
    page.get_by_role("button", name="Copy now").click()
    page.wait_for_url("**/admin/ops/run/**")
    wait_until_finished(page, outcome)


def open_backup(page: Page) -> None:
    page.goto(LIST)
    page.locator("#result_list tbody a[href*='/change/']").first.click()
    page.wait_for_url("**/change/**")


def test_copies_are_shown_while_they_are_good_damaged_unreachable_and_repaired(lab: Lab) -> None:
    with lab.site.page() as page:
        lab.site.sign_in(page)
        back_up(page)
        wait_for(page, "/admin/", COMPLETE)
        card = page.locator(".dash-locations")
        expect(card).to_contain_text("SFTP, encrypted, off-site")
        expect(card).to_contain_text("Directory, not encrypted, on the disk of BACKUP_DIR")
        check_looks(page, "dashboard with copies")
        page.goto(LIST)
        expect(page.locator("#result_list .ops-copy-good")).to_have_count(3)

        damage(next(path for path in lab.disk.iterdir() if path.name.endswith(".sqlite3.gz")))
        open_backup(page)
        row = page.get_by_role("row", name=re.compile("^disk"))
        row.get_by_role("button", name="Verify the copy in disk").click()
        page.wait_for_url("**/admin/ops/run/**")
        wait_until_finished(page, "failed")
        open_backup(page)
        expect(row).to_contain_text("Damaged")
        expect(page.get_by_role("row", name=re.compile("^nas"))).to_contain_text("Good")

        lab.nas.stop()
        copy_now(page, "failed")
        expect(page.locator(".ops-run")).to_contain_text("copy to nas")
        check_looks(page, "run that failed to copy")
        open_backup(page)
        expect(row).to_contain_text("Good")
        expect(page.get_by_role("row", name=re.compile("^nas"))).to_contain_text("Unreachable")
        check_looks(page, "backup with an unreachable copy")
        page.goto(LIST)
        expect(page.locator("#result_list .ops-copy-unreachable")).to_have_text(re.compile("nas unreachable"))
        check_looks(page, "list with an unreachable copy")
        for width in (390, 1024, 1280, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            check_buttons(page, width)
        page.goto("/admin/")
        expect(page.locator(".dash-summary")).to_contain_text("2 good copies instead of 3 so far: unreachable in nas.")
        expect(page.locator(".dash-summary")).not_to_contain_text("3 copies")
        expect(page.locator(".dash-locations .is-failing code")).to_have_text("manage.py copy_backups --location nas")
        check_looks(page, "dashboard with a failing location")

        lab.nas.start()
        copy_now(page, "succeeded")
        wait_for(page, "/admin/", COMPLETE)


def test_viewers_see_copies_and_get_403_for_copy_now(lab: Lab) -> None:
    with lab.site.page() as page:
        lab.site.sign_in(page)
        if not page.locator("#result_list").count():
            back_up(page)
        lab.site.sign_in(page, "vera@example.com")
        expect(page.locator("#result_list .ops-copy").first).to_be_visible()
        assert page.get_by_role("button", name="Copy now").count() == 0
        page.goto("/admin/")
        expect(page.locator(".dash-locations")).to_be_visible()
        assert page.locator(".dash-locations code, .dash-locations button").count() == 0
        token = page.evaluate("document.cookie.match(/csrftoken=([^;]+)/)?.[1] || ''")
        headers = {"X-CSRFToken": token, "Referer": lab.site.address}
        assert page.request.post(f"{LIST}copy/", headers=headers).status == 403


def damage(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
