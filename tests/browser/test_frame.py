"""The frame around all pages, with the keyboard only: what a mouse reaches, the keyboard reaches too."""

from collections.abc import Iterable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Site
from tests.browser.page_checks import faults_of
from tests.support.slow import slow_except

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("site", ["sqlite"], indirect=True)]

SOME_PAGES = ("/admin/", "/admin/inventory/device/", "/admin/inventory/device/add/", "/admin/password_change/")
"""One of each kind: the dashboard, a list with filters, a form with menus of related rows, fields with an eye."""
FIND = """
const stops = 'a[href], button:not([disabled]), input:not([type=hidden]):not([disabled]), select, textarea, summary, ' +
    '[tabindex]:not([tabindex="-1"])';
const shown = element => element.getClientRects().length > 0 && getComputedStyle(element).visibility !== 'hidden';
const clickable = element =>
    [...element.attributes].some(({name}) => /^(x-on:|@)click(?!\\.(outside|window))/.test(name) || name === 'onclick')
    || (getComputedStyle(element).cursor === 'pointer' && getComputedStyle(element.parentElement).cursor !== 'pointer');
const name = element => {
    const copy = element.cloneNode(true);
    copy.querySelectorAll('[aria-hidden=true], .material-symbols-outlined').forEach(hidden => hidden.remove());
    return element.ariaLabel || element.title || copy.textContent.trim() || element.value || element.placeholder
        || [...(element.labels || [])].map(label => label.textContent.trim()).join('')
        || [...copy.querySelectorAll('img, [title]')].map(part => part.alt || part.title).join('')
        || element.getAttribute('aria-labelledby');
};
"""
WITHOUT_KEYBOARD = (
    """() => {"""
    + FIND
    + """
    const reached = element => element.matches(stops) || element.closest(stops)
        || [...element.querySelectorAll(stops)].some(shown) || (element.control && shown(element.control))
        || (!element.textContent.trim() && / = false$/.test(element.getAttribute('x-on:click')));
    return [...document.querySelectorAll('body *')].filter(element => shown(element) && clickable(element))
        .filter(element => !reached(element)).map(element => element.outerHTML.slice(0, 200));
}"""
)
"""Visible elements that react to a click, and neither are, contain nor belong to a stop of the Tab key.

What surrounds a sheet, and closes it, is not one: Escape does the same.
"""
WITHOUT_NAME = (
    """() => {"""
    + FIND
    + """
    return [...document.querySelectorAll(stops)].filter(element => shown(element) && !name(element))
        .map(element => element.outerHTML.slice(0, 200));
}"""
)
TOGGLES = "[aria-expanded][data-connected]:visible"
FOCUSED = "document.activeElement.outerHTML.slice(0, 200)"


def links(page: Page, selector: str) -> list[str]:
    found: list[str] = page.locator(selector).evaluate_all("links => links.map(link => link.getAttribute('href'))")
    return found


@pytest.fixture(scope="module")
def every_page(site: Site) -> list[str]:
    """The dashboard, each list of the sidebar with the page of its first row and its form, and pages of a user."""
    with site.page() as page:
        site.sign_in(page)
        page.goto("/admin/")
        found = [*SOME_PAGES]
        for address in links(page, "#nav-sidebar-apps a"):
            page.goto(address)
            found += [address, *links(page, "#result_list tbody a[href*='/change/']")[:1], *links(page, "a.addlink")]
    users = "/admin/accounts/user/1/"
    found += [f"{users}{name}/" for name in ("delete", "history")]
    return list(dict.fromkeys(address.partition("?")[0] for address in found))


