"""Untrusted text reaches terminals, errors and logs without control characters."""

import contextlib
import dataclasses
import io
import json
import logging
import logging.config
import re
import shutil
import sqlite3
import sys
import unicodedata

import pytest
from django.conf import settings
from django.core.management import get_commands
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ops.management.progress import BarReporter, LineReporter, PrintableConsole
from ops.utils.printable import json_text, printable
from ops.utils.progress import Progress
from ops.utils.redaction import redact
from tests.engine_migration.support import database_named, new_name
from tests.operations.harness import Lab, Outcome

DIRECTIONS = {"\u061c", "\u200e", "\u200f", *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}
MARKUP = "[red]x[/red]"
HOSTILE = f"a\x1b[77mb\x1b]0;title\x07\x9b31m\x7f\u202egnp.exe\u2066\u2028{MARKUP}[/]:boom:"
"""A colour, the window's title, C1, DEL, a reversal, a line separator, and markup."""
SHOWN = printable(HOSTILE)


def obeyed(character: str) -> bool:
    """Whether a terminal does not just show it, as Unicode's own tables say."""
    return character not in "\n\t" and (
        unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} or character in DIRECTIONS
    )


def assert_harmless(text: str) -> None:
    assert not {character for character in text if obeyed(character)}, ascii(text)


def test_printable_replaces_control_characters_only() -> None:
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    wrong = [
        ascii(character)
        for character, shown in zip(every, printable(every), strict=True)
        if shown != ("\ufffd" if obeyed(character) else character)
    ]
    assert not wrong


def test_json_text_escapes_control_characters() -> None:
    text = json_text({HOSTILE: [HOSTILE, "ü\udc9b"]})
    assert_harmless(text)
    assert json.loads(text) == {HOSTILE: [HOSTILE, "ü\udc9b"]}
    assert "ü" in text


# --- Commands ---------------------------------------------------------------------------------------------------
@pytest.fixture
def hostile_lab(sqlite_lab: Lab) -> Lab:
    """Everything in it that users can name has a hostile name."""
    folder = sqlite_lab.folder / HOSTILE.replace("/", "⁄")
    folder.mkdir()
    lab = dataclasses.replace(sqlite_lab, folder=folder, url=f"sqlite:///{folder}/lab.db")
    sqlite_lab.run("createinitialsuperuser")
    shutil.move(sqlite_lab.file, lab.file)
    with contextlib.closing(sqlite3.connect(lab.file)) as connection, connection:
        connection.execute(f'CREATE TABLE "{HOSTILE}" (a)')
        connection.execute(f'INSERT INTO "{HOSTILE}" VALUES (1)')
        connection.execute("UPDATE accounts_user SET email = ?", [HOSTILE])
    return lab


def everything_a_person_can_type(lab: Lab) -> list[tuple[str, ...]]:
    """Each command that prints, in an order in which all have something to print."""
    foreign = lab.folder / f"{lab.folder.name}.sqlite3"
    target = database_named(new_name()).url
    shutil.copy(lab.file, foreign)
    return [
        ("check_database",),
        ("createinitialsuperuser",),
        ("backup_database", "--note", HOSTILE),
        ("list_backups",),
        ("verify_backup", "--latest"),
        ("verify_backup", "--latest", "--restore"),
        ("rebuild_backup_index",),
        ("prune_backups", "--dry-run"),
        ("prune_backups",),
        ("restore_database", "--latest", "--yes"),
        ("undo_restore", "--yes"),
        ("restore_database", "--backup-file", str(foreign), "--untrusted", "--yes"),
        ("drop_previous_database", "--yes"),
        ("migrate_to_postgres", "--sqlite-path", str(lab.file), "--postgres-url", target, "--dry-run"),
        # Errors.
        ("list_backups", "--backup-dir", str(lab.file)),
        ("copy_backups",),
        ("create_recovery_kit", "--output", str(lab.folder / "kit.html")),
        ("list_recovery_kits",),
        ("prove_recovery_kit", HOSTILE),
        ("withdraw_recovery_kit", HOSTILE, "--yes"),
        ("decide_backup", HOSTILE, "--right"),
        ("recover", "--from", str(lab.folder), "--list", "--identity-file", f"{foreign}.missing"),
        ("verify_backup", HOSTILE),
        ("restore_database", "--backup-file", f"{foreign}.missing", "--yes"),
        ("migrate_to_postgres", "--sqlite-path", f"{foreign}.missing", "--postgres-url", target, "--dry-run"),
        ("migrate_to_postgres", "--sqlite-path", str(foreign), "--json", f"{foreign}/x"),
        ("migrate_to_sqlite", "--sqlite-path", str(lab.file), "--postgres-url", target, "--dry-run"),
        ("createinitialsuperuser", "--email", HOSTILE),
        ("send_test_notification",),
    ]


