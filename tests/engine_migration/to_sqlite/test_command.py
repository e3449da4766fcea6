"""The command: options, confirmation, exit codes, and output without secrets."""

import json
from pathlib import Path
from typing import Any

import pytest

from ops.databases.postgres import lock
from ops.databases.postgres.databases import maintenance_connection
from ops.engine_migration.to_sqlite import pipeline
from tests.engine_migration import support
from tests.engine_migration.support import BOOKS, Database
from tests.engine_migration.to_sqlite.support import only

BAD = "UPDATE everything SET real = 'NaN', day = 'infinity' WHERE id = 1"
REASONS = {
    ("everything", "real"): "NaN, which SQLite stores as NULL",
    ("everything", "day"): "infinite, or outside the years 1 to 9999, which Python has",
}


def left(path: Path) -> list[str]:
    """The names in the directory of the new file, but for what the test itself has there."""
    return sorted(found.name for found in path.parent.iterdir() if found.name.startswith((".", "new")))


# --- Migrated --------------------------------------------------------------------------------------------------------
def test_migration_makes_a_file_with_all_rows(lab: Database, new: Path) -> None:
    outcome = support.come_back(new, lab)
    document = outcome.document
    assert (document["status"], document["refused"], document["target"]["path"]) == ("migrated", 0, str(new))
    assert set(document) >= {"status", "run", "rows", "tables", "seconds", "skipped", "unknown", "notes", "findings"}
    with support.opened(new) as connection:
        found = {
            table["name"]: connection.execute(f'SELECT count(*) FROM "{table["name"]}"').fetchone()[0]
            for table in document["tables"]
        }
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert found == {table["name"]: table["rows"] for table in document["tables"]}
    assert found == {name: lab.value(f'SELECT count(*) FROM "{name}"') for name in found}
    assert document["rows"] == sum(found.values())
    assert {table["table"]: table["reason"] for table in document["skipped"]} == {
        "django_migrations": "created in the file by `migrate`",
        "django_session": "all users must sign in again",
    }
    assert new.stat().st_mode & 0o777 == 0o600
    assert left(new) == ["new.db"]


def test_answer_yes_starts_the_migration_and_json_to_standard_output_is_the_only_output(
    lab: Database, new: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: "yes")
    outcome = support.back(new, lab, "--json", "-", *only(lab, BOOKS))
    assert (outcome.code, outcome.error) == (0, "")
    assert json.loads(outcome.out)["status"] == "migrated"
    assert "Type yes to migrate 8 rows into " in capsys.readouterr().err
    assert new.exists()


@pytest.mark.parametrize("answer", ["no", ""])
def test_any_other_answer_exits_with_5(lab: Database, new: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: answer)
    outcome = support.back(new, lab, *only(lab, BOOKS))
    assert (outcome.code, outcome.error) == (5, "Not confirmed. Nothing was changed.")
    assert left(new) == []


# --- Dry run and findings --------------------------------------------------------------------------------------------
def test_dry_run_writes_nothing(lab: Database, new: Path) -> None:
    outcome = support.back(new, lab, "--dry-run", *only(lab, BOOKS))
    assert (outcome.code, outcome.error, outcome.document["status"]) == (0, "", "plan")
    assert "Everything can be migrated, in about " in outcome.out
    assert outcome.out.endswith("Nothing was changed: this was a dry run.\n")
    assert left(new) == []
    assert support.staging_databases(lab.name) == []


