"""The command: options, confirmation, exit codes, and output without secrets."""

import contextlib
import io
import json
import os
import pty
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from rich.console import Console

from ops.databases.postgres.url import ESCAPES
from ops.engine_migration.to_postgres.target import inspect_target
from ops.management import routes
from ops.management.base import ConfirmationDeclined
from ops.management.commands.migrate_to_postgres import Command
from ops.management.migration_handler import confirm
from tests.engine_migration import support
from tests.engine_migration.support import BOOKS, Database, Migration
from tests.support import forked


def tables_of_server(database: Database) -> Any:
    databases = support.server().rows("SELECT datname FROM pg_database WHERE datname LIKE %s", [f"{database.name}%"])
    return sorted(databases), database.tables()


# --- Dry run ------------------------------------------------------------------------------------------------
def test_dry_run_shows_the_plan_and_writes_nothing(library: Path, database: Database) -> None:
    before = tables_of_server(database)
    tables = (*BOOKS, "otherproject_comic", "otherproject_tag", "otherproject_book_tags")
    outcome = support.run(library, database, "--dry-run", *support.only(library, *tables))
    assert (outcome.code, outcome.error) == (0, "")
    assert tables_of_server(database) == before
    assert outcome.document["status"] == "plan"
    order = [table["name"] for table in outcome.document["tables"]]
    assert order.index("otherproject_book") < order.index("otherproject_comic")
    assert order.index("otherproject_tag") < order.index("otherproject_book_tags")
    assert "Everything can be migrated, in about " in outcome.out
    assert outcome.out.endswith("Nothing was changed: this was a dry run.\n")


def test_dry_run_with_findings_exits_with_2(library: Path, database: Database) -> None:
    before = tables_of_server(database)
    support.put(library, "everything", {"id": 500, "day": "someday"})
    outcome = support.run(
        library,
        database,
        "--dry-run",
        "--quarantine",
        str(library.parent / "refused"),
        *support.only(library, "everything"),
    )
    assert outcome.code == 2
    assert outcome.document["status"] == "findings"
    assert tables_of_server(database) == before
    assert not (library.parent / "refused").exists()


def test_findings_block_the_migration(library: Path, database: Database) -> None:
    support.put(library, "everything", {"id": 500, "day": "someday", "flag": 2})
    outcome = support.run(library, database, "--yes", *support.only(library, "everything"))
    assert outcome.code == 2
    assert database.tables() == []
    file = outcome.document["findings"]["file"]
    assert outcome.document["findings"] == {
        "count": 2,
        "file": file,
        "groups": [
            {
                "table": "everything",
                "column": "flag",
                "count": 1,
                "reason": "neither 0 nor 1, which SQLite stores for false and true",
            },
            {"table": "everything", "column": "day", "count": 1, "reason": "not a date of the form 2026-01-31"},
        ],
    }
    assert Path(file).stat().st_mode & 0o777 == 0o600
    assert support.read_findings(Path(file))[0] == (
        "everything", "500", "day", "text", "'someday'", "not a date of the form 2026-01-31",
    )  # fmt: skip
    assert "2 findings: PostgreSQL would refuse or change these values" in outcome.out
    assert "1 × everything.day: not a date of the form 2026-01-31" in outcome.out
    assert "primary key 500 text 'someday'" in outcome.out
    assert f"All findings: {file}" in outcome.out
    assert "Fix the values in the file, or add --quarantine DIR to migrate without these rows" in outcome.out
    assert outcome.out.endswith("Stopped. Nothing was changed.\n")


# --- JSON ---------------------------------------------------------------------------------------------------
def test_the_result_is_written_as_json(migration: Migration) -> None:
    document = migration.outcome.document
    assert set(document) == {
        "status", "source", "target", "tables", "skipped", "unknown", "notes", "stripped", "findings",
        "estimate_seconds", "not_tried", "rows", "refused", "seconds", "copy", "quarantine",
        "quarantine_files", "run", "not_kept", "missing_files",
    }  # fmt: skip
    assert document["status"] == "migrated"
    assert document["refused"] == 0
    assert document["rows"] == sum(table["rows"] for table in document["tables"])
    (book,) = (table for table in document["tables"] if table["name"] == "otherproject_book")
    assert set(book) == {"name", "label", "rows", "refused", "sha256"}
    assert (book["rows"], book["label"], len(book["sha256"])) == (5, "books", 64)
    assert document["source"]["format"] == "a file of this project"


