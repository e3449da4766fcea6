"""Names of more than sixty characters in the inventory: nothing is cut, and no page is wider than its window."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Site

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("site", ["sqlite"], indirect=True)]

FILL = """
from homerack.inventory.models import *
name, words = "unbroken_" * 8, "A name of more than sixty characters that no column was ever made for"
kind = DeviceType.objects.create(name=name, slug="long", color="#aa3355", description=words)
brand = Brand.objects.create(name=name, slug="long", description=words, website="https://kestrel.example/" + name)
fields = {"brand": brand, "device_type": kind, "legacy_fields": {name: words}}
model = DeviceModel.objects.create(name=name, variant=words, height_u=2, **fields)
flat = DeviceModel.objects.create(name=words, brand=brand, device_type=kind, height_u=0.5)
rack = Rack.objects.create(name=name, location=name, total_height_u=12)
devices = [
    Device.objects.create(custom_name=label, model=hardware, serial_number=name, notes=name)
    for label, hardware in ((name, model), (words, model), (name + "2", flat))
]
for device, unit in zip(devices, (1, 5, 8)):
    RackPosition.objects.create(device=device, rack=rack, start_u=unit, locked=True)
cable = Cable.objects.create(from_device=devices[0], to_device=devices[1], from_port=name, to_port=words)
for row in (kind, brand, model, rack, devices[0], cable):
    print(f"{row._meta.model_name}/{row.pk}")
"""
CUT = """() => {
    const shown = (element) => element.checkVisibility({visibilityProperty: true}) && element.clientWidth > 1;
    const frames = (element) => {
        const found = [];
        for (let at = element.parentElement; at && at.id !== "main"; at = at.parentElement)
            if (getComputedStyle(at).overflowX !== "visible") found.push(at.getBoundingClientRect());
        return found;
    };
    const cut = (element) => {
        const box = element.getBoundingClientRect();
        return box.right > innerWidth + 1 || frames(element).some(
            (frame) => box.right > frame.right + 1 || box.bottom > frame.bottom + 1);
    };
    const shortened = (element) =>
        element.closest(".select2-container, .truncate") || (element.closest("[title]") && element.textContent.trim());
    const kinds = "[role=button], a, button, input, select, textarea, label, td, th, li, p, h2, text";
    return [...document.querySelectorAll(`#content :is(${kinds})`)]
        .filter((element) => shown(element) && !shortened(element) && cut(element))
        .map((element) => `${element.localName} ${element.className} ${element.textContent.trim().slice(0, 40)}`);
}"""
LOOKS = ((1440, "light"), (1024, "dark"), (390, "light"))
CAPITALS = """() => [...document.querySelectorAll("#content *, #header-inner *")]
    .filter((element) => getComputedStyle(element).textTransform !== "none")
    .filter((element) => [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim()))
    .map((element) => element.outerHTML)"""


@pytest.fixture(scope="module")
def rows(site: Site) -> list[str]:
    """``rack/4``, and others."""
    return site.shell(FILL).split()


@pytest.fixture(scope="module")
def page(site: Site) -> Iterator[Page]:
    with site.page() as page:
        site.sign_in(page)
        yield page


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["", "change/", "delete/"])
def test_pages_fit_their_window(page: Page, rows: list[str], kind: str) -> None:
    found = []
    for row in rows:
        path = f"/admin/inventory/{row}/{kind}" if kind else f"/admin/inventory/{row.partition('/')[0]}/"
        page.goto(path)
        for width, scheme in LOOKS:
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            page.wait_for_timeout(100)  # Alpine and simplebar measure again
            wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            found += [f"{path} at {width}: {wide} pixels too wide"] if wide > 0 else []
            found += [f"{path} at {width}: {element}" for element in page.evaluate(CUT)]
        # Badges have no capitals either.
        found += [f"{path}: {element}" for element in page.evaluate(CAPITALS)]
    assert found == []


@pytest.mark.parametrize(("width", "shown"), [(1440, ".is-wide"), (390, ".is-narrow")])
def test_name_in_the_drawing_ends_before_its_block(page: Page, rows: list[str], width: int, shown: str) -> None:
    (rack,) = (row for row in rows if row.startswith("rack/"))
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"/admin/inventory/{rack}/change/")
    names = page.locator(f".rack-name{shown}")
    assert names.count() == 2
    for name in names.all():
        block = name.locator("xpath=../*[@class='rack-device']").bounding_box()
        text = name.bounding_box()
        assert block
        assert text
        assert text["x"] + text["width"] < block["x"] + block["width"] - 16 * block["width"] / 372
