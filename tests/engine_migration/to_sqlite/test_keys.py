"""Primary keys of every type: the order of rows, refused rows, references, and the numbers of new rows."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from ops.databases.override import override_database, sqlite_wrapper
from ops.engine_migration.to_sqlite import target
from tests.engine_migration import support
from tests.engine_migration.support import Database
from tests.engine_migration.test_time_zones import naive
from tests.engine_migration.to_sqlite.support import only
from tests.otherproject.models import Author, Everything, Slot

__all__ = ("naive",)
REFUSED = {
    "otherproject_byday": ["infinity", "-infinity", "0044-03-15 BC", "10000-01-01"],
    "otherproject_bymoment": ["infinity", "0044-03-15 12:00 BC", "10000-01-01"],
    "otherproject_byclock": ["24:00"],
    "otherproject_byprice": ["NaN"],
    "otherproject_byspan": ["1 mon", "1000000000 days", "178000000 years", "-2147483648 days"],
    "otherproject_byreal": ["NaN", "-0"],
    "otherproject_byaddress": ["10.0.0.77/8", "::1/64"],
}
"""By table, keys that SQLite cannot hold."""
SIMPLE = [*REFUSED, "otherproject_byblob"]


def keys_in(file: Path, table: str) -> list[Any]:
    """In the order in which they were inserted."""
    with support.opened(file) as found:
        return [row[0] for row in found.execute(f"SELECT * FROM {table} ORDER BY rowid")]


def test_rows_are_stored_in_the_order_of_their_keys(lab: Database, new: Path) -> None:
    """Not in that of their texts."""
    support.come_back(new, lab, *only(lab, SIMPLE))
    found = {table: keys_in(new, table) for table in SIMPLE}
    assert found["otherproject_byspan"] == found["otherproject_byprice"] == [-5, 9, 10, 100]
    assert found["otherproject_byreal"] == [-5 / 3, 3.0, 10 / 3, 100 / 3]
    assert found["otherproject_byaddress"] == ["10.0.0.5", "10.0.0.9", "10.0.0.10", "10.0.0.100"]
    assert found["otherproject_byblob"] == [b"-5", b"10", b"100", b"9"]
    assert [key[:4] for key in found["otherproject_byday"]] == ["0995", "1009", "1010", "1100"]


def test_rows_with_keys_that_sqlite_cannot_hold_go_into_quarantine(lab: Database, new: Path) -> None:
    quarantine(lab, new)


@pytest.mark.slow
@pytest.mark.parametrize("naive", ["Europe/Berlin"], indirect=True)
def test_keys_are_the_same_in_every_time_zone(lab: Database, new: Path, naive: str) -> None:
    """Without USE_TZ, sessions of Django have another time zone than others."""
    quarantine(lab, new)


def quarantine(lab: Database, new: Path) -> None:
    for table, keys in REFUSED.items():
        for key in keys:
            lab.rows(f"INSERT INTO {table} VALUES (%s)", [key])
    folder = new.parent / "refused"
    words = ["--yes", "--quarantine", str(folder), *only(lab, SIMPLE)]
    outcome = support.back(new, lab, *words)
    assert (outcome.code, outcome.error) == (3, ""), outcome
    assert {table["name"]: table["refused"] for table in outcome.document["tables"] if table["refused"]} == {
        table: len(keys) for table, keys in REFUSED.items()
    }
    for table, keys in REFUSED.items():
        assert len((folder / f"{table}.jsonl").read_text().splitlines()) == len(keys)
        assert len(keys_in(new, table)) == 4


KEYS = {
    **dict.fromkeys(SIMPLE, "key"),
    "otherproject_tag": "name",
    "otherproject_book": "id",
    "otherproject_place": "position",
    "everything": "id",
}


@pytest.mark.parametrize("naive", ["Europe/Berlin"], indirect=True)
def test_rows_that_sqlite_refuses_are_found_by_their_keys(
    lab: Database, new: Path, naive: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has unique indexes into which one row of each table fits."""
    with_migration(
        monkeypatch, *(f"CREATE UNIQUE INDEX few_{table} ON {table} ({key} IS NULL)" for table, key in KEYS.items())
    )
    lab.rows("DELETE FROM everything WHERE id IN (16, 17)")
    before = {table: lab.value(f"SELECT count(*) FROM {table}") for table in KEYS}
    words = ["--yes", "--quarantine", str(new.parent / "refused"), *only(lab, [*KEYS, *PARENTS])]
    outcome = support.back(new, lab, *words)
    assert (outcome.code, outcome.error) == (3, ""), outcome
    refused = {table["name"]: table["refused"] for table in outcome.document["tables"]}
    left = {table: len(keys_in(new, table)) for table in KEYS}
    assert {table: refused[table] + left[table] for table in KEYS} == before
    # What refers to other tables may have no row at all.
    assert set(left.values()) <= {0, 1}


