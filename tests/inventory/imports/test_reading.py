"""Device types of NetBox's public library: what is taken of a file, and what is refused."""

from collections import Counter

import pytest

from homerack.inventory.imports.device_types import reading
from homerack.inventory.imports.device_types.reading import Found, SourceFile, read_device_types
from homerack.inventory.imports.device_types.sources import files_in
from homerack.inventory.imports.refusals import Refused
from tests.inventory.imports.support import (
    PDU,
    SWITCH,
    device_type,
    found,
    public_files,
    read,
    refusals,
)


def test_every_field_that_the_inventory_has_is_taken() -> None:
    assert found(SWITCH) == Found(
        source="1.yaml",
        line=2,
        manufacturer="Acme Networks",
        model="AX-24",
        part_number="0123",
        height_u=1,
        weight_kg=1.133981,
        power_watts=80,
        airflow="front-to-rear",
        ports={"1000base-t": 2, "10gbase-x-sfpp": 1, "console rj-45": 1, "power iec-60320-c14": 2},
        description="A switch\n\n[Data sheet](https://acme.example/ax-24)",
        guessed_type="Switch",
    )


@pytest.mark.parametrize("text", ["0123", "1:30", "1e3", "0x10", "2024-01-01", "yes", "1_000", "“"])
def test_a_name_is_the_text_of_the_file(text: str) -> None:
    assert found(device_type(model=text)).model == text


@pytest.mark.parametrize(
    ("fields", "height"),
    [
        ({"u_height": "0"}, 0),
        ({"u_height": "0.5"}, 0.5),
        ({"u_height": "1.0"}, 1),
        ({"u_height": "42"}, 42),
        ({}, None),
        ({"subdevice_role": "child"}, 0),
        ({"subdevice_role": "parent"}, None),
        ({"subdevice_role": "child", "u_height": "1"}, 1),
    ],
)
def test_height(fields: dict[str, str], height: float | None) -> None:
    assert found(device_type(**fields)).height_u == height


@pytest.mark.parametrize(("unit", "kilograms"), [("kg", 3.0), ("g", 0.003), ("lb", 1.360777), ("oz", 0.085049)])
def test_weight_is_converted_to_kilograms(unit: str, kilograms: float) -> None:
    assert found(device_type(weight=3, weight_unit=unit)).weight_kg == kilograms


@pytest.mark.parametrize(
    ("ports", "watts"),
    [
        ("[]", None),
        ("[{name: a, type: other}]", None),
        ("[{name: a, type: other, maximum_draw: 40}, {name: b, type: other, maximum_draw: 20}]", 60),
        ("[{name: a, type: other, maximum_draw: 40, allocated_draw: 9}, {name: b, type: other}]", 40),
        ("[{name: a, type: other, maximum_draw: null, allocated_draw: 9}]", 9),
    ],
)
def test_power_is_the_sum_of_what_the_power_ports_draw(ports: str, watts: float | None) -> None:
    assert found(device_type(power_ports=ports)).power_watts == watts


