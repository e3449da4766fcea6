"""Output, error and exit code of each command, for every outcome."""

import gzip
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ops.management import execution
from ops.models import Run
from tests.engine_migration import support
from tests.operations.harness import Lab, postgresql_first, sqlite_first

COMMANDS = (
    "backup_database",
    "list_backups",
    "verify_backup",
    "restore_database",
    "undo_restore",
    "drop_previous_database",
    "prune_backups",
    "rebuild_backup_index",
    "decide_backup",
)
NOTE = "before [bold] moves & what [/red] is"
CHANGE = "UPDATE racks SET name = 'Changed'"
QUEUE = "from ops.models import Run; Run.objects.create(kind='{kind}', requested_by='jane@example.org')"


def manifest_of(lab: Lab, name: str) -> Path:
    return lab.backups / f"{name}.json"


def rewrite(path: Path, **changes: Any) -> None:
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | changes))


def refused(lab: Lab, *arguments: str, code: int, **how: Any) -> str:
    """Run a command that must fail with `code` and change nothing. Returns its error."""
    before = lab.content()
    outcome = lab.manage(*arguments, **how)
    assert outcome.code == code, outcome
    assert lab.content() == before
    assert "Traceback" not in outcome.error, outcome.error
    return outcome.error.removeprefix("CommandError: ")


# --- Help, and no backups -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_and_exit_codes(sqlite_lab: Lab, command: str) -> None:
    out = sqlite_lab.run(command, "--help").out
    assert f"manage.py {command}" in out.partition("examples:")[2]
    assert "exit codes: 0 done" in out


@sqlite_first
def test_commands_without_any_backup_say_how_to_make_one(lab: Lab) -> None:
    listed = lab.run("list_backups").out
    assert listed == f"There is no backup in {lab.backups} yet.\nMake one: manage.py backup_database\n"
    assert refused(lab, "restore_database", "--latest", code=1).startswith(
        "There is no verified backup.\nMake one: manage.py backup_database"
    )
    assert refused(lab, "verify_backup", "--all", code=1).startswith("There is no backup to verify.\nMake one")
    assert refused(lab, "restore_database", "homerack", code=1).startswith("There is no backup 'homerack'.")
    for command in ("undo_restore", "drop_previous_database"):
        assert refused(lab, command, "--yes", code=1).startswith("There is nothing to undo")
    assert lab.runs() == []
    assert lab.events() == []


@sqlite_first
def test_beginning_of_a_name_finds_a_backup_if_it_is_unique(lab: Lab) -> None:
    first, second = lab.back_up(), lab.back_up()
    assert refused(lab, "restore_database", "homerack_", code=1) == (
        f"'homerack_' is the beginning of {second}, {first}.\nGive one of these names in full.\n"
    )
    wrong = refused(lab, "verify_backup", first.replace("homerack", "homerock"), code=1)
    assert f"Similar names: {first}" in wrong or f"Similar names: {second}" in wrong
    assert lab.run_json("verify_backup", f"{first}.json")["verifications"].keys() == {first}


# --- Confirmation -----------------------------------------------------------------------------------------------------
@sqlite_first
def test_anything_but_the_full_name_is_declined(lab: Lab) -> None:
    name = lab.back_up()
    lab.rows(CHANGE)
    for typed in ("\n", "y\n", "yes\n", f"{lab.name.upper()}\n", f"{lab.name}x\n"):
        error = refused(lab, "restore_database", name, typed=typed, code=5)
        assert error == "Database name does not match. Nothing was changed.\n"
    assert refused(lab, "restore_database", name, code=5) == (
        "Not a terminal, cannot ask for confirmation. Nothing was changed.\nUse --yes for non-interactive runs.\n"
    )
    assert [kind for kind, _ in lab.runs()] == ["backup"]
    lab.run("restore_database", name, typed=f"{lab.name}\n")
    assert refused(lab, "undo_restore", typed="no\n", code=5).startswith("Database name does not match.")
    assert refused(lab, "drop_previous_database", typed="y\n", code=5) == "Not confirmed. Nothing was changed.\n"
    lab.run("drop_previous_database", typed="yes\n")