PARENTS = ("otherproject_shelf", "otherproject_author")


def with_migration(monkeypatch: pytest.MonkeyPatch, *statements: str) -> None:
    """Let the project's migrations end with these statements in SQLite."""
    real = target.run_migrations

    def run_migrations() -> None:
        real()
        with connections["default"].cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    monkeypatch.setattr(target, "run_migrations", run_migrations)


# --- Many rows ----------------------------------------------------------------------------------------------------
def test_tables_of_many_chunks_are_copied_whole(lab: Database, new: Path) -> None:
    lab.rows("INSERT INTO everything (id, big) SELECT n * 3, n FROM generate_series(1000, 6000) AS n")
    lab.rows("INSERT INTO otherproject_tag SELECT 'tag ' || n FROM generate_series(1, 5000) AS n")
    lab.rows("INSERT INTO otherproject_byreal SELECT n / 7.0 FROM generate_series(1000, 6000) AS n")
    lab.rows("UPDATE everything SET real = 'NaN' WHERE id IN (3000, 9000, 9003, 18000)")
    tables = ("everything", "otherproject_tag", "otherproject_byreal")
    words = ["--yes", "--quarantine", str(new.parent / "refused"), *only(lab, tables)]
    outcome = support.back(new, lab, *words)
    assert outcome.code == 3
    assert {table["name"]: (table["rows"], table["refused"]) for table in outcome.document["tables"]} == {
        "everything": (5014, 4),
        "otherproject_tag": (5007, 0),
        "otherproject_byreal": (5005, 0),
    }


# --- References ---------------------------------------------------------------------------------------------------
def test_rows_that_refer_to_refused_ones_in_circles_are_refused(lab: Database, new: Path) -> None:
    """Book 3 is refused; author 1 likes it, and is the mentor of author 2; both have written other books."""
    lab.rows("ALTER TABLE otherproject_book DROP CONSTRAINT book_is_affordable")
    lab.rows("UPDATE otherproject_book SET price = 'NaN' WHERE title = 'Book 3'")
    folder = new.parent / "refused"
    outcome = support.back(new, lab, "--yes", "--quarantine", str(folder))
    assert outcome.code == 3, outcome
    refused = {table["name"]: table["refused"] for table in outcome.document["tables"] if table["refused"]}
    assert refused["otherproject_author"] == 2
    with override_database(sqlite_wrapper(str(new))) as wrapper:
        (author,) = Author.objects.all()
        assert (author.name, author.favourite, author.mentor) == ("Author 2", None, None)
        wrapper.check_constraints()
    lines = (folder / "otherproject_author.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["name"] for line in lines) == ["Author 0", "Author 1"]


# --- The numbers of new rows --------------------------------------------------------------------------------------
@pytest.mark.slow
def test_numbers_of_deleted_rows_are_not_used_again_in_either_database(
    lab: Database, new: Path, nowhere: Database
) -> None:
    with override_database(lab.address.wrapper()):
        last = [model.objects.create(**values).pk for model, values in NEW_ROWS.items()]
        for model in NEW_ROWS:
            model.objects.latest("pk").delete()
        Everything.objects.create(pk=10**12)
    support.come_back(new, lab)
    with override_database(sqlite_wrapper(str(new))):
        second = [model.objects.create(**values).pk for model, values in NEW_ROWS.items()]
        assert second == [number + 1 for number in last]
        assert Everything.objects.create().pk == 10**12 + 1
        for model in (*NEW_ROWS, Everything):
            model.objects.latest("pk").delete()
    support.migrate(new, nowhere)
    with override_database(nowhere.address.wrapper()):
        assert [model.objects.create(**values).pk for model, values in NEW_ROWS.items()] == [n + 1 for n in second]
        assert Everything.objects.create().pk == 10**12 + 2


NEW_ROWS: dict[Any, dict[str, Any]] = {Author: {"name": "new"}, Slot: {"label": "new"}}


def test_table_that_was_emptied_goes_on_with_its_numbers(lab: Database, new: Path) -> None:
    lab.rows("TRUNCATE otherproject_slot, everything")
    lab.rows("SELECT setval(pg_get_serial_sequence('everything', 'id'), 77, false)")
    support.come_back(new, lab)
    with override_database(sqlite_wrapper(str(new))):
        assert Slot.objects.create(label="new").pk == 3
        assert Everything.objects.create().pk == 77
