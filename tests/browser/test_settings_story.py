"""An administrator adds a target, tests it, and changes the retention, with the keyboard alone."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyrage
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import Site, open_site
from tests.browser.test_admin import AXE, serious

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SETTINGS, NOTIFICATIONS = "/admin/ops/backup/settings/", "/admin/ops/backup/notifications/"
TOKEN = "very-secret-token"
LOOKS = [(width, scheme) for width in (1440, 1024, 390) for scheme in ("light", "dark")]
MOST_STOPS = 90
"""Stops of the Tab key on a page."""
OLD_BACKUPS = """
import datetime as dt
from ops.runs import index
from ops.runs.context import get_context
from ops.utils import clock
from tests.backups import factories

context = get_context()
about = {"engine": context.engine.kind, "database": context.engine.database}
for days in (0, 10, 20):
    factories.backup(context.repository, taken_at=clock.now() - dt.timedelta(days=days), **about)
index.rebuild_index(context.repository)
"""


@pytest.fixture(scope="module")
def site(browser: Browser, migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    key = str(pyrage.x25519.Identity.generate())
    with open_site("sqlite", tmp_path_factory.mktemp("site"), browser, migrated, BACKUP_AGE_IDENTITY=key) as site:
        yield site


@pytest.fixture
def receiver() -> Iterator[list[str]]:
    """The paths of messages that a server has received; its address is the first entry."""
    received: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            received.append(self.path)
            self.send_response(200 if TOKEN in self.path else 418)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received.append(f"json://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield received
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def page(site: Site) -> Iterator[Page]:
    with site.page() as page:
        site.sign_in(page)
        yield page


def go_to(page: Page, element: Locator) -> None:
    """With the Tab key."""
    expect(element).to_be_visible()
    for _ in range(MOST_STOPS):
        if element.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"The Tab key does not reach {element}.")


def press(page: Page, role: str, name: str | re.Pattern[str], *, opens: bool = True) -> None:
    """Go to the button or link and press Enter, which `opens` another page."""
    element = page.get_by_role(role, name=name).first if role != "summary" else page.locator("summary", has_text=name)
    go_to(page, element)
    if not opens:
        page.keyboard.press("Enter")
        return
    with page.expect_navigation():
        page.keyboard.press("Enter")


def enter(page: Page, label: str, text: str) -> None:
    field = page.get_by_label(label)
    go_to(page, field)
    field.press("ControlOrMeta+a")
    page.keyboard.type(text)


def submit(page: Page) -> None:
    with page.expect_navigation():
        page.keyboard.press("Enter")


def check_looks(page: Page, name: str) -> None:
    page.evaluate(AXE.read_text())
    for width, scheme in LOOKS:
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate("dark => document.documentElement.classList.toggle('dark', dark)", scheme == "dark")
        page.wait_for_timeout(200)
        assert serious(page) == [], (name, width, scheme)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, (name, width, scheme)
    page.set_viewport_size({"width": 1440, "height": 900})


def test_target_is_tested_added_tested_again_and_removed(site: Site, page: Page, receiver: list[str]) -> None:
    server = receiver.pop()
    page.goto(NOTIFICATIONS)
    enter(page, "Address of the target", "lab.example.org")
    submit(page)
    expect(page.get_by_role("alert")).to_contain_text("not the address of a service that apprise knows")
    check_looks(page, "wrong address")

    enter(page, "Address of the target", f"{server}/{TOKEN}")
    press(page, "button", "Send a test first")
    expect(page.get_by_role("status").filter(has_text="Accepted.")).to_be_visible()
    check_looks(page, "tested address")
    press(page, "button", "Add")
    expect(page.get_by_text("Added: json at 127.0.0.1.")).to_be_visible()
    press(page, "summary", "Add a target", opens=False)
    enter(page, "Address of the target", f"{server}/other")
    submit(page)

    targets = page.locator(".ops-targets > li")
    press(page, "button", "Send test to json at 127.0.0.1 (2)")
    expect(targets.nth(1)).to_contain_text("418")
    expect(targets.nth(0).get_by_role("status")).to_have_count(0)
    press(page, "button", "Send test to all")
    expect(targets.nth(0).get_by_role("status")).to_have_text(re.compile("Accepted"))
    check_looks(page, "answers")
    assert receiver[:2] == [f"/{TOKEN}", "/other"]
    assert sorted(receiver[2:]) == ["/other", f"/{TOKEN}"]
    assert TOKEN not in page.content()

    press(page, "link", re.compile(r"^Remove… json at 127.0.0.1 \(2\)"))
    check_looks(page, "removal")
    press(page, "button", "Remove")
    expect(targets).to_have_count(1)
    assert TOKEN in site.shell("from ops import stored_settings; print(stored_settings.notify_urls())")


def test_retention_is_changed_after_a_mistake_and_a_question(site: Site, page: Page) -> None:
    page.goto(SETTINGS)
    check_looks(page, "settings")
    enter(page, "Keep all backups for", "a month")
    enter(page, "Keep one backup of each of the last … years", "2")
    submit(page)
    field = page.get_by_label("Keep all backups for")
    expect(field).to_be_focused()
    expect(field).to_have_value("a month")
    expect(page.get_by_role("alert")).to_contain_text("Nothing was saved. Correct this mistake")
    check_looks(page, "mistake")
    enter(page, "Keep all backups for", "30")
    submit(page)
    changed = "Keep all backups for … days: 30, before 7. Keep one backup of each of the last … years: 2, before 0."
    expect(page.get_by_text(changed)).to_be_visible()

    site.shell(OLD_BACKUPS)
    enter(page, "Keep all backups for", "14")
    submit(page)
    expect(page.get_by_role("heading", name="The next pruning would delete 1 backup in local")).to_be_visible()
    check_looks(page, "question")
    press(page, "button", "Back")
    expect(page.get_by_label("Keep all backups for")).to_have_value("14")
    submit_from = page.get_by_role("button", name="Save")
    go_to(page, submit_from)
    submit(page)
    press(page, "button", "Save, and let it be deleted")
    expect(page.get_by_text("Keep all backups for … days: 14, before 30.")).to_be_visible()
    page.goto("/admin/ops/backup/")
    expect(page.locator("#result_list tbody tr", has_text="until the next pruning")).to_have_count(1)

    page.goto(SETTINGS)
    press(page, "button", re.compile(r"^Back to the default \(0\)"))
    expect(page.get_by_text("Keep one backup of each of the last … years: 0, before 2.")).to_be_visible()
    press(page, "link", "Changes of settings")
    rows = page.locator("#result_list tbody tr")
    expect(rows.filter(has_text="Change of settings")).to_have_count(rows.count())
    assert rows.count() >= 3
