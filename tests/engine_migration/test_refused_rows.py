"""Rows that PostgreSQL refuses while they are loaded are findings like the others, already in the dry run."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from ops.engine_migration.to_postgres import loading
from tests.engine_migration import support
from tests.engine_migration.support import Database
from tests.support.slow import slow_except

letters = random.Random(3)
LONG = "".join(chr(letters.randrange(33, 0x2FFF)) for _ in range(6000))
"""PostgreSQL cannot compress it."""
RAISES = (
    "CREATE FUNCTION picky(n integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS"
    " $$ BEGIN IF n = 7 THEN RAISE 'not this one'; END IF; RETURN n; END $$"
)
TABLE = "ALTER TABLE everything"
CASES: dict[str, tuple[list[str], dict[str, Any], str, str]] = {
    "index": (["CREATE INDEX odd ON everything (long)"], {"long": LONG}, "long", "too long for the index odd"),
    "unique index": (
        ["CREATE UNIQUE INDEX odd ON everything (long)"], {"long": LONG}, "long", "too long for the index odd",
    ),
    "index of two columns": (
        ["CREATE INDEX odd ON everything (long, short)"], {"long": LONG}, "long, short", "too long for the index odd",
    ),
    "index that raises": (
        ["CREATE INDEX odd ON everything ((1 / (7 - number)))"], {"number": 7}, "",
        "PostgreSQL: division by zero (odd)",
    ),
    "index whose function raises": (
        [RAISES, "CREATE INDEX odd ON everything (picky(number))"], {"number": 7}, "", "PostgreSQL: not this one (odd)",
    ),
    "check": (
        [f"{TABLE} ADD CONSTRAINT odd CHECK (number <> 7)"], {"number": 7}, "number",
        "violates the check constraint odd",
    ),
    "check of a function": (
        [RAISES, f"{TABLE} ADD CHECK (picky(number) > 0)"], {"number": 7}, "", "PostgreSQL: not this one",
    ),
    "not null": ([f"{TABLE} ALTER long SET NOT NULL"], {"long": None}, "long", "NULL in a column that is NOT NULL"),
    "unique": (
        [f"{TABLE} ADD CONSTRAINT odd UNIQUE (long)"], {"long": "row 1"}, "long",
        "not unique (odd): another row has the same value",
    ),
    "two unique": (
        [f"{TABLE} ADD CONSTRAINT odd UNIQUE (long), ADD CONSTRAINT odd_too UNIQUE (number)"],
        {"long": "row 1", "number": 1}, "long", "not unique (odd): another row has the same value",
    ),
    "deferred unique": (
        [f"{TABLE} ADD CONSTRAINT odd UNIQUE (long, short) DEFERRABLE INITIALLY DEFERRED"],
        {"long": "row 1", "short": "a"}, "long, short", "not unique (odd): another row has the same value",
    ),
    "unique expression": (
        ["CREATE UNIQUE INDEX odd ON everything (lower(long))"], {"long": "ROW 1"}, "",
        "not unique (odd): another row has the same value",
    ),
    "exclusion": (
        [f"{TABLE} ADD CONSTRAINT odd EXCLUDE USING btree (number WITH =)"], {"number": 1}, "number",
        "violates the exclusion constraint odd",
    ),
    "exclusion of ranges": (
        [f"{TABLE} ADD CONSTRAINT odd EXCLUDE USING gist (int4range(number, number + 1, '[]') WITH &&)"],
        {"number": 4}, "", "violates the exclusion constraint odd",
    ),
    "foreign key": (
        [f"{TABLE} ADD CONSTRAINT odd FOREIGN KEY (big) REFERENCES otherproject_author (id)"], {"big": 9}, "big",
        "refers to otherproject_author, which is not migrated",
    ),
    "foreign key to itself": (
        [f"{TABLE} ADD CONSTRAINT odd FOREIGN KEY (big) REFERENCES everything (id)"], {"big": 9}, "big",
        "refers to a missing row of everything",
    ),
    "shorter text": (
        [f"{TABLE} ALTER long TYPE varchar(5)"], {"long": "row 22"}, "long",
        "PostgreSQL: value too long for type character varying(5)",
    ),
    "smaller number": (
        [f"{TABLE} ALTER number TYPE smallint"], {"number": 70000}, "number",
        "PostgreSQL: value is out of range for type smallint",
    ),
    "domain": (
        ["CREATE DOMAIN few AS integer CONSTRAINT odd CHECK (VALUE < 20)", f"{TABLE} ALTER number TYPE few"],
        {"number": 20}, "number", "violates the check constraint odd",
    ),
    "enumeration": (
        ["CREATE TYPE mood AS ENUM ('a')", f"{TABLE} ALTER short TYPE mood USING NULL"], {"short": "b"}, "short",
        "PostgreSQL: invalid input value for enum mood",
    ),
    "collation that ignores case": (
        ["CREATE COLLATION ignoring (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
         f"{TABLE} ALTER long TYPE text COLLATE ignoring", "CREATE UNIQUE INDEX odd ON everything (long)"],
        {"long": "ROW 1"}, "long", "not unique (odd): another row has the same value",
    ),
    "domain without NULL": (
        ["CREATE DOMAIN filled AS integer NOT NULL", f"{TABLE} ALTER number TYPE filled"], {"number": None}, "number",
        "NULL in a column that is NOT NULL",
    ),
}  # fmt: skip


def put(file: Path, bad: dict[str, Any]) -> None:
    """Four rows of `everything`, of which the third has the `bad` values."""
    rows = [{"id": row, "number": row * 3 - 2, "long": f"row {row}", "short": "a"} for row in range(1, 5)]
    support.put(file, "everything", *rows[:2], rows[2] | bad, rows[3])


@pytest.mark.parametrize(
    ("statements", "bad", "column", "reason"),
    slow_except(CASES, "check", "exclusion", "domain", "index", "unique expression", "smaller number", "two unique"),
)
def test_rows_that_only_loading_shows_are_findings(
    file: Path, migrated: Database, statements: list[str], bad: dict[str, Any], column: str, reason: str
) -> None:
    for statement in statements:
        migrated.rows(statement)
    put(file, bad)
    with support.prepared(file, only=["everything"]) as ready:
        assert ready.preflight.count == 0
        support.copy_and_verify_into(ready, migrated)
        (found,) = support.read_findings(ready.findings_file)
    assert (*found[:3], found[5]) == ("everything", "3", column, reason)


@pytest.mark.parametrize("case", slow_except(list(CASES), "exclusion"))
def test_dry_run_names_rows_that_only_loading_shows(
    file: Path, database: Database, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    statements, bad, column, reason = CASES[case]
    support.add_migration(monkeypatch, *statements)
    put(file, bad)
    outcome = support.run(file, database, "--dry-run", *support.only(file, "everything"))
    assert (outcome.code, outcome.error) == (2, "")
    (found,) = support.read_findings(Path(outcome.document["findings"]["file"]))
    assert (*found[:3], found[5]) == ("everything", "3", column, reason)
    assert outcome.document["status"] == "findings"
    assert f"1 × everything{'.' if column else ''}{column}: {reason}" in outcome.out
    assert database.tables() == []
    assert support.staging_databases(database.name) == []


SAMPLE = {name: name for name in ("index", "check", "unique expression", "foreign key", "shorter text")}


@pytest.mark.parametrize("case", slow_except(SAMPLE, "foreign key"))
def test_rows_that_postgresql_refuses_go_into_quarantine(
    file: Path, database: Database, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    statements, bad, _, reason = CASES[case]
    support.add_migration(monkeypatch, *statements)
    put(file, bad)
    directory = file.parent / "refused"
    only = support.only(file, "everything")
    outcome = support.run(file, database, "--yes", "--quarantine", str(directory), *only)
    assert (outcome.code, outcome.error) == (3, "")
    assert outcome.document["refused"] == 1
    (line,) = (directory / "everything.jsonl").read_text().strip().split("\n")
    assert json.loads(line)["id"] == 3
    assert outcome.document["findings"]["groups"][0]["reason"] == reason
    assert database.rows("SELECT id FROM everything ORDER BY 1") == [(1,), (2,), (4,)]
    names = "SELECT conname FROM pg_constraint UNION SELECT indexname FROM pg_indexes"
    assert case == "shorter text" or ("odd",) in database.rows(names)


@pytest.mark.parametrize("case", slow_except(SAMPLE, "check"))
def test_migration_that_postgresql_refuses_changes_nothing(
    file: Path, database: Database, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    statements, bad, column, reason = CASES[case]
    support.add_migration(monkeypatch, *statements)
    put(file, bad)
    outcome = support.run(file, database, "--yes", *support.only(file, "everything"))
    assert (outcome.code, outcome.error) == (2, "")
    assert f"1 × everything{'.' if column else ''}{column}: {reason}" in outcome.out
    assert outcome.out.endswith("Stopped. Nothing was changed.\n")
    assert database.tables() == []
    assert support.staging_databases(database.name) == []


@pytest.mark.parametrize("case", slow_except(SAMPLE, "unique expression"))
def test_role_without_createdb_gets_the_same_findings(
    file: Path, small: Database, database: Database, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    statements, bad, column, reason = CASES[case]
    support.add_migration(monkeypatch, *statements)
    put(file, bad)
    only = support.only(file, "everything")
    outcome = support.run(file, small, "--dry-run", *only)
    (found,) = support.read_findings(Path(outcome.document["findings"]["file"]))
    assert (outcome.code, *found[:3], found[5]) == (2, "everything", "3", column, reason)
    assert database.tables() == []
    directory = file.parent / "refused"
    assert support.run(file, small, "--yes", "--quarantine", str(directory), *only).code == 3
    assert database.rows("SELECT id FROM everything ORDER BY 1") == [(1,), (2,), (4,)]


def test_findings_of_all_stages_are_in_one_report(
    library: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell, a COPY, two indexes of one table, and a foreign key; and rows that refer to refused ones."""
    support.add_migration(
        monkeypatch,
        "ALTER TABLE otherproject_tag ALTER name TYPE varchar(12)",
        "CREATE INDEX odd ON everything (long)",
        "CREATE UNIQUE INDEX once ON everything (lower(short))",
        "ALTER TABLE otherproject_slot ADD CONSTRAINT fk FOREIGN KEY (guest_id) REFERENCES otherproject_author (id)",
    )
    support.alter(library, "DELETE FROM everything")
    rows = [{"id": row, "short": f"row {row}"} for row in range(1, 6)]
    support.put(library, "everything", rows[0], rows[1] | {"day": "x"}, rows[2] | {"long": LONG}, rows[3])
    support.put(library, "everything", rows[4] | {"short": "ROW 1"})
    support.put(library, "otherproject_tag", {"name": "longer than twelve"})
    book = "SELECT min(id) FROM otherproject_book"
    support.alter(library, f"INSERT INTO otherproject_book_tags VALUES (900, ({book}), 'longer than twelve')")
    support.put(library, "otherproject_slot", {"id": 90, "label": "x", "active": 0, "hidden": 0, "guest_id": 404})
    expected = {
        ("everything", "2", "not a date of the form 2026-01-31"),
        ("everything", "3", "too long for the index odd"),
        ("everything", "5", "not unique (once): another row has the same value"),
        ("otherproject_tag", "longer than twelve", "PostgreSQL: value too long for type character varying(12)"),
        ("otherproject_slot", "90", "refers to a missing row of otherproject_author"),
    }
    books = (f"otherproject_{name}" for name in ("author", "book", "book_tags", "slot", "tag"))
    only = support.only(library, "everything", *books)
    outcome = support.run(library, database, "--dry-run", *only)
    assert (outcome.code, outcome.error) == (2, "")
    assert named(outcome) == expected
    outcome = support.run(library, database, "--yes", "--quarantine", str(library.parent / "refused"), *only)
    assert (outcome.code, outcome.error) == (3, "")
    dependant = ("otherproject_book_tags", "900", "refers to a row of otherproject_tag that is refused")
    assert named(outcome) == {*expected, dependant}
    assert outcome.document["refused"] == 6
    assert database.rows("SELECT id FROM everything ORDER BY 1") == [(1,), (4,)]
    assert database.value("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND NOT convalidated") == 0


