"""Tables that a legacy format makes of those of the file before they are read."""

from pathlib import Path

import pytest

from ops.engine_migration.legacy import LegacyColumn, LegacyFormat, LegacyTable
from ops.errors import PreconditionFailed
from tests.engine_migration import support
from tests.engine_migration.support import Database

FORMAT = LegacyFormat(
    name="two lists",
    signature=frozenset({"old_people", "new_people"}),
    prepare=(
        "CREATE TABLE everybody (id, name, old_row, new_row)",
        "INSERT INTO everybody SELECT id, name, rowid, NULL FROM old_people",
        "INSERT INTO everybody SELECT (SELECT max(id) FROM old_people) + id, full_name, NULL, rowid FROM new_people",
    ),
    tables=(
        LegacyTable(
            source="everybody",
            target="otherproject_author",
            columns={"favourite_id": LegacyColumn(expression="NULL"), "mentor_id": LegacyColumn(expression="NULL")},
            made_of=("old_people", "new_people"),
            origin="SELECT 'old_people', id, :column FROM old_people WHERE rowid ="
            " (SELECT old_row FROM everybody WHERE rowid = :row) UNION ALL"
            " SELECT 'new_people', id, CASE :column WHEN 'name' THEN 'full_name' ELSE :column END FROM new_people"
            " WHERE rowid = (SELECT new_row FROM everybody WHERE rowid = :row)",
        ),
    ),
)
SCHEMA = (
    "CREATE TABLE old_people (id INTEGER PRIMARY KEY, name TEXT)",
    "CREATE TABLE new_people (id INTEGER PRIMARY KEY, full_name TEXT)",
)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "old.db"
    support.alter(path, *SCHEMA)
    support.put(path, "old_people", {"id": 1, "name": "Ada"}, {"id": 5, "name": "Bob"})
    support.put(path, "new_people", {"id": 1, "full_name": "Cy"})
    return path


def test_rows_of_several_tables_are_migrated_and_verified(old: Path, migrated: Database) -> None:
    with support.prepared(old, legacy=FORMAT) as ready:
        support.copy_and_verify_into(ready, migrated)
        assert str(ready.plan.tables[0]) == "old_people, new_people → otherproject_author"
        prepared = sorted(path.name for path in ready.snapshot.path.parent.glob("*.prepared"))
        assert len(prepared) == 1
    assert not list(old.parent.rglob("*.prepared"))
    assert migrated.rows("SELECT id, name FROM otherproject_author ORDER BY id") == [(1, "Ada"), (5, "Bob"), (6, "Cy")]


def test_refused_values_are_named_as_they_are_in_the_file(old: Path) -> None:
    support.put(old, "old_people", {"id": 9, "name": None})
    support.put(old, "new_people", {"id": 2, "full_name": b"x"})
    found = support.findings(old, legacy=FORMAT)
    assert [finding[:3] for finding in found] == [("new_people", "2", "full_name"), ("old_people", "9", "name")]


def test_column_that_no_statement_reads_is_unknown(old: Path) -> None:
    support.alter(old, "ALTER TABLE new_people ADD COLUMN phone")
    with support.prepared(old, legacy=FORMAT) as ready:
        assert [unknown.table for unknown in ready.plan.unknown] == ["new_people.phone"]


def test_file_without_a_column_that_is_read_is_refused(old: Path) -> None:
    support.alter(old, "ALTER TABLE new_people DROP COLUMN full_name")
    with (
        pytest.raises(PreconditionFailed, match=r"lacks what this code reads: no such column: full_name\.\n"),
        support.prepared(old, legacy=FORMAT),
    ):
        pass


@pytest.mark.parametrize("kind", ["TABLE Everybody (id)", "VIEW everybody AS SELECT 1 AS id"])
def test_file_that_hides_a_prepared_table_is_refused(old: Path, kind: str) -> None:
    support.alter(old, f"CREATE {kind}")
    with (
        pytest.raises(PreconditionFailed, match=r'has a table ".verybody", a name that the migration needs'),
        support.prepared(old, legacy=FORMAT),
    ):
        pass


def test_dropped_values_are_counted_in_the_report(old: Path) -> None:
    support.alter(old, "CREATE TABLE shelves (id INTEGER PRIMARY KEY, number INTEGER, room TEXT, colour TEXT)")
    support.put(
        old, "shelves", {"id": 1, "number": 1, "room": "a", "colour": "red"}, {"id": 2, "number": 2, "room": "b"}
    )
    shelves = LegacyTable(source="shelves", target="otherproject_shelf", dropped={"colour": "nobody looked at it"})
    changed = LegacyFormat(
        name=FORMAT.name, signature=FORMAT.signature, prepare=FORMAT.prepare, tables=(*FORMAT.tables, shelves)
    )
    with support.prepared(old, legacy=changed) as ready:
        assert ready.notes == ("1 value of shelves.colour is not migrated: nobody looked at it",)
