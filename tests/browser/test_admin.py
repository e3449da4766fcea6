"""The admin in a real browser, with a real worker."""

import re
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Error, Page, expect

from ops.backups.encryption import AgeKeys, recipient_of
from tests.browser.conftest import PASSWORD, Site

pytestmark = pytest.mark.browser

AXE = Path(__file__).parent / "axe" / "axe.min.js"
LIST = "/admin/ops/backup/"
KITS = f"{LIST}recovery-kits/"
KEY = re.compile(r"AGE-SECRET-KEY-1[0-9A-Z]{58}")
TIMEOUT = 60_000
"""Milliseconds."""


def wait_until_finished(page: Page, outcome: str = "succeeded") -> None:
    """Without reloading: the page updates itself."""
    expect(page.locator(".ops-run[data-finished]")).to_be_visible(timeout=TIMEOUT)
    expect(page.locator(".ops-run")).to_have_attribute("data-outcome", outcome)


def confirm(page: Page, site: Site, button: str) -> None:
    page.get_by_label(re.compile("To confirm, type the database name")).fill(site.database)
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name=button, exact=True).click()


def back_up(page: Page) -> None:
    page.goto(LIST)
    page.get_by_role("button", name="Back up now").click()
    page.wait_for_url("**/admin/ops/run/**")
    wait_until_finished(page)


def open_list(page: Page, site: Site) -> None:
    """The list of backups, which has one."""
    site.sign_in(page)
    if not page.locator("#result_list").count():
        back_up(page)
        page.goto(LIST)


def devices(page: Page) -> int:
    page.goto("/admin/inventory/device/")
    found = re.search(r"(\d+) devices", page.locator("body").inner_text())
    assert found
    return int(found[1])


def delete_a_device(page: Page) -> None:
    page.goto("/admin/inventory/device/")
    page.locator("#result_list tbody a[href*='/change/']").first.click()
    page.wait_for_url("**/change/**")
    page.goto(page.url.partition("/change/")[0] + "/delete/")
    page.get_by_role("button", name=re.compile("Yes, I’m sure|Yes, I'm sure")).click()
    page.wait_for_url("**/admin/inventory/device/**")


@pytest.mark.slow
def test_backup_restore_and_undo_bring_back_a_deleted_device(site: Site) -> None:
    """Restoring ends the session; the page of the run shows its end to those who are signed out, too."""
    with site.page() as page, site.page() as signed_out:
        site.sign_in_with_password(page)
        back_up(page)
        expect(page.locator(".ops-results")).to_contain_text("Verified by reading it back")
        before = devices(page)
        delete_a_device(page)
        assert devices(page) == before - 1

        page.goto(LIST)
        page.get_by_role("link", name="Restore", exact=True).first.click()
        row = page.get_by_role("row", name=re.compile("^Devices"))
        expect(row).to_have_text(re.compile(rf"Devices\s*{before - 1}\s*{before}\s*1"))
        confirm(page, site, "Restore")
        page.wait_for_url("**/admin/ops/run/**")
        address = page.locator("[data-status-url]").get_attribute("data-status-url")
        wait_until_finished(page)
        expect(page.locator(".ops-results")).to_contain_text("contents match the manifest")
        expect(page.locator(".ops-results")).to_contain_text("Writes were blocked for")
        assert address
        signed_out.goto(address.removesuffix("state/"))
        wait_until_finished(signed_out)
        expect(signed_out.get_by_role("heading", level=1)).to_have_text("Restore")

        page.goto(LIST)
        assert "/admin/login/" in page.url
        site.sign_in(page)
        assert devices(page) == before
        page.goto(LIST)
        page.get_by_role("link", name="Undo the restore…").click()
        expect(page.locator(".ops-results")).to_contain_text("ada@example.com restored homerack_")
        confirm(page, site, "Undo the restore")
        page.wait_for_url("**/admin/ops/run/**")
        wait_until_finished(page)
        site.sign_in(page)
        assert devices(page) == before - 1


