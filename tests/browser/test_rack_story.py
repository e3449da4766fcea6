"""A new user builds a rack, makes mistakes, and corrects each as its message says."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import PASSWORD, Site

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.parametrize("site", ["sqlite"], indirect=True)]

EDITOR = f"""
from django.contrib.auth.models import Group
from homerack.accounts.models import User
User.objects.create_user("edda@example.com", "{PASSWORD}", is_staff=True).groups.add(Group.objects.get(name="Editors"))
"""
MAX_TABS = 60
TIMEOUT = 30_000
"""Milliseconds."""


def sign_in(page: Page) -> None:
    page.goto("/admin/login/")
    page.get_by_label("E-mail address").fill("edda@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/")


def add(page: Page, kind: str, name: str) -> None:
    """Open the form from the sidebar, as those do who know no addresses."""
    page.get_by_role("link", name=kind, exact=True).first.click()
    page.get_by_title(f"Add {name}", exact=True).first.click()
    page.wait_for_url("**/add/**")


def field(page: Page, label: str) -> Locator:
    return page.get_by_label(re.compile(rf"^\s*{re.escape(label)}\W*$"))


def choose(page: Page, name: str, row: str) -> None:
    """Search for a row in the list of a field, and take it."""
    page.locator(f"#id_{name} + .select2 .select2-selection").click()
    page.locator(".select2-search__field").last.fill(row)
    page.get_by_role("option", name=row).first.click()


def save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()


def expect_mistakes(page: Page, *sentences: str) -> None:
    lines = page.get_by_role("alert").get_by_role("listitem")
    expect(lines).to_have_text(list(sentences), timeout=TIMEOUT)


def expect_added(page: Page, name: str) -> None:
    expect(page.get_by_text("was added successfully")).to_contain_text(name, timeout=TIMEOUT)


def retype(page: Page, bad: Locator, text: str) -> None:
    """The bad field has the focus already."""
    expect(bad).to_be_focused(timeout=TIMEOUT)
    page.keyboard.press("Control+A")
    page.keyboard.type(text)


def tab_to(page: Page, wanted: Locator) -> None:
    for _ in range(MAX_TABS):
        if wanted.evaluate("field => field === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError("Tab does not reach it.")


def make_brand_with_the_keyboard(page: Page) -> None:
    page.goto("/admin/inventory/brand/add/")
    name = page.locator("#id_name")
    tab_to(page, name)
    page.keyboard.press("Enter")
    expect_mistakes(page, "Name: This field is required.", "Short name: This field is required.")
    expect(name).to_be_focused()
    page.keyboard.type("Merlin")
    page.keyboard.press("Tab")
    expect(page.locator("#id_slug")).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type("merlin")
    page.keyboard.press("Enter")
    expect_added(page, "Merlin")


def make_catalogue(page: Page) -> None:
    add(page, "Device types", "device type")
    field(page, "Name").press_sequentially("nvr")
    expect(field(page, "Short name")).to_have_value("nvr")
    field(page, "Colour").fill("red")
    save(page)
    expect_mistakes(page, "Colour: Enter a colour such as #3B82F6.")
    retype(page, field(page, "Colour"), "#3B82F6")
    save(page)
    add(page, "Models", "model")
    choose(page, "brand", "Merlin")
    choose(page, "device_type", "nvr")
    field(page, "Name").fill("K8")
    field(page, "Height (U)").fill("-2")
    save(page)
    expect_mistakes(page, "Height (U): Enter 0 or a greater number.")
    retype(page, field(page, "Height (U)"), "2")
    save(page)
    expect_added(page, "Merlin K8")


def make_rack(page: Page) -> None:
    add(page, "Racks", "rack")
    field(page, "Name").fill("Garage")
    field(page, "Height (U)").fill("0")
    save(page)
    expect_mistakes(page, "Height (U): A rack has at least 1 U.")
    retype(page, field(page, "Height (U)"), "12")
    save(page)
    expect_added(page, "Garage")


def open_device_form(page: Page, unit: str) -> Locator:
    """The form of a Merlin K8 in the garage; the field of its unit."""
    add(page, "Devices", "device")
    field(page, "Brand").fill("Merlin")
    field(page, "Model").fill("K8")
    choose(page, "rack", "Garage")
    lowest = field(page, "Lowest unit")
    lowest.fill(unit)
    return lowest


def test_rack_is_built_although_each_form_has_a_mistake(site: Site) -> None:
    site.shell(EDITOR)
    with site.page() as page:
        sign_in(page)
        make_brand_with_the_keyboard(page)
        make_catalogue(page)
        make_rack(page)

        open_device_form(page, "5")
        page.locator("#id_custom_name").fill("camera-disk")
        save(page)
        expect_added(page, "camera-disk")

        unit = open_device_form(page, "0")
        save(page)
        expect_mistakes(page, "Name: This field is required.", "Lowest unit: The lowest unit is U1.")
        retype(page, page.locator("#id_custom_name"), "nvr-01")
        for typed, sentence in (
            ("6", "nvr-01 needs U6 to U7, but camera-disk is at U5 to U6."),
            ("12", "nvr-01 would reach up to U13; Garage ends at U12."),
        ):
            unit.fill(typed)
            save(page)
            expect_mistakes(page, f"Lowest unit: {sentence}")
        retype(page, unit, "7")
        save(page)
        expect_added(page, "nvr-01")

        page.get_by_role("link", name="Racks", exact=True).first.click()
        page.get_by_role("link", name="Garage", exact=True).click()
        drawing = page.locator("svg.rack-elevation")
        expect(drawing).to_have_attribute("aria-label", re.compile("U7 to U8: nvr-01; U5 to U6: camera-disk"))
        drawing.get_by_text("nvr-01", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("nvr-01")
