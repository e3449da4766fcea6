"""Files of another version than the code, and unknown tables."""

from pathlib import Path

from tests.engine_migration import support
from tests.engine_migration.support import Database


def refusal(path: Path, database: Database, *arguments: str) -> str:
    outcome = support.run(path, database, "--yes", *arguments)
    assert outcome.code == 1
    assert database.tables() == []
    return outcome.error


def test_a_newer_file_is_refused(file: Path, database: Database) -> None:
    record = "INSERT INTO django_migrations (app, name, applied) VALUES ('otherproject', '{}', '2030-01-01')"
    support.alter(file, record.format("0098_shelves_turn"), record.format("0099_books_fly"))
    assert refusal(file, database) == (
        f"{file} was written by a newer version: this code does not know otherproject.0098_shelves_turn and 1 more."
        " Nothing was changed.\nUpgrade the code to the version that wrote it, and run the command again."
    )


def test_a_file_with_records_of_replaced_migrations_is_accepted(library: Path) -> None:
    """Django keeps them after a squash, and the files of the replaced migrations are deleted."""
    record = "INSERT INTO django_migrations (id, app, name, applied) VALUES ({}, 'otherproject', '{}', '2020-01-01')"
    support.alter(library, record.format(-2, "0001_first"), record.format(-1, "0002_second"))
    with support.prepared(library) as ready:
        assert ready.acceptable


def test_an_older_file_is_refused(file: Path, database: Database) -> None:
    support.alter(file, "DELETE FROM django_migrations WHERE app = 'otherproject' AND name LIKE '0002%'")
    assert refusal(file, database) == (
        f"{file} was written by an older version: it lacks otherproject.0002_more_kinds_of_key.\n"
        "Set DATABASE_URL to this file, and run manage.py migrate first."
    )


def test_file_without_a_table_is_refused(file: Path, database: Database) -> None:
    support.alter(file, "DROP TABLE otherproject_byday")
    assert refusal(file, database) == (
        "The file has no table otherproject_byday, which otherproject.ByDay needs.\n"
        "The file's tables do not match its django_migrations. Restore or repair the file."
    )


def test_file_without_a_column_is_refused(file: Path, database: Database) -> None:
    support.alter(file, "ALTER TABLE otherproject_shelf RENAME COLUMN room TO chamber")
    assert refusal(file, database) == (
        "The file's table otherproject_shelf has no column room, which otherproject.Shelf needs.\n"
        "The file was written by another version of this code. Upgrade the file first, or use the code that wrote it."
    )


def test_a_table_without_row_ids_is_refused(file: Path, database: Database) -> None:
    support.alter(
        file,
        "DROP TABLE otherproject_byday",
        'CREATE TABLE otherproject_byday ("key" date NOT NULL PRIMARY KEY) WITHOUT ROWID',
    )
    assert refusal(file, database) == (
        "The file's table otherproject_byday is declared WITHOUT ROWID, which is not supported.\n"
        "Rebuild it without that clause in a copy of the file, and name the copy."
    )


def test_unknown_tables_and_columns_block_the_migration(file: Path, database: Database) -> None:
    support.alter(
        file,
        "CREATE TABLE photos (x)",
        "INSERT INTO photos VALUES (1), (2)",
        "ALTER TABLE otherproject_shelf ADD COLUMN colour",
    )
    outcome = support.run(file, database, "--yes")
    assert outcome.code == 2
    assert outcome.document["unknown"] == [
        {"table": "photos", "rows": 2, "reason": "no model has this table"},
        {"table": "otherproject_shelf.colour", "rows": 0, "reason": "no model has this column"},
    ]
    assert "To skip the unknown tables, add --skip-table photos." in outcome.out
    assert (
        "Unknown columns: the file was written by another version of this code, or was changed by hand." in outcome.out
    )
    assert outcome.out.endswith("Stopped. Nothing was changed.\n")
    assert database.tables() == []


def test_skip_table_skips_and_reports_the_table(library: Path, migrated: Database) -> None:
    support.alter(library, "CREATE TABLE photos (x)", "INSERT INTO photos VALUES (1), (2)")
    with support.prepared(library, skip_tables=frozenset({"photos", "everything"})) as ready:
        support.copy_and_verify_into(ready, migrated)
    skipped = {entry.table: (entry.rows, entry.reason) for entry in ready.plan.skipped}
    assert skipped["photos"] == (2, "by --skip-table")
    assert skipped["everything"] == (17, "by --skip-table")
    assert migrated.value("SELECT count(*) FROM otherproject_book") == 5
    assert migrated.value("SELECT count(*) FROM everything") == 0
    assert "photos" not in migrated.tables()


def test_skip_table_with_unknown_table_is_refused(file: Path, database: Database) -> None:
    message = refusal(file, database, "--skip-table", "nothing")
    assert message.startswith(
        "--skip-table nothing: the file has no such table.\nIt has: accounts_historicaluser, accounts_user, "
    )


def test_rows_that_need_a_skipped_table_are_findings(library: Path, migrated: Database) -> None:
    reason = "refers to otherproject_author, which is not migrated"
    named = support.load_findings(library, migrated, skip_tables=frozenset({"otherproject_author"}))
    assert {(line[0], line[2], line[5]) for line in named} == {("otherproject_book", "author_id", reason)}
    assert len(named) == 5


def test_generated_columns_are_not_copied_but_computed(moved: Database) -> None:
    assert moved.rows("SELECT pages, letters FROM otherproject_book WHERE title = 'Book 3'") == [(3, 6000)]


def test_generated_column_only_in_the_file_is_ignored(file: Path) -> None:
    support.alter(file, "ALTER TABLE otherproject_shelf ADD COLUMN twice AS (number * 2) VIRTUAL")
    with support.prepared(file) as ready:
        assert ready.plan.unknown == ()


def test_columns_in_another_order_are_migrated(library: Path, migrated: Database) -> None:
    support.alter(
        library,
        "ALTER TABLE otherproject_shelf RENAME COLUMN room TO old",
        "ALTER TABLE otherproject_shelf ADD COLUMN room varchar(20)",
        "UPDATE otherproject_shelf SET room = old",
    )
    with support.opened(library) as connection:
        (index,) = connection.execute(
            "SELECT name FROM sqlite_master WHERE tbl_name = 'otherproject_shelf' AND name LIKE '%uniq'"
        ).fetchone()
    support.alter(library, f'DROP INDEX "{index}"', "ALTER TABLE otherproject_shelf DROP COLUMN old")
    with support.prepared(library) as ready:
        support.copy_and_verify_into(ready, migrated)
    assert migrated.rows("SELECT room, number FROM otherproject_shelf") == [("hall", -1)]