@sqlite_first
def test_name_typed_at_a_terminal_confirms(lab: Lab) -> None:
    name = lab.back_up()
    lab.rows(CHANGE)
    with lab.typing("restore_database", name) as (command, keyboard):
        command.until(lambda: "To confirm, type the database name" in command.out.read_text())
        os.write(keyboard, f"{lab.name}\n".encode())
        outcome = command.wait()
    assert outcome.code == 0, outcome
    assert lab.value("SELECT count(*) FROM racks WHERE name = 'Changed'") == 0


# --- What is not restored -----------------------------------------------------------------------------------------
@sqlite_first
def test_restore_with_changed_manifest_is_refused(lab: Lab) -> None:
    name = lab.back_up()
    rewrite(manifest_of(lab, name), note="better than it is")
    error = refused(lab, "restore_database", name, "--yes", code=3)
    assert error.startswith(
        f"The signature of {name} is not valid: the file was modified. The database is unchanged.\n"
    )
    assert refused(lab, "restore_database", name, "--yes", "--untrusted", code=3) == error
    assert "There is no verified backup." in refused(lab, "restore_database", "--latest", "--yes", code=1)
    verified = lab.manage("verify_backup", name)
    assert verified.code == 3
    assert f"✗ Verification of {name} failed: Its manifest was changed after it was made" in verified.out
    assert "changed after it was made" in lab.run("list_backups").out
    copy = Path(shutil.copy(lab.backups / name, lab.folder / "copy"))
    lab.run("restore_database", "--backup-file", str(copy), "--untrusted", "--yes")


@sqlite_first
def test_restore_with_wrong_checksum_is_refused(lab: Lab) -> None:
    name = lab.back_up("--no-compress")
    data = lab.backups / name
    content = data.read_bytes()
    place = content.rindex(b"ops_run")
    data.write_bytes(content[:place] + b"ops_rum" + content[place + 7 :])
    for arguments in (["restore_database", name, "--yes"], ["restore_database", name, "--to", other(lab)]):
        assert "is not the file that its manifest describes: its SHA-256 differs" in refused(lab, *arguments, code=3)
    assert lab.manage("verify_backup", name).code == 3
    assert lab.manage("verify_backup", name, "--restore").code == 3
    assert "There is no verified backup." in refused(lab, "restore_database", "--latest", "--yes", code=1)
    assert "FAILED" in lab.run("list_backups").out


def other(lab: Lab) -> str:
    return str(lab.folder / "other.db") if lab.kind == "sqlite" else f"{lab.name}_other"