def named(outcome: support.Outcome) -> set[tuple[str, str, str]]:
    found = support.read_findings(Path(outcome.document["findings"]["file"]))
    return {(table, key, reason) for table, key, _, _, _, reason in found}


MANY: dict[str, tuple[str, int]] = {
    "check": ("CHECK (id % 2 = 0)", 25),
    "two checks": ("CHECK (id % 2 = 0), ADD CONSTRAINT more CHECK (id % 3 = 0)", 25 + 34),
    "unique": ("UNIQUE (number)", 48),
    "key": ("FOREIGN KEY (big) REFERENCES everything", 50),
}


@pytest.mark.parametrize(("statement", "count"), slow_except(MANY, "key", "two checks"))
def test_all_rows_that_violate_a_constraint_are_listed(
    file: Path, migrated: Database, monkeypatch: pytest.MonkeyPatch, statement: str, count: int
) -> None:
    monkeypatch.setattr(loading, "MOST_FAULTS", 10)
    migrated.rows(f"{TABLE} ADD CONSTRAINT odd {statement}")
    support.put(file, "everything", *({"id": row, "number": row % 2, "big": 0} for row in range(1, 51)))
    with support.prepared(file, only=["everything"]) as ready:
        support.copy_and_verify_into(ready, migrated)
        assert (ready.preflight.count, ready.load_notes) == (count, ())


