"""The server freezes during a command, or there is none at its start."""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ops.databases.postgres.connection import parse_url
from tests.engine_migration.support import Database, new_name
from tests.operations.harness import Lab, Outcome
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy
from tests.support.slow import slow_except

CHANGE = "UPDATE racks SET name = name || ' (changed)'"
HASTY = {"DJANGO_SETTINGS_MODULE": "tests.support.short_silence"}
SILENCE, START = 2.0, 3.0
"""What these settings have."""
LONGEST_END = 25.0
"""Seconds that a run may take to end by name then, on a busy machine."""
SILENT = re.compile(r"the server did not answer for \d+ s|No connection to the database .*: timeout expired")
"""Another session may be connecting while the one with the lock asks; either limit may end first."""


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """Has the database ``template`` with the demo lab."""
    server = PostgresServer.start("wal_level = replica", "max_wal_senders = 2", auth="trust")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def copy_lab(
    own_server: PostgresServer, statements_of_migrate: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Path, str], Lab]:
    postgres = Database(address=parse_url(own_server.url("postgres")), url=own_server.url("postgres"))

    def make(folder: Path, name: str, original: str = "template") -> Lab:
        postgres.rows(f"CREATE DATABASE {name} OWNER ordinary TEMPLATE {original} STRATEGY FILE_COPY")
        url = own_server.url(name, user="ordinary")
        lab = Lab("postgresql", name, url, folder, Database(address=parse_url(url), url=url))
        lab.statements = str(statements_of_migrate)
        return lab

    postgres.rows("CREATE ROLE ordinary LOGIN CREATEDB")
    lab = make(tmp_path_factory.mktemp("template"), "template", "template0")
    lab.run("migrate", "--verbosity", "0")
    lab.run("load_demo")
    return make


@pytest.fixture
def lab(copy_lab: Callable[[Path, str], Lab], own_server: PostgresServer, tmp_path: Path) -> Iterator[Lab]:
    lab = copy_lab(tmp_path, new_name())
    yield lab
    own_server.thaw()
    lab.end()


def recovered(lab: Lab) -> list[str]:
    return list(lab.run_json("rebuild_backup_index")["recovered"])


def freeze_at(lab: Lab, server: PostgresServer, stage: str, *command: str) -> Outcome:
    """The outcome of a command whose server freezes at the beginning of `stage`."""
    running = lab.start(*command, stop_at=stage, **HASTY).until_stopped()
    server.freeze()
    began = time.monotonic()
    try:
        outcome = running.resume().wait()
        assert time.monotonic() - began < LONGEST_END
    finally:
        server.thaw()
    assert "Traceback" not in outcome.error, outcome
    return outcome


@pytest.mark.parametrize(
    ("stage", "command"),
    slow_except(
        [
            ("dump", "backup_database"),
            ("snapshot", "backup_database"),
            ("load", "restore_database"),
            ("compare", "restore_database"),
            ("write history", "restore_database"),
            ("cut-over", "restore_database"),
            ("load", "verify_backup"),
            ("cut-over", "undo_restore"),
        ],
        ("load", "restore_database"),
    ),
)
def test_run_whose_server_freezes_ends_by_name_and_changes_nothing(
    lab: Lab, own_server: PostgresServer, stage: str, command: str
) -> None:
    name = lab.back_up()
    lab.rows(CHANGE)
    if command == "undo_restore":
        lab.run("restore_database", name, "--yes")
    before, backups = lab.content(), lab.listed()
    arguments = {
        "backup_database": (),
        "restore_database": (name, "--yes"),
        "undo_restore": ("--yes",),
        "verify_backup": (name, "--restore"),
    }
    outcome = freeze_at(lab, own_server, stage, command, *arguments[command])
    assert outcome.code == 1, outcome
    assert SILENT.search(outcome.error), outcome
    assert "Nothing was changed." in outcome.error or "The database is unchanged" in outcome.error, outcome
    assert (lab.content(), lab.listed()) == (before, backups)
    recovered(lab)
    assert recovered(lab) == []
    lab.run(command, *arguments[command])


@pytest.mark.slow
def test_restore_whose_server_freezes_after_the_cut_over_is_done(lab: Lab, own_server: PostgresServer) -> None:
    name, restored = lab.back_up(), lab.content()
    lab.rows(CHANGE)
    outcome = freeze_at(lab, own_server, "in place", "restore_database", name, "--yes")
    assert outcome.code in (1, 3), outcome
    assert "Nothing was changed" not in outcome.error
    assert lab.content() == restored
    recovered(lab)
    assert lab.rows("SELECT status FROM ops_run WHERE kind = 'restore'") == [("succeeded",)]