def test_commands_print_no_control_characters(hostile_lab: Lab) -> None:
    lab = hostile_lab
    printed: dict[str, str] = {}
    typed = everything_a_person_can_type(lab)
    for words in typed:
        if words == ("restore_database", "--latest", "--yes"):
            # What gives the rights back is named.
            lab.rows("UPDATE accounts_user SET is_superuser = 0")
        outcome = lab.manage(*words)
        assert "Traceback" not in outcome.error, (words, outcome.error)
        assert_harmless(outcome.output)
        printed[words[0]] = printed.get(words[0], "") + outcome.output
    ours = {name for name, app in get_commands().items() if app == "ops"}
    assert ours <= printed.keys()
    # What is hostile was there to be printed, and markup in it is no markup.
    for command in (
        "list_backups",
        "restore_database",
        "rebuild_backup_index",
        "migrate_to_postgres",
        "migrate_to_sqlite",
        "createinitialsuperuser",
    ):
        assert "\ufffd" in printed[command], printed[command]
        assert f"{MARKUP}[/]:boom:" in printed[command].replace("⁄", "/"), printed[command]


def test_json_keeps_the_exact_text(hostile_lab: Lab) -> None:
    name = hostile_lab.back_up("--note", HOSTILE)
    outcomes: list[Outcome] = [
        hostile_lab.run("list_backups", "--json"),
        hostile_lab.run("verify_backup", name, "--json"),
        hostile_lab.manage("check_database", "--json"),
    ]
    for outcome in outcomes:
        assert_harmless(outcome.output)
    assert outcomes[0].json["backups"][0]["manifest"]["note"] == HOSTILE


# --- The terminal -------------------------------------------------------------------------------------------------
def own_codes_removed(text: str) -> str:
    """Without the colours and movements of rich itself, and the return to the line's start."""
    assert "\x1b[77m" not in text
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", text)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> PrintableConsole:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    return PrintableConsole(io.StringIO())


def written(console: PrintableConsole) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_console_keeps_its_colours_and_replaces_foreign_codes(terminal: PrintableConsole) -> None:
    table = Table(title=escape(HOSTILE))
    table.add_column(escape(HOSTILE))
    table.add_row(escape(HOSTILE), style="bold")
    table.add_row(Text(HOSTILE))
    terminal.print(f"[green]{escape(HOSTILE)}[/green]")
    terminal.print(HOSTILE, style="yellow", markup=False)
    terminal.print(table)
    text = written(terminal)
    assert "\x1b[32m" in text
    assert "\x1b[33m" in text
    plain = own_codes_removed(text)
    assert_harmless(plain)
    assert plain.count(SHOWN) >= 4


@pytest.mark.parametrize("kind", [BarReporter, LineReporter])
def test_progress_replaces_control_characters_in_table_names(
    terminal: PrintableConsole, monkeypatch: pytest.MonkeyPatch, kind: type[BarReporter | LineReporter]
) -> None:
    monkeypatch.setattr("ops.management.progress.SECONDS_BETWEEN_FRAMES", 0)
    monkeypatch.setattr("ops.management.progress.SECONDS_BETWEEN_LINES", 0)
    with kind(terminal) as report:
        report(Progress(stage="Copy", total=9))
        report(Progress(stage="Copy", item=HOSTILE, done=1, total=9))
    plain = own_codes_removed(written(terminal))
    assert_harmless(plain)
    assert MARKUP in plain


# --- Errors and logs ----------------------------------------------------------------------------------------------
def test_output_of_programs_has_no_control_characters() -> None:
    assert redact(HOSTILE) == SHOWN


def test_log_line_has_no_control_characters() -> None:
    assert all(logger.get("handlers", ["console"]) == ["console"] for logger in settings.LOGGING["loggers"].values())
    handler = settings.LOGGING["handlers"]["console"]
    assert handler["formatter"] == "line"
    configured = logging.config.DictConfigurator(settings.LOGGING)  # type: ignore[attr-defined]
    formatter = configured.configure_formatter(configured.config["formatters"]["line"])
    error = ValueError(HOSTILE)
    record = logging.LogRecord("ops", logging.ERROR, __file__, 1, "%s", (HOSTILE,), (ValueError, error, None))
    line = formatter.format(record)
    assert_harmless(line)
    assert line.count(SHOWN) == 2
    assert "ERROR ops: a" in line
