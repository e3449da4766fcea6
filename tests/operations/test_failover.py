"""A server takes over that has not received the last swap, or the connection is lost at a swap."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ops.databases.postgres.connection import parse_url
from tests.engine_migration.support import Database, new_name
from tests.operations.harness import Lab, Outcome
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy

CHANGE = "UPDATE racks SET name = name || ' (changed)'"
LOST = "is lost: the live database does not have it."


@pytest.fixture(scope="module")
def leader() -> Iterator[PostgresServer]:
    """Has the database ``template`` with the demo lab."""
    server = PostgresServer.start("wal_level = replica", "max_wal_senders = 2", auth="trust")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def template(
    leader: PostgresServer, statements_of_migrate: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Path, str], Lab]:
    postgres = Database(address=parse_url(leader.url("postgres")), url=leader.url("postgres"))

    def make(folder: Path, name: str, original: str = "template") -> Lab:
        postgres.rows(f"CREATE DATABASE {name} OWNER ordinary TEMPLATE {original} STRATEGY FILE_COPY")
        lab = lab_on(leader, Lab("postgresql", name, "", folder))
        lab.statements = str(statements_of_migrate)
        return lab

    postgres.rows("CREATE ROLE ordinary LOGIN CREATEDB")
    lab = make(tmp_path_factory.mktemp("template"), "template", "template0")
    lab.run("migrate", "--verbosity", "0")
    lab.run("load_demo")
    return make


@pytest.fixture
def lab(template: Callable[[Path, str], Lab], tmp_path: Path) -> Iterator[Lab]:
    lab = template(tmp_path, new_name())
    yield lab
    lab.end()


@pytest.fixture
def fail_over(leader: PostgresServer) -> Iterator[Callable[[], PostgresServer]]:
    """Copies the leader as it is at the moment of the call. The copy is started when the test wants it to lead."""
    copies: list[PostgresServer] = []

    def copy() -> PostgresServer:
        copies.append(leader.copy())
        return copies[-1]

    yield copy
    for server in copies:
        server.stop()


def lab_on(server: PostgresServer, lab: Lab) -> Lab:
    """The same lab, whose database is on `server`."""
    url = server.url(lab.name, user="ordinary")
    return replace(lab, url=url, database=Database(address=parse_url(url), url=url), commands=lab.commands)


def lead(server: PostgresServer, lab: Lab) -> Lab:
    server.launch()
    return lab_on(server, lab)


def last_restore(lab: Lab) -> dict[str, str]:
    return dict(lab.manage("check_database", "--json").json["checks"]["last_restore"])


def recovered(lab: Lab) -> list[str]:
    return list(lab.run_json("rebuild_backup_index")["recovered"])


def last_run(lab: Lab, kind: str) -> tuple[str, str, str]:
    """Status, error and hint."""
    rows = lab.rows(f"SELECT status, error, hint FROM ops_run WHERE kind = '{kind}' ORDER BY requested_at DESC LIMIT 1")
    return rows[0]


def restored(lab: Lab) -> str:
    """Back up, change and restore. Returns the name of the backup."""
    name = lab.back_up()
    lab.rows(CHANGE)
    lab.run("restore_database", name, "--yes")
    return name


def prepare_restore(lab: Lab) -> Callable[[], Outcome]:
    name = lab.back_up()
    lab.rows(CHANGE)
    return lambda: lab.run("restore_database", name, "--yes")


def prepare_undo(lab: Lab) -> Callable[[], Outcome]:
    restored(lab)
    return lambda: lab.run("undo_restore", "--yes")


SWAPS = {"restore": prepare_restore, "undo": prepare_undo}


@pytest.mark.parametrize("kind", ["restore", pytest.param("undo", marks=pytest.mark.slow)])
def test_swap_that_a_failover_has_lost_is_reported_once(
    lab: Lab, fail_over: Callable[[], PostgresServer], kind: str
) -> None:
    swap = SWAPS[kind](lab)
    before, follower = lab.content(), fail_over()
    swap()
    after = lab.content()
    assert after != before
    assert last_restore(lab) == {"status": "healthy"}

    new = lead(follower, lab)
    assert new.content() == before
    found = last_restore(new)
    assert (found["status"], found["error"]) == ("degraded", "LostReplacement")
    assert LOST in found["detail"]
    assert "Record that: manage.py rebuild_backup_index" in found["detail"]

    (sentence,) = recovered(new)
    assert LOST in sentence
    status, error, hint = last_run(new, kind)
    assert (status, error) == ("failed", sentence)
    assert hint.startswith(f"If it is still wanted: manage.py {'restore_database ' if kind == 'restore' else 'undo'}")
    assert last_restore(new) == {"status": "healthy"}
    assert recovered(new) == []
    assert new.content() == before
    previous = new.run_json("list_backups")["previous"]
    assert (previous is None) is (kind == "restore")
    assert previous is None or not previous.get("backup_due")

    # The server that was lost leads again: it has the swap.
    (sentence,) = recovered(lab)
    assert sentence.endswith("had been lost. The live database has it again.")
    assert last_run(lab, kind)[:2] == ("succeeded", "")
    assert last_restore(lab) == {"status": "healthy"}
    assert lab.content() == after

    # What was lost can be repeated.
    recovered(new)
    new.run(*(("restore_database", "--latest") if kind == "restore" else ("undo_restore",)), "--yes")
    assert last_restore(new) == {"status": "healthy"}
    assert recovered(new) == []


def test_migration_that_a_failover_has_lost_is_reported(
    lab: Lab, fail_over: Callable[[], PostgresServer], migrated: Path
) -> None:
    lab.rows("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    lab.run("migrate", "--verbosity", "0")
    shutil.copy(migrated / "homerack.db", lab.file)
    source = replace(lab, url=f"sqlite:///{lab.file}", database=None)
    follower = fail_over()
    source.run("migrate_to_postgres", "--sqlite-path", str(lab.file), "--yes", POSTGRES_URL=lab.url)
    lab.run("rebuild_backup_index")
    assert last_restore(lab) == {"status": "healthy"}
    assert lab.runs() == [("migration", "succeeded")]
    # No failover can lose a file.
    assert recovered(source) == []

    new = lead(follower, lab)
    assert last_restore(new)["error"] == "LostReplacement"
    (sentence,) = recovered(new)
    assert "The migration to PostgreSQL that began at" in sentence
    assert LOST in sentence
    assert new.runs() == [("migration", "failed")]
    assert last_restore(new) == {"status": "healthy"}


def test_restore_is_not_missed_where_it_was_never_done(
    lab: Lab, fail_over: Callable[[], PostgresServer], leader: PostgresServer, template: Callable[[Path, str], Lab]
) -> None:
    restored(lab)
    assert recovered(lab) == []
    # Another name, and another server, are another database.
    renamed = template(lab.folder, f"{lab.name}_renamed", lab.name)
    assert recovered(renamed) == []
    assert last_restore(renamed) == {"status": "healthy"}
    # A history without the event says nothing.
    for path in (lab.backups / "events").glob("*_replaced.json"):
        path.unlink()
    follower = fail_over()
    lab.run("undo_restore", "--yes")
    for path in (lab.backups / "events").glob("*_replaced.json"):
        path.unlink()
    new = lead(follower, lab)
    assert last_restore(new) == {"status": "healthy"}
    assert recovered(new) == []


def test_databases_that_an_ended_run_had_dropped_are_swept_on_the_new_server(
    lab: Lab, fail_over: Callable[[], PostgresServer]
) -> None:
    name = restored(lab)
    restore = lab.start("restore_database", name, "--yes", stop_at="write history").until_stopped()
    staging = fail_over()
    assert restore.resume().wait().code == 0
    new = lead(staging, lab)
    found = recovered(new)
    assert f"Dropped the database {lab.name}_ops_new, which a killed run had left." in found
    new.run("restore_database", name, "--yes")


@pytest.fixture
def proxied(lab: Lab, leader: PostgresServer) -> Iterator[tuple[Lab, Proxy]]:
    proxy = Proxy(leader.port)
    proxy.commit_after = b" RENAME TO "
    url = lab.url.replace(f":{leader.port}/", f":{proxy.port}/")
    yield replace(lab, url=url), proxy
    proxy.stop()


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("restore", "cut"),
        pytest.param("restore", "lose", marks=pytest.mark.slow),
        pytest.param("undo", "cut", marks=pytest.mark.slow),
        pytest.param("undo", "lose", marks=pytest.mark.slow),
    ],
)
def test_run_whose_connection_is_lost_at_the_commit_finds_out_whether_it_was_done(
    proxied: tuple[Lab, Proxy], lab: Lab, kind: str, fault: str
) -> None:
    through, proxy = proxied
    swap = SWAPS[kind](lab)
    before = lab.content()
    command = {"restore": ("restore_database", "--latest"), "undo": ("undo_restore",)}[kind]
    proxy.at_commit = fault
    outcome = through.manage(*command, "--yes")
    if fault == "cut":
        assert outcome.code == 0, outcome
        assert lab.content() != before
        assert last_run(lab, kind)[0] == "succeeded"
    else:
        assert outcome.code == 1
        assert "The server changed at the cut-over" in outcome.error
        assert "Nothing was changed." in outcome.error
        assert lab.content() == before
        assert last_run(lab, kind)[0] == "failed"
    assert last_restore(lab) == {"status": "healthy"}
    assert recovered(lab) == []
    swap()
    assert recovered(lab) == []


@pytest.mark.parametrize(
    "stage", [*(pytest.param(at, marks=pytest.mark.slow) for at in ("load", "write history")), "cut-over"]
)
def test_restore_that_loses_its_lock_fails_by_name_and_changes_nothing(lab: Lab, stage: str) -> None:
    name = lab.back_up()
    lab.rows(CHANGE)
    before = lab.content()
    restore = lab.start("restore_database", name, "--yes", stop_at=stage).until_stopped()
    (ended,) = lab.rows("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
    assert ended == (True,)
    outcome = restore.resume().wait()
    assert outcome.code == 1
    assert "The server changed during the run: the session that holds the lock of the database" in outcome.error
    assert "Nothing was changed." in outcome.error
    assert lab.content() == before
    assert last_run(lab, "restore")[0] == "failed"
    found = recovered(lab)
    assert found == [f"Dropped the database {lab.name}_ops_new, which a killed run had left."]
    assert recovered(lab) == []
