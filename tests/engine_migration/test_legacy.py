"""Files of another program, described by a LegacyFormat over the tables of a foreign project."""

from pathlib import Path
from typing import Any

import pytest

from ops.engine_migration.legacy import LegacyColumn, LegacyFormat, LegacyTable
from tests.engine_migration import support
from tests.engine_migration.support import Database

ROOMS = {"NINETEEN": '19"', "FRONT_TO_BACK": "front to back", "IT_S": "it's"}
BOTH = ROOMS | {value: value for value in ROOMS.values()}
FORMAT = LegacyFormat(
    name="old library",
    signature=frozenset({"racks", "people"}),
    tables=(
        LegacyTable(
            source="racks",
            target="otherproject_shelf",
            columns={"room": LegacyColumn(source="width", values=BOTH)},
            dropped={"colour": "nobody looked at it"},
        ),
        LegacyTable(
            source="people",
            target="otherproject_author",
            columns={
                "name": LegacyColumn(source="full_name", expression="trim({})"),
                "favourite_id": LegacyColumn(expression="NULL"),
                "mentor_id": LegacyColumn(source="boss"),
            },
            where="deleted = 0",
            dropped={"deleted": "deleted people are not migrated", "kind": "read for the permission"},
        ),
        LegacyTable(
            source="grants",
            target="auth_group_permissions",
            columns={"permission_id": LegacyColumn(source="codename", lookup=("auth_permission", "codename"))},
        ),
        LegacyTable(source="teams", target="auth_group"),
    ),
    not_migrated={"token_blacklist": "has no meaning here"},
)
SCHEMA = (
    "CREATE TABLE racks (id INTEGER PRIMARY KEY, number INTEGER, width VARCHAR(20), colour TEXT)",
    "CREATE TABLE people (id INTEGER PRIMARY KEY, full_name TEXT, boss INTEGER, deleted BOOLEAN, kind TEXT)",
    "CREATE TABLE teams (id INTEGER PRIMARY KEY, name TEXT)",
    "CREATE TABLE grants (id INTEGER PRIMARY KEY, group_id INTEGER, codename TEXT)",
    "CREATE TABLE token_blacklist (token TEXT)",
    "INSERT INTO token_blacklist VALUES ('a'), ('b')",
)


@pytest.fixture
def old(tmp_path: Path, settings: Any) -> Path:
    path = tmp_path / "old.db"
    support.alter(path, *SCHEMA)
    settings.OPS_LEGACY_FORMAT = f"{__name__}.FORMAT"
    return path


def test_legacy_file_is_migrated(old: Path, database: Database) -> None:
    stored = [*ROOMS, *ROOMS.values()]
    support.put(old, "racks", *({"id": n, "number": n, "width": value} for n, value in enumerate(stored, 1)))
    support.put(
        old,
        "people",
        {"id": 1, "full_name": "  Ada ", "deleted": 0},
        {"id": 2, "full_name": "Gone", "deleted": 1},
        {"id": 3, "full_name": "Bob", "boss": 1, "deleted": 0},
    )
    support.put(old, "teams", {"id": 7, "name": "editors"})
    support.put(old, "grants", {"id": 1, "group_id": 7, "codename": "add_book"})
    outcome = support.migrate(old, database)
    assert outcome.document["source"]["format"] == "old library"
    # Enumerations are stored by name or by value, and arrive as values.
    rooms = [room for (room,) in database.rows("SELECT room FROM otherproject_shelf ORDER BY id")]
    assert rooms == [*ROOMS.values()] * 2
    assert database.value("SELECT nextval('otherproject_shelf_id_seq')") == len(stored) + 1
    # Conditions and expressions are applied.
    rows = database.rows("SELECT id, name, favourite_id, mentor_id FROM otherproject_author ORDER BY id")
    assert rows == [(1, "Ada", None, None), (3, "Bob", None, 1)]
    # Natural keys become keys of seeded rows.
    query = "SELECT codename FROM auth_permission JOIN auth_group_permissions ON permission_id = auth_permission.id"
    assert database.rows(query) == [("add_book",)]
    assert database.value("SELECT count(*) FROM django_content_type") > 10
    # Skipped tables are reported with their rows.
    assert {"table": "token_blacklist", "rows": 2, "reason": "has no meaning here"} in outcome.document["skipped"]
    assert "skipped: has no meaning here" in outcome.out
    assert "racks → otherproject_shelf" in outcome.out


@pytest.mark.parametrize("value", ["TWENTY", "nineteen", "", " NINETEEN", 19])
def test_unknown_enum_value_is_a_finding(old: Path, value: Any) -> None:
    support.put(old, "racks", {"id": 1, "number": 1, "width": "NINETEEN"}, {"id": 2, "number": 2, "width": value})
    ((table, key, column, stored_type, shown, reason),) = support.findings(old, legacy=FORMAT)
    assert (table, key, column, stored_type, shown) == ("racks", "2", "width", "text", repr(str(value)))
    assert reason == "unknown; known values are NINETEEN, FRONT_TO_BACK, IT_S, 19\", front to back, it's"


def test_two_names_of_one_value_are_duplicates(old: Path, migrated: Database) -> None:
    support.put(old, "racks", {"id": 1, "number": 1, "width": "IT_S"}, {"id": 2, "number": 1, "width": "it's"})
    (line,) = support.load_findings(old, migrated, legacy=FORMAT)
    assert line[1:3] == ("2", "width, number")
    assert line[5].startswith("not unique (otherproject_shelf_room_number_")


def test_reference_to_an_excluded_row_is_a_finding(old: Path, migrated: Database) -> None:
    support.put(old, "people", {"id": 2, "full_name": "Gone", "deleted": 1})
    support.put(old, "people", {"id": 3, "full_name": "Bob", "boss": 2, "deleted": 0})
    reason = "refers to a missing row of otherproject_author"
    found = support.load_findings(old, migrated, legacy=FORMAT)
    assert found == [("people", "3", "boss", "integer", "2", reason)]


def test_tables_and_columns_outside_the_description_are_unknown(old: Path, database: Database) -> None:
    support.alter(old, "CREATE TABLE extra (x)", "ALTER TABLE racks ADD COLUMN height")
    outcome = support.run(old, database, "--yes")
    assert outcome.code == 2
    assert [entry["table"] for entry in outcome.document["unknown"]] == ["extra", "racks.height"]


def test_file_without_the_signature_is_refused_with_missing_tables(old: Path, database: Database) -> None:
    support.alter(old, "DROP TABLE people")
    outcome = support.run(old, database, "--yes")
    assert outcome.error == (
        f"{old} is not a file of this project: it has no django_migrations; its tables are grants, racks, teams,"
        " token_blacklist.\n"
        "Specify the application's data file. A old library file also has people."
    )