@pytest.mark.parametrize("arguments", [["--dry-run"], ["--yes"]])
def test_findings_exit_with_2_and_are_listed_in_a_file(lab: Database, new: Path, arguments: list[str]) -> None:
    lab.rows(BAD)
    outcome = support.back(new, lab, *arguments, *only(lab, ["everything"]))
    assert (outcome.code, outcome.document["status"]) == (2, "findings")
    assert left(new) == []
    found = outcome.document["findings"]
    assert found["count"] == 2
    assert {(group["table"], group["column"]): group["reason"] for group in found["groups"]} == REASONS
    assert Path(found["file"]).stat().st_mode & 0o777 == 0o600
    assert support.read_findings(Path(found["file"])) == [
        ("everything", "1", "day", "date", "'infinity'", REASONS["everything", "day"]),
        ("everything", "1", "real", "double precision", "'NaN'", REASONS["everything", "real"]),
    ]
    assert "Fix the values in PostgreSQL, or add --quarantine DIR to migrate without these rows" in outcome.out


def test_quarantine_has_refused_rows_and_those_that_refer_to_them(lab: Database, new: Path) -> None:
    """Exit code 3. A shelf without a name refers to none; its place does."""
    lab.rows(BAD)
    lab.rows("ALTER TABLE otherproject_book DROP CONSTRAINT book_is_affordable")
    lab.rows("UPDATE otherproject_book SET price = 'NaN' WHERE title = 'Comic'")
    folder = new.parent / "refused"
    outcome = support.back(new, lab, "--yes", "--quarantine", str(folder))
    assert (outcome.code, outcome.document["status"]) == (3, "quarantined"), outcome
    files = {path.name: [json.loads(line) for line in path.read_text().splitlines()] for path in folder.iterdir()}
    assert {name: len(rows) for name, rows in files.items()} == {
        "everything.jsonl": 1,
        "otherproject_book.jsonl": 1,
        "otherproject_comic.jsonl": 1,
        "otherproject_place.jsonl": 1,
        "otherproject_book_similar.jsonl": 2,
    }
    assert files["everything.jsonl"][0]["day"] == "infinity"
    assert files["otherproject_book.jsonl"][0]["title"] == "Comic"
    with support.opened(new) as connection:
        assert connection.execute("SELECT count(*) FROM everything").fetchone() == (16,)
        assert connection.execute("SELECT count(*) FROM otherproject_book").fetchone() == (4,)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    refused = {table["name"]: table["refused"] for table in outcome.document["tables"] if table["refused"]}
    assert refused == {name.removesuffix(".jsonl"): len(rows) for name, rows in files.items()}


def test_a_quarantine_directory_with_files_is_refused(lab: Database, new: Path) -> None:
    outcome = support.back(new, lab, "--yes", "--quarantine", str(new.parent))
    assert outcome.code == 1
    assert f"The quarantine directory {new.parent} is not empty." in outcome.error


# --- What is refused -------------------------------------------------------------------------------------------------
def test_other_databases_are_refused(database: Database, new: Path) -> None:
    empty = support.back(new, database, "--yes")
    assert (empty.code, "it has no tables" in empty.error) == (1, True)
    database.rows("CREATE TABLE theirs (n int)")
    foreign = support.back(new, database, "--yes")
    assert (foreign.code, "its tables are theirs" in foreign.error) == (1, True)
    nowhere = support.back(new, support.database_named("nowhere"), "--yes")
    assert (nowhere.code, "nowhere" in nowhere.error) == (1, True)
    assert left(new) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("DELETE FROM django_migrations WHERE app = 'otherproject'", "was written by an older version: it lacks"),
        ("INSERT INTO django_migrations (app, name, applied) VALUES ('otherproject', '0009_x', now())", "0009_x"),
        ("CREATE TABLE theirs (n int)", "theirs"),
        ("ALTER TABLE everything ADD COLUMN theirs int", "everything.theirs"),
        ("ALTER TABLE everything DROP COLUMN span", "span"),
        ("DROP TABLE otherproject_byday", "otherproject_byday"),
    ],
)
def test_database_of_another_version_is_refused(lab: Database, new: Path, change: str, words: str) -> None:
    lab.rows(change)
    outcome = support.back(new, lab, "--yes")
    assert outcome.code in {1, 2}, outcome
    assert words in outcome.error + outcome.out
    assert left(new) == []


