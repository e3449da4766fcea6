"""Back up, lose a rack, restore, undo, and undo the undo: a whole story, in which no page is a dead end."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.test_admin import LIST, confirm, wait_until_finished

pytestmark = [pytest.mark.browser, pytest.mark.slow]
RACKS = "/admin/inventory/rack/"
RACK = "Workshop cabinet"
COLLEAGUE = """
from homerack.accounts.models import User
User.objects.create_superuser("carl@example.com", "a-password-of-the-tests")
"""


def has_rack(page: Page) -> bool:
    page.goto(RACKS)
    expect(page.locator("#result_list")).to_be_visible()
    return bool(page.locator("#result_list").get_by_text(RACK).count())


def make_first_backup(page: Page) -> str:
    """By click, from the empty list. Returns the name."""
    page.goto(LIST)
    expect(page.get_by_role("heading", name="No backups yet")).to_be_visible()
    page.get_by_role("button", name="Back up now").click()
    page.wait_for_url("**/admin/ops/run/**")
    wait_until_finished(page)
    expect(page.locator(".ops-results")).to_contain_text("Verified by reading it back")
    link = page.locator(".ops-run a.ops-name")
    name = link.inner_text()
    link.click()
    expect(page.get_by_role("heading", name=name).last).to_be_visible()
    expect(page.locator(".ops-facts")).to_contain_text("as the last verified backup")
    return name


def delete_the_rack(page: Page, site: Site) -> None:
    """A colleague's mistake."""
    site.sign_in(page, "carl@example.com")
    assert has_rack(page)
    page.locator("#result_list").get_by_role("link", name=RACK).first.click()
    page.wait_for_url("**/change/**")
    page.goto(page.url.partition("/change/")[0] + "/delete/")
    expect(page.get_by_text("The devices stay in the inventory")).to_be_visible()
    page.get_by_role("button", name=re.compile("Yes, I’m sure|Yes, I'm sure")).click()
    page.wait_for_url(f"**{RACKS}**")
    assert not has_rack(page)


def follow(page: Page, signed_out: Page, title: str) -> str:
    """Watch the run to its end, also where nobody is signed in. Returns the address of its page."""
    page.wait_for_url("**/admin/ops/run/**")
    run = page.url
    public = page.locator("[data-status-url]").get_attribute("data-status-url")
    wait_until_finished(page)
    assert public
    signed_out.goto(public.removesuffix("state/"))
    wait_until_finished(signed_out)
    expect(signed_out.get_by_role("heading", level=1)).to_have_text(title)
    expect(signed_out.get_by_text("All users were signed out.")).to_be_visible()
    signed_out.get_by_role("link", name="Sign in to see the run in the admin.").click()
    expect(signed_out.get_by_label("Password")).to_be_visible()
    return run


def sign_in_again(page: Page, site: Site) -> None:
    """The restored database knows no session."""
    page.goto(LIST)
    expect(page).to_have_url(re.compile("/admin/login/"))
    site.sign_in_with_password(page)


def undo(page: Page, site: Site, *, what: str, brings_back: str) -> None:
    banner = page.get_by_role("region", name="Previous database")
    expect(banner).to_contain_text(f"An undo brings back {brings_back}")
    banner.get_by_role("link", name=f"Undo {what}…").click()
    expect(page.get_by_role("heading", name=f"Undo {what}").first).to_be_visible()
    expect(page.locator(".ops-results")).to_contain_text(f"This brings back {brings_back}")
    confirm(page, site, f"Undo {what}")


def test_a_rack_deleted_by_mistake_is_restored_and_the_restore_undone_twice(site: Site) -> None:
    site.shell(COLLEAGUE)
    with site.page() as page, site.page() as colleague, site.page() as signed_out:
        site.sign_in_with_password(page)
        name = make_first_backup(page)
        delete_the_rack(colleague, site)

        page.goto(LIST)
        page.get_by_role("link", name="Restore", exact=True).first.click()
        expect(page.get_by_role("row", name=re.compile("^Racks"))).to_have_text(re.compile(r"Racks\s*2\s*3\s*1"))
        expect(page.get_by_text("No user will get more permissions.")).to_be_visible()
        confirm(page, site, "Restore")
        restored = follow(page, signed_out, "Restore")
        sign_in_again(page, site)
        assert has_rack(page)

        page.goto(LIST)
        undo(page, site, what="the restore", brings_back=f"the database as it was before {name} was restored.")
        first_undo = follow(page, signed_out, "Undo of a restore")
        sign_in_again(page, site)
        assert not has_rack(page)
        page.goto(restored)
        expect(page.get_by_text("this run cannot be undone")).to_be_visible()
        expect(page.get_by_role("link", name=re.compile("^Undo"))).to_have_count(0)
        page.goto(first_undo)
        page.get_by_role("link", name=re.compile("^Undo")).click()
        expect(page.get_by_role("heading", name="Undo the undo").first).to_be_visible()

        page.goto(LIST)
        undo(page, site, what="the undo", brings_back=f"the database that was restored from {name}, as it was until ")
        follow(page, signed_out, "Undo of a restore")
        sign_in_again(page, site)
        assert has_rack(page)
        page.goto(LIST)
        banner = page.get_by_role("region", name="Previous database")
        expect(banner).to_contain_text(f"the database as it was before {name} was restored, with its changes until ")
