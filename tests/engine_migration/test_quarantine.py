"""``--quarantine``: refused rows and the rows that refer to them are written in full, and the rest is migrated."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ops.databases.sqlite.snapshot import opened, take_snapshot
from ops.engine_migration.plan import Plan, TablePlan
from ops.engine_migration.quarantine import file_names, rows_of_file, write_quarantine
from ops.engine_migration.refusals import PreflightResult
from tests.engine_migration import support
from tests.engine_migration.support import Database


def kept(directory: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        path.stem: [json.loads(line) for line in path.read_text().splitlines()] for path in sorted(directory.iterdir())
    }


def test_quarantine_contains_refused_rows_and_their_dependants(library: Path, database: Database) -> None:
    """An author is refused; so are the books, and their comics, tags, neighbours and places."""
    support.alter(library, "UPDATE otherproject_author SET name = 'x' || char(0) WHERE id = 3")
    support.alter(library, "UPDATE everything SET blob = 'text', long = CAST(x'ff' AS TEXT) WHERE id = 1")
    directory = library.parent / "refused"
    own = (
        f"otherproject_{name}"
        for name in ("author", "book", "book_tags", "book_similar", "comic", "place", "shelf", "tag")
    )
    only = support.only(library, "everything", *own)
    outcome = support.run(library, database, "--yes", "--quarantine", str(directory), *only)
    assert (outcome.code, outcome.error) == (3, "")
    rows = kept(directory)
    assert {table: len(found) for table, found in rows.items()} == {
        "otherproject_author": 1,
        "otherproject_book": 2,
        "otherproject_book_similar": 4,
        "otherproject_comic": 1,
        "otherproject_place": 1,
        "everything": 1,
    }
    assert rows["otherproject_author"] == [{"id": 3, "name": "x\0", "favourite_id": None, "mentor_id": None}]
    assert {row["title"] for row in rows["otherproject_book"]} == {"Book 2", "Comic"}
    assert rows["everything"][0]["blob"] == "text"
    assert rows["everything"][0]["long"] == {"hex": "ff"}
    for path in directory.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700
    document = outcome.document
    assert (document["status"], document["refused"]) == ("quarantined", 10)
    assert {t["name"]: t["refused"] for t in document["tables"] if t["refused"]} == {t: len(r) for t, r in rows.items()}
    assert document["quarantine_files"] == {table: f"{table}.jsonl" for table in rows}
    assert f"10 refused rows are in {directory}, in full: {', '.join(document['quarantine_files'].values())}\n" in (
        outcome.out
    )
    assert database.value("SELECT count(*) FROM otherproject_book") == 3
    assert database.value("SELECT count(*) FROM otherproject_author") == 2
    assert database.value("SELECT count(*) FROM everything") == 16
    named = support.read_findings(Path(document["findings"]["file"]))
    reasons = {(line[0], line[5]) for line in named}
    assert ("otherproject_comic", "refers to a row of otherproject_book that is refused") in reasons


def load(file: Path, database: Database, *tables: str) -> None:
    """Load and verify the rows of these tables that are not refused."""
    with support.prepared(file, only=tables, quarantine=file.parent / "refused") as ready:
        support.copy_and_verify_into(ready, database)
        assert ready.preflight.rows_refused > 0


def test_quarantine_with_circular_references_ends(file: Path, migrated: Database) -> None:
    code = "c" * 32
    support.put(
        file,
        "otherproject_author",
        {"id": 1, "name": "a", "mentor_id": 2},
        {"id": 2, "name": "b", "mentor_id": 3, "favourite_id": code},
        {"id": 3, "name": "c\0", "mentor_id": 1},
        {"id": 4, "name": "free"},
    )
    support.put(file, "otherproject_book", {"id": code, "title": "t", "author_id": 1, "pages": 1, "price": 1})
    load(file, migrated, "otherproject_author", "otherproject_book")
    assert migrated.rows("SELECT id FROM otherproject_author") == [(4,)]
    assert migrated.value("SELECT count(*) FROM otherproject_book") == 0


def test_first_of_duplicate_rows_is_migrated(file: Path, migrated: Database) -> None:
    support.alter(file, "DROP INDEX slot_active_label")
    rows = ({"id": number, "label": "x", "active": 1, "hidden": 0} for number in (1, 2, 3))
    support.put(file, "otherproject_slot", *rows)
    load(file, migrated, "otherproject_slot")
    assert migrated.rows("SELECT id FROM otherproject_slot") == [(1,)]


def test_duplicate_of_a_refused_row_is_migrated(file: Path, migrated: Database) -> None:
    support.alter(file, "DROP INDEX slot_active_label")
    common = {"label": "x", "active": 1, "hidden": 0}
    support.put(file, "otherproject_slot", common | {"id": 1, "code": "c\0"}, common | {"id": 2})
    load(file, migrated, "otherproject_slot")
    assert migrated.rows("SELECT id FROM otherproject_slot") == [(2,)]


def test_quarantine_without_refused_rows_writes_nothing(library: Path, database: Database) -> None:
    directory = library.parent / "refused"
    only = support.only(library, "otherproject_tag")
    outcome = support.run(library, database, "--yes", "--quarantine", str(directory), *only)
    assert outcome.code == 0
    assert not directory.exists() or list(directory.iterdir()) == []


@pytest.mark.parametrize("kind", ["full", "file"])
def test_quarantine_directory_in_use_is_refused_first(library: Path, database: Database, kind: str) -> None:
    directory = library.parent / "refused"
    if kind == "full":
        directory.mkdir()
        (directory / "book.jsonl").touch()
        message = f"The quarantine directory {directory} is not empty.\nSpecify a new directory."
    else:
        directory.touch()
        message = f"{directory} cannot be used: Not a directory.\nSpecify a new directory."
    outcome = support.run(library, database, "--yes", "--quarantine", str(directory))
    assert (outcome.code, outcome.error) == (1, message)
    assert database.tables() == []


def test_unknown_tables_block_migration_with_quarantine(library: Path, database: Database) -> None:
    support.alter(library, "CREATE TABLE photos (x)")
    directory = library.parent / "refused"
    assert support.run(library, database, "--yes", "--quarantine", str(directory)).code == 2
    assert not directory.exists()
    assert database.tables() == []


HOSTILE = (
    "net/device", "../outside", "../../etc/cron.d/x", "/tmp/absolute", "..", ".", ".hidden", "." * 200, "a\\b",
    "x" * 300, "x" * 299 + "y", "ラック" * 30, "Item", "item", "ITEM", "item-2", "nul\nline", "%2E%2E", "a b", "con",
    "ä",
)  # fmt: skip


def test_each_table_has_a_file_within_the_directory(tmp_path: Path) -> None:
    source, directory = tmp_path / "lab.db", tmp_path / "deep" / "refused"
    for name in HOSTILE:
        # SQLite finds tables regardless of case.
        support.alter(source, f'CREATE TABLE IF NOT EXISTS "{name}" (name text)', f'DELETE FROM "{name}"')
        support.put(source, name, {"name": "row"})
    tables = tuple(TablePlan(name=name, label=name, source=name, columns=(), key=()) for name in HOSTILE)
    plan = Plan(format="", tables=tables, skipped=(), unknown=(), notes=())
    refused = dict.fromkeys(HOSTILE, (1,))
    preflight = PreflightResult(count=1, groups=(), refused=refused, non_canonical={}, stripped={})
    with opened(source, hint="") as live:
        snapshot = take_snapshot(source=live, destination=tmp_path / "copy.db")
    before = set(tmp_path.rglob("*"))
    write_quarantine(directory, plan, preflight, partial(rows_of_file, snapshot, preflight))
    written = set(tmp_path.rglob("*")) - before - {directory, directory.parent}
    assert written == {directory / name for name in file_names(HOSTILE).values()}
    assert len(written) == len(HOSTILE)
    assert {path.read_text() for path in written} == {'{"name": "row"}\n'}


def test_file_names_differ_on_every_file_system_and_show_the_table() -> None:
    names = file_names(HOSTILE)
    assert len({name.lower() for name in names.values()}) == len(HOSTILE)
    assert all(name.isascii() and name.isprintable() and len(name) <= 180 for name in names.values())
    assert not any("/" in name or "\\" in name or name.startswith(".") for name in names.values())
    assert {table: names[table] for table in ("net/device", "../outside", ".", "a b", "Item", "item", "ITEM")} == {
        "net/device": "net%2Fdevice.jsonl",
        "../outside": "%2E.%2Foutside.jsonl",
        ".": "%2E.jsonl",
        "a b": "a%20b.jsonl",
        "Item": "Item.jsonl",
        "item": "item-2.jsonl",
        "ITEM": "ITEM-3.jsonl",
    }
    assert names["item-2"] == "item-2-2.jsonl"
    assert file_names(["inventory_rack", "x" * 150]) == {
        "inventory_rack": "inventory_rack.jsonl",
        "x" * 150: "x" * 150 + ".jsonl",
    }
