"""A server takes over that has not received the last swap."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ops.backups.manifest import Origin
from ops.databases.postgres import lock
from ops.databases.postgres.connection import parse_url
from tests.engine_migration.support import Database, new_name
from tests.operations.harness import Lab, Outcome
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy

CHANGE = "UPDATE racks SET name = name || ' (changed)'"
MARKER = lock.CUT_OVER.format("").encode()
"""What a session sends before the COMMIT of a cut-over."""
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


def through_proxy(lab: Lab, leader: PostgresServer) -> tuple[Lab, Proxy]:
    """The same lab as it is reached through a proxy, and the proxy."""
    proxy = Proxy(leader.port)
    return replace(lab, url=lab.url.replace(f":{leader.port}/", f":{proxy.port}/")), proxy


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
    assert lab.last_restore() == {"status": "healthy"}

    new = lead(follower, lab)
    assert new.content() == before
    found = new.last_restore()
    assert (found["status"], found["error"]) == ("degraded", "LostReplacement")
    assert LOST in found["detail"]
    assert "Record that: manage.py rebuild_backup_index" in found["detail"]

    (sentence,) = new.recovered()
    assert LOST in sentence
    status, error, hint = new.last_run(kind)
    assert (status, error) == ("failed", sentence)
    assert hint.startswith(f"If it is still wanted: manage.py {'restore_database ' if kind == 'restore' else 'undo'}")
    assert new.last_restore() == {"status": "healthy"}
    assert new.recovered() == []
    assert new.content() == before
    previous = new.run_json("list_backups")["previous"]
    assert (previous is None) is (kind == "restore")
    assert previous is None or not previous.get("backup_due")

    # The server that was lost leads again: it has the swap.
    (sentence,) = lab.recovered()
    assert sentence.endswith("had been lost. The live database has it again.")
    assert lab.last_run(kind)[:2] == ("succeeded", "")
    assert lab.last_restore() == {"status": "healthy"}
    assert lab.content() == after

    # What was lost can be repeated.
    new.recovered()
    new.run(*(("restore_database", "--latest") if kind == "restore" else ("undo_restore",)), "--yes")
    assert new.last_restore() == {"status": "healthy"}
    assert new.recovered() == []


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
    assert lab.last_restore() == {"status": "healthy"}
    assert lab.runs() == [("migration", "succeeded")]
    # No failover can lose a file.
    assert source.recovered() == []

    new = lead(follower, lab)
    assert new.last_restore()["error"] == "LostReplacement"
    (sentence,) = new.recovered()
    assert "The migration to PostgreSQL that began at" in sentence
    assert LOST in sentence
    assert new.runs() == [("migration", "failed")]
    assert new.last_restore() == {"status": "healthy"}


@pytest.mark.slow
def test_restore_is_not_missed_where_it_was_never_done(
    lab: Lab, fail_over: Callable[[], PostgresServer], leader: PostgresServer, template: Callable[[Path, str], Lab]
) -> None:
    restored(lab)
    assert lab.recovered() == []
    # Another name, and another server, are another database.
    renamed = template(lab.folder, f"{lab.name}_renamed", lab.name)
    assert renamed.recovered() == []
    assert renamed.last_restore() == {"status": "healthy"}
    # Nothing is known of replacements that were not recorded.
    follower = fail_over()
    lab.run("undo_restore", "--yes")
    shutil.rmtree(lab.backups / "replacements")
    new = lead(follower, lab)
    assert new.last_restore() == {"status": "healthy"}
    assert new.recovered() == []


@pytest.mark.slow
def test_databases_that_an_ended_run_had_dropped_are_swept_on_the_new_server(
    lab: Lab, fail_over: Callable[[], PostgresServer]
) -> None:
    name = restored(lab)
    restore = lab.start("restore_database", name, "--yes", stop_at="write history").until_stopped()
    staging = fail_over()
    assert restore.resume().wait().code == 0
    new = lead(staging, lab)
    found = new.recovered()
    assert f"Dropped the database {lab.name}_ops_new, which a killed run had left." in found
    new.run("restore_database", name, "--yes")


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
    assert lab.last_run("restore")[0] == "failed"
    found = lab.recovered()
    assert found == [f"Dropped the database {lab.name}_ops_new, which a killed run had left."]
    assert lab.recovered() == []


# --- What the new server has of the runs before -----------------------------------------------------------------------
def databases_of(lab: Lab) -> set[str]:
    """Suffixes of the databases that there are besides the live one."""
    found = lab.rows(f"SELECT datname FROM pg_database WHERE datname LIKE '{lab.name}\\_%'")
    return {name.removeprefix(lab.name) for (name,) in found}


def pre_restore_backups(lab: Lab) -> list[str]:
    rows = lab.rows(f"SELECT name FROM ops_backup WHERE origin = '{Origin.PRE_RESTORE}' ORDER BY taken_at DESC")
    return [name for (name,) in rows]


@pytest.mark.slow
def test_new_server_with_the_swap_and_what_the_run_has_dropped_since(
    lab: Lab, fail_over: Callable[[], PostgresServer]
) -> None:
    """The earlier previous database is there again, and the backup of the previous one is due, which was made."""
    name = restored(lab)
    lab.rows(CHANGE)
    changed = lab.content()
    restore = lab.start("restore_database", name, "--yes", stop_at="in place").until_stopped()
    follower = fail_over()
    assert restore.resume().wait().code == 0
    assert databases_of(lab) == {"_ops_undo"}
    made = pre_restore_backups(lab)
    assert len(made) == 2

    new = lead(follower, lab)
    assert databases_of(new) == {"_ops_undo", "_ops_aside"}
    assert new.last_restore() == {"status": "healthy"}
    assert new.recovered() == [f"Dropped the database {lab.name}_ops_aside, which a killed run had left."]
    assert new.last_run("restore")[0] == "succeeded"
    assert new.run_json("list_backups")["previous"]["backup_due"]
    refused = new.manage("drop_previous_database", "--yes")
    assert refused.code != 0
    assert "has no verified backup yet" in refused.error
    assert new.run_json("backup_database")["pre_restore"] == made[0]
    assert pre_restore_backups(new) == made
    new.run("undo_restore", "--yes")
    assert new.content() == changed
    assert databases_of(new) == {"_ops_undo"}
    assert new.recovered() == []


@pytest.mark.slow
def test_new_server_has_the_previous_database_that_was_dropped(
    lab: Lab, fail_over: Callable[[], PostgresServer]
) -> None:
    name = lab.back_up()
    lab.rows(CHANGE)
    changed = lab.content()
    lab.run("restore_database", name, "--yes")
    followers = [fail_over(), fail_over()]
    lab.run("drop_previous_database", "--yes")
    assert lab.manage("undo_restore", "--yes").code != 0
    dropping, undoing = (lead(follower, lab) for follower in followers)
    for new in (dropping, undoing):
        assert new.run_json("list_backups")["previous"]["name"] == f"{lab.name}_ops_undo"
        assert new.recovered() == []
        assert new.last_restore() == {"status": "healthy"}
    dropping.run("drop_previous_database", "--yes")
    assert databases_of(dropping) == set()
    undoing.run("undo_restore", "--yes")
    assert undoing.content() == changed


def test_new_server_without_the_restore_has_nothing_to_undo_or_to_drop(
    lab: Lab, fail_over: Callable[[], PostgresServer]
) -> None:
    """Whatever the pages have shown before the failover."""
    follower = fail_over()
    restored(lab)
    new = lead(follower, lab)
    before = new.content()
    for command in ("undo_restore", "drop_previous_database"):
        refused = new.manage(command, "--yes")
        assert refused.code != 0
        assert "There is nothing to undo: no previous database is kept." in refused.error
    # The pre-restore backup is that of a database that is live again. It is one like others.
    assert new.run_json("backup_database")["pre_restore"] == ""
    assert new.last_run("restore")[0] == "failed"
    assert new.content() == before
    assert databases_of(new) == set()


@pytest.mark.parametrize(
    "finder", [pytest.param("the same command", marks=pytest.mark.slow), "the site on the new database"]
)
def test_new_server_with_the_staging_database_of_a_migration(
    lab: Lab, fail_over: Callable[[], PostgresServer], migrated: Path, finder: str
) -> None:
    lab.rows("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    lab.run("migrate", "--verbosity", "0")
    shutil.copy(migrated / "homerack.db", lab.file)
    source = replace(lab, url=f"sqlite:///{lab.file}", database=None)
    command = ("migrate_to_postgres", "--sqlite-path", str(lab.file), "--yes")
    migration = source.start(*command, POSTGRES_URL=lab.url, stop_at="cut-over").until_stopped()
    follower = fail_over()
    assert migration.resume().wait().code == 0

    new = lead(follower, lab)
    assert databases_of(new) == {"_ops_new"}
    if finder == "the same command":
        source.run(*command, POSTGRES_URL=new.url)
    else:
        lost, swept = new.recovered()
        assert LOST in lost
        assert swept == f"Dropped the database {lab.name}_ops_new, which a killed run had left."
    assert databases_of(new) == set()
    assert new.recovered() == []
    assert new.last_restore() == {"status": "healthy"}


@pytest.mark.parametrize("kind", [pytest.param("restore", marks=pytest.mark.slow), "migration"])
def test_run_finds_out_on_a_server_that_was_started_again_what_it_has_committed(
    lab: Lab, leader: PostgresServer, migrated: Path, kind: str
) -> None:
    """Until the COMMIT it uses the server that it has begun on, and no other."""
    through, proxy = through_proxy(lab, leader)
    if kind == "restore":
        backup = lab.back_up()
        lab.rows(CHANGE)
        site, command = through, ("restore_database", backup, "--yes")
    else:
        lab.rows("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        shutil.copy(migrated / "homerack.db", lab.file)
        site = replace(lab, url=f"sqlite:///{lab.file}", database=None)
        command = ("migrate_to_postgres", "--sqlite-path", str(lab.file), "--yes")
    proxy.commit_after, proxy.at_commit, proxy.refuse_after_commit = MARKER, "cut", True
    try:
        running = site.start(*command, POSTGRES_URL=through.url)
        running.until(lambda: proxy.refuses)
        leader.restart()
        proxy.accept()
        outcome = running.wait()
    finally:
        proxy.stop()
    assert outcome.code == 0, outcome
    assert lab.last_run(kind)[0] == "succeeded"
    assert lab.last_restore() == {"status": "healthy"}


# --- Roles with few rights --------------------------------------------------------------------------------------------
def test_loss_is_found_by_a_role_that_may_not_ask_which_server_it_is(
    lab: Lab, leader: PostgresServer, fail_over: Callable[[], PostgresServer]
) -> None:
    """As on managed servers. Functions belong to a database: new ones have the rights of the templates."""
    revoke = "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC"
    give = "GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC"
    names = ("postgres", "template1", lab.name)

    def run_in_all(statement: str) -> None:
        for name in names:
            url = leader.url(name)
            Database(address=parse_url(url), url=url).rows(statement)

    run_in_all(revoke)
    try:
        backup = lab.back_up()
        lab.rows(CHANGE)
        follower = fail_over()
        lab.run("restore_database", backup, "--yes")
        assert lab.last_restore() == {"status": "healthy"}
    finally:
        names = names[:2]
        run_in_all(give)
    new = lead(follower, lab)
    assert new.last_restore()["error"] == "LostReplacement"
    (sentence,) = new.recovered()
    assert LOST in sentence
    assert new.last_restore() == {"status": "healthy"}
    assert new.recovered() == []


# --- The server changes during the pre-restore backup -----------------------------------------------------------------
@pytest.mark.slow
def test_restore_that_a_failover_loses_during_the_pre_restore_backup_fails(
    lab: Lab, leader: PostgresServer, fail_over: Callable[[], PostgresServer]
) -> None:
    backup = lab.back_up()
    lab.rows(CHANGE)
    before = lab.content()
    through, proxy = through_proxy(lab, leader)
    try:
        restore = through.start("restore_database", backup, "--yes", stop_at="cut-over,dump").until_stopped()
        follower = fail_over()
        restore.resume().until(lambda: not restore.is_stopped())
        restore.until_stopped()
        assert lab.content() != before
        new = lead(follower, lab)
        proxy.refuse()
        proxy.accept(follower.port)
        outcome = restore.resume().wait()
    finally:
        proxy.stop()
    assert outcome.code == 1
    assert LOST in outcome.error
    assert f"If it is still wanted: manage.py restore_database {backup}" in outcome.error
    assert new.content() == before
    status, error, _ = new.last_run("restore")
    assert (status, LOST in error) == ("failed", True)
    assert new.last_restore() == {"status": "healthy"}
    assert [sentence for sentence in new.recovered() if LOST in sentence] == []
    new.run("restore_database", backup, "--yes")


@pytest.mark.slow
@pytest.mark.parametrize("meanwhile", [pytest.param("nothing", marks=pytest.mark.slow), "a backup"])
def test_restore_that_loses_its_lock_during_the_pre_restore_backup_is_done(lab: Lab, meanwhile: str) -> None:
    """On the same server. Another run may begin, which makes the backup that is due."""
    name, content = lab.back_up(), lab.content()
    lab.rows(CHANGE)
    restore = lab.start("restore_database", name, "--yes", stop_at="dump").until_stopped()
    (ended,) = lab.rows("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
    assert ended == (True,)
    if meanwhile == "a backup":
        assert lab.run_json("backup_database")["pre_restore"]
    outcome = restore.resume().wait()
    # The restore is done, and the next run makes the backup, or has made it.
    assert outcome.code == 3, outcome
    if meanwhile == "nothing":
        assert "the session that holds the lock of the database" in outcome.output
    assert "Nothing was changed" not in outcome.output
    assert lab.content() == content
    assert lab.last_run("restore")[0] == "succeeded"
    assert len(pre_restore_backups(lab)) == (1 if meanwhile == "a backup" else 0)
    lab.back_up()
    assert len(pre_restore_backups(lab)) == 1
    lab.run("verify_backup", "--all")
    assert not lab.run_json("list_backups")["previous"]["backup_due"]
    lab.run("undo_restore", "--yes")
    assert lab.recovered() == []