def test_answer_yes_starts_the_migration_and_json_to_standard_output_is_the_only_output(
    library: Path,
    database: Database,
    migration: Migration,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    outcome = support.run(library, database, "--json", "-")
    assert outcome.code == 0
    document = json.loads(outcome.out)
    assert document["status"] == "migrated"
    assert document["tables"] == migration.outcome.document["tables"], "equal content has equal digests"
    assert len({table["sha256"] for table in document["tables"] if table["rows"] > 2}) > 10
    messages = capsys.readouterr().err
    assert "Done." in messages
    assert "Type yes to migrate" in messages
    assert database.value("SELECT count(*) FROM otherproject_book") == 5


def test_json_path_that_cannot_be_written_is_refused_first(library: Path, database: Database) -> None:
    place = library.parent / "nowhere" / "result.json"
    outcome = support.run(library, database, "--yes", "--json", str(place))
    assert outcome.error == f"--json {place}: the file cannot be written. Nothing was changed."
    assert database.tables() == []


# --- Confirmation -------------------------------------------------------------------------------------------
def test_any_answer_but_yes_declines(library: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    outcome = support.run(library, database)
    assert (outcome.code, outcome.error) == (5, "Not confirmed. Nothing was changed.")
    assert database.tables() == []
    rows = outcome.out.rpartition("Type yes to migrate ")[2]
    assert re.fullmatch(rf"\d{{3}} rows into the database {database.address}: ", rows)
    target = inspect_target(database.address)
    with support.prepared(library) as ready:
        for answer in ("Y", "YES", "", "yes please", "no"):
            monkeypatch.setattr("sys.stdin", io.StringIO(f"{answer}\n"))
            with pytest.raises(ConfirmationDeclined, match="Not confirmed"):
                confirm(Console(), ready, routes.to_postgres(ready, target, is_live=False))


def test_migration_without_terminal_and_yes_is_refused(
    library: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    outcome = support.run(library, database)
    message = "Not a terminal, cannot ask for confirmation. Nothing was changed.\nUse --yes for non-interactive runs."
    assert (outcome.code, outcome.error) == (5, message)
    assert database.tables() == []


# --- Addresses and passwords --------------------------------------------------------------------------------
MIGRATE = """
import sys
import django
django.setup()
from tests.support.replayed_migrations import replay_in_this_program
replay_in_this_program()
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "migrate_to_postgres", *sys.argv[1:]])
"""
"""The command in a process of its own."""
OTHERS = ("secret file", "option", "pgpass", "the site's own")
DOCUMENTED = ["variable", *(pytest.param(way, marks=pytest.mark.slow) for way in OTHERS)]


@pytest.mark.parametrize("way", DOCUMENTED)
def test_password_is_neither_printed_nor_in_process_arguments(
    library: Path, database: Database, tmp_path: Path, way: str
) -> None:
    """For each way to pass it."""
    address = database.address
    bare = database.url.replace(f":{address.password}@", "@")
    (tmp_path / "url").write_text(database.url + "\n")
    (tmp_path / "pgpass").write_text(f"*:*:*:*:{address.password}\n")
    (tmp_path / "pgpass").chmod(0o600)
    changes, words = {
        "variable": ({"POSTGRES_URL": database.url}, []),
        "secret file": ({"POSTGRES_URL_FILE": str(tmp_path / "url")}, []),
        "option": ({}, ["--postgres-url-file", str(tmp_path / "url")]),
        "pgpass": ({"PGPASSFILE": str(tmp_path / "pgpass")}, ["--postgres-url", bare]),
        "the site's own": ({"DATABASE_URL": database.url}, []),
    }[way]
    process = subprocess.Popen(
        [
            sys.executable,
            "-W",
            "error",
            "-c",
            MIGRATE,
            "--sqlite-path",
            str(library),
            *words,
            "--yes",
            *support.only(library, *BOOKS),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=support.MANAGE.parent,
        env=support.environment(library.parent) | changes,
    )
    seen: list[str] = []

    def watch() -> None:
        while process.poll() is None:
            with contextlib.suppress(OSError):
                seen.append(Path(f"/proc/{process.pid}/cmdline").read_bytes().decode())
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = process.communicate(timeout=120)
    watcher.join()
    assert process.returncode == 0, output
    assert address.password not in output
    assert seen
    assert not any(address.password in line for line in seen)
    assert ("Next: set DATABASE_URL to this database" in output) == (way != "the site's own")
    assert database.value("SELECT count(*) FROM otherproject_book") == 5


def test_password_in_arguments_prints_a_warning(tmp_path: Path, database: Database) -> None:
    warning = "Every user of this machine can read the password in --postgres-url while the command runs."
    assert warning in support.run(tmp_path / "missing", database, "--dry-run").out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "--postgres-url-file {} cannot be read (FileNotFoundError). Nothing was changed."),
        (b"\xff", "--postgres-url-file {} cannot be read (UnicodeDecodeError). Nothing was changed."),
        (b" \n", "--postgres-url-file {} is empty. Nothing was changed."),
    ],
)
def test_url_file_without_address_is_refused(
    library: Path, tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "url"
    if content is not None:
        path.write_bytes(content)
    outcome = support.run(library, None, "--postgres-url-file", str(path))
    assert outcome.error.startswith(message.format(path) + "\n")


def test_option_takes_precedence_over_environment(library: Path, database: Database, settings: Any) -> None:
    settings.POSTGRES_URL = "postgres://nobody@127.0.0.1:1/nothing"
    option = Database(address=database.address, url="postgres://nobody@127.0.0.1:1/something")
    assert "something on 127.0.0.1:1" in support.run(library, option, "--dry-run").error
    assert "nothing on 127.0.0.1:1" in support.run(library, None, "--dry-run").error


def test_documents_pass_no_password_in_arguments() -> None:
    for path in support.MANAGE.parent.rglob("*.md"):
        if not {".venv", "node_modules"} & set(path.parts):
            assert not re.search(r"--postgres-url[ =]\S*:[^/\s]\S*@", path.read_text()), path


WRONG_PASSWORD = "The server answers; the user or the password is wrong."


@pytest.mark.parametrize("end", ["?nonsense=1", "?sslmode=bogus", "%00"])
def test_invalid_address_fails_with_a_message(library: Path, database: Database, end: str) -> None:
    outcome = support.run(library, Database(address=database.address, url=database.url + end), "--yes")
    assert outcome.code == 1
    expected = "The PostgreSQL URL cannot be parsed;" if end == "%00" else "Check the options after ? in the URL."
    assert expected in outcome.error
    assert database.address.password not in outcome.error


def test_unwritable_report_does_not_change_the_exit_code(
    library: Path, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    support.put(library, "everything", {"id": 500, "day": "someday"})
    outcome = support.run(library, database, "--yes", "--json", "/dev/full", *support.only(library, "everything"))
    assert outcome.code == 2
    assert "The report could not be written ([Errno 28] No space left on device)." in capsys.readouterr().err


@pytest.mark.parametrize("place", ["/dev/full", "-"])
def test_unwritable_report_does_not_make_a_migration_look_failed(
    migration: Migration, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    def refuse(*_: object) -> None:
        raise BrokenPipeError("closed")

    if place == "-":
        monkeypatch.setattr("ops.management.migration.write_json", refuse)
    Command().print_json({"json": place}, migration.outcome.document)
    assert "The migration is done and verified; its report could not be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"password": "wrong-secret"}, 'password authentication failed for user "homerack".\n' + WRONG_PASSWORD),
        ({"user": "nobody-here"}, 'password authentication failed for user "nobody-here".\n' + WRONG_PASSWORD),
        (
            {"port": "1"},
            "Connection refused. It waited 1 s for a server that takes writes. Nothing was changed.\nIs the",
        ),
        ({"host": "host.invalid"}, "could not translate host name"),
    ],
)
def test_failed_connection_names_the_reason(
    library: Path, database: Database, change: dict[str, str], reason: str
) -> None:
    address = database.address
    parts = {"user": address.user, "password": address.password, "host": address.host, "port": address.port} | change
    url = f"postgres://{parts['user']}:{parts['password']}@{parts['host']}:{parts['port']}/{address.database}"
    outcome = support.run(library, Database(address=address, url=url), "--yes")
    assert outcome.code == 1
    where = f"{address.database} on {parts['host']}:{parts['port']}"
    assert outcome.error.startswith(f"No connection to the database {where}: ")
    assert reason in outcome.error
    assert parts["password"] not in outcome.error + outcome.out + json.dumps(outcome.document)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://me:secret@host/db", "The PostgreSQL URL has to start with postgres://."),
        ("me:secret@host/db", "The PostgreSQL URL has to start with postgres://."),
        ("postgres://me:secret@host:5432/", "The PostgreSQL URL names no database."),
        ("postgres://me:se#cret@host:5432/db", f"The PostgreSQL URL cannot be parsed; {ESCAPES}."),
        ("postgres://me:se/cret@host:5432/db", f"The PostgreSQL URL cannot be parsed; {ESCAPES}."),
    ],
)
def test_address_that_cannot_be_parsed_is_not_printed(library: Path, url: str, message: str) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("migrate_to_postgres", "--sqlite-path", str(library), "--postgres-url", url)
    assert str(refused.value).startswith(f"{message}\n")
    assert "cret" not in str(refused.value)


