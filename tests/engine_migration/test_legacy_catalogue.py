"""The two catalogues of HomeRack 1.0.1 become one: each device is as it was, and nothing is lost.

The tests compare a file with the rows that the migration copies from it. What the program itself computed is
written here once more, in Python.
"""

import contextlib
import json
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from homerack.inventory.legacy import FORMAT
from homerack.inventory.legacy_catalogue import PROPERTIES
from homerack.inventory.models.choices import AccessFrequency, Airflow, CableType, RoutingPath, Width
from ops.engine_migration.prepared import PreparedFile
from ops.engine_migration.source_sql import connect, rows_of
from ops.errors import PreconditionFailed
from tests.engine_migration import support
from tests.engine_migration.legacy_lab import REAL_FILE
from tests.inventory.test_legacy import SCHEMA

TYPED = SCHEMA.replace("(id,", "(id INTEGER PRIMARY KEY,")
Row = dict[str, Any]
Tables = dict[str, list[Row]]
CHOICES: dict[Any, str] = {
    member.name: member.value
    for choices in (Width, Airflow, AccessFrequency, CableType, RoutingPath)
    for member in choices  # type: ignore[attr-defined]
}
"""The values that HomeRack stores for the names of members."""


# --- A file and what is migrated of it ------------------------------------------------------------------------------
def write(path: Path, tables: Tables, schema: str = TYPED) -> Path:
    with support.opened(path) as connection:
        connection.executescript(schema)
    for name, rows in tables.items():
        support.put(path, name, *rows)
    return path


def read_file(path: Path) -> Tables:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        connection.text_factory = lambda stored: stored.decode(errors="surrogateescape")
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: [dict(row) for row in connection.execute(f"SELECT * FROM {name} ORDER BY rowid")] for name in names
        }


def read_migrated(ready: PreparedFile) -> Tables:
    """The rows that are copied into each table."""
    with contextlib.closing(connect(ready.snapshot)) as connection:
        connection.row_factory = sqlite3.Row
        found = {
            table.name: [dict(row) for row in connection.execute(f"SELECT * FROM {rows_of(table)}")]
            for table in ready.plan.tables
        }
    for rows in found.values():
        for row in rows:
            if "legacy_fields" in row:
                row["legacy_fields"] = json.loads(row["legacy_fields"] or "{}")
    return found


@contextlib.contextmanager
def migrated(tables: Tables, schema: str = TYPED) -> Iterator[tuple[PreparedFile, Tables, Tables]]:
    """The file with `tables` after the preflight, what is in it, and what is copied of it."""
    with tempfile.TemporaryDirectory() as directory:
        path = write(Path(directory, "lab.db"), tables, schema)
        with support.prepared(path, legacy=FORMAT) as ready:
            yield ready, read_file(path), read_migrated(ready)


# --- What HomeRack 1.0.1 computed -----------------------------------------------------------------------------------
def value_of(row: Row, name: str) -> Any:
    """A property as HomeRack stores it; None also for JSON's null."""
    value = row[name]
    if name == "typical_ports":
        return json.loads(value) if isinstance(value, str) and value.strip() != "null" else None
    return CHOICES.get(value, value) if name in ("width_type", "airflow_pattern") else value


def by_id(rows: Sequence[Row]) -> dict[Any, Row]:
    return {row["id"]: row for row in rows}


def properties_before(device: Row, file: Tables) -> Row:
    """Of the model, or else of the specification; and the watts that the device uses."""
    model = by_id(file["models"]).get(device["model_id"])
    specification = by_id(file["device_specifications"]).get(device["specification_id"])
    found: Row = dict.fromkeys(PROPERTIES)
    for source in filter(None, (specification, model)):
        found |= {name: value for name in PROPERTIES if (value := value_of(source, name)) is not None}
    types = by_id(file["device_types"])
    if model and types.get(model["device_type_id"], {}).get("slug") == "ups":
        return {**found, "draws": 0}
    return {**found, "draws": found["power_watts"]}


def properties_after(device: Row, new: Tables) -> Row:
    model = by_id(new["models"])[device["model_id"]]
    found = {name: value_of(model, name) for name in PROPERTIES}
    is_ups = by_id(new["device_types"])[model["device_type_id"]]["slug"] == "ups"
    return {**found, "draws": 0 if is_ups else found["power_watts"]}