@pytest.mark.slow
def test_migration_whose_server_freezes_ends_by_name(lab: Lab, own_server: PostgresServer, migrated: Path) -> None:
    shutil.copy(migrated / "homerack.db", lab.file)
    source = replace(lab, url=f"sqlite:///{lab.file}", database=None)
    source.run("load_demo")
    target = own_server.url(new_name(), user="ordinary")
    command = ("migrate_to_postgres", "--sqlite-path", str(lab.file), "--yes", "--postgres-url", target)
    outcome = freeze_at(source, own_server, "copy", *command)
    assert outcome.code == 1, outcome
    assert SILENT.search(outcome.error), outcome
    assert "is unchanged" in outcome.error
    source.run(*command)


def test_swap_whose_commit_gets_no_answer_is_found_out(lab: Lab, own_server: PostgresServer) -> None:
    name, restored = lab.back_up(), lab.content()
    lab.rows(CHANGE)
    proxy = Proxy(own_server.port)
    proxy.commit_after, proxy.at_commit = b" RENAME TO ", "hold"
    try:
        through = replace(lab, url=lab.url.replace(f":{own_server.port}/", f":{proxy.port}/"))
        through.run("restore_database", name, "--yes", **HASTY)
    finally:
        proxy.stop()
    assert lab.content() == restored
    assert lab.rows("SELECT status FROM ops_run WHERE kind = 'restore'") == [("succeeded",)]
    assert recovered(lab) == []


@pytest.mark.slow
@pytest.mark.parametrize("role", slow_except(["CREATEDB", "NOCREATEDB"], "CREATEDB"))
def test_swap_whose_commit_waits_for_a_standby_is_done_once_that_has_it(
    lab: Lab, own_server: PostgresServer, role: str
) -> None:
    """The commit is on the disk of the server then, and nobody sees it yet: it must not be called undone."""
    postgres = Database(address=parse_url(own_server.url("postgres")), url=own_server.url("postgres"))
    name, restored = lab.back_up(), lab.content()
    lab.rows(CHANGE)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"

    def require_standby(names: str, *, level: str) -> None:
        postgres.rows(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        postgres.rows(f"ALTER SYSTEM SET synchronous_commit = '{level}'")
        postgres.rows("SELECT pg_reload_conf()")

    postgres.rows(f"ALTER ROLE ordinary {role}")
    try:
        running = lab.start("restore_database", name, "--yes", "--no-pre-backup", stop_at="cut-over", **HASTY)
        running.until_stopped()
        require_standby("absent", level="on")
        # The checkpointer tells all others.
        time.sleep(2)
        running.resume().until(lambda: postgres.value(waiting))
        # Longer than the run waits for the COMMIT itself.
        time.sleep(2 * SILENCE)
        assert postgres.value(waiting) == 1
        require_standby("", level="off")
        outcome = running.wait()
    finally:
        require_standby("", level="off")
        postgres.rows("ALTER ROLE ordinary CREATEDB")
    assert outcome.code == 0, outcome
    assert lab.content() == restored
    assert recovered(lab) == []


# --- The start ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("command", ["backup_database", "list_backups", "rebuild_backup_index"])
def test_command_that_starts_without_a_server_waits_for_one(lab: Lab, own_server: PostgresServer, command: str) -> None:
    own_server.halt()
    try:
        running = lab.start(command)
        running.until(lambda: "Waits for a writable server, up to 30 s." in running.error.read_text())
    finally:
        own_server.launch()
    outcome = running.wait()
    assert outcome.code == 0, outcome
    assert outcome.error.count("Waits for a writable server") == 1
    assert " takes writes after " in outcome.error


def test_command_waits_for_a_server_that_takes_writes(lab: Lab, own_server: PostgresServer) -> None:
    postgres = Database(address=parse_url(own_server.url("postgres")), url=own_server.url("postgres"))

    def set_read_only(value: str) -> None:
        postgres.rows(f"ALTER DATABASE {lab.name} SET default_transaction_read_only = {value}")
        postgres.rows(f"ALTER DATABASE postgres SET default_transaction_read_only = {value}")

    through = replace(lab, url=f"{lab.url}?target_session_attrs=read-write")
    set_read_only("on")
    running = through.start("backup_database")
    try:
        running.until(lambda: "session is read-only" in running.error.read_text())
    finally:
        writable = f"{postgres.url}?options=-cdefault_transaction_read_only%3Doff"
        postgres = Database(address=postgres.address, url=writable)
        set_read_only("off")
    assert running.wait().code == 0


def test_command_fails_by_name_where_no_server_comes(lab: Lab, own_server: PostgresServer) -> None:
    own_server.halt()
    try:
        outcome = lab.manage("backup_database", **HASTY)
    finally:
        own_server.launch()
    assert outcome.code == 1
    assert f"Connection refused. It waited {START:.0f} s for a server that takes writes. Nothing was" in outcome.error
    assert "Is the server running, and are host, port, user and password right?" in outcome.error
    assert "Traceback" not in outcome.error


def test_command_does_not_wait_where_that_is_of_no_use(lab: Lab) -> None:
    missing = lab.url.replace(lab.name, "missing")
    outcome = lab.manage("backup_database", DATABASE_URL=missing)
    assert outcome.code == 1
    assert "Waits for" not in outcome.error