@pytest.mark.slow
def test_uploaded_file_is_restored_as_untrusted(site: Site, tmp_path: Path) -> None:
    with site.page() as page:
        site.sign_in(page)
        back_up(page)
        before = devices(page)
        page.goto(LIST)
        with page.expect_download() as download:
            page.get_by_role("button", name="Download", exact=True).first.click()
        file = tmp_path / download.value.suggested_filename
        download.value.save_as(file)
        delete_a_device(page)

        page.goto(f"{LIST}upload/")
        page.locator("input[type=file]").set_input_files(file)
        page.get_by_role("button", name="Upload", exact=True).click()
        page.wait_for_url("**/change/")
        expect(page.get_by_text("This file was uploaded.")).to_be_visible()
        page.get_by_role("link", name="Restore…").click()
        expect(page.get_by_text("Its origin is unknown.")).to_be_visible()
        confirm(page, site, "Restore")
        page.wait_for_url("**/admin/ops/run/**")
        wait_until_finished(page)
        expect(page.locator(".ops-results")).to_contain_text("there is no manifest to compare with.")
        site.sign_in(page)
        assert devices(page) == before


def make_kit(page: Page) -> str:
    """The key on the sheet, which the page shows afterwards."""
    page.goto(KITS)
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name="Make and show it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Recovery kit")
    (key,) = set(KEY.findall(page.content()))
    return str(key)


@pytest.mark.slow
@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_kit_is_made_printed_proven_and_withdrawn(site: Site, tmp_path: Path) -> None:
    with site.page(allowed=["net::ERR_CACHE_MISS"]) as page:
        site.sign_in(page)
        key = make_kit(page)
        kit = recipient_of(key)[-8:]
        for paper in ("A4", "Letter"):
            page.pdf(path=tmp_path / "kit.pdf", format=paper)
            pages = re.findall(rb"/Type\s*/Page\b", (tmp_path / "kit.pdf").read_bytes())
            assert len(pages) == 1, paper
        page.emulate_media(color_scheme="dark")
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"

        page.get_by_role("link", name="I have printed it").click()
        card = page.get_by_label(f"Recovery kit {kit}")
        expect(card).to_contain_text("none so far")
        with pytest.raises(Error, match="ERR_CACHE_MISS"):  # the browser would have to send the form again
            page.go_back()
        expect(page.locator("body")).to_contain_text("ERR_CACHE_MISS")  # the browser's own page
        assert key not in page.content()

        page.goto(KITS)
        card.get_by_role("button", name=re.compile("Prove that it is at hand")).click()
        challenge = page.get_by_label("Text to decrypt").inner_text() + "\n"
        word = AgeKeys((key,), ()).decrypt(challenge.encode(), "the challenge").decode()
        page.get_by_label("The word").fill(f" {word.upper()}")
        page.get_by_role("button", name="Check the word").click()
        expect(page.get_by_text("The recovery kit is at hand. The next proof is due in half a year.")).to_be_visible()
        expect(card).to_contain_text("by ada@example.com")

        card.get_by_role("link", name=re.compile("Withdraw")).click()
        page.get_by_role("button", name="Withdraw", exact=True).click()
        expect(page.get_by_label(f"Recovery kit {kit}")).to_contain_text("(withdrawn)")


@pytest.mark.slow
@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_page_of_a_preflight_shows_the_findings_when_it_ends(site: Site) -> None:
    """The page that is polled needs no session, and does not show them."""
    site.shell("from django.db import connection; connection.cursor().execute('CREATE TABLE photos (id integer)')")
    with site.page() as page:
        site.sign_in(page)
        page.goto(f"{LIST}migrate-to-postgresql/")
        page.get_by_role("button", name="Run preflight check").click()
        page.wait_for_url("**/admin/ops/run/**")
        expect(page.get_by_role("heading", name="Blocking issues")).to_be_visible(timeout=TIMEOUT)
        page.get_by_role("link", name="Migrate to PostgreSQL…").click()
        page.wait_for_url("**/migrate-to-postgresql/")
        expect(page.get_by_role("heading", name="Blocking issues")).to_be_visible()
    site.shell("from django.db import connection; connection.cursor().execute('DROP TABLE photos')")