# --- What must hold -------------------------------------------------------------------------------------------------
def check(file: Tables, new: Tables) -> None:
    """Of a file that the preflight accepts."""
    check_devices(file, new)
    check_references(file, new)
    for table in ("device_types", "brands", "models", "racks", "connections"):
        for row in file[table]:
            check_row(table, row, by_id(new[table])[row["id"]])
    check_specifications(file, new)


def check_devices(file: Tables, new: Tables) -> None:
    models, brands = by_id(new["models"]), by_id(new["brands"])
    specifications = by_id(file["device_specifications"])
    devices = by_id(new["devices"])
    assert len(devices) == len(file["devices"])
    for old in file["devices"]:
        device = devices[old["id"]]
        assert properties_after(device, new) == properties_before(old, file), old
        model, kept = models[device["model_id"]], device["legacy_fields"]
        specification = specifications.get(old["specification_id"], {})
        names = {"brand": brands[model["brand_id"]]["name"], "model": model["name"]}
        for name, known in names.items():
            assert kept.get(name) == old[name] or old[name] in (None, known, specification.get(name)), (old, name)
        only = [entry["id"] for entry in model["legacy_fields"].get("specifications", ())]
        assert "specification_id" in kept or only == [old["specification_id"]], old
        assert kept.get("specification_id", old["specification_id"]) == old["specification_id"]
        for name in ("custom_name", "access_frequency", "notes", "serial_number"):
            assert device[name] == CHOICES.get(old[name], old[name])


def check_references(file: Tables, new: Tables) -> None:
    """Nothing that PostgreSQL refuses is new: keys, references, and names that are unique."""
    for table in ("device_types", "brands", "models"):
        keys = [row["id"] for row in new[table]]
        assert len(keys) == len(set(keys))
    assert {row["device_type_id"] for row in new["models"]} <= {row["id"] for row in new["device_types"]}
    assert {row["brand_id"] for row in new["models"]} <= {row["id"] for row in new["brands"]}
    for name in ("name", "slug"):
        for table in ("device_types", "brands"):
            assert duplicates(new[table], name) == duplicates(file[table], name)
    named = ("brand_id", "name", "variant")
    assert duplicates(new["models"], *named) == duplicates(file["models"], *named)


def duplicates(rows: Sequence[Row], *names: str) -> set[tuple[Any, ...]]:
    counts = Counter(tuple(row[name] or "" for name in names) for row in rows)
    return {values for values, count in counts.items() if count > 1}


def check_row(table: str, old: Row, row: Row) -> None:
    """Each value of the file is in its column, or in the legacy fields."""
    for name, value in old.items():
        if value is None or (name == "typical_ports" and value_of(old, name) is None):
            continue
        if name in row:
            assert row[name] in (value, CHOICES.get(value)), (table, old, name)
        else:
            assert row["legacy_fields"][name] == value, (table, old, name)


def check_specifications(file: Tables, new: Tables) -> None:
    """Each is in one model, and each of its values in a column of that model, or in its legacy fields."""
    brands = by_id(new["brands"])
    homes = [(entry, model) for model in new["models"] for entry in model["legacy_fields"].get("specifications", ())]
    assert sorted(entry["id"] for entry, _ in homes) == sorted(row["id"] for row in file["device_specifications"])
    rows = by_id(file["device_specifications"])
    for entry, model in homes:
        same = {**model, "brand": brands[model["brand_id"]]["name"], "model": model["name"]}
        same |= {"migrated_to_model_id": model["id"]}
        old = rows[entry["id"]]
        for name, value in old.items():
            if value_of(old, name) is not None and entry.get(name) != as_json(value):
                assert value_of(same, name) == value_of(old, name), (old, name)


def as_json(value: Any) -> Any:
    return {"hex": value.hex()} if isinstance(value, bytes) else value