def test_only_some_of_many_other_refused_rows_are_listed(
    file: Path, database: Database, migrated: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "MOST_FAULTS", 10)
    index = "CREATE INDEX odd ON everything ((1 / number))"
    support.add_migration(monkeypatch, index)
    support.put(file, "everything", *({"id": row, "number": row % 2} for row in range(1, 51)))
    outcome = support.run(file, database, "--dry-run", *support.only(file, "everything"))
    assert outcome.code == 2
    assert outcome.document["findings"]["count"] == 10
    note = (
        "PostgreSQL refuses at least 10 rows of everything; only these are listed, and what comes after the load was"
        " not tried."
    )
    assert note in outcome.document["notes"]
    assert note in outcome.out
    migrated.rows(index)
    with support.prepared(file, only=["everything"], quarantine=file.parent / "refused") as ready:
        support.copy_and_verify_into(ready, migrated)
        assert ready.preflight.rows_refused == 25
    assert migrated.value("SELECT count(*) FROM everything") == 25


@pytest.mark.slow
def test_few_refused_rows_among_many_are_found(file: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are loaded by several processes."""
    support.add_migration(
        monkeypatch,
        "CREATE UNIQUE INDEX odd ON everything (lower(long))",
        "CREATE INDEX wide ON everything (long)",
        f"{TABLE} ADD CONSTRAINT even CHECK (number <> 7)",
    )
    bad = {777: LONG, 15_000: "ROW 3", 19_999: "Row 19998"}
    rows = ({"id": row, "long": bad.get(row, f"row {row}"), "number": row % 9000} for row in range(20_000))
    support.put(file, "everything", *rows)
    outcome = support.run(file, database, "--dry-run", *support.only(file, "everything"))
    unique = "not unique (odd): another row has the same value"
    assert named(outcome) == {
        ("everything", "7", "violates the check constraint even"),
        ("everything", "777", "too long for the index odd"),
        ("everything", "9007", "violates the check constraint even"),
        ("everything", "15000", unique),
        ("everything", "18007", "violates the check constraint even"),
        ("everything", "19999", unique),
    }


def test_values_of_other_columns_and_of_secrets_are_not_shown(
    library: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    support.add_migration(monkeypatch, "ALTER TABLE accounts_user ALTER password TYPE varchar(5)")
    outcome = support.run(library, database, "--dry-run", *support.only(library, "accounts_user"))
    found = support.read_findings(Path(outcome.document["findings"]["file"]))
    assert found
    assert {line[2:] for line in found} == {
        ("password", "text", "(hidden)", "PostgreSQL: value too long for type character varying(5)")
    }
    assert "pbkdf2" not in outcome.out
