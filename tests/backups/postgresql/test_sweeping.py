"""The sweep drops databases that were claimed and have our comment. A dump can set a comment as well."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from django.conf import settings

from ops.backups.engines.postgresql.database_swap import ASIDE, RESTORE_TEST, STAGING
from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.backups.engines.postgresql.undo_comment import PREVIOUS
from ops.backups.locations.catalog import BackupCatalog
from ops.backups.signing import Keys
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.databases.postgres import databases, rename
from ops.errors import PreconditionFailed
from ops.models import Run
from ops.runs import event_log
from ops.runs.recorder import RunRecorder
from tests.backups.postgresql import support
from tests.backups.postgresql.support import Backup, Database
from tests.runs.support import reconcile, recorded

FORGED = {
    "a comment": "COMMENT ON DATABASE {} IS 'made by ops; may be dropped'",
    "the comment of version 1.0": "COMMENT ON DATABASE {} IS 'made by ops; may be dropped; beside {live}'",
    "a connection limit": f"ALTER DATABASE {{}} CONNECTION LIMIT {databases.OPS_CONNECTION_LIMIT}",
}


@pytest.fixture
def repository(tmp_path: Path) -> BackupCatalog:
    return BackupCatalog(
        PrivateFileSystemStorage(location=str(tmp_path / "backups")), Keys([settings.SECRET_KEY]), "lab"
    )


@pytest.fixture
def foreign(lab: Database) -> Iterator[Database]:
    """An unrelated database on the same server."""
    name = support.new_name()
    yield support.create(name)
    support.drop(name)


def request() -> Run:
    return Run(kind=Run.Kind.RESTORE, requested_by="jane@example.org", origin=Run.Origin.COMMAND)


def killed(engine: PostgresEngine, repository: BackupCatalog, *names: str) -> None:
    """A run that was killed after it had claimed these databases."""
    run = Run(kind=Run.Kind.RESTORE, status=Run.Status.RUNNING, requested_by="jane", database=engine.database)
    event_log.record(repository, event_log.STARTED, run)
    for name in names:
        event_log.record(repository, event_log.CLAIMED, run, database=name)


def exist(*names: str) -> list[str]:
    found = support.server().rows("SELECT datname FROM pg_database WHERE datname = ANY(%s) ORDER BY 1", [list(names)])
    return [name for (name,) in found]


@pytest.mark.parametrize("claimed", [False, True])
@pytest.mark.django_db(transaction=True)
def test_sweep_does_not_drop_databases_by_their_comment_alone(
    lab: Database,
    foreign: Database,
    engine: PostgresEngine,
    repository: BackupCatalog,
    lab_backup: Backup,
    *,
    claimed: bool,
) -> None:
    """Claims can be forged by writing to the storage; live and previous database are never dropped."""
    dump, _ = lab_backup
    support.restore(engine, dump)
    undo = databases.suffixed_name(lab.name, PREVIOUS)
    marked = [lab.name, undo, foreign.name]
    for forged, statement in FORGED.items():
        for name in marked:
            support.server().rows(statement.format(name, live=lab.name))
        if claimed:
            killed(engine, repository, lab.name, undo, "postgres", "template0", "template1")
        reconcile(engine, repository)
        assert exist(*marked) == sorted(marked), forged
        assert exist("postgres", "template0", "template1") == ["postgres", "template0", "template1"], forged


def test_sweep_does_not_drop_a_claimed_name_without_the_comment(
    foreign: Database, engine: PostgresEngine, repository: BackupCatalog
) -> None:
    """Another database was created with that name after the run had claimed it."""
    with engine.locked("test"):
        assert engine.sweep([foreign.name]) == ()
    assert exist(foreign.name) == [foreign.name]


@pytest.mark.parametrize("suffix", [STAGING, RESTORE_TEST])
def test_scratch_with_an_existing_unclaimed_name_is_refused(lab: Database, engine: PostgresEngine, suffix: str) -> None:
    theirs = support.create(databases.suffixed_name(lab.name, suffix))
    support.server().rows(FORGED["a comment"].format(theirs.name))
    with engine.locked("test"):
        engine.sweep()
        with pytest.raises(PreconditionFailed) as refused, engine.swap_strategy().scratch(for_swap=suffix == STAGING):
            pass
    assert refused.value.message.startswith(f"The database {theirs.name} exists already")
    assert exist(theirs.name) == [theirs.name]


class Claims:
    """Records claims, and checks that the database did not exist when it was claimed."""

    def __init__(self) -> None:
        self.claimed: list[str] = []
        self.left: list[str] = []

    def claim_database(self, name: str, *, target: str = "") -> None:  # noqa: ARG002
        assert exist(name) == []
        self.claimed.append(name)

    def leave_database(self, name: str, *, target: str = "") -> None:  # noqa: ARG002
        self.left.append(name)


def test_database_is_claimed_before_it_is_created(lab: Database, engine: PostgresEngine, lab_backup: Backup) -> None:
    dump, _ = lab_backup
    support.restore(engine, dump)
    claims, named = Claims(), support.new_name()
    new, scratch_name, aside = (databases.suffixed_name(lab.name, suffix) for suffix in (STAGING, RESTORE_TEST, ASIDE))
    with engine.locked("test"):
        with engine.swap_strategy(claims).scratch(for_swap=False):
            assert claims.claimed == [scratch_name]
        with engine.swap_strategy(claims).scratch(name=named, for_swap=False):
            assert claims.claimed == [scratch_name, named]
        with engine.swap_strategy(claims).scratch(for_swap=True) as scratch:
            scratch.swap(run="run-2", backup="b")
    assert claims.claimed == [scratch_name, named, new, aside]
    assert claims.left == []
    assert support.leftovers(lab.name) == [PREVIOUS]


def test_database_is_not_created_when_the_claim_cannot_be_recorded(
    lab: Database, engine: PostgresEngine, repository: BackupCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> str:
        raise OSError(28, "No space left on device")

    run = Run(kind=Run.Kind.RESTORE, status=Run.Status.RUNNING, requested_by="jane", database=engine.database)
    recording = RunRecorder(run, repository=repository, on_progress=print)
    monkeypatch.setattr(repository, "add_event", full)
    with (
        engine.locked("test"),
        pytest.raises(PreconditionFailed, match=r"does not take the record of this run: .*No space left on device"),
        engine.swap_strategy(recording).scratch(for_swap=True),
    ):
        pass
    assert support.leftovers(lab.name) == []


def test_database_that_could_not_be_dropped_is_dropped_by_the_next_run(
    lab: Database, engine: PostgresEngine, repository: BackupCatalog
) -> None:
    """The server ended the session that holds the lock, so the run failed and its database was left."""
    scratch_name = databases.suffixed_name(lab.name, RESTORE_TEST)
    with (
        contextlib.suppress(psycopg2.Error),
        recorded(request(), engine=engine, repository=repository) as recording,
        engine.swap_strategy(recording).scratch(for_swap=False),
    ):
        support.end_lock_session(lab.name)
        raise psycopg2.OperationalError("the connection is gone")
    assert exist(scratch_name) == [scratch_name]
    found = reconcile(engine, repository)
    assert f"Dropped the database {scratch_name}, which a killed run had left." in found
    assert exist(scratch_name) == []
    assert repository.unended_events() == []
    assert reconcile(engine, repository) == ()


@pytest.mark.parametrize("moment", ["create_staging", "add_extensions"])
def test_database_whose_creation_failed_is_dropped(
    lab: Database, engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    real = getattr(databases, moment)

    def fail(*arguments: object, **options: object) -> None:
        real(*arguments, **options)
        raise PreconditionFailed("It was refused after all.")

    monkeypatch.setattr(databases, moment, fail)
    claims = Claims()
    with (
        engine.locked("test"),
        pytest.raises(PreconditionFailed),
        engine.swap_strategy(claims).scratch(for_swap=True),
    ):
        pass
    assert support.leftovers(lab.name) == []
    assert claims.left == []


def test_earlier_previous_database_is_dropped_by_the_next_run(
    lab: Database, engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch, lab_backup: Backup
) -> None:
    dump, _ = lab_backup
    support.restore(engine, dump)
    claims, aside = Claims(), databases.suffixed_name(lab.name, ASIDE)

    def fail(_connection: object, name: str) -> None:
        if name == aside:
            raise psycopg2.OperationalError

    with engine.locked("test"), engine.swap_strategy(claims).scratch(for_swap=True) as scratch:
        monkeypatch.setattr(databases, "drop", fail)
        scratch.swap(run="run-2", backup="b")
    monkeypatch.undo()
    assert claims.left == [aside]
    with engine.locked("next"):
        assert engine.sweep(claims.left) == (f"Dropped the database {aside}, which a killed run had left.",)
    assert support.leftovers(lab.name) == [PREVIOUS]


def test_kept_database_loses_its_comment(lab: Database, engine: PostgresEngine) -> None:
    name = support.new_name()
    try:
        with engine.locked("test"), engine.swap_strategy().scratch(name=name, for_swap=False) as scratch:
            scratch.keep()
        with engine.locked("test"):
            assert engine.sweep([name]) == ()
        assert exist(name) == [name]
    finally:
        support.drop(name)


def test_new_database_is_identified_while_it_is_created(
    lab: Database, engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = databases.suffixed_name(lab.name, STAGING)
    with databases.maintenance_connection(engine.address) as connection:
        databases.create_staging(connection, name, None)
        rename.comment(connection, name, "")
        assert databases.drop_claimed(connection, [name], spared=()) == ()
        with connection.cursor() as cursor:
            cursor.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT {databases.OPS_CONNECTION_LIMIT}')
        assert databases.drop_claimed(connection, [name], spared=()) == (name,)
