"""Every page of the console, as five kinds of users, at three widths, light and dark.

No fault of axe, of the layout, of scripts and of the Content-Security-Policy; every control can be reached by Tab.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from playwright.sync_api import Browser, expect

from ops.backups.encryption import new_identity, recipient_of
from tests.browser import rich_data
from tests.browser.conftest import Site, open_site
from tests.browser.crawl import Crawl, kind_of
from tests.browser.page_checks import LOOKS, Look, faults_of
from tests.support.web import SESSION_KEY

pytestmark = pytest.mark.browser

ADMINISTRATOR = "ada@example.com"
FEW_LOOKS: tuple[Look, ...] = ((1440, "light"), (1024, "dark"), (390, "light"))
SEEDS = (
    "/admin/",
    *(f"/admin/inventory/{model}/add/" for model in ("rack", "device", "brand", "devicetype")),
    "/admin/inventory/device/?q=no-such-device",
    "/admin/inventory/device/add/?copy_of=1",
    "/admin/ops/backup/?state=suspicious",
    "/admin/password_change/",
    "/health/full/",
)
"""The dashboard, whose links lead to the other pages, and what links show otherwise or not at all."""
SEED_OF_READERS = "/admin/inventory/"
"""It answers 404 to users who may see none of the app."""
POSTS = "It only accepts a form."
NO_PAGE = "It answers with data for a script."
NOT_VISITED = {
    "admin:login": "test_pages_without_a_session",
    "admin:logout": POSTS,
    "admin:password_change_done": "It follows a form.",
    "admin:autocomplete": NO_PAGE,
    "admin:jsi18n": NO_PAGE,
    "admin:search": NO_PAGE,
    "admin:inventory_device_duplicate": "It leads to the form to add devices.",
    "admin:inventory_device_models_of_brand": NO_PAGE,
    "admin:view_on_site": "No model has a page outside of the admin.",
    "admin:ops_backup_make": POSTS,
    "admin:ops_backup_copy": POSTS,
    "admin:ops_backup_verify": POSTS,
    "admin:ops_backup_restore_test": POSTS,
    "admin:ops_backup_pin": POSTS,
    "admin:ops_backup_download": POSTS,
    "admin:ops_backup_create_recovery_kit": POSTS,
    "admin:ops_backup_prove_recovery_kit": POSTS,
    "admin:ops_backup_make_sqlite_file": POSTS,
    "admin:ops_backup_delete_sqlite_file": POSTS,
    "admin:ops_backup_migrate_to_sqlite": "SQLite has no such page.",
    "admin:ops_schedules_run_now": POSTS,
    "admin:axes_accessattempt_add": "Nobody may.",
    "admin:ops_backup_add": "Nobody may.",
    "admin:ops_backup_history": "Nothing is recorded there; the history is on the page of the backup.",
    "admin:ops_run_add": "Nobody may.",
    "admin:ops_run_history": "Nothing is recorded there.",
    "admin:ops_run_delete": "Nobody may.",
    "admin:ops_run_cancel": POSTS,
    "admin:ops_run_download_sqlite_file": POSTS,
    "admin:spreadsheets_export": NO_PAGE,
    "admin:spreadsheets_export_everything": NO_PAGE,
    "admin:spreadsheets_import": "test_spreadsheet_story",
    "admin:spreadsheets_import_status": NO_PAGE,
    "admin:spreadsheets_problems": NO_PAGE,
    "health": NO_PAGE,
    "health-live": NO_PAGE,
    "health-ready": NO_PAGE,
    "ops-run-status-fragment": NO_PAGE,
}
"""Why the crawl does not visit an address."""


@pytest.fixture(scope="module")
def rich(browser: Browser, migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with all that `rich_data` has, and two more storage locations."""
    folder = tmp_path_factory.mktemp("rich")
    settings = {
        "BACKUP_LOCATIONS": "disk nas",
        "BACKUP_LOCATION_DISK": str(folder / "disk"),
        "BACKUP_LOCATION_DISK_ENCRYPTED": "false",
        "BACKUP_LOCATION_NAS": str(folder / "nas"),
        "BACKUP_AGE_IDENTITY": new_identity(),
        "BACKUP_AGE_RECIPIENTS": recipient_of(new_identity()),
        "NOTIFY_URLS": "json://127.0.0.1:9/hook",
    }
    with open_site("sqlite", folder, browser, migrated, **settings) as site:
        site.shell("from tests.browser import rich_data; rich_data.fill()")
        yield site