def open_page(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_function("document.documentElement.dataset.alpine === 'ready'")


def check_names(page: Page) -> None:
    """One h1, which begins the page's title, and landmarks."""
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.get_by_role("main").count() == 1
    expect(page.locator("h1")).to_have_count(1)
    heading = page.locator("h1").inner_text()
    assert page.title().startswith(f"{heading} | ")
    assert not heading.startswith("Select")


def check_skip_link(page: Page) -> None:
    """The first stop, which leads to the content. A form may begin in its first field."""
    link = page.get_by_role("link", name="Skip to the content")
    if page.evaluate("document.activeElement === document.body"):
        page.keyboard.press("Tab")
    else:
        assert page.evaluate("document.querySelector('a, button, input').className") == "skip-link"
        link.focus()
    expect(link).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.id === 'content'")
    page.keyboard.press("Tab")
    assert page.evaluate("!document.activeElement.closest('#nav-sidebar')")


def check_stops(page: Page) -> None:
    """What a click reaches is a stop with a name, also in pop-ups, which work with the keyboard."""
    assert page.evaluate(WITHOUT_KEYBOARD) == []
    assert page.evaluate(WITHOUT_NAME) == []
    for toggle in page.locator(TOGGLES).all():
        if toggle.get_attribute("aria-label") == "Sidebar":  # a part of the page, which stays as it is
            continue
        check_popup(page, toggle)


def check_popup(page: Page, toggle: Locator) -> None:
    toggle.focus()
    for key in ("Enter", "Space"):
        page.keyboard.press(key)
        expect(toggle).to_have_attribute("aria-expanded", "true")
        expect(toggle).not_to_be_focused()
        assert page.evaluate(WITHOUT_KEYBOARD) == []
        assert page.evaluate(WITHOUT_NAME) == []
        page.keyboard.press("Escape")
        expect(toggle).to_have_attribute("aria-expanded", "false")
        expect(toggle).to_be_focused()


def check(page: Page, addresses: Iterable[str]) -> None:
    for address in addresses:
        try:
            open_page(page, address)
            check_names(page)
            check_skip_link(page)
            check_stops(page)
        except AssertionError as error:
            error.add_note(address)
            raise


@pytest.mark.slow
@pytest.mark.parametrize("width", [1440, 390])
def test_pages_can_be_used_with_the_keyboard(site: Site, width: int) -> None:
    with site.page(width=width) as page:
        site.sign_in(page)
        check(page, SOME_PAGES)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1440, 390])
def test_every_page_can_be_used_with_the_keyboard(site: Site, every_page: list[str], width: int) -> None:
    with site.page(width=width) as page:
        site.sign_in(page)
        check(page, every_page)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", slow_except(["light", "dark"], "dark"))
def test_focus_is_visible(site: Site, scheme: str) -> None:
    """By an outline of 2 pixels, of the stop itself or of the box of a field that it is in."""
    with site.page(scheme=scheme) as page:
        site.sign_in(page)
        for address in ("/admin/", "/admin/accounts/user/", "/admin/accounts/user/1/change/"):
            open_page(page, address)
            page.evaluate("document.activeElement.blur()")
            for _ in range(45):
                page.keyboard.press("Tab")
                if page.evaluate("document.activeElement === document.body"):
                    break  # behind the last stop
                ring = page.evaluate(
                    """() => {
                    let element = document.activeElement;
                    for (; element !== document.body; element = element.parentElement) {
                        const style = getComputedStyle(element);
                        if (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2) return style.outline;
                    }
                    return ''; }"""
                )
                assert ring, f"{address}: {page.evaluate(FOCUSED)}"


def test_theme_is_chosen_with_the_keyboard(site: Site) -> None:
    with site.page() as page:
        site.sign_in(page)
        page.locator("[x-on\\:click*=openUserLinks]").focus()
        page.keyboard.press("Enter")
        light, dark = (page.get_by_role("button", name=name, exact=True) for name in ("Light", "Dark"))
        expect(light).to_be_focused()
        page.keyboard.press("ArrowDown")
        expect(dark).to_be_focused()
        page.keyboard.press("Space")
        expect(dark).to_have_attribute("aria-pressed", "true")
        assert page.evaluate("document.documentElement.classList.contains('dark')")
        page.keyboard.press("End")
        expect(page.get_by_role("button", name="Log out")).to_be_focused()