def test_viewers_have_no_buttons_and_get_403(site: Site) -> None:
    with site.page() as page:
        open_list(page, site)
        site.sign_in(page, "vera@example.com")
        assert page.locator(".ops-button, .ops-icon-button").count() == 0
        page.locator("#result_list tbody a[href*='/change/']").last.click()
        page.wait_for_url("**/change/**")
        expect(page.get_by_role("heading", name="Rows: backup vs. now")).to_be_visible()
        assert page.locator(".ops-button").count() == 0
        page.get_by_role("link", name="Backup", exact=True).click()
        page.wait_for_url("**/admin/ops/run/**")
        assert page.locator(".ops-button").count() == 0
        token = page.evaluate("document.cookie.match(/csrftoken=([^;]+)/)?.[1] || ''")
        refused = page.request.post(f"{LIST}make/", headers={"X-CSRFToken": token, "Referer": site.address})
        assert refused.status == 403


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_list_shows_its_buttons_without_scrolling(site: Site) -> None:
    with site.page() as page:
        open_list(page, site)
        for width in (390, 1024, 1280, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            check_buttons(page, width)


def check_buttons(page: Page, width: int) -> None:
    right = page.locator("#result_list .ops-icon-button").evaluate_all(
        "buttons => Math.max(...buttons.map(button => button.getBoundingClientRect().right))"
    )
    assert 0 < right <= width
    assert page.evaluate("(frame => frame.scrollWidth - frame.clientWidth)(result_list.parentElement)") <= 0


@pytest.fixture(scope="module")
def addresses(site: Site) -> list[str]:
    """The pages of `ops`, with a backup and a run to show."""
    with site.page() as page:
        open_list(page, site)
        backup = page.locator("#result_list tbody a[href*='/change/']").last.get_attribute("href") or ""
        page.goto("/admin/ops/run/")
        run = page.locator("#result_list tbody a[href*='/change/']").first.get_attribute("href") or ""
        page.goto(run)
        status_page = (page.locator("[data-status-url]").get_attribute("data-status-url") or "").removesuffix("state/")
    of_one = [backup, *(backup.replace("change/", f"{name}/") for name in ("restore", "note", "delete"))]
    return [
        LIST,
        *of_one,
        f"{LIST}upload/",
        f"{LIST}undo/",
        KITS,
        f"{LIST}migrate-to-postgresql/",
        "/admin/ops/run/",
        run,
        status_page,
    ]


LOOKS = [
    [(1440, "light"), (390, "dark")],
    pytest.param([(1440, "dark"), (390, "light")], marks=pytest.mark.slow),
]
"""Widths of the window and colour schemes."""


@pytest.mark.slow
@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
@pytest.mark.parametrize("looks", LOOKS)
def test_pages_have_no_serious_axe_violations_and_fit_the_width(
    site: Site, addresses: list[str], looks: list[tuple[int, Literal["light", "dark"]]]
) -> None:
    with site.page() as page:
        site.sign_in(page)
        for address in addresses:
            page.goto(address)
            page.evaluate(AXE.read_text())  # a script tag would not pass the content security policy
            for width, scheme in looks:
                look = f"{address} in {scheme}, {width} pixels wide"
                page.set_viewport_size({"width": width, "height": 900})
                page.emulate_media(color_scheme=scheme)
                # A page looks at the scheme only when it loads.
                page.evaluate("dark => document.documentElement.classList.toggle('dark', dark)", scheme == "dark")
                page.wait_for_timeout(300)  # unfold's own scripts settle
                assert serious(page) == [], look
                assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, look


def serious(page: Page) -> list[str]:
    """The serious and critical violations that axe, which the page has, finds in its content."""
    found = page.evaluate(
        """async () => (await axe.run(
            document.querySelector("#content") || document.querySelector("main"),
            {resultTypes: ["violations"]},
        )).violations.filter(found => ["serious", "critical"].includes(found.impact))
         .map(found => `${found.id}: ${found.nodes.map(node => node.html.slice(0, 200)).join(" | ")}`)"""
    )
    assert isinstance(found, list)
    return [str(violation) for violation in found]