def test_the_power_of_a_device_that_feeds_others_is_unknown() -> None:
    strip = found(PDU)
    assert strip.power_watts is None
    assert strip.ports == {"power iec-60320-c20": 1, "outlet iec-60320-c13": 2}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (PDU, "PDU"),
        (PDU.replace("u_height: 0", "u_height: 1"), "Other"),
        (PDU.replace("Strip 2", "Smart-UPS 1500"), "UPS"),
        (PDU.replace("u_height: 0", "comments: Rack PDU, Metered, for a UPS"), "UPS"),
        (PDU.replace("u_height: 0", "comments: Rack PDU, Switched"), "PDU"),
        (device_type(model="PowerEdge R730"), "Server"),
        (device_type(model="Acme console server"), "Other"),
        (device_type(**{"console-server-ports": f"[{'{name: a, type: rj-45},' * 4}]"}), "Console server"),
        (device_type(manufacturer="MikroTik", model="CCR2004-1G-12S+2XS"), "Router"),
        (device_type(manufacturer="Synology", model="Synology RS1221+"), "Storage"),
        (device_type(manufacturer="Acme", model="Not a Synology RS1221+"), "Other"),
        (PDU.replace("Strip 2", "ATS 7").replace("u_height: 0", "u_height: 1"), "PDU"),
        (device_type(interfaces="[{name: a, type: ieee802.11ax}, {name: b, type: 1000base-t}]"), "Access point"),
        (device_type(interfaces="[{name: a, type: ieee802.11ax}, {name: b, type: ieee802.15.1}]"), "Other"),
        (device_type(interfaces=f"[{{name: a, type: ieee802.11n}}, {'{name: b, type: 1000base-t},' * 4}]"), "Router"),
        (device_type(interfaces="[{name: a, type: xdsl}, {name: b, type: 1000base-t}]"), "Router"),
        (device_type(interfaces=f"[{'{name: a, type: gpon},' * 8}]"), "Other"),
        (device_type(comments="'[a](https://acme.example/firewall/switch)'"), "Other"),
        (device_type(comments="'A firewall\n\n\n\n  and a switch'"), "Firewall"),
        (device_type(interfaces=f"[{'{name: a, type: 1000base-t},' * 16}]"), "Switch"),
        (device_type(interfaces=f"[{'{name: a, type: 1000base-t},' * 15}]"), "Other"),
        (device_type(interfaces=f"[{'{name: a, type: virtual},' * 16}]"), "Other"),
        (device_type(**{"front-ports": "[{name: a, type: 8p8c, rear_port: b}]"}), "Patch panel"),
    ],
)
def test_the_kind_of_device_is_guessed_from_clear_facts(text: str, kind: str) -> None:
    assert found(text).guessed_type == kind


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("", "1.yaml: The file is empty."),
        ("---\n---\n", "1.yaml: The file is empty."),
        ("- a", "1.yaml, line 1: This is not a device type: it has no fields, such as manufacturer."),
        ("model: a", "1.yaml, line 1, manufacturer: This field is missing or empty."),
        ("manufacturer: a\nmodel: ''", "1.yaml, line 2, model: This field is missing or empty."),
        ("manufacturer: a\nmodel: ~", "1.yaml, line 2, model: This field is missing or empty."),
        (device_type(model="[a]"), "1.yaml, line 2, model: This field has one value."),
        (device_type(model="x" * 201), "1.yaml, line 2, model: The text has more than 200 characters."),
        (device_type(model='"a\\0b"'), "1.yaml, line 2, model: “a�b” has characters that cannot be shown."),
        (device_type(model='"a\\nb"'), "1.yaml, line 2, model: “a b” has characters that cannot be shown."),
        (device_type(u_heigth=2), "1.yaml, line 3, u_heigth: Device types have no field of this name."),
        (device_type(u_height="two"), "1.yaml, line 3, u_height: “two” is not a number."),
        (device_type(u_height="1e1"), "1.yaml, line 3, u_height: “1e1” is not a number."),
        (device_type(u_height="-1"), "1.yaml, line 3, u_height: “-1” is not between 0 and 100."),
        (device_type(u_height=0.7), "1.yaml, line 3, u_height: Heights are whole or half units, such as 1 or 1.5."),
        (device_type(weight=1), "1.yaml, line 3, weight: A weight needs a weight_unit: kg, g, lb, oz."),
        (device_type(weight_unit="st"), "1.yaml, line 3, weight_unit: “st” is none of kg, g, lb, oz."),
        (device_type(interfaces=4), "1.yaml, line 3, interfaces: This field is a list of ports."),
        (device_type(interfaces="{a: 1}"), "1.yaml, line 3, interfaces: This field is a list of ports."),
        (
            device_type(interfaces="[a]"),
            "1.yaml, line 3, interfaces: Each port of this list has fields, such as name and type.",
        ),
        (device_type(interfaces="[{name: a}]"), "1.yaml, line 3, type: This field is missing or empty."),
        (
            device_type(interfaces="[{type: console rj-45}]"),
            "1.yaml, line 3, type: “console rj-45” is no type of ports, such as 1000base-t.",
        ),
        (
            device_type(power_ports="[{type: other, maximum_draw: a lot}]"),
            "1.yaml, line 3, maximum_draw: “a lot” is not a number.",
        ),
        ("a: 1\nb: 2\na: 3", "1.yaml, line 3, a: The field is there twice: first in line 1."),
        ("a: &x [1]\nb: *x", "1.yaml, line 2: Device types have no aliases (*). Write the values again."),
        (
            "a: !!python/object/apply:os.system [ls]",
            "1.yaml, line 1: Device types have no tags, such as “tag:yaml.org,2002:python/object/apply:os.system”.",
        ),
        ("? [a]\n: b", "1.yaml, line 1: The name of a field is a text."),
        ("a: b\nc", "1.yaml, line 3: This is not YAML: while scanning a simple key, could not find expected ':'."),
        (b"a: b\nc: \xe9\n", "1.yaml, line 2: The file is not text in UTF-8. Save it in this encoding."),
        (b"a: b\nc: \x07\n", "1.yaml, line 2: This character is not allowed in YAML."),
        (
            "manufacturer: a\n".encode("utf-16"),
            "1.yaml, line 1: The file is not text in UTF-8. Save it in this encoding.",
        ),
        (b"[" * 20, "1.yaml, line 1: There are more than 10 levels of nesting."),
        (
            b"[" * 900_000,
            "1.yaml, line 1: This is not YAML: while increasing flow level, exceeded maximum nesting depth.",
        ),
        (b"- " * 400_000, "1.yaml, line 1: There are more than 10 levels of nesting."),
        (b"a: [" + b"1," * 300_000, "1.yaml, line 1: There are more than 50,000 values."),
        (b"#" * 1_000_001, "1.yaml: The file is larger than 1 MB."),
    ],
)
def test_a_fault_is_named_with_line_field_and_reason(text: str | bytes, refusal: str) -> None:
    assert refusals(text) == [refusal]


