"""The pages of refused and failed requests lead users on; test_all_pages.py checks how they look."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PASSWORD, Site, open_site

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def production(browser: Browser, migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Without debugging, and without static files: nobody has collected them."""
    changes = {
        "DJANGO_SETTINGS_MODULE": "homerack.settings",
        "HTTPS": "false",
        "SECRET_KEY": secrets.token_hex(32),
    }
    with open_site("sqlite", tmp_path_factory.mktemp("production"), browser, migrated, **changes) as site:
        yield site


def check(page: Page, heading: str) -> None:
    """The page of that heading, whose first link or button is the first stop."""
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    if page.locator(".button").count():
        page.keyboard.press("Tab")
        expect(page.locator(".button").first).to_be_focused()


def test_pages_are_whole_without_static_files(production: Site) -> None:
    with production.page(allowed=["status (404|405|500)", "Failed to load resource"]) as page:
        page.goto("/nowhere/")
        check(page, "Page not found")
        assert page.get_by_role("link").count() == 0
        page.goto("/runs/forged/")
        expect(page.get_by_text("This link is no longer valid. Sign in to see the run.")).to_be_visible()
        session = production.shell(
            "from django.test import Client; from homerack.accounts.models import User; client = Client();"
            "client.force_login(User.objects.get(email='ada@example.com')); print(client.cookies['sessionid'].value)"
        ).strip()
        page.context.add_cookies([{"name": "sessionid", "value": session, "url": production.address}])
        page.goto("/admin/")
        check(page, "Something went wrong")
        expect(page.get_by_role("link", name="Dashboard")).to_be_visible()
        page.goto("/admin/ops/backup/make/")
        check(page, "This address shows no page")


@pytest.mark.slow
@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_user_without_permission_signs_in_as_another(site: Site) -> None:
    with site.page(allowed=["status 403", "Failed to load resource"]) as page:
        site.sign_in(page, "vera@example.com")
        page.goto("/admin/accounts/user/")
        check(page, "No permission")
        page.get_by_role("button", name="Sign in as another user").click()
        page.wait_for_url("**/admin/login/?next=/admin/accounts/user/")
        page.get_by_label("E-mail address").fill("ada@example.com")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Users")


@pytest.mark.slow
@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_form_that_has_expired_can_be_copied_and_sent_again(site: Site) -> None:
    """The user has signed out and in again in another tab, which changes the token of all forms."""
    with site.page(allowed=["status 403", "Failed to load resource"]) as page:
        site.sign_in(page)
        page.goto("/admin/auth/group/add/")
        page.get_by_label("Name").fill("Night shift")
        other = page.context.new_page()
        other.goto("/admin/")
        other.locator("[x-on\\:click*=openUserLinks]").click()
        other.get_by_role("button", name="Log out").click()
        site.sign_in_with_password(other)
        page.get_by_role("button", name="Save", exact=True).click()
        check(page, "The form has expired")
        page.get_by_role("link", name="Open the page of the form again").click()
        page.get_by_label("Name").fill("Night shift")
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_text("was added successfully")).to_be_visible()
