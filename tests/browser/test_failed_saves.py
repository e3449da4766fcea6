"""A form that was not saved: what users see first, and where the keyboard is."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Site

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("site", ["sqlite"], indirect=True)]

WIDTHS = (1440, 1024, 390)
BUTTONS = 64
"""Height in pixels of the row of buttons that stays at the end of wide windows."""


@pytest.fixture(scope="module")
def page(site: Site) -> Iterator[Page]:
    with site.page() as page:
        site.sign_in(page)
        yield page


def save(page: Page) -> Locator:
    """Try to save; the list of mistakes."""
    page.get_by_role("button", name="Save", exact=True).click()
    mistakes = page.get_by_role("alert")
    expect(mistakes).to_contain_text("Nothing was saved.")
    return mistakes


def is_in_view(element: Locator) -> bool:
    """Whether it is whole in the window, above the row of buttons."""
    box, size = element.bounding_box(), element.page.viewport_size
    assert box
    assert size
    bottom = size["height"] - (BUTTONS if size["width"] >= 1024 else 0)
    return box["y"] >= 0 and box["y"] + box["height"] <= bottom and box["x"] + box["width"] <= size["width"]


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
def test_mistakes_and_first_bad_field_are_in_view(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    for path, field in (("rack/1/change", "Name"), ("device/add", "Name"), ("brand/add", "Name")):
        page.goto(f"/admin/inventory/{path}/")
        name = page.get_by_label(field, exact=False).first
        name.fill("")
        mistakes = save(page)
        expect(name).to_be_focused()
        assert is_in_view(mistakes), path
        assert is_in_view(name), path
        expect(name).to_have_attribute("aria-invalid", "true")
        expect(name).to_have_accessible_description("This field is required.")


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
def test_bad_field_in_a_row_is_scrolled_into_view(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.goto("/admin/inventory/rack/1/change/")
    unit = page.locator("#id_positions-8-start_u")
    unit.fill("999")
    save(page)
    expect(unit).to_be_focused()
    assert is_in_view(unit)
    assert is_in_view(page.locator("#id_positions-8-start_u_error"))


@pytest.mark.slow
def test_bad_field_in_a_folded_part_is_opened(page: Page) -> None:
    page.goto("/admin/inventory/rack/1/change/")
    capacity = page.get_by_label("Cooling capacity (BTU/h)")
    page.get_by_role("heading", name="Cooling").click()
    capacity.fill("-1")
    save(page)
    expect(capacity).to_be_focused()
    assert is_in_view(capacity)


@pytest.mark.slow
def test_links_open_folded_parts_and_tabs(page: Page) -> None:
    page.goto("/admin/inventory/rack/1/change/")
    page.get_by_role("heading", name="Cooling").click()
    page.get_by_label("Cooling capacity (BTU/h)").fill("-1")
    page.locator("#id_positions-0-start_u").fill("999")
    mistakes = save(page)
    page.locator("details").evaluate("details => details.open = false")
    mistakes.get_by_role("link", name=re.compile("Cooling capacity")).press("Enter")
    expect(page.get_by_label("Cooling capacity (BTU/h)")).to_be_focused()

    page.evaluate(
        """() => {  // unfold can show the rows in a tab
            const rows = document.querySelector("#positions-group");
            rows.style.display = "none";
            document.body.insertAdjacentHTML("beforeend", '<nav id="tabs-items"><a href="#positions">Rows</a></nav>');
            document.querySelector("#tabs-items a").addEventListener("click", () => (rows.style.display = ""));
        }"""
    )
    mistakes.get_by_role("link", name=re.compile("row 1")).click()
    expect(page.locator("#id_positions-0-start_u")).to_be_focused()


def test_box_of_a_list_that_is_searched_is_focused_and_described(page: Page) -> None:
    """Its <select>, which has the mistake, is hidden."""
    page.goto("/admin/inventory/cable/add/")
    mistakes = save(page)
    box = page.locator(".field-from_device .select2-selection")
    expect(box).to_be_focused()
    expect(box).to_have_attribute("aria-invalid", "true")
    expect(box).to_have_accessible_description("This field is required.")
    mistakes.get_by_role("link", name=re.compile("To device")).click()
    expect(page.locator(".field-to_device .select2-selection")).to_be_focused()


def test_link_to_a_group_of_checkboxes_focuses_the_first(page: Page) -> None:
    page.goto("/admin/auth/group/add/")
    page.locator("input[name=permissions]").first.evaluate("box => { box.value = 0; box.checked = true; }")
    mistakes = save(page)
    mistakes.get_by_role("link", name=re.compile("Permissions")).click()
    expect(page.locator("input[name=permissions]").first).to_be_focused()