# --- Files of every kind --------------------------------------------------------------------------------------------
BRANDS = ("Cisco", "cisco ", "CISCO  Systems", "Ubiquiti Inc.", "ubiquiti", "", "  ", "Ünïcode & Co")
POOLS: dict[str, tuple[Any, ...]] = {
    "height_u": (1.0, 2.0, 0.0),
    "width_type": (None, "NINETEEN_INCH", '19"', "ELEVEN_INCH"),
    "depth_mm": (None, 500.0, 0.1 + 0.2),
    "weight_kg": (None, 7, 7.5),
    "mounting_type": (None, "", "4-post"),
    "airflow_pattern": (None, "FRONT_TO_BACK", "front_to_back", "chimney"),
    "power_watts": (None, 0.0, 350.0),
    "heat_output_btu": (None, 1e300),
    "max_operating_temp_c": (None, 45.5),
    "typical_ports": (None, "null", '{"sfp": 4}', '{"sfp": 4, "rj45": 2}'),
}
FEW = ("height_u", "weight_kg", "power_watts", "typical_ports", "airflow_pattern")
"""The properties that most files vary, so that rows are often equal but for one."""


def pick(pool: Sequence[Any]) -> st.SearchStrategy[Any]:
    return st.sampled_from(pool)


@st.composite
def properties(draw: st.DrawFn) -> Row:
    varied = draw(pick([FEW, ("weight_kg",), (), tuple(POOLS)]))
    return {name: draw(pick(pool)) if name in varied else pool[0] for name, pool in POOLS.items()}


@st.composite
def files(draw: st.DrawFn) -> Tables:
    """Files that break no key, with rows that are alike, and values that no form would take."""
    slugs = draw(st.lists(pick(["server", "ups", "other", "Misc"]), unique=True, min_size=1))
    types = [
        {"id": n, "name": draw(pick([slug.title(), f"Other {n}"])), "slug": slug, "icon": "🖥️"}
        for n, slug in enumerate(slugs, 1)
    ]
    names = draw(st.lists(pick(BRANDS), unique=True, min_size=1, max_size=4))
    brands = [
        {
            "id": n,
            "name": name,
            "slug": draw(pick([f"b{n}", f"ubiquiti-{n}"])),
            "founded_year": n,
            "logo_url": "/uploads/x",
        }
        for n, name in enumerate(names, 1)
    ]
    keys = draw(
        st.lists(
            st.tuples(pick([row["id"] for row in brands]), pick(["A", "B"]), pick([None, "AC", "(specification 2)"])),
            unique=True,
            max_size=4,
        )
    )
    models = [
        {
            **draw(properties()),
            "id": 10 * n,
            "brand_id": brand,
            "device_type_id": draw(pick([row["id"] for row in types])),
            "name": name,
            "variant": variant,
            "confidence": "high",
            "end_of_life": draw(pick([None, "2031-01-31"])),
        }
        for n, (brand, name, variant) in enumerate(keys, 1)
    ]
    numbers = [None, *(row["id"] for row in models)]
    specifications = [
        {
            **draw(properties()),
            "id": n,
            "brand": draw(pick(BRANDS)),
            "model": draw(pick(["A", "B"])),
            "variant": draw(pick([None, "", "AC"])),
            "source": "WEB_FETCHED",
            "source_url": draw(pick([None, b"\x00\xff", "tab\there \u2028"])),
            "last_updated": "2026-01-10 09:30:15.123456",
            "migrated_to_model_id": draw(pick([*numbers, 9999])),
            "deprecated": draw(pick([0, 1])),
        }
        for n in range(1, draw(st.integers(1, 6)))
    ]
    devices = [
        {
            "id": n,
            "custom_name": f"d{n}",
            "specification_id": draw(pick([row["id"] for row in specifications])),
            "model_id": draw(pick(numbers)),
            "brand": draw(pick(["Cisco", None])),
            "model": draw(pick(["A", "x"])),
        }
        for n in range(1, draw(st.integers(1, 7)))
        if specifications
    ]
    racks = [{"id": 1, "name": "R", "cooling_type": "front-to-back", "airflow_cfm": 0.1 + 0.2}]
    return {
        "device_types": types,
        "brands": brands,
        "models": models,
        "device_specifications": specifications,
        "devices": devices,
        "racks": racks,
    }