def test_all_faults_of_a_file_are_named_in_the_order_of_their_lines() -> None:
    assert refusals(device_type(manufacturer=None, u_height="x", airflow="up", weight="1", weight_unit="t")) == [
        "1.yaml, line 1, manufacturer: This field is missing or empty.",
        "1.yaml, line 2, u_height: “x” is not a number.",
        f"1.yaml, line 3, airflow: “up” is none of {', '.join(reading.AIRFLOWS)}.",
        "1.yaml, line 5, weight_unit: “t” is none of kg, g, lb, oz.",
    ]


def test_of_many_faults_the_first_are_named() -> None:
    *named, last = refusals(device_type(interfaces=f"[{'x,' * 1000}]"))
    assert len(named) == 20
    assert last == "1.yaml: The file has 980 more faults."


def test_aliases_that_would_multiply_are_refused() -> None:
    levels = "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(9))
    assert refusals(f"a0: &a0 [lol]\n{levels}") == [
        "1.yaml, line 2: Device types have no aliases (*). Write the values again."
    ]


def test_a_file_may_have_several_device_types_and_a_byte_order_mark() -> None:
    texts = "---\n".join([device_type(model="A"), "", device_type(model="B", u_height=-1), device_type(model="C")])
    first, second, third = read(texts.encode("utf-8-sig"))
    assert [isinstance(first, Found) and first.model, isinstance(third, Found) and third.model] == ["A", "C"]
    assert str(second) == "1.yaml, line 7, u_height: “-1” is not between 0 and 100."


def test_the_device_types_before_broken_yaml_are_read() -> None:
    first, second = read(device_type() + "---\na: [")
    assert isinstance(first, Found)
    assert str(second).startswith("1.yaml, line 5: This is not YAML: ")


def test_a_model_is_read_once() -> None:
    first, second = read(device_type(), device_type(manufacturer="ACME", u_height=2))
    assert isinstance(first, Found)
    assert str(second) == "2.yaml, line 1, model: This model was already read from 1.yaml, line 1."


def test_reading_ends_at_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    end = "This file and those after it were not read: there are more than"
    monkeypatch.setattr(reading, "MAX_FILES", 2)
    *_, last = read(*(device_type(model=name) for name in "abcd"))
    assert str(last) == f"3.yaml: {end} 2 files. Import fewer at a time."
    monkeypatch.setattr(reading, "MAX_FILES", 20_000)
    monkeypatch.setattr(reading, "MAX_TOTAL_BYTES", 1_000_000)
    results = read(*[b"#" * 400_000] * 4)
    assert str(results[-1]) == f"3.yaml: {end} 1 MB. Import fewer at a time."
    assert len(results) == 3


def test_refused_sources_are_passed_on() -> None:
    refused = Refused(source="a.zip", reason="The archive is damaged.")
    assert read_device_types([refused, SourceFile(name="b.yaml", content=device_type().encode())])[0] is refused


def test_all_public_device_types_are_read() -> None:
    results = read_device_types(files_in(public_files()))
    assert [str(result) for result in results if isinstance(result, Refused)] == []
    types = [result for result in results if isinstance(result, Found)]
    assert len(types) == 810
    assert {"Dell", "Ubiquiti", "APC", "Raspberry Pi"} <= {each.manufacturer for each in types}
    kinds = Counter(each.guessed_type for each in types)
    assert kinds.most_common(3) == [("Switch", 231), ("Server", 100), ("Router", 83)]
    assert kinds["Other"] == 39
    known = {(each.manufacturer, each.model): each for each in types}
    assert known["Dell", "PowerEdge R730"].ports == {
        "1000base-t": 5,
        "console de-9": 1,
        "console other": 1,
        "power iec-60320-c14": 2,
    }
