"""The connection is lost while the server commits a cut-over: the run or a later one finds out what the server did."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import psycopg2
import pytest

from ops.databases.postgres import lock
from tests.operations.harness import Lab, Outcome
from tests.support.backend import eventually
from tests.support.proxy import Proxy
from tests.support.slow import slow_except

CHANGE = "UPDATE racks SET name = name || ' (changed)'"
NOT_DONE = "The server changed at the cut-over, and the server that answers now does not have the"
AT_ONCE = {"ops.databases.postgres.lock.LONGEST_FAILOVER": 1.0, "ops.databases.postgres.start.LONGEST_WAIT": 1.0}
"""So long a run waits for an answer, and for a server that takes writes."""
NOT_KNOWN = "It is not known whether the new database is live."
MARKER = lock.CUT_OVER.format("").encode()
"""What a session sends before the COMMIT of a cut-over."""


@pytest.fixture
def proxies() -> Iterator[Callable[[Lab], tuple[Lab, Proxy]]]:
    """Gives the lab as it is reached through a proxy, and the proxy."""
    made: list[Proxy] = []

    def make(lab: Lab) -> tuple[Lab, Proxy]:
        assert lab.database
        port = int(lab.database.address.port)
        made.append(Proxy(port))
        made[-1].commit_after = MARKER
        return replace(lab, url=lab.url.replace(f":{port}/", f":{made[-1].port}/")), made[-1]

    yield make
    for proxy in made:
        proxy.stop()


def prepare(lab: Lab, kind: str) -> tuple[str, ...]:
    """Make a backup and changes; for an undo, restore it. Returns the command of the run."""
    name = lab.back_up()
    lab.rows(CHANGE)
    command = ("restore_database", name, "--yes")
    if kind == "undo":
        lab.run(*command)
        command = ("undo_restore", "--yes")
    return command


@pytest.mark.parametrize(
    ("strategy", "kind", "fault"),
    slow_except(
        [
            ("postgresql", "restore", "cut"),
            ("schema", "restore", "cut"),
            ("schema", "undo", "lose"),
            ("postgresql", "restore", "lose"),
            ("postgresql", "undo", "cut"),
            ("postgresql", "undo", "lose"),
            ("schema", "restore", "lose"),
            ("schema", "undo", "cut"),
        ],
        ("postgresql", "restore", "cut"),
        ("schema", "restore", "cut"),
        ("schema", "undo", "lose"),
    ),
)
def test_run_whose_connection_is_lost_at_the_commit_finds_out_whether_it_was_done(
    make_lab: Callable[[str], Lab],
    proxies: Callable[[Lab], tuple[Lab, Proxy]],
    strategy: str,
    kind: str,
    fault: str,
) -> None:
    lab = make_lab(strategy)
    through, proxy = proxies(lab)
    command = prepare(lab, kind)
    before = lab.content()
    proxy.at_commit = fault
    outcome = through.manage(*command)
    if fault == "cut":
        assert outcome.code == 0, outcome
        assert lab.content() != before
        assert lab.last_run(kind)[0] == "succeeded"
    else:
        assert outcome.code == 1
        assert NOT_DONE in outcome.error
        assert "Nothing was changed." in outcome.error
        assert lab.content() == before
        assert lab.last_run(kind)[0] == "failed"
    assert lab.last_restore() == {"status": "healthy"}
    assert lab.recovered() == []
    lab.run(*command)
    assert lab.recovered() == []


@pytest.mark.parametrize(
    ("strategy", "kind", "fault"),
    slow_except(
        [
            ("postgresql", "restore", "cut"),
            ("schema", "undo", "lose"),
            ("postgresql", "restore", "lose"),
            ("postgresql", "undo", "cut"),
            ("schema", "restore", "cut"),
            ("schema", "restore", "lose"),
        ],
        ("postgresql", "restore", "cut"),
        ("schema", "undo", "lose"),
    ),
)
def test_next_run_finds_out_what_no_server_has_answered(
    make_lab: Callable[[str], Lab],
    proxies: Callable[[Lab], tuple[Lab, Proxy]],
    strategy: str,
    kind: str,
    fault: str,
) -> None:
    lab = make_lab(strategy)
    through, proxy = proxies(lab)
    command = prepare(lab, kind)
    before, is_done = lab.content(), fault == "cut"
    proxy.at_commit, proxy.refuse_after_commit = fault, True
    outcome = through.manage(*command, constants=AT_ONCE)
    assert outcome.code == 1
    assert NOT_KNOWN in outcome.error
    assert lock.NEXT_RUN_FINDS_OUT in outcome.error
    assert (lab.content() != before) is is_done
    assert [event["event"] for event in lab.events()][-1] == "uncertain"

    found = lab.last_restore()
    assert (found["status"], found["error"]) == ("degraded", "UnrecordedOutcome")
    outcome_of_health = "has what it made." if is_done else "does not have what it made, and is as before."
    assert f"has ended without an answer to its cut-over. The live database {outcome_of_health}" in found["detail"]

    sentence, *_swept = lab.recovered()
    status = "succeeded" if is_done else "failed"
    assert sentence.endswith(f"has ended without an answer to its cut-over. It was marked as {status}.")
    recorded, error, hint = lab.last_run(kind)
    assert recorded == status
    assert NOT_KNOWN not in f"{error}{hint}"
    assert "The live database " in (hint if is_done else error)
    assert lab.last_restore() == {"status": "healthy"}
    assert lab.recovered() == []
    assert (lab.content() != before) is is_done
    if kind == "restore" and is_done and strategy == "postgresql":
        # The pre-restore backup is still due, and made by the next backup run.
        assert lab.run_json("backup_database")["pre_restore"]
    lab.run(*command)
    assert lab.last_run(kind)[0] == "succeeded"
    assert lab.recovered() == []


def test_answer_is_awaited_while_the_lost_commit_is_under_way(make_lab: Callable[[str], Lab]) -> None:
    """As a COMMIT that waits for a standby. The run's lock does not show it: another session has that."""
    lab = make_lab("schema")
    assert lab.database
    address = lab.database.address

    def after_commit(*, within: float) -> AbstractContextManager[Any]:
        return lock.after_lost_commit(
            lambda: contextlib.closing(address.connect(autocommit=True)), lab.name, within=within
        )

    with contextlib.closing(psycopg2.connect(lab.url)) as committing, committing.cursor() as cursor:
        lock.announce_commit(cursor, lab.name)
        with pytest.raises(lock.OutcomeUnknown, match="canceling statement due to lock timeout"):
            after_commit(within=0.5).__enter__()
    with after_commit(within=5) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == ("0",)