def check_examples(examples: int) -> None:
    @settings(max_examples=examples, deadline=None, suppress_health_check=[*HealthCheck])
    @given(files(), pick([TYPED, SCHEMA]))
    def check_file(tables: Tables, schema: str) -> None:
        with migrated(tables, schema) as (ready, file, new):
            note(str(new))
            assert ready.acceptable, support.read_findings(ready.findings_file)
            check(file, new)

    check_file()


def test_devices_are_as_they_were_and_nothing_is_lost() -> None:
    check_examples(15)


@pytest.mark.slow
def test_devices_are_as_they_were_and_nothing_is_lost_in_many_files() -> None:
    check_examples(500)


@pytest.mark.skipif(not REAL_FILE.exists(), reason="the shared legacy file is not on this machine")
def test_devices_of_the_shared_file_are_as_they_were_and_nothing_is_lost(tmp_path: Path) -> None:
    path = Path(shutil.copy(REAL_FILE, tmp_path))
    with support.prepared(path, legacy=FORMAT) as ready:
        assert ready.acceptable
        check(read_file(path), read_migrated(ready))


# --- Single cases ---------------------------------------------------------------------------------------------------
TYPES = [{"id": 1, "name": "Server", "slug": "server"}]
CISCO = [{"id": 1, "name": "Cisco Systems", "slug": "cisco"}]
MODEL = {"id": 1, "brand_id": 1, "device_type_id": 1, "name": "A", "height_u": 1.0}
SPEC = {"brand": "Cisco", "model": "A", "height_u": 1.0}


def lab(models: Sequence[Row], specifications: Sequence[Row], *pairs: tuple[Any, Any]) -> Tables:
    """A file with devices that have these pairs of model and specification."""
    devices = [
        {"id": n, "custom_name": f"d{n}", "model_id": model, "specification_id": specification}
        for n, (model, specification) in enumerate(pairs, 1)
    ]
    return {
        "device_types": TYPES,
        "brands": CISCO,
        "models": [MODEL | row for row in models],
        "device_specifications": [SPEC | row for row in specifications],
        "devices": devices,
    }


def models_of(tables: Tables) -> list[tuple[Any, ...]]:
    """Variant, weight and names of the devices of each model."""
    with migrated(tables) as (ready, file, new):
        assert ready.acceptable
        check(file, new)
        names = {
            row["id"]: " ".join(device["custom_name"] for device in new["devices"] if device["model_id"] == row["id"])
            for row in new["models"]
        }
        return [(row["variant"], row["weight_kg"], names[row["id"]]) for row in new["models"]]


def test_value_of_the_specification_of_all_devices_fills_the_model() -> None:
    assert models_of(lab([{}], [{"id": 1, "weight_kg": 7}], (1, 1), (1, 1))) == [(None, 7, "d1 d2")]


def test_other_value_of_the_specification_is_a_legacy_field_of_the_model() -> None:
    tables = lab([{"weight_kg": 5}], [{"id": 1, "weight_kg": 7, "variant": "AC"}], (1, 1))
    assert models_of(tables) == [(None, 5, "d1")]
    with migrated(tables) as (_, _, new):
        (model,) = new["models"]
        assert model["legacy_fields"] == {
            "specifications": [{"id": 1, "brand": "Cisco", "variant": "AC", "weight_kg": 7}]
        }


def test_devices_with_different_values_get_variants_of_the_model() -> None:
    specifications = [{"id": 1, "weight_kg": 7}, {"id": 2}, {"id": 3, "weight_kg": 8}, {"id": 4, "weight_kg": 7}]
    found = models_of(lab([{"variant": "AC"}], specifications, (1, 1), (1, 2), (1, 3), (1, 4)))
    assert found == [("AC", None, "d2"), ("AC (specification 1)", 7, "d1 d4"), ("AC (specification 3)", 8, "d3")]


def test_specification_without_a_model_becomes_one_unless_it_equals_one() -> None:
    specifications = [{"id": 1, "weight_kg": 7}, {"id": 2}, {"id": 3, "model": "B"}, {"id": 4, "model": "B"}]
    found = models_of(lab([{"weight_kg": 7}], specifications, (None, 1), (None, 2), (None, 3)))
    assert found == [(None, 7, "d1"), ("(specification 2)", None, "d2"), (None, None, "d3")]


