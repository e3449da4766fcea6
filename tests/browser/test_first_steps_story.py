"""A stranger removes the demo lab, and begins an inventory: on a phone, with the keyboard alone."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Site
from tests.browser.page_checks import LOOKS, faults_of

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("site", ["sqlite"], indirect=True)]

TIMEOUT = 30_000
"""Milliseconds."""
PHONE = {"width": 390, "height": 844}
MAX_TABS = 80


def tab_to(page: Page, wanted: Locator) -> None:
    for _ in range(MAX_TABS):
        if wanted.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not reach {wanted}.")


def press(page: Page, wanted: Locator) -> None:
    tab_to(page, wanted)
    page.keyboard.press("Enter")


def type_into(page: Page, **fields: str) -> None:
    """In the order of the form, each reached by Tab."""
    for name, text in fields.items():
        tab_to(page, page.locator(f"#id_{name}"))
        page.keyboard.press("Control+A")
        page.keyboard.type(text)


def choose_rack(page: Page, name: str) -> None:
    tab_to(page, page.locator("#id_rack + .select2 .select2-selection"))
    page.keyboard.press("Enter")
    expect(page.locator(".select2-search__field").last).to_be_focused(timeout=TIMEOUT)
    page.keyboard.type(name)
    expect(page.get_by_role("option", name=name).first).to_be_visible(timeout=TIMEOUT)
    page.keyboard.press("Enter")


def save(page: Page) -> None:
    press(page, page.get_by_role("button", name="Save", exact=True))


def step(page: Page, title: str) -> Locator:
    return page.locator(".lab-steps li").filter(has_text=title)


def remove_demo(page: Page) -> None:
    page.goto("/admin/")
    press(page, page.get_by_role("link", name="Remove the demo lab…"))
    expect(page.get_by_role("heading", name="Remove the demo lab")).to_be_visible()
    expect(page.get_by_text("40 devices")).to_be_visible()
    press(page, page.get_by_role("button", name="Delete the demo lab"))
    expect(page.get_by_text("Deleted the demo lab: 9 device types")).to_be_visible(timeout=TIMEOUT)


@pytest.mark.slow
def test_inventory_is_begun_after_the_demo_lab_was_removed(site: Site) -> None:
    with site.page(**PHONE) as page:
        site.sign_in(page, path="/admin/")
        remove_demo(page)
        assert faults_of(page, LOOKS) == []
        page.set_viewport_size(PHONE)  # type: ignore[arg-type]

        press(page, step(page, "Add a rack").get_by_role("link"))
        page.wait_for_url("**/rack/add/")
        type_into(page, name="Cellar", total_height_u="12")
        save(page)
        expect(page.get_by_text("was added successfully")).to_be_visible(timeout=TIMEOUT)

        page.goto("/admin/inventory/device/")
        expect(step(page, "Add a rack")).to_contain_text("Done")
        press(page, step(page, "Add a device").get_by_role("link", name="Add a device"))
        page.wait_for_url("**/device/add/")
        assert faults_of(page, LOOKS) == []
        page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        type_into(page, custom_name="nas", brand="Synology", product="DS920+", height_u="3")
        choose_rack(page, "Cellar")
        type_into(page, start_u="11")
        save(page)
        lines = page.get_by_role("alert").get_by_role("listitem")
        mistakes = [
            "Type: Enter the type of the new model.",
            "Lowest unit: nas would reach up to U13; Cellar ends at U12.",
        ]
        expect(lines).to_have_text(mistakes, timeout=TIMEOUT)
        expect(page.locator("#id_device_type")).to_be_focused()
        type_into(page, device_type="Storage", start_u="1")
        save(page)
        added = "Also added: the brand Synology, the device type Storage, the model Synology DS920+."
        expect(page.get_by_text(added)).to_be_visible(timeout=TIMEOUT)
        page.goto("/admin/")
        expect(page.locator(".lab-steps")).to_have_count(0)
        expect(page.get_by_role("link", name="Remove the demo lab…")).to_have_count(0)


@pytest.mark.slow
def test_catalogue_fills_in_what_it_knows_and_copies_are_numbered(site: Site) -> None:
    """After the first story."""
    with site.page() as page:
        site.sign_in(page, path="/admin/inventory/device/")
        page.get_by_role("link", name="nas", exact=True).click()
        page.get_by_role("link", name="Duplicate").click()
        page.wait_for_url("**/device/add/?copy_of=*")
        expect(page.locator("#id_custom_name")).to_have_value("nas-02")
        expect(page.locator("#id_product")).to_have_value("DS920+")
        expect(page.locator("#id_device_type")).to_have_value("Storage", timeout=TIMEOUT)
        expect(page.locator("#id_height_u")).to_have_value("3")

        page.locator("#id_product").fill("DS1522+")
        page.keyboard.press("Tab")
        expect(page.locator("#id_device_type")).to_have_value("")
        page.locator("#id_product").fill("ds920+")
        page.keyboard.press("Tab")
        expect(page.locator("#id_device_type")).to_have_value("Storage")

        page.locator("#id_number").fill("2")
        choose_rack(page, "Cellar")
        page.locator("#id_start_u").fill("4")
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_text("1 more device: nas-03")).to_be_visible(timeout=TIMEOUT)
        page.goto("/admin/inventory/rack/")
        page.get_by_role("link", name="Cellar", exact=True).click()
        drawing = page.locator("svg.rack-elevation")
        expect(drawing).to_have_attribute("aria-label", re.compile("U7 to U9: nas-03; U4 to U6: nas-02; U1 to U3: nas"))


@pytest.mark.slow
def test_two_devices_of_one_name_are_marked_and_told_apart(site: Site) -> None:
    """After the other stories."""
    with site.page() as page:
        site.sign_in(page, path="/admin/inventory/device/add/")
        for name, value in (("custom_name", "nas"), ("brand", "Synology"), ("product", "DS920+")):
            page.locator(f"#id_{name}").fill(value)
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_text("2 devices are named nas: Cellar, U1; not in a rack.")).to_be_visible(timeout=TIMEOUT)
        expect(page.get_by_text("Another device has this name")).to_have_count(2)
        assert faults_of(page, LOOKS) == []
        page.goto("/admin/inventory/cable/add/")
        page.locator("#id_from_device + .select2 .select2-selection").click()
        page.locator(".select2-search__field").last.fill("nas")
        options = page.get_by_role("option")
        expect(options.filter(has_text=re.compile(r"^nas \("))).to_have_text(
            ["nas (Cellar, U1)", "nas (not in a rack)"], timeout=TIMEOUT
        )
