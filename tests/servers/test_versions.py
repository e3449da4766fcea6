"""PostgreSQL 15 to 18: backups are restored into the same version, into the next one, and into older ones."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg2 import errors

from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.backups.manifest import Kind
from ops.databases.postgres import client_programs
from ops.errors import PreconditionFailed
from ops.utils.progress import no_progress
from tests.backups.postgresql import support
from tests.backups.postgresql.test_properties import LOCALE, recorded_properties
from tests.backups.postgresql.test_sessions import Shown, shown_by_connection, shown_by_django, shown_by_program
from tests.engine_migration.support import Database
from tests.servers.support import at
from tests.support.postgres import PostgresServer
from tests.support.postgres_versions import PINNED, binaries

pytestmark = pytest.mark.slow

C_UTF8 = "the locale libc (UTF8, C.UTF-8, C.UTF-8)"
MAJORS = list(PINNED)
SAME_AND_NEXT = [(older, newer) for older in MAJORS for newer in MAJORS if int(newer) - int(older) in {0, 1}]
OLDER = [("16", "15"), ("17", "15"), ("18", "15"), ("18", "17")]


@dataclass(frozen=True)
class Version:
    server: PostgresServer
    programs: Path

    def create(self, name: str) -> Database:
        at(self.server, "postgres").rows(f"CREATE DATABASE {name} TEMPLATE template0")
        return at(self.server, name)

    def engine(self, database: Database, *, programs: Path | None = None) -> PostgresEngine:
        return PostgresEngine(database.address, tools_directory=programs or self.programs)


@pytest.fixture(scope="session")
def version() -> Iterator[Callable[[str], Version]]:
    """Starts the server of a major version when it is first needed."""
    started: dict[str, Version] = {}

    def start(major: str) -> Version:
        if major not in started:
            programs = binaries(major)
            started[major] = Version(PostgresServer.start(auth="md5", binaries=programs), programs)
        return started[major]

    yield start
    for found in started.values():
        found.server.stop()


@pytest.mark.parametrize("kind", [Kind.SQL, Kind.CUSTOM])
@pytest.mark.parametrize(("source", "target"), SAME_AND_NEXT + OLDER)
def test_backup_is_restored_and_undone(
    version: Callable[[str], Version], monkeypatch: pytest.MonkeyPatch, source: str, target: str, kind: Kind
) -> None:
    """Into an older version as well, where pg_restore of the newer one reads the custom format."""
    old, new = version(source), version(target)
    monkeypatch.setattr(client_programs, "candidates", lambda: [old.programs, new.programs])
    lab = old.create(support.new_name())
    lab.rows(support.LAB)
    dump, tables = support.dump_of(old.engine(lab), kind)
    database = new.create(support.new_name())
    database.rows("CREATE TABLE before (x int); INSERT INTO before VALUES (1)")
    engine = new.engine(database)
    assert support.restore(engine, dump, kind=kind) == tables
    assert support.dump_of(engine)[1] == tables
    support.undo(engine, run="run-2")
    assert database.tables() == ["before"]


@pytest.mark.parametrize(("source", "needed"), [("16", 16), ("17", 17), ("18", 17)])
def test_custom_dump_without_a_new_enough_pg_restore_is_refused(
    version: Callable[[str], Version], monkeypatch: pytest.MonkeyPatch, source: str, needed: int
) -> None:
    new, old = version(source), version("15")
    lab = new.create(support.new_name())
    dump, _ = support.dump_of(new.engine(lab), Kind.CUSTOM)
    monkeypatch.setattr(client_programs, "candidates", lambda: [old.programs])
    engine = old.engine(old.create(support.new_name()))
    with pytest.raises(PreconditionFailed, match=f"^The dump was made by pg_dump {needed} or later") as refused:
        support.restore(engine, dump, kind=Kind.CUSTOM)
    assert f"apt-get install postgresql-client-{needed}" in refused.value.hint


@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize("shown", [shown_by_connection, shown_by_django, shown_by_program])
def test_sessions_have_our_settings(version: Callable[[str], Version], major: str, shown: Shown) -> None:
    """Since 17 there is a time limit for transactions, which pg_dump sets itself."""
    database = version(major).create(support.new_name())
    values = {"statement_timeout": "1s", "idle_session_timeout": "1s"}
    if int(major) >= 17 and shown is not shown_by_program:
        values["transaction_timeout"] = "1s"
    for name, value in values.items():
        database.rows(f"ALTER DATABASE {database.name} SET {name} = '{value}'")
        assert shown(database.address, name) == "0"


LOCALES = {
    "builtin": ("17", "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"),
    "builtin in 18": ("18", "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'"),
    "builtin of 18": ("18", "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'PG_UNICODE_FAST'"),
    "icu with rules": ("16", "LOCALE_PROVIDER icu ICU_LOCALE 'und' ICU_RULES '&V << w <<< W'"),
}


@pytest.mark.parametrize("name", LOCALES)
def test_locale_is_kept(version: Callable[[str], Version], name: str) -> None:
    """In the ordinary tests, test_properties.py has the locales of PostgreSQL 15."""
    major, options = LOCALES[name]
    new = version(major)
    database = at(new.server, support.new_name())
    try:
        at(new.server, "postgres").rows(f"CREATE DATABASE {database.name} TEMPLATE template0 {options}")
    except errors.FeatureNotSupported as error:
        pytest.skip(f"PostgreSQL {major} of PyPI: {error.diag.message_primary}")
    database.rows(support.LAB)
    before = locale_of(database)
    engine = new.engine(database)
    dump, tables = support.dump_of(engine)
    assert support.restore(engine, dump) == tables
    assert locale_of(database) == before
    recorded = recorded_properties(engine)
    for server in new, version("15"):
        # As on a server without the live database.
        other = server.engine(at(server.server, support.new_name()))
        with other.locked("test"), other.swap_strategy().scratch(for_swap=True, recorded=recorded) as scratch:
            scratch.load(io.BytesIO(dump), kind=Kind.SQL, on_progress=no_progress)
            not_kept = [left.what for left in scratch.keep_properties()]
            scratch.swap(run="run", backup="backup")
        if server is new:
            assert (locale_of(at(server.server, other.database)), not_kept) == (before, [])
        else:
            assert not_kept == [f"{recorded.described_locale} of the database, which has {C_UTF8}"]


def locale_of(database: Database) -> dict[str, object]:
    return {**database.value(LOCALE), "datname": ""}
