"""The drawing of a rack, as SVG text."""

import xml.etree.ElementTree as ET

import pytest

from homerack.inventory.elevation import (
    Elevation,
    MountedDevice,
    draw,
    find_gaps,
    legend,
    luminance,
    readable_on,
    safe_color,
    shorten,
)

SVG = "{http://www.w3.org/2000/svg}"


def rack(*devices: MountedDevice, height_u: int = 10, name: str = "Main") -> Elevation:
    return Elevation(name=name, height_u=height_u, devices=devices)


def texts(elevation: Elevation, kind: str) -> list[str]:
    """The words of that class in the drawing, which must be well-formed."""
    found = ET.fromstring(draw(elevation)).iter(f"{SVG}text")
    return [element.text or "" for element in found if element.get("class") == kind]


def test_units_are_numbered_on_both_rails() -> None:
    numbers = texts(rack(height_u=3), "rack-number")
    assert numbers == ["1", "1", "2", "2", "3", "3"]


def test_units_count_from_the_bottom() -> None:
    low = MountedDevice(name="low", start_u=1, height_u=1)
    high = MountedDevice(name="high", start_u=10, height_u=1)
    blocks = [
        element
        for element in ET.fromstring(draw(rack(low, high))).iter(f"{SVG}rect")
        if element.get("class") == "rack-device"
    ]
    assert [float(block.get("y", 0)) for block in blocks] == [191, 11]


def test_a_device_of_two_units_is_twice_as_tall() -> None:
    drawn = ET.fromstring(draw(rack(MountedDevice(name="nas", start_u=4, height_u=2))))
    (block,) = (element for element in drawn.iter(f"{SVG}rect") if element.get("class") == "rack-device")
    assert (block.get("height"), block.get("y")) == ("38", "111")


def test_device_links_to_its_page() -> None:
    drawn = ET.fromstring(draw(rack(MountedDevice(name="nas", start_u=1, height_u=1, url="/device/7/?a=1&b=2"))))
    assert [link.get("href") for link in drawn.iter(f"{SVG}a")] == ["/device/7/?a=1&b=2"]


def test_device_without_url_has_no_link() -> None:
    assert "<a " not in draw(rack(MountedDevice(name="nas", start_u=1, height_u=1)))


def test_names_are_escaped() -> None:
    evil = '"><script>alert(1)</script>&'
    device = MountedDevice(name=evil, kind=evil, type_name=evil, color=evil, start_u=1, height_u=1, url='"onload="x')
    svg = draw(rack(device, name=evil))
    assert "<script" not in svg
    assert texts(rack(device), "rack-name") == [evil]
    assert ET.fromstring(svg).get("aria-label") == f"Front of {evil}, 10 units, 1 device. U1: {evil}"


def test_long_name_is_shortened_and_complete_in_the_title() -> None:
    name = "long " * 40
    device = MountedDevice(name=name.strip(), start_u=1, height_u=1)
    wide, narrow = texts(rack(device), "rack-name is-wide"), texts(rack(device), "rack-name is-narrow")
    for (shown,), length in ((wide, 60), (narrow, 45)):
        assert shown.endswith("…")
        assert len(shown) < length
    assert f"<title>{name.strip()}, U1</title>" in draw(rack(device))


def test_drawing_has_an_aria_label() -> None:
    drawn = ET.fromstring(draw(rack(MountedDevice(name="nas", start_u=2, height_u=1.5), height_u=4)))
    assert (drawn.get("role"), drawn.get("aria-label")) == ("group", "Front of Main, 4 units, 1 device. U2 to U3: nas")
    assert ET.fromstring(draw(rack())).get("aria-label") == "Front of Main, 10 units, no devices"


def test_gaps_show_their_free_units() -> None:
    devices = [MountedDevice(name="a", start_u=2, height_u=2), MountedDevice(name="b", start_u=6, height_u=0.5)]
    assert find_gaps(rack(*devices)) == [(1, 1), (4, 2), (7, 4)]
    assert texts(rack(*devices), "rack-free") == ["1 U free", "2 U free", "4 U free"]


def test_a_full_rack_has_no_free_space() -> None:
    assert texts(rack(MountedDevice(name="all", start_u=1, height_u=10)), "rack-free") == []


@pytest.mark.parametrize("height", [1, 10, 48])
def test_drawing_is_as_tall_as_the_rack(height: int) -> None:
    assert ET.fromstring(draw(rack(height_u=height))).get("viewBox") == f"0 0 460 {height * 20 + 20}"


def test_drawing_of_an_absurdly_tall_rack_is_limited() -> None:
    assert len(texts(rack(height_u=2_000_000), "rack-number")) == 200


def test_a_locked_device_has_a_padlock() -> None:
    svg = draw(rack(MountedDevice(name="ups", start_u=1, height_u=1, locked=True)))
    assert 'class="rack-lock"' in svg
    assert "<title>ups, U1 (locked)</title>" in svg


def test_flat_device_has_a_title_but_no_label() -> None:
    half = MountedDevice(name="half", start_u=1, height_u=0.5)
    assert texts(rack(half), "rack-name") == []
    assert "<title>half, U1</title>" in draw(rack(half))


def test_smaller_of_overlapping_devices_is_on_top() -> None:
    small, large = (
        MountedDevice(name="small", start_u=2, height_u=1),
        MountedDevice(name="large", start_u=1, height_u=4),
    )
    assert texts(rack(small, large), "rack-name") == ["large", "small"]


@pytest.mark.parametrize(
    ("color", "painted"),
    [("#2563eb", "#2563EB"), ("#fc0", "#FFCC00"), (None, "#64748B"), ("red", "#64748B"), ("#12345", "#64748B")],
)
def test_colours_are_hexadecimal_or_grey(color: str | None, painted: str) -> None:
    assert safe_color(color) == painted


@pytest.mark.parametrize("color", ["#FFFFFF", "#000000", "#FCD34D", "#3B82F6", "#808080", "#10B981", "#EF4444"])
def test_labels_have_contrast_on_every_colour(color: str) -> None:
    darker, lighter = sorted((luminance(color), luminance(readable_on(color))))
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


def test_wide_characters_count_twice() -> None:
    assert shorten("サーバー室", 10) == "サーバー室"
    assert shorten("サーバー室", 9) == "サーバー…"
    assert shorten("two\n lines", 20) == "two lines"


def test_legend_begins_with_the_most_frequent_type_and_continues_in_the_order_of_the_alphabet() -> None:
    types = ("Zebra", "apple", "Switch", "Switch")
    found = legend(MountedDevice(name="a", start_u=1, height_u=1, type_name=name) for name in types)
    assert [(name, number) for name, _, number in found] == [("Switch", 2), ("apple", 1), ("Zebra", 1)]
