"""A standby and a read-only database are reported by health and check, and refused by what writes; backups work."""

import contextlib
import gc
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

import pytest
from django.db import OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ops.backups.engines.configured import engine_of
from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.backups.engines.sqlite.engine import SqliteEngine
from ops.backups.manifest import Kind
from ops.backups.verify import restore_test
from ops.checks import check_database_is_writable
from ops.databases.override import override_database, sqlite_wrapper
from ops.engine_migration.to_postgres.target import inspect_target
from ops.errors import PreconditionFailed
from ops.health.database import explain_read_only, query_database
from tests.backups.postgresql import support
from tests.engine_migration.support import Database
from tests.servers.conftest import Make
from tests.servers.support import at
from tests.support.backend import eventually, make_wrapper
from tests.support.postgres import PostgresServer
from tests.support.slow import slow_except

STANDBY = "The database cannot be written: the server is in recovery (a standby, or a server that replays its log)."
PROMOTE = "Connect to the primary server, or promote this one."
READ_ONLY = "The database cannot be written: its transactions are read-only (default_transaction_read_only)."


@pytest.fixture
def standby(server: PostgresServer, make_database: Make) -> Iterator[Database]:
    """A database with a few tables on a server in recovery, whose role may create databases."""
    database = make_database("CREATEDB")
    database.rows(f"CREATE DATABASE {database.name}_ops_new")
    signal = server.root / "data" / "standby.signal"
    signal.touch()
    server.restart()
    try:
        yield database
    finally:
        signal.unlink(missing_ok=True)
        server.restart()


def seen_by_site(database: Database) -> BaseDatabaseWrapper:
    """The database as the project opens it, without the settings of our own sessions."""
    return make_wrapper(database.url, POOL={"SIZE": 0})


def test_standby_is_backed_up_and_not_written(standby: Database) -> None:
    engine = PostgresEngine(standby.address)
    dump, tables = support.dump_of(engine)
    assert tables["device"].rows == 500
    assert len(dump) > 1000
    (sentence,) = engine.sweep([f"{standby.name}_ops_new", "nowhere"])
    assert sentence.startswith(
        f"The database {standby.name}_ops_new of a killed run cannot be dropped: the server is in"
    )
    refusals = [
        engine.require_writable,
        lambda: restore_test(engine=engine, source=None, on_progress=None),  # type: ignore[arg-type]  # not reached
        lambda: inspect_target(standby.address),
    ]
    for refuse in refusals:
        with pytest.raises(PreconditionFailed) as refused:
            refuse()
        assert str(refused.value) == (
            f"The database {standby.address} cannot be written: the server is in recovery (a standby, or a server that"
            f" replays its log). Nothing was changed.\n{PROMOTE}"
        )
    with override_database(seen_by_site(standby)):
        assert explain_read_only(connections["default"]) == (
            STANDBY,
            "Connect to the primary server, or promote this one.",
        )
        (warning,) = check_database_is_writable(databases=["default"])
        assert (warning.id, warning.msg) == ("ops.W014", STANDBY)


SETTING = "default_transaction_read_only"
ON = {
    "role": f"ALTER ROLE {{0}} SET {SETTING} = on",
    "database": f"ALTER DATABASE {{0}} SET {SETTING} = on",
    "role in the database": f"ALTER ROLE {{0}} IN DATABASE {{0}} SET {SETTING} = on",
    "all roles": f"ALTER ROLE ALL SET {SETTING} = on",
    "server": f"ALTER SYSTEM SET {SETTING} = on; SELECT pg_reload_conf();",
}
LAST = " Some providers set it while the disk is full: then free some space first."


@pytest.mark.parametrize("where", slow_except(list(ON), "role", "server"))
def test_read_only_database_is_backed_up_and_not_written(
    server: PostgresServer, admin: Database, make_database: Make, where: str
) -> None:
    """The hint ends it, in a session that is read-only itself."""
    database = make_database("CREATEDB")
    engine = PostgresEngine(database.address)
    for statement in ON[where].format(database.name).split("; "):
        admin.rows(statement)
    eventually(lambda: seen(database)[0])
    sentence, hint = seen(database)
    assert sentence == READ_ONLY
    assert hint.startswith(f"As an administrator: SET {SETTING} = off; ALTER ")
    assert hint.endswith(LAST)
    try:
        dump, tables = support.dump_of(engine)
        assert tables["device"].rows == 500
        for refuse in (
            engine.require_writable,
            lambda: restore_test(engine=engine, source=None, on_progress=None),  # type: ignore[arg-type]  # not reached
            lambda: inspect_target(database.address),
        ):
            with pytest.raises(PreconditionFailed) as refused:
                refuse()
            assert refused.value.message == (
                f"The database {database.address} cannot be written: its transactions are read-only ({SETTING})."
                " Nothing was changed."
            )
            assert refused.value.hint == hint
        with override_database(seen_by_site(database)):
            (warning,) = check_database_is_writable(databases=["default"])
        assert (warning.id, warning.msg, warning.hint) == ("ops.W014", READ_ONLY, hint)
    finally:
        remedy = hint.removeprefix("As an administrator: ").removesuffix(LAST)
        with contextlib.closing(at(server, database.name).connect()) as connection, connection.cursor() as cursor:
            for statement in remedy.split("; "):
                cursor.execute(statement)
    eventually(lambda: not seen(database)[0])
    engine.require_writable()
    assert support.restore(engine, dump) == tables