@pytest.mark.parametrize(
    ("brand", "found"),
    [("cisco  systems ", 1), ("CISCO", 1), ("Cisco Systems", 1), ("Acme & Co.", 2), ("  ", 2)],
)
def test_brand_of_a_specification_is_found_by_name_or_short_name(brand: str, found: int) -> None:
    with migrated(lab([], [{"id": 1, "brand": brand}])) as (_, file, new):
        check(file, new)
        (model,) = new["models"]
        assert model["brand_id"] == found
        named = {row["id"]: (row["name"], row["slug"]) for row in new["brands"]}
        assert named.get(2, ("Acme & Co.", "acme-and-co"))[0] in ("Acme & Co.", "Unknown")


def test_type_of_a_specification_is_never_one_whose_power_does_not_count() -> None:
    tables = lab([{"weight_kg": 1}], [{"id": 1, "power_watts": 500.0, "migrated_to_model_id": 1}], (None, 1))
    tables["device_types"] = [{"id": 1, "name": "Other", "slug": "ups"}]
    with migrated(tables) as (_, file, new):
        check(file, new)
        assert [(row["name"], row["slug"]) for row in new["device_types"]] == [
            ("Other", "ups"),
            ("Other devices", "other"),
        ]


BAD = {
    "of a model": ([{"weight_kg": "heavy"}], [{"id": 1}], [(1, 1)], ("models", "1", "weight_kg")),
    "of a specification that fills a model": (
        [{}],
        [{"id": 1, "weight_kg": "heavy"}],
        [(1, 1)],
        ("device_specifications", "1", "weight_kg"),
    ),
    "of a specification that becomes a model": (
        [],
        [{"id": 7, "model": "x" * 201}],
        [(None, 7)],
        ("device_specifications", "7", "model"),
    ),
    "of a brand": ([], [{"id": 7, "brand": "x" * 201}], [], ("device_specifications", "7", "brand")),
    "of a specification without a brand": ([], [{"id": 7, "brand": None}], [], ("device_specifications", "7", "brand")),
    "of a model that gets another value": (
        [{"depth_mm": b"x"}],
        [{"id": 1, "weight_kg": 7}],
        [(1, 1)],
        ("models", "1", "depth_mm"),
    ),
    "of a device without a model": ([], [], [(None, 3)], ("devices", "1", "model_id")),
}


@pytest.mark.parametrize("case", BAD)
def test_refused_value_is_named_as_it_is_in_the_file(case: str) -> None:
    models, specifications, pairs, where = BAD[case]
    with migrated(lab(models, specifications, *pairs)) as (ready, _, _):
        assert where in {finding[:3] for finding in support.read_findings(ready.findings_file)}


def test_model_that_does_not_exist_is_no_other_one() -> None:
    """New models have other numbers than any that the file mentions."""
    tables = lab([{}], [{"id": 1, "model": "B"}, {"id": 2}], (None, 1), (2, 2))
    with migrated(tables) as (_, _, new):
        assert [row["id"] for row in new["models"]] == [1, 3]
        assert [row["model_id"] for row in new["devices"]] == [3, 2]


def test_tables_that_rows_are_made_of_cannot_be_skipped(tmp_path: Path) -> None:
    path = write(tmp_path / "lab.db", lab([{}], []))
    with (
        pytest.raises(PreconditionFailed, match=r"^--skip-table models: rows of several tables are made of it"),
        support.prepared(path, legacy=FORMAT, skip_tables=frozenset({"models"})),
    ):
        pass


def test_addresses_and_tokens_of_other_programs_are_not_migrated() -> None:
    tables = lab([{}], []) | {
        "dcim_connections": [{"id": 1, "name": "N", "type": "NETBOX", "base_url": "https://n", "api_token": "nbt_9"}]
    }
    with migrated(tables) as (ready, _, new):
        assert ready.acceptable
        (skipped,) = (table for table in ready.plan.skipped if table.table == "dcim_connections")
        assert skipped.rows == 1
        assert "nbt_9" not in f"{new} {ready.plan.skipped} {ready.notes}"