# --- Skipped tables --------------------------------------------------------------------------------------------------
def test_skipped_table_is_as_migrations_leave_it_and_rows_that_refer_to_it_are_findings(
    lab: Database, new: Path
) -> None:
    lab.rows("CREATE TABLE theirs (n int)")
    arguments = ["--skip-table", "theirs", "--skip-table", "otherproject_shelf"]
    blocked = support.back(new, lab, "--yes", *arguments)
    assert (blocked.code, blocked.document["findings"]["groups"]) == (
        2,
        [
            {
                "table": "otherproject_place",
                "column": "",
                "count": 2,
                "reason": "refers to otherproject_shelf, which is not migrated",
            }
        ],
    )
    outcome = support.come_back(new, lab, *arguments, "--skip-table", "otherproject_place")
    assert {table["table"]: table["rows"] for table in outcome.document["skipped"]} == {
        "django_migrations": lab.value("SELECT count(*) FROM django_migrations"),
        "django_session": 0,
        "theirs": 0,
        "otherproject_shelf": 1,
        "otherproject_place": 2,
    }
    with support.opened(new) as connection:
        assert connection.execute("SELECT count(*) FROM otherproject_shelf").fetchone() == (0,)


def test_rows_of_skipped_tables_that_migrations_made_refer_to_no_missing_rows(lab: Database, new: Path) -> None:
    """The migrations make groups with permissions. A group was deleted in PostgreSQL."""
    lab.rows("DELETE FROM auth_group_permissions; DELETE FROM accounts_user_groups; DELETE FROM auth_group")
    support.come_back(new, lab, "--skip-table", "auth_group_permissions")
    with support.opened(new) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_unknown_table_to_skip_is_refused(lab: Database, new: Path) -> None:
    outcome = support.back(new, lab, "--yes", "--skip-table", "nosuch")
    assert outcome.code == 1
    assert "--skip-table nosuch: the database has no such table." in outcome.error


# --- While it runs ---------------------------------------------------------------------------------------------------
def test_rows_written_during_the_migration_are_an_error(
    lab: Database, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pipeline.copy_and_verify

    def write_meanwhile(*arguments: Any) -> Any:
        found = real(*arguments)
        lab.rows("UPDATE otherproject_author SET name = 'changed' WHERE id = 2")
        return found

    monkeypatch.setattr(pipeline, "copy_and_verify", write_meanwhile)
    outcome = support.back(new, lab, "--yes")
    assert outcome.code == 1
    assert "Rows of otherproject_author were written during the migration." in outcome.error
    assert left(new) == []


def test_another_operation_exits_with_4(lab: Database, new: Path) -> None:
    with maintenance_connection(lab.address) as connection, lock.locked(connection, lab.name):
        outcome = support.back(new, lab, "--yes", *only(lab, BOOKS))
    assert outcome.code == 4, outcome
    assert left(new) == []


# --- Secrets ---------------------------------------------------------------------------------------------------------
def test_no_output_has_the_password(lab: Database, new: Path, tmp_path: Path) -> None:
    lab.rows(BAD)
    for arguments in (["--dry-run"], ["--yes"], ["--yes", "--skip-table", "nosuch"]):
        outcome = support.back(new, lab, *arguments)
        assert lab.address.password not in f"{outcome.out}{outcome.error}{outcome.document}"
    for path in (tmp_path / "backups").rglob("*"):
        assert lab.address.password.encode() not in (path.read_bytes() if path.is_file() else b""), path


def test_url_is_read_from_a_file_and_a_password_in_the_arguments_gets_a_warning(lab: Database, new: Path) -> None:
    file = new.with_name("url")
    file.write_text(f"{lab.url}\n")
    outcome = support.back(new, None, "--dry-run", "--postgres-url-file", str(file), *only(lab, BOOKS))
    assert (outcome.code, outcome.error) == (0, "")
    assert "Every user of this machine can read the password" not in outcome.out