def seen(database: Database) -> tuple[str, str]:
    """What the health check says."""
    with override_database(seen_by_site(database)):
        return explain_read_only(connections["default"])


def test_read_only_sessions_of_the_project_are_reported(make_database: Make) -> None:
    wrapper = make_wrapper(make_database().url, POOL={"SIZE": 0}, OPTIONS={"options": f"-c {SETTING}=on"})
    with override_database(wrapper):
        assert explain_read_only(connections["default"]) == (
            READ_ONLY,
            f"Remove {SETTING} from the OPTIONS of the database, the variable PGOPTIONS or the server's configuration.",
        )


def test_sqlite_file_that_may_only_be_read_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The administrator may write any file, so the answer of the system is replaced."""
    path = tmp_path / "lab.db"
    path.touch()
    sentences = []
    for unwritable in (path, tmp_path):
        monkeypatch.setattr("os.access", lambda asked, _mode, unwritable=unwritable: Path(asked) != unwritable)
        with override_database(sqlite_wrapper(str(path))):
            sentences.append(explain_read_only(connections["default"])[0])
        with pytest.raises(PreconditionFailed, match="may only be read"):
            SqliteEngine(path).require_writable()
    assert sentences == [
        f"The database cannot be written: {path} may only be read.",
        f"The database cannot be written: {tmp_path} may only be read.",
    ]


@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
def test_sqlite_file_that_cannot_be_opened_for_its_directory_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a file in WAL mode, which needs another file next to it."""
    path = tmp_path / "lab.db"
    path.write_bytes(b"")
    wrapper = sqlite_wrapper(f"file:{path}?mode=ro")
    wrapper.settings_dict["OPTIONS"]["init_command"] = "PRAGMA journal_mode = WAL"
    with override_database(wrapper), pytest.raises(OperationalError) as refused:
        query_database("default")
    assert str(refused.value) == (
        "attempt to write a readonly database: SQLite opens it with mode=ro. Remove that from its NAME in the settings."
    )
    # Django leaves the connection open whose first statement failed.
    del refused
    gc.collect()
    monkeypatch.setattr("os.access", lambda asked, _mode: Path(asked) != tmp_path)
    path.write_bytes(b"SQLite format 3\0" + b"damaged")
    monkeypatch.setattr("ops.databases.sqlite.undo.writing", fail_to_write)
    with pytest.raises(PreconditionFailed) as unusable:
        SqliteEngine(path).sweep()
    assert str(unusable.value) == (
        f"{path} cannot be used: {tmp_path} may only be read.\nRun as its owner, and mount its disk for writing."
    )


def fail_to_write(_path: Path) -> NoReturn:
    error = sqlite3.OperationalError("attempt to write a readonly database")
    error.sqlite_errorcode = sqlite3.SQLITE_READONLY
    raise error


@pytest.mark.parametrize("parameter", ["mode=ro", "immutable=1", "cache=private&mode=ro"])
def test_sqlite_file_that_is_opened_read_only_is_backed_up_and_not_written(tmp_path: Path, parameter: str) -> None:
    path = tmp_path / "a lab.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE rack (id integer PRIMARY KEY); INSERT INTO rack VALUES (1)")
    wrapper = sqlite_wrapper(f"file:{quote(str(path))}?{parameter}")
    reason = f"SQLite opens it with {parameter.rpartition('&')[2]}"
    with override_database(wrapper):
        assert explain_read_only(connections["default"])[0] == f"The database cannot be written: {reason}."
        (warning,) = check_database_is_writable(databases=["default"])
        assert warning.hint == "Remove that from its NAME in the settings."
        engine = engine_of("default")
    with engine.locked("test"), engine.snapshot(kind=Kind.SQLITE) as snapshot:
        assert snapshot.tables()["rack"].rows == 1
    with pytest.raises(PreconditionFailed) as refused:
        engine.require_writable()
    assert refused.value.message == f"The database a lab in {path} cannot be written: {reason}. Nothing was changed."


def test_sqlite_session_that_only_reads_is_reported(tmp_path: Path) -> None:
    wrapper = sqlite_wrapper(str(tmp_path / "lab.db"))
    wrapper.settings_dict["OPTIONS"]["init_command"] = "PRAGMA query_only = 1"
    with override_database(wrapper):
        assert explain_read_only(wrapper)[0] == "The database cannot be written: PRAGMA query_only is on."
    with override_database(sqlite_wrapper(str(tmp_path / "lab.db"))) as writable:
        assert explain_read_only(writable) == ("", "")