def test_an_unknown_time_zone_is_refused(library: Path, database: Database) -> None:
    outcome = support.run(library, database, "--source-timezone", "Mars/Olympus")
    assert outcome.error == (
        "--source-timezone Mars/Olympus: unknown time zone.\nExample: --source-timezone Europe/Berlin"
    )


def test_source_timezone_is_that_of_times_without_an_offset(library: Path, database: Database) -> None:
    support.put(library, "everything", {"id": 900, "moment": "2024-03-31 02:30:00"})
    outcome = support.run(
        library, database, "--yes", "--source-timezone", "Europe/Berlin", *support.only(library, "everything")
    )
    assert outcome.code == 2
    assert "everything.moment: a local time that does not exist in Europe/Berlin" in outcome.out


# --- Output -------------------------------------------------------------------------------------------------
def test_progress_without_terminal_is_plain_lines(migration: Migration) -> None:
    out, address = migration.outcome.out, migration.target.address
    assert "\x1b" not in out
    assert "\r" not in out
    for stage in ("snapshot", "preflight", "schema", "copy", "build", "verify", "cut-over"):
        assert f"✓ {stage} " in out
    assert re.search(rf"\n\w.* \d{{3}} rows are in {address}, compared value by value with the file", out)


def test_names_are_not_interpreted_as_markup(
    library: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))
    odd = library.with_name("[bold]lab[red].db")
    library.rename(odd)
    assert f"Source  {odd}" in support.run(odd, database).out


def test_progress_in_a_terminal_has_bars(library: Path, database: Database) -> None:
    leader, follower = pty.openpty()
    process = forked.start(
        [
            "-c",
            MIGRATE,
            "--sqlite-path",
            str(library),
            "--postgres-url",
            database.url,
            "--yes",
            *support.only(library, *BOOKS),
        ],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=support.environment(library.parent) | {"TERM": "xterm-256color"},
    )
    os.close(follower)
    output = b""
    with contextlib.suppress(OSError):
        while chunk := os.read(leader, 65536):
            output += chunk
    os.close(leader)
    assert process.wait(timeout=60) == 0
    assert "━".encode() in output
    assert b"Done." in output