# --- Migrations -------------------------------------------------------------------------------------------------------
@pytest.fixture
def source(sqlite_lab: Lab) -> Lab:
    return sqlite_lab


SAME_COMMAND, NEW_SITE = "the same command", "the site on the new database"
"""Who finds out what a migration has done."""


@pytest.fixture(params=["small", pytest.param("ordinary", marks=pytest.mark.slow)])
def target(request: pytest.FixtureRequest, make_lab: Callable[[str], Lab], source: Lab) -> Lab:
    """An empty database, of a role that may create databases, or of one that may not; with the backups of `source`."""
    lab = make_lab("postgresql" if request.param == "ordinary" else "schema")
    lab.rows("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return replace(lab, folder=source.folder)


def migrate(source: Lab, target: Lab, **how: Any) -> Outcome:
    command = ("migrate_to_postgres", "--sqlite-path", str(source.file), "--yes")
    return source.manage(*command, POSTGRES_URL=target.url, **how)


def rows_in(lab: Lab) -> dict[str, int]:
    return {name: number for name, (number, _) in lab.project_content().items()}


def left(target: Lab) -> list[str]:
    rows = target.rows(f"SELECT datname FROM pg_database WHERE datname LIKE '{target.name}\\_%'")
    return [name for (name,) in rows]


def is_complete(source: Lab, target: Lab) -> bool:
    copied, there = rows_in(source), rows_in(target)
    return {name: there.get(name) for name in copied} == copied


@pytest.mark.parametrize(
    ("target", "fault"),
    slow_except([("small", "cut"), ("ordinary", "cut"), ("small", "lose"), ("ordinary", "lose")], ("small", "cut")),
    indirect=["target"],
)
def test_migration_whose_connection_is_lost_at_the_commit_finds_out_whether_it_was_done(
    source: Lab, target: Lab, proxies: Callable[[Lab], tuple[Lab, Proxy]], fault: str
) -> None:
    through, proxy = proxies(target)
    proxy.at_commit = fault
    outcome = migrate(source, through)
    if fault == "cut":
        assert outcome.code == 0, outcome
    else:
        assert outcome.code == 1
        assert NOT_DONE in outcome.error
        assert f"The database {through.name} on 127.0.0.1:{proxy.port} is unchanged." in outcome.error
        assert rows_in(target) == {}
        proxy.accept()
        assert migrate(source, through).code == 0
    assert is_complete(source, target)
    assert target.last_restore() == {"status": "healthy"}
    target.recovered()
    assert left(target) == []
    assert target.last_run("migration")[0] == "succeeded"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "fault", "finder"),
    slow_except(
        [
            ("ordinary", "cut", SAME_COMMAND),
            ("ordinary", "lose", NEW_SITE),
            ("small", "cut", NEW_SITE),
            ("ordinary", "lose", SAME_COMMAND),
            ("ordinary", "cut", NEW_SITE),
            ("small", "cut", SAME_COMMAND),
            ("small", "lose", SAME_COMMAND),
            ("small", "lose", NEW_SITE),
        ],
        ("ordinary", "cut", SAME_COMMAND),
        ("ordinary", "lose", NEW_SITE),
        ("small", "cut", NEW_SITE),
    ),
    indirect=["target"],
)
def test_migration_to_which_no_server_has_answered_is_found_out_later(
    source: Lab, target: Lab, proxies: Callable[[Lab], tuple[Lab, Proxy]], fault: str, finder: str
) -> None:
    through, proxy = proxies(target)
    is_done = fault == "cut"
    proxy.at_commit, proxy.refuse_after_commit = fault, True
    outcome = migrate(source, through, constants=AT_ONCE)
    assert outcome.code == 1
    assert NOT_KNOWN in outcome.error
    source.recovered()
    assert source.last_run("migration")[:1] == ("failed",)
    eventually(lambda: is_complete(source, target) is is_done)

    if finder == SAME_COMMAND:
        again = migrate(source, target)
        if is_done:
            assert again.code == 1
            assert f"was done: its rows are in {target.name} on" in again.error
            assert "Set DATABASE_URL to this database" in again.error
        else:
            assert again.code == 0, again
            assert f"was not done. The database {target.name} on" in again.output
    else:
        if not is_done:
            target.run("migrate", "--verbosity", "0")
        assert target.last_restore()["error"] == "UnrecordedOutcome"
        sentence, *_swept = target.recovered()
        assert "The migration to PostgreSQL that" in sentence
        assert sentence.endswith(f"It was marked as {'succeeded' if is_done else 'failed'}.")
    target.recovered()
    assert left(target) == []
    assert target.last_restore() == {"status": "healthy"}
    statuses = [status for kind, status in target.runs() if kind == "migration"]
    corrected = "succeeded" if is_done else "failed"
    assert statuses == ([corrected] if is_done or finder == NEW_SITE else [corrected, "succeeded"])
    source.recovered()
    assert source.last_run("migration")[0] == statuses[-1]
    assert target.recovered() == []


def test_killed_migration_says_that_its_target_may_be_filled(
    source: Lab, target: Lab, proxies: Callable[[Lab], tuple[Lab, Proxy]]
) -> None:
    through, proxy = proxies(target)
    proxy.at_commit = "hold"
    command = ("migrate_to_postgres", "--sqlite-path", str(source.file), "--yes")
    running = source.start(*command, POSTGRES_URL=through.url)

    def is_filled() -> bool:
        # The swap ends sessions.
        with contextlib.suppress(psycopg2.Error):
            return is_complete(source, target)
        return False

    running.until(is_filled)
    running.kill()
    sentence, *_swept = source.recovered()
    assert sentence.endswith("was killed. It was marked as interrupted.")
    status, _, hint = source.last_run("migration")
    assert status == "interrupted"
    assert "the database that it was to fill is as before, or complete" in hint
    again = migrate(source, target)
    assert again.code == 1
    assert "was done: its rows are in" in again.error
