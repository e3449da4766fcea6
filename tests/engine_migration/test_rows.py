"""Rows among each other: orphans, duplicates, rules of the models, and what other programs do to a file."""

from pathlib import Path
from typing import Any

import pytest

from tests.engine_migration import support
from tests.engine_migration.support import Database

NAMES = ("author", "book", "book_tags", "comic", "shelf", "sighting", "slot", "tag")
TABLES = ["everything", *(f"otherproject_{name}" for name in NAMES)]
A, B = "0" * 31 + "a", "0" * 31 + "b"


def book(identifier: str, title: str, **others: Any) -> dict[str, Any]:
    return {"id": identifier, "title": title, "author_id": 1, "pages": 1, "price": 1} | others


def findings(file: Path, database: Database, **options: Any) -> list[tuple[str, ...]]:
    return support.load_findings(file, database, only=TABLES, **options)


@pytest.fixture
def books(file: Path) -> Path:
    support.put(file, "otherproject_author", {"id": 1, "name": "Ada"})
    return file


# --- Foreign keys -------------------------------------------------------------------------------------------
def test_orphans_are_findings(books: Path, migrated: Database) -> None:
    support.put(books, "otherproject_author", {"id": 2, "name": "Bob", "mentor_id": 77}, {"id": 3, "name": "C"})
    support.put(books, "otherproject_book", book(A, "One", author_id=99))
    support.put(books, "otherproject_book_tags", {"id": 5, "book_id": A, "tag_id": "none"})
    support.put(books, "otherproject_comic", {"book_ptr_id": B, "colour": 1})
    assert findings(books, migrated) == [
        (
            "otherproject_author",
            "2",
            "mentor_id",
            "integer",
            "77",
            "refers to a missing row of otherproject_author",
        ),
        (
            "otherproject_book",
            A,
            "author_id",
            "integer",
            "99",
            "refers to a missing row of otherproject_author",
        ),
        (
            "otherproject_book_tags",
            "5",
            "tag_id",
            "text",
            "'none'",
            "refers to a missing row of otherproject_tag",
        ),
        (
            "otherproject_comic",
            B,
            "book_ptr_id",
            "text",
            repr(B),
            "refers to a missing row of otherproject_book",
        ),
    ]


def test_orphan_of_an_unenforced_reference_is_migrated(file: Path, migrated: Database) -> None:
    support.put(file, "otherproject_slot", {"id": 1, "label": "x", "active": 1, "hidden": 0, "guest_id": 404})
    with support.prepared(file, only=TABLES) as ready:
        assert ready.preflight.count == 0
        support.copy_and_verify_into(ready, migrated)
    assert migrated.value("SELECT guest_id FROM otherproject_slot") == 404


def test_foreign_keys_are_enforced_after_the_migration(moved: Database) -> None:
    assert moved.value("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND NOT convalidated") == 0
    triggers = "SELECT count(*) FROM pg_trigger WHERE tgisinternal AND tgenabled <> 'O'"
    assert moved.value(triggers) == 0


def test_no_foreign_key_or_index_is_lost(moved: Database, schema: str) -> None:
    parts = "SELECT conrelid::regclass::text, conname, contype::text, pg_get_constraintdef(oid) FROM pg_constraint"
    parts += " WHERE connamespace = 'public'::regnamespace UNION SELECT tablename, indexname, 'index', indexdef"
    parts += " FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2, 3"
    assert moved.rows(parts) == support.database_named(schema).rows(parts)


def test_foreign_keys_are_never_disabled() -> None:
    """A dump of a database with invalid references cannot be restored."""
    sources = [path.read_text() for path in Path("ops").rglob("*.py")]
    assert sources
    assert not any("session_replication_role" in source for source in sources)


def test_reference_in_another_form_is_no_orphan(books: Path, migrated: Database) -> None:
    support.put(books, "otherproject_book", book(A, "One"))
    support.put(books, "otherproject_comic", {"book_ptr_id": A.upper(), "colour": 1})
    support.put(books, "otherproject_comic", {"book_ptr_id": B.upper(), "colour": 1})
    (line,) = findings(books, migrated)
    assert line[:3] == ("otherproject_comic", B.upper(), "book_ptr_id")


# --- Duplicates ---------------------------------------------------------------------------------------------
def test_duplicates_of_a_unique_expression_are_findings(books: Path, migrated: Database) -> None:
    """Titles are unique regardless of case, but the index was dropped."""
    support.alter(books, "DROP INDEX book_title_without_case")
    support.put(books, "otherproject_book", book(A, "Dune"), book(B, "DUNE"))
    assert findings(books, migrated) == [
        ("otherproject_book", B, "", "NULL", "", "not unique (book_title_without_case): another row has the same value")
    ]


def test_duplicates_that_differ_only_in_sqlite_are_findings(books: Path, migrated: Database) -> None:
    """SQLite's lower() knows ASCII only."""
    support.put(books, "otherproject_book", book(A, "Élan"), book(B, "élan"))
    assert findings(books, migrated) == [
        ("otherproject_book", B, "", "NULL", "", "not unique (book_title_without_case): another row has the same value")
    ]