@sqlite_first
def test_restore_with_truncated_or_missing_file_is_refused(lab: Lab) -> None:
    name = lab.back_up()
    data = lab.backups / name
    content = data.read_bytes()
    data.write_bytes(content[: len(content) // 2])
    assert f"Its data file has {len(content) // 2:,} bytes, and the manifest says {len(content):,}." in refused(
        lab, "restore_database", name, "--yes", code=3
    )
    assert lab.manage("verify_backup", name).code == 3
    data.unlink()
    assert "Its data file is missing." in refused(lab, "restore_database", name, "--yes", code=3)
    assert "Its data file is missing." in lab.run("list_backups").out


@sqlite_first
def test_restore_of_truncated_file_without_manifest_is_refused(lab: Lab) -> None:
    name = lab.back_up("--no-compress")
    content = (lab.backups / name).read_bytes()
    cut = lab.folder / "cut"
    for size in (0, 10, 500, len(content) // 2, int(len(content) * 0.9)):
        for pack in (bytes, gzip.compress):
            cut.write_bytes(pack(content[:size]))
            outcome = refused(lab, "restore_database", "--backup-file", str(cut), "--untrusted", "--yes", code=3)
            assert outcome.count("\n") <= 3, outcome


@sqlite_first
def test_restore_of_unsigned_backup_needs_untrusted(lab: Lab) -> None:
    name = lab.back_up()
    before = lab.project_content()
    error = refused(lab, "restore_database", name, "--yes", code=3, SECRET_KEY="another key, as it were " * 3)
    assert error == (
        f"{name} was signed with an unknown key, so its origin is unknown. Nothing was changed.\nIf it was made here"
        " before the key was changed, add the old key to BACKUP_SIGNING_KEY_FALLBACKS. To restore its rows"
        " nevertheless, add --untrusted: the project's migrations create the tables, and nothing in the file"
        " is executed.\n"
    )
    document = json.loads(manifest_of(lab, name).read_text())
    del document["signature"]
    manifest_of(lab, name).write_text(json.dumps(document))
    assert f"{name} is not signed, so its origin is unknown." in refused(lab, "restore_database", name, "--yes", code=3)
    lab.rows(CHANGE)
    lab.run("restore_database", name, "--yes", "--untrusted")
    assert lab.project_content() == before


def test_restore_of_a_backup_of_the_other_engine_is_refused(make_lab: Callable[[str], Lab]) -> None:
    postgres, sqlite = make_lab("postgresql"), make_lab("sqlite")
    theirs = {lab.kind: lab.back_up() for lab in (postgres, sqlite)}
    for source, target in ((postgres, sqlite), (sqlite, postgres)):
        for path in source.backups.glob(f"{theirs[source.kind]}*"):
            shutil.copy(path, target.backups)
    error = refused(postgres, "restore_database", theirs["sqlite"], "--yes", code=3)
    assert error.startswith(f"{theirs['sqlite']} is a SQLite backup; this database is PostgreSQL. Nothing was changed.")
    assert "manage.py migrate_to_postgres --sqlite-path FILE" in error
    error = refused(sqlite, "restore_database", theirs["postgresql"], "--yes", code=3)
    assert "is a PostgreSQL backup; this database is SQLite. Nothing was changed." in error
    for lab in (postgres, sqlite):
        assert "of another database" in lab.run("prune_backups", "--dry-run").out


def test_verification_of_a_backup_of_the_other_engine_is_refused_and_not_recorded(
    make_lab: Callable[[str], Lab],
) -> None:
    postgres, sqlite = make_lab("postgresql"), make_lab("sqlite")
    theirs = {lab.kind: lab.back_up() for lab in (postgres, sqlite)}
    for source, target, words in ((postgres, sqlite, "PostgreSQL"), (sqlite, postgres, "SQLite")):
        name = theirs[source.kind]
        for path in source.backups.glob(f"{name}*"):
            shutil.copy(path, target.backups)
        before = manifest_of(target, name).read_bytes()
        for how in ((), ("--restore",)):
            error = refused(target, "verify_backup", name, *how, code=3)
            assert error.startswith(f"{name} is a {words} backup; this database is ")
        for which in ("--all", "--latest"):
            out = target.run("verify_backup", which).out
            assert f"✓ Verification of {theirs[target.kind]} passed" in out
            assert (f"because they are of another kind of database: {name}." in out) == (which == "--all")
        assert manifest_of(target, name).read_bytes() == before


@sqlite_first
def test_restore_of_a_backup_of_newer_code_is_refused(lab: Lab) -> None:
    lab.rows("INSERT INTO django_migrations (app, name, applied) VALUES ('inventory', '0099_future', '2026-01-01')")
    name = lab.back_up()
    lab.rows("DELETE FROM django_migrations WHERE name = '0099_future'")
    words = (
        f"{name} was written by a newer version: this code does not know inventory.0099_future. Nothing was changed.\n"
        "Upgrade the code to the version that wrote it, and run the command again.\n"
    )
    assert refused(lab, "restore_database", name, "--yes", code=1) == words
    assert refused(lab, "restore_database", name, "--to", other(lab), code=1) == words
    copy = shutil.copy(lab.backups / name, lab.folder / "copy")
    error = refused(lab, "restore_database", "--backup-file", str(copy), "--untrusted", "--yes", code=1)
    assert error.startswith("copy was written by a newer version: this code does not know inventory.0099_future.")
    assert "1 ahead" in lab.run("list_backups").out


@sqlite_first
def test_backup_with_records_of_replaced_migrations_is_restored(lab: Lab) -> None:
    """Their files were deleted after a squash, and Django keeps the records."""
    lab.rows(
        "INSERT INTO django_migrations (id, app, name, applied) VALUES (-1, 'inventory', '0000_first', '2020-01-01')"
    )
    name = lab.back_up()
    assert lab.run("verify_backup", name, "--restore").code == 0
    assert lab.run("restore_database", name, "--yes").code == 0


@postgresql_first
def test_backup_of_older_code_is_migrated_in_the_staging_database(lab: Lab) -> None:
    before = lab.content()
    lab.run("migrate", "otherproject", "0001", "--verbosity", "0", "--skip-checks")
    name = lab.back_up()
    lab.run("migrate", "--verbosity", "0", "--skip-checks")
    lab.rows(CHANGE)
    assert "1 behind" in lab.run("list_backups").out
    assert lab.run("verify_backup", name, "--restore").code == 0
    restored = lab.run("restore_database", name, "--yes").out
    assert "The backup is older than the installed code. The restore will apply 1 migration." in restored
    assert "1 migration was applied." in restored
    after = lab.content()
    # Migrating back and forth has left marks of its own.
    marks = {name for name in after if name.startswith(("django_", "auth_", "sqlite_", "otherproject_"))}
    assert marks >= {"otherproject_byday", "django_migrations"}
    assert {k: v for k, v in after.items() if k not in marks} == {k: v for k, v in before.items() if k not in marks}
    assert lab.run("migrate", "--check", "--skip-checks").code == 0


# --- Other ways to back up and restore ----------------------------------------------------------------------------
def test_dump_of_pg_dump_is_restored_as_untrusted(postgres_lab: Lab) -> None:
    lab = postgres_lab
    before = lab.project_content()
    file = lab.folder / "mine.sql"
    program = Path(os.environ["PG_BIN"]) / "pg_dump"
    subprocess.run([str(program), "--file", str(file), lab.url], check=True)
    lab.rows(CHANGE)
    error = refused(lab, "restore_database", "--backup-file", str(file), "--yes", code=3)
    assert error.startswith("mine.sql is not signed, so its origin is unknown. Nothing was changed.\n")
    shown = lab.run("restore_database", "--backup-file", str(file), "--untrusted", typed=f"{lab.name}\n").out
    assert "This file is not signed here. Its origin is unknown." in shown
    assert lab.project_content() == before
    assert [status for _, status in lab.runs()] == ["succeeded"]


def test_dump_with_commands_is_refused(postgres_lab: Lab) -> None:
    lab = postgres_lab
    mark = lab.folder / "mark"
    content = (lab.backups / lab.back_up("--no-compress")).read_text()
    file = lab.folder / "evil.sql"
    head, sep, tail = content.partition("CREATE TABLE")
    for evil in (
        f"\\! touch {mark}",
        f"COPY racks TO PROGRAM 'touch {mark}';",
        f"COPY racks FROM PROGRAM 'touch {mark}';",
    ):
        file.write_text(f"{head}{evil}\n{sep}{tail}")
        refused(lab, "restore_database", "--backup-file", str(file), "--untrusted", "--yes", code=3)
        assert not mark.exists(), evil


def test_restore_to_a_new_database_does_not_change_the_live_one(lab: Lab) -> None:
    name = lab.back_up()
    lab.rows(CHANGE)
    changed = lab.content()
    target = other(lab)
    try:
        output = lab.run("restore_database", name, "--to", target).out
        assert f"Loaded {name} into {target}" in output
        assert f"The rows are in {target}; the live database was not touched." in output
        assert lab.content() == changed
        separate = Lab(kind=lab.kind, name="other", url="", folder=lab.folder)
        if lab.database:
            separate.database = support.database_named(target)
        assert separate.value("SELECT count(*) FROM racks") > 0
        assert separate.value("SELECT count(*) FROM racks WHERE name = 'Changed'") == 0
        again = lab.manage("restore_database", name, "--to", target)
        assert again.code == 1
        assert target in again.error
        assert "already" in again.error
        assert lab.run_json("list_backups")["previous"] is None
    finally:
        if lab.database:
            lab.rows(f'DROP DATABASE IF EXISTS "{target}"')


@sqlite_first
def test_restore_without_pre_restore_backup_can_be_undone(lab: Lab) -> None:
    name = lab.back_up()
    lab.rows(CHANGE)
    changed = lab.content()
    output = lab.run("restore_database", name, "--yes", "--no-pre-backup").out
    assert "The database was not backed up before the restore, as requested." in output
    assert lab.listed() == [name]
    (event,) = [e for e in lab.events() if e["kind"] == "restore" and e["event"] == "ended"]
    assert event["arguments"]["pre_backup"] is False
    assert event["result"]["pre_backup"] == ""
    lab.run("undo_restore", "--yes")
    assert lab.content() == changed


def break_pre_backup(lab: Lab) -> dict[str, str]:
    """An environment in which the live database can be restored but not dumped."""
    programs = lab.folder / "programs"
    programs.mkdir()
    real = Path(os.environ["PG_BIN"])
    for name, does in (("pg_dump", "echo 'could not read block 7' >&2; exit 1"), ("pg_restore", "exit 1")):
        (programs / name).write_text(
            f'#!/bin/sh\ncase "$1" in --version) exec {real}/{name} --version;; esac\n{does}\n'
        )
        (programs / name).chmod(0o755)
    return {"PG_BIN": str(programs)}


@pytest.mark.slow
def test_restore_offers_to_skip_a_pre_restore_backup_that_fails(postgres_lab: Lab) -> None:
    lab = postgres_lab
    before = lab.content()
    name = lab.back_up()
    lab.rows(CHANGE)
    changed = lab.content()
    broken = break_pre_backup(lab)
    error = refused(lab, "restore_database", name, "--yes", code=1, **broken)
    assert error.startswith(
        "The database could not be backed up before the restore: pg_dump failed with exit code 1: could not read"
        " block 7. Nothing was changed.\n"
    )
    assert "--no-pre-backup" in error
    assert lab.listed() == [name]
    with lab.typing("restore_database", name, **broken) as (command, keyboard):
        command.until(lambda: "To confirm, type the database name" in command.out.read_text())
        os.write(keyboard, f"{lab.name}\n".encode())
        command.until(lambda: "To restore without this backup, type the database name" in command.out.read_text())
        os.write(keyboard, f"{lab.name}\n".encode())
        outcome = command.wait()
    assert outcome.code == 0, outcome
    assert "The database was not backed up before the restore, as requested." in outcome.out
    assert lab.content() == before
    assert [run for run in lab.runs() if run[0] == "restore"] == [
        ("restore", "failed"),
        ("restore", "failed"),
        ("restore", "succeeded"),
    ]
    lab.run("undo_restore", "--yes", **broken)
    assert lab.content() == changed


def test_damaged_sqlite_file_is_replaced_without_pre_restore_backup(sqlite_lab: Lab) -> None:
    lab = sqlite_lab
    before = lab.content()
    name = lab.back_up()
    broken = b"not a database at all " * 1000
    for suffix in ("-wal", "-shm"):
        lab.file.with_name(lab.file.name + suffix).unlink(missing_ok=True)
    lab.file.write_bytes(broken)
    outcome = lab.manage("restore_database", name, "--yes")
    assert outcome.code == 1, outcome
    assert "--no-pre-backup" in outcome.error
    assert lab.file.read_bytes() == broken
    lab.run("restore_database", name, "--yes", "--no-pre-backup")
    assert lab.content() == before


@pytest.mark.slow
def test_custom_format_is_restored_and_refused_on_sqlite(postgres_lab: Lab, sqlite_lab: Lab) -> None:
    lab = postgres_lab
    before = lab.project_content()
    name = lab.back_up("--format", "custom")
    assert name.endswith(".dump")
    assert (lab.backups / name).read_bytes().startswith(b"PGDMP")
    lab.run("verify_backup", name, "--restore")
    lab.rows(CHANGE)
    lab.run("restore_database", name, "--yes")
    assert lab.project_content() == before
    copy = shutil.copy(lab.backups / name, lab.folder / "copy")
    lab.rows(CHANGE)
    lab.run("restore_database", "--backup-file", str(copy), "--untrusted", "--yes")
    assert lab.project_content() == before
    assert refused(sqlite_lab, "backup_database", "--format", "custom", code=1) == (
        "The custom format is PostgreSQL's, and the database is SQLite. Nothing was done.\n"
    )


@sqlite_first
def test_uncompressed_backup_in_another_directory_is_restored(lab: Lab) -> None:
    before = lab.content()
    place = lab.folder / "another disk"
    document = lab.run_json("backup_database", "--no-compress", "--keep", "--note", NOTE, "--backup-dir", str(place))
    name = document["backup"]
    manifest = json.loads((place / f"{name}.json").read_text())
    assert name.endswith(".sqlite3" if lab.kind == "sqlite" else ".sql")
    assert (manifest["size"], manifest["pinned"], manifest["note"]) == (manifest["uncompressed_size"], True, NOTE)
    assert lab.listed() == []
    assert NOTE in lab.run("list_backups", "--backup-dir", str(place)).out
    assert (place.stat().st_mode & 0o777, (place / name).stat().st_mode & 0o777) == (0o700, 0o600)
    lab.rows(CHANGE)
    lab.run("restore_database", "--latest", "--backup-dir", str(place), "--yes")
    assert lab.content() == before


# --- Pruning --------------------------------------------------------------------------------------------------------
def two_old_backups(lab: Lab) -> tuple[str, str]:
    """Backups of 30 and of 20 days ago."""
    names = lab.back_up(), lab.back_up()
    for name, days in zip(names, (30, 20), strict=True):
        age(lab, name, days)
    return names


def age(lab: Lab, name: str, days: int) -> None:
    """Date a backup back and sign it again, as if the clock had been wrong."""
    code = f"""
import datetime as dt
import msgspec
from ops.runs.context import repository_from_settings
repository = repository_from_settings()
manifest = repository.get({name!r}).require_manifest()
when = manifest.taken_at - dt.timedelta(days={days})
repository.files.rewrite({name!r} + ".json", repository.signed(msgspec.structs.replace(manifest, taken_at=when)))
"""
    lab.run("shell", "-c", code)


@sqlite_first
def test_prune_keeps_the_last_verified_backup(lab: Lab) -> None:
    oldest, old = two_old_backups(lab)
    would = lab.run_json("prune_backups", "--dry-run")
    assert would["kept"] == {old: "kept as the last verified backup"}
    assert would["deleted"] == {oldest: "older than 7 days"}
    assert "would be deleted" in lab.run("prune_backups", "--dry-run").out
    assert set(lab.listed()) == {old, oldest}
    assert lab.run_json("prune_backups", "--retention-days", "60")["deleted"] == {}
    assert "deleted" in lab.run("prune_backups").out
    assert lab.listed() == [old]
    new = lab.run("backup_database")
    assert f"Deleted {old}: " in new.out
    assert lab.value("SELECT count(*) FROM ops_backup") == 1


@sqlite_first
def test_prune_after_a_failed_backup_deletes_nothing(lab: Lab) -> None:
    oldest, old = two_old_backups(lab)
    failed = lab.manage("backup_database", largest_file=lab.full_disk)
    assert failed.code == 1, failed
    assert set(lab.listed()) == {old, oldest}
    document = lab.run_json("prune_backups")
    assert set(document["kept"].values()) == {
        "kept as the last verified backup",
        "kept because nothing is deleted after a failed or cancelled backup",
    }
    assert set(lab.listed()) == {old, oldest}


@sqlite_first
def test_prune_keeps_pinned_backups_and_those_that_an_undo_needs(lab: Lab) -> None:
    kept = lab.back_up("--keep")
    lab.run("restore_database", kept, "--yes")
    lab.back_up()
    reasons = lab.run_json("prune_backups", "--retention-days", "0")["kept"]
    assert reasons[kept] == "kept because it is pinned"
    assert "kept because an undo needs it" in reasons.values()
    lab.run("drop_previous_database", "--yes")
    assert len(lab.listed()) == 3
    lab.run("prune_backups", "--retention-days", "0")
    assert len(lab.listed()) == 2


# --- JSON and the lists ---------------------------------------------------------------------------------------------
@postgresql_first
def test_json_of_every_command_has_a_status_and_no_secrets(lab: Lab) -> None:
    outputs = []
    name = lab.back_up()
    for arguments in (
        ["list_backups"],
        ["verify_backup", "--all"],
        ["verify_backup", "--latest", "--restore"],
        ["restore_database", name, "--yes"],
        ["undo_restore", "--yes"],
        ["drop_previous_database", "--yes"],
        ["prune_backups"],
        ["rebuild_backup_index"],
    ):
        outcome = lab.run(*arguments, "--json")
        assert outcome.json["status"] == "done"
        outputs.append(outcome.out + outcome.error)
    failed = lab.manage("restore_database", "nothing", "--json")
    assert failed.json["status"] == "failed"
    assert failed.json["error"] == "There is no backup 'nothing'."
    everything = "".join(
        [*outputs, *map(json.dumps, lab.events()), *(p.read_text() for p in lab.backups.glob("*.json"))]
    )
    everything += repr(lab.rows("SELECT * FROM ops_run")) + repr(lab.rows("SELECT * FROM ops_backup"))
    assert os.environ["SECRET_KEY"] not in everything
    if lab.database:
        assert lab.database.address.password not in everything


@sqlite_first
def test_rebuild_backup_index_restores_deleted_rows(lab: Lab) -> None:
    lab.back_up()
    lab.run("verify_backup", "--latest")
    runs = lab.runs()
    lab.rows("DELETE FROM ops_run")
    lab.rows("DELETE FROM ops_backup")
    assert lab.run("rebuild_backup_index").out == f"Indexed 1 backup and 2 runs from {lab.backups}.\n"
    assert lab.runs() == runs
    assert lab.value("SELECT count(*) FROM ops_backup") == 1


@sqlite_first
def test_restore_cancels_queued_runs(lab: Lab) -> None:
    lab.run("shell", "-c", QUEUE.format(kind="backup"))
    name = lab.back_up()
    lab.run("shell", "-c", QUEUE.format(kind="restore_test"))
    lab.run("restore_database", name, "--yes")
    assert lab.runs().count(("backup", "cancelled")) == 1
    assert "queued" not in {status for _, status in lab.runs()}
    (row,) = lab.rows("SELECT error FROM ops_run WHERE status = 'cancelled'")
    assert row[0].startswith("Queued before a restore")


@pytest.mark.parametrize(
    ("status", "message"),
    [(Run.Status.SUCCEEDED, "Interrupted after the restore, which is complete."), (Run.Status.INTERRUPTED, "")],
)
def test_interrupt_after_the_end_says_that_the_run_is_complete(status: Run.Status, message: str) -> None:
    run = Run(kind=Run.Kind.RESTORE)

    def interrupted(_context: object, run: Run, _on_progress: object) -> None:
        run.status = status
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as interrupt:
        execution.execute(Console(), interrupted, None, run)  # type: ignore[arg-type]
    assert str(interrupt.value) == message
