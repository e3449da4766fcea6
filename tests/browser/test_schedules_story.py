"""An administrator changes schedules with the keyboard alone: the fourth story of the console."""

import re
from typing import Literal

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Site
from tests.browser.test_admin import AXE, TIMEOUT, serious, wait_until_finished

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SCHEDULES = "/admin/ops/run/schedules/"
MOST_TABS = 150
FOCUS = """target => {
    const focused = document.activeElement;
    const { left, top, width, height } = focused.getBoundingClientRect();
    const shown = document.elementFromPoint(left + width / 2, top + height / 2);
    const isCovered = focused.closest(".ops-schedules") && !(focused.closest("label") || focused).contains(shown);
    return [focused === target, isCovered ? focused.outerHTML : ""];
}"""
"""Whether the target has the focus, and what has it but is behind something else: the bar with *Save* is sticky."""
LOOKS: list[tuple[int, Literal["light", "dark"]]] = [
    (1440, "light"),
    (1440, "dark"),
    (1024, "light"),
    (1024, "dark"),
    (390, "light"),
    (390, "dark"),
]


def card(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until `target` has the focus. What has it on the way can be seen."""
    for _ in range(MOST_TABS):
        has_focus, covered = target.evaluate(FOCUS)
        assert not covered
        if has_focus:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{target} cannot be reached with the keyboard")


def press(page: Page, target: Locator, key: str) -> None:
    tab_to(page, target)
    page.keyboard.press(key)


def skip(page: Page) -> None:
    """Past the sidebar, as users of the keyboard do."""
    press(page, page.get_by_role("link", name="Skip to the content"), "Enter")


def enter(page: Page) -> None:
    """Press it, and wait for the page that it leads to."""
    with page.expect_navigation():
        page.keyboard.press("Enter")


def test_administrator_changes_times_with_the_keyboard(site: Site) -> None:
    with site.page() as page:
        site.sign_in(page)
        press(page, page.get_by_role("link", name="Schedules"), "Enter")
        page.wait_for_url(f"**{SCHEDULES}")
        back_up, time = card(page, "Back up"), page.locator("#id_back_up-time")
        expect(back_up).to_contain_text("Every day at 02:00")

        # A mistake first: the hour is empty.
        skip(page)
        press(page, back_up.get_by_label("Time"), "Backspace")
        for day in ("Saturday", "Sunday"):
            press(page, back_up.get_by_role("checkbox", name=day), "Space")
        tab_to(page, page.get_by_role("button", name="Save", exact=True))
        enter(page)
        summary = page.get_by_role("alert").filter(has_text="Nothing was saved.")
        expect(summary).to_contain_text("Back up: Time: Enter a time from 00:00 to 23:59")
        expect(time).to_be_focused()
        expect(time).to_have_attribute("aria-invalid", "true")
        expect(back_up.get_by_role("checkbox", name="Saturday")).not_to_be_checked()

        page.keyboard.type("1115PM")
        expect(time).to_have_value("23:15")
        enter(page)
        expect(page.get_by_text("Saved. Back up: from Monday to Friday at 23:15, before every day")).to_be_visible()
        expect(back_up).to_contain_text("From Monday to Friday at 23:15")
        expect(back_up).to_contain_text(re.compile(r"(today|tonight|tomorrow|on \w+) at 23:15, in \d+"))
        # From Friday evening to Monday evening is longer than the limit for alerts.
        expect(page.get_by_text("Up to 72 hours pass between two backups")).to_be_visible()

        test = card(page, "Restore test")
        for text in ("Off", "On Sunday at 03:30"):
            skip(page)
            press(page, test.get_by_role("switch"), "Space")
            enter(page)
            expect(test.locator("dd").first).to_have_text(text)

        skip(page)
        press(page, page.get_by_role("button", name="Run now: Back up"), "Enter")
        page.wait_for_url("**/admin/ops/run/**/change/")
        wait_until_finished(page)
        run = page.url
        page.goto(SCHEDULES)
        expect(back_up).to_contain_text(re.compile(r"Last run\s+succeeded\s+\d{4}-\d\d-\d\d \d\d:\d\d, [^,]+ s"))
        expect(back_up).to_contain_text("requested by ada@example.com")
        skip(page)
        tab_to(page, back_up.get_by_role("link"))
        enter(page)
        assert page.url == run

        page.goto(SCHEDULES)
        skip(page)
        tab_to(page, page.get_by_role("button", name="Back to the default: Back up"))
        enter(page)
        expect(back_up).to_contain_text("Every day at 02:00")
        expect(page.get_by_text("hours pass between two backups")).to_have_count(0)


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_enter_in_a_field_saves(site: Site) -> None:
    """The first button of the form is not that of a default."""
    with site.page() as page:
        site.sign_in(page)
        page.goto(SCHEDULES)
        for time in ("04:30", "05:30"):
            page.locator("#id_prune-time").fill(time)
            with page.expect_navigation():
                page.locator("#id_prune-time").press("Enter")
            expect(card(page, "Prune backups")).to_contain_text(f"Every day at {time}")


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_page_with_mistakes_and_a_warning_fits_and_has_no_axe_violations(site: Site) -> None:
    with site.page() as page:
        site.sign_in(page)
        page.goto(SCHEDULES)
        page.locator("#id_back_up-enabled").uncheck()
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_text("No backup will be made by schedule: Back up is off.")).to_be_visible()
        page.locator("#id_prune-time").fill("")
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_role("alert").filter(has_text="Nothing was saved.")).to_be_visible(timeout=TIMEOUT)
        page.evaluate(AXE.read_text())
        for width, scheme in LOOKS:
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            page.evaluate("dark => document.documentElement.classList.toggle('dark', dark)", scheme == "dark")
            page.wait_for_timeout(300)  # transitions
            assert serious(page) == [], f"{scheme}, {width} pixels wide"
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, f"{width} pixels wide"


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_viewer_sees_the_page_without_a_form(site: Site) -> None:
    with site.page(width=390, scheme="dark") as page:
        site.sign_in(page, "vera@example.com")
        page.goto(SCHEDULES)
        expect(card(page, "Restore test")).to_contain_text("On Sunday at 03:30")
        main = page.locator("#content, main").last
        expect(main.get_by_role("button")).to_have_count(0)
        expect(main.locator("input:visible, select:visible")).to_have_count(0)
        page.evaluate(AXE.read_text())
        assert serious(page) == []
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