@pytest.fixture(scope="module")
def empty(browser: Browser, migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A new site: no lab, no backups."""
    with open_site("sqlite", tmp_path_factory.mktemp("empty"), browser, migrated, has_lab=False) as site:
        yield site


@pytest.fixture(scope="module")
def console(rich: Site) -> Crawl:
    return crawl(rich, ADMINISTRATOR, SEED_OF_READERS)


def crawl(site: Site, email: str, *seeds: str) -> Crawl:
    return Crawl(site.address, site.shell(SESSION_KEY.format(email)).strip()).run(*SEEDS, *seeds)


# --- What there is ------------------------------------------------------------------------------------------------
def names_of(resolver: URLResolver, space: str = "") -> Iterator[str]:
    """The names of all addresses below `resolver`."""
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLPattern):
            if pattern.name:
                yield space + pattern.name
        else:
            yield from names_of(pattern, space + (f"{pattern.namespace}:" if pattern.namespace else ""))


def test_crawl_visits_each_named_address_and_finds_no_broken_link(console: Crawl) -> None:
    named = {name for name in names_of(get_resolver("homerack.urls")) if "otherproject" not in name}
    visited = {kind.partition("?")[0] for kind in console.pages}
    assert named - visited - set(NOT_VISITED) == set()
    assert visited & set(NOT_VISITED) == set()
    assert set(NOT_VISITED) - named == set(), "there are no such addresses"
    assert console.broken == []


# --- How it looks -------------------------------------------------------------------------------------------------
MAIN_PAGES = (
    "admin:index",
    "admin:inventory_device_changelist",
    "admin:inventory_device_history",
    "admin:inventory_rack_change",
    "admin:ops_backup_restore",
    "admin:ops_run_change",
)


@pytest.mark.slow
def test_main_pages_have_no_faults(rich: Site, console: Crawl) -> None:
    check(rich, ADMINISTRATOR, [console.pages[kind][0] for kind in MAIN_PAGES], FEW_LOOKS)


@pytest.mark.slow
def test_all_pages_of_an_administrator_have_no_faults(rich: Site, console: Crawl) -> None:
    check(rich, ADMINISTRATOR, console.addresses(), LOOKS)


@pytest.mark.slow
@pytest.mark.parametrize("email", rich_data.USERS)
def test_all_pages_of_other_users_have_no_faults(rich: Site, email: str) -> None:
    pages = crawl(rich, email)
    assert pages.broken == []
    check(rich, email, pages.addresses(), FEW_LOOKS)


@pytest.mark.slow
def test_forms_that_were_not_saved_have_no_faults(rich: Site, console: Crawl) -> None:
    forms = [path for path in console.addresses() if kind_of(path).endswith("_add")]
    found: list[str] = []
    with rich.page() as page:
        rich.sign_in(page)
        for path in forms:
            page.goto(path)
            page.evaluate("for (const form of document.forms) form.noValidate = true")
            page.locator("[name=_save]").last.click()
            page.wait_for_load_state()
            found += [f"{path}, not saved, {fault}" for fault in faults_of(page, FEW_LOOKS)]
    assert not found, "\n".join(found)


@pytest.mark.slow
def test_all_pages_of_an_empty_site_have_no_faults(empty: Site) -> None:
    pages = crawl(empty, ADMINISTRATOR, SEED_OF_READERS)
    assert pages.broken == []
    check(empty, ADMINISTRATOR, pages.addresses(), FEW_LOOKS)


def check(site: Site, email: str, addresses: list[str], looks: tuple[Look, ...]) -> None:
    """Assert that none of these pages has a fault."""
    found: list[str] = []
    with site.page() as page:
        site.sign_in(page, email, "/admin/")
        for address in addresses:
            page.goto(address)
            found += [f"{address}, {email}, {fault}" for fault in faults_of(page, looks)]
        if found:
            pytest.fail("\n".join(found))


# --- Outside of the admin -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("address", "status"),
    [("/health/full/", 200), ("/no-such-page/", 404), ("/fails/", 500)],
)
def test_pages_without_a_session_have_no_faults(empty: Site, address: str, status: int) -> None:
    with empty.page(allowed=[f"status {status}", f"status of {status}"]) as page:
        answer = page.goto(address)
        assert answer
        assert answer.status == status
        assert faults_of(page, LOOKS) == []


@pytest.mark.slow
def test_pages_of_refusals_have_no_faults(empty: Site) -> None:
    """Without permission, with an old form, and to a form that does not answer to links."""
    with empty.page(allowed=["status 403", "status of 403", "status 405", "status of 405"]) as page:
        empty.sign_in(page)
        page.goto("/admin/password_change/")
        page.context.clear_cookies(name="csrftoken")
        page.locator("#content [type=submit], main [type=submit]").last.click()
        page.wait_for_load_state()
        assert faults_of(page, LOOKS) == []
        empty.sign_in(page, "vera@example.com")
        page.goto("/admin/accounts/user/")
        assert faults_of(page, LOOKS) == []
        page.goto("/admin/ops/backup/make/")
        assert faults_of(page, LOOKS) == []


@pytest.mark.slow
def test_page_of_the_maintenance_mode_has_no_faults(empty: Site) -> None:
    with empty.page(allowed=["status 503", "status of 503"]) as page:
        empty.sign_in(page)
        page.goto("/admin/inventory/brand/add/")
        page.get_by_label("Name").first.fill("Acme")
        page.request.get("/block-writes/")
        page.locator("[name=_save]").last.click()
        page.wait_for_load_state()
        expect(page.get_by_text("The database is being restored.")).to_be_visible()
        # It reloads itself, also without JavaScript, which axe takes for a fault.
        assert [fault for fault in faults_of(page, LOOKS) if "axe meta-refresh" not in fault] == []