def test_duplicates_of_unique_together_are_findings(file: Path, migrated: Database) -> None:
    index = [
        name
        for (name,) in rows_of(file, "SELECT name FROM sqlite_master WHERE tbl_name = 'otherproject_shelf'")
        if name.endswith("_uniq")
    ]
    support.alter(file, f'DROP INDEX "{index[0]}"')
    shelves = [{"id": number, "room": "hall", "number": 1} for number in (1, 2, 3)]
    support.put(file, "otherproject_shelf", *shelves, {"id": 4, "room": "hall", "number": 2})
    reason = f"not unique ({index[0]}): another row has the same value"
    assert findings(file, migrated) == [
        ("otherproject_shelf", "2", "room, number", "NULL", "", reason),
        ("otherproject_shelf", "3", "room, number", "NULL", "", reason),
    ]


def rows_of(file: Path, query: str) -> list[Any]:
    with support.opened(file) as connection:
        return connection.execute(query).fetchall()


def test_duplicates_of_a_conditional_constraint_are_findings(file: Path, migrated: Database) -> None:
    support.alter(file, "DROP INDEX slot_active_label")
    common = {"label": "x", "hidden": 0}
    support.put(
        file,
        "otherproject_slot",
        common | {"id": 1, "active": 1},
        common | {"id": 2, "active": 0},
        common | {"id": 3, "active": 0},
        common | {"id": 4, "active": 1},
    )
    assert findings(file, migrated) == [
        (
            "otherproject_slot",
            "4",
            "label",
            "text",
            "'x'",
            "not unique (slot_active_label): another row has the same value",
        )
    ]


def test_null_is_never_a_duplicate(file: Path, migrated: Database) -> None:
    support.put(file, "otherproject_sighting", {"id": 1}, {"id": 2}, {"id": 3, "note": ""})
    with support.prepared(file, only=TABLES) as ready:
        assert ready.preflight.count == 0
        support.copy_and_verify_into(ready, migrated)


@pytest.mark.parametrize(
    ("column", "first", "second"),
    [
        ("code", A, A.upper()),
        ("code", A, "00000000-0000-0000-0000-00000000000a"),
        ("moment", "2026-01-01 00:00:00", "2026-01-01T01:00:00+01:00"),
        ("moment", "2026-01-01 00:00:00.500000", "2026-01-01 00:00:00.5"),
    ],
)
def test_two_forms_of_one_unique_value_are_findings(
    file: Path, migrated: Database, column: str, first: str, second: str
) -> None:
    support.put(file, "otherproject_sighting", {"id": 1, column: first}, {"id": 2, column: second})
    reason = f"not unique (otherproject_sighting_{column}_key): another row has the same value"
    assert findings(file, migrated) == [("otherproject_sighting", "2", column, "text", repr(second), reason)]


def test_two_forms_of_one_key_are_findings(books: Path, migrated: Database) -> None:
    odd = "00000000-0000-0000-0000-00000000000a"
    support.put(books, "otherproject_book", book(A, "One"), book(odd, "Two"))
    reason = "not unique (otherproject_book_pkey): another row has the same value"
    assert findings(books, migrated) == [("otherproject_book", odd, "id", "text", repr(odd), reason)]


def test_texts_equal_without_nul_are_findings(file: Path, migrated: Database) -> None:
    support.put(file, "otherproject_sighting", {"id": 1, "note": "x"}, {"id": 2, "note": "x\0"})
    reason = "not unique (otherproject_sighting_note_key): another row has the same value"
    assert findings(file, migrated, strip_nul=True) == [
        ("otherproject_sighting", "2", "note", "text", "'x\\x00'", reason)
    ]


def test_key_with_refused_and_non_canonical_values_has_one_finding(file: Path, migrated: Database) -> None:
    support.put(file, "otherproject_sighting", {"id": 1, "code": A.upper()}, {"id": 2, "code": "?"})
    assert [(line[1], line[5]) for line in findings(file, migrated)] == [("2", "not a UUID")]


# --- Rules and notes ----------------------------------------------------------------------------------------
def test_rows_that_violate_a_check_constraint_are_findings(books: Path, migrated: Database) -> None:
    support.put(books, "otherproject_book", book(A, "One", price=1000), book(B, "Two", price=999.99))
    support.put(books, "everything", {"id": 1, "positive": -1}, {"id": 2, "positive": 0})
    assert findings(books, migrated) == [
        ("everything", "1", "positive", "integer", "-1", "violates the check constraint everything_positive_check"),
        ("otherproject_book", A, "price", "integer", "1000", "violates the check constraint book_is_affordable"),
    ]


def test_nocase_columns_views_and_triggers_are_noted(file: Path, database: Database) -> None:
    """One value in the file may be two in PostgreSQL."""
    support.alter(
        file,
        "CREATE UNIQUE INDEX tag_without_case ON otherproject_tag (name COLLATE NOCASE)",
        "CREATE VIEW names AS SELECT name FROM otherproject_tag",
        "CREATE TRIGGER loud AFTER INSERT ON otherproject_tag BEGIN SELECT 1; END",
    )
    outcome = support.run(file, database, "--dry-run", *support.only(file, "otherproject_tag"))
    case = "is unique regardless of case in the file; PostgreSQL distinguishes upper and lower case."
    notes = [
        "The file's view names is not migrated.",
        "The file's trigger loud is not migrated.",
        f"otherproject_tag.name {case}",
    ]
    assert outcome.document["notes"] == notes
    assert [note for note in notes if f"Note {note}" not in outcome.out] == []