def test_sidebar_of_a_phone_closes_after_a_choice_and_outside(site: Site) -> None:
    with site.page(width=390, height=844) as page:
        site.sign_in(page)
        menu, sidebar = page.get_by_role("button", name="Menu"), page.locator("#nav-sidebar")
        menu.click()
        expect(sidebar).to_be_visible()
        page.mouse.click(370, 500)
        expect(sidebar).to_be_hidden()
        menu.click()
        sidebar.get_by_role("link", name="Users").click()
        page.wait_for_url("**/accounts/user/")
        expect(sidebar).to_be_hidden()
        page.go_back()
        expect(page.locator("#nav-sidebar")).to_be_hidden()


def test_search_opens_a_result_with_the_keyboard(site: Site) -> None:
    """From any page, and announced: the field names the chosen result, and the status their number."""
    with site.page() as page:
        site.sign_in(page)
        open_page(page, "/admin/inventory/device/add/")
        page.keyboard.press("Control+k")
        field = page.get_by_role("combobox", name="Search everything")
        expect(field).to_be_focused()
        page.keyboard.type("nas")
        options = page.locator("#palette").get_by_role("option")
        expect(options.first).to_have_attribute("aria-selected", "true")
        expect(page.locator("#palette-status")).to_contain_text("Choose one with the arrow keys and Enter.")
        page.keyboard.press("ArrowDown")
        second = options.nth(1)
        expect(second).to_have_attribute("aria-selected", "true")
        expect(options.first).to_have_attribute("aria-selected", "false")
        expect(field).to_have_attribute("aria-activedescendant", second.get_attribute("id") or "none")
        expect(field).to_be_focused()
        address = second.get_attribute("href")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**{address}")


def test_search_closes_with_escape_and_returns_the_focus(site: Site) -> None:
    with site.page(width=390, height=844) as page:
        site.sign_in(page)
        page.get_by_role("button", name="Menu").click()
        button = page.locator("#palette-open")
        button.press("Enter")
        page.keyboard.type("no such thing")
        expect(page.locator("#palette-status")).to_have_text("Nothing matches “no such thing”.")
        expect(page.get_by_role("combobox", name="Search everything")).to_have_attribute("aria-expanded", "false")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        page.keyboard.press("Escape")
        if page.locator("#palette").is_visible():  # a browser empties a field of a search first
            page.keyboard.press("Escape")
        expect(page.locator("#palette")).to_be_hidden()
        expect(button).to_be_focused()


def test_enter_does_not_wait_for_the_results(site: Site) -> None:
    with site.page() as page:
        site.sign_in(page)
        page.keyboard.press("Control+k")
        page.keyboard.insert_text("schedules")
        page.keyboard.press("Enter")
        page.wait_for_url("**/schedules/")


@pytest.mark.slow
def test_search_has_no_faults(site: Site) -> None:
    with site.page() as page:
        site.sign_in(page)
        page.keyboard.press("Control+k")
        page.keyboard.type("a")
        expect(page.locator("#palette").get_by_role("option").first).to_be_visible()
        assert faults_of(page) == []


def test_row_of_a_form_is_removed_and_kept_with_the_keyboard(site: Site) -> None:
    with site.page() as page:
        site.sign_in(page)
        open_page(page, "/admin/inventory/device/1/change/")
        remove, notice = page.get_by_role("checkbox", name="Remove"), page.get_by_text("This item will be deleted.")
        remove.focus()
        page.keyboard.press("Space")
        expect(notice).to_be_visible()
        page.keyboard.press("Space")
        expect(notice).to_be_hidden()


@pytest.mark.slow
def test_form_on_a_phone_has_save_first_and_delete_last(site: Site) -> None:
    with site.page(width=390) as page:
        site.sign_in(page)
        open_page(page, "/admin/inventory/rack/1/change/")
        places = {
            name: page.locator("#submit-row").get_by_text(name, exact=True).bounding_box() or {}
            for name in ("Save", "Save and add another", "Delete rack")
        }
        assert list(places) == sorted(places, key=lambda name: places[name]["y"])
