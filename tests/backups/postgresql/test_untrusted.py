"""B7: a dump that somebody else made is data; whatever else is in it is refused, and nothing of it is executed."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.backups.manifest import Kind
from ops.backups.postgresql import lesser_role, rules
from ops.backups.postgresql.engine import PostgresEngine
from ops.backups.postgresql.reader import DumpReader, Statement
from ops.errors import ArtifactInvalid, PreconditionFailed
from ops.progress import ignore
from tests.backups.postgresql import support
from tests.backups.postgresql.support import Database

HARMFUL = [
    r"\! touch file",
    r"\unrestrict `touch file`",
    r"\copy rack to program 'touch file'",
    "COPY (SELECT 1) TO PROGRAM 'touch file';",
    "COPY public.rack (name) FROM PROGRAM 'touch file';",
    "COPY public.rack (name) FROM 'file';",
    "commit and chain;",
    "rollback;",
    "PREPARE TRANSACTION 'x';",
    "SET standard_conforming_strings = off;",
    "SET client_encoding = 'SJIS';",
]
HARMFUL_FROM_OTHERS = [
    "BEGIN;",
    "COMMIT;",
    "DO $$ BEGIN EXECUTE 'COPY (SELECT 1) TO PROGRAM ''touch file'''; END $$;",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';",
    "CREATE TRIGGER t BEFORE INSERT ON public.rack EXECUTE FUNCTION f();",
    "CREATE RULE r AS ON INSERT TO public.rack DO ALSO NOTIFY x;",
    "CREATE VIEW v AS SELECT pg_read_file('/etc/passwd');",
    "SELECT pg_read_file('/etc/passwd');",
    "SELECT pg_catalog.set_config('search_path', 'x', false);",
    "SET session_preload_libraries = 'x';",
    "SET ROLE postgres;",
    "ALTER SYSTEM SET archive_command = 'touch file';",
    "CREATE TABLE public.x (a xml DEFAULT query_to_xml('COPY (SELECT 1) TO PROGRAM ''x''', true, true, ''));",
    "CREATE TABLE public.x (a xml DEFAULT \"query_to_xml\" ('', true, true, ''));",
    "CREATE TABLE public.x (a xml DEFAULT query_to_xml/**/('', true, true, ''));",
    "CREATE TABLE public.x (a text CHECK (a <> pg_catalog . pg_read_file('/etc/passwd')));",
    "ALTER TABLE public.rack ALTER COLUMN notes SET DEFAULT pg_read_file('/etc/passwd');",
    "CREATE INDEX i ON public.rack USING btree (lo_import('/etc/passwd'));",
    "INSERT INTO public.rack (name) VALUES (pg_read_file('/etc/passwd'));",
    "CREATE EXTENSION plpython3u;",
    "CREATE USER MAPPING FOR x SERVER y;",
]


DUMP = rb"""
SET standard_conforming_strings = on;
CREATE TABLE public.rack (name text DEFAULT 'it''s (a)'::text NOT NULL, height numeric(4,1));
COPY public.rack (name) FROM stdin;
\! touch file
\.
{line}
-- PostgreSQL database dump complete
"""


def admitted(line: str, *, trusted: bool) -> list[str]:
    """The statements that would be run of a dump with `line` in it."""
    dump = DUMP.replace(b"{line}", line.encode())
    items = [item for item in DumpReader(iter([dump])) if isinstance(item, Statement)]
    return [str(item) for item in items if rules.admit(item, trusted=trusted)]


def test_tables_rows_and_sequences_are_admitted() -> None:
    line = "CREATE INDEX i ON public.rack USING btree (upper((name)::text));"
    assert admitted(line, trusted=False) == admitted(line, trusted=True)
    assert admitted(line, trusted=False)[-1] == line


@pytest.mark.parametrize("line", HARMFUL)
@pytest.mark.parametrize("trusted", [True, False])
def test_what_no_dump_holds_is_refused_from_everybody(line: str, *, trusted: bool) -> None:
    with pytest.raises(ArtifactInvalid):
        admitted(line, trusted=trusted)


@pytest.mark.parametrize("line", HARMFUL_FROM_OTHERS)
def test_what_could_run_something_is_refused_from_others(line: str) -> None:
    admitted(line, trusted=True)
    with pytest.raises(ArtifactInvalid):
        admitted(line, trusted=False)


@pytest.mark.parametrize("trusted", [True, False])
def test_a_tampered_dump_runs_no_program(engine: PostgresEngine, tmp_path: Path, *, trusted: bool) -> None:
    """psql, as a superuser, would have run it."""
    file = tmp_path / "executed"
    dump, _ = support.dump_of(engine)
    for line in (f"\\! touch {file}", f"\\unrestrict `touch {file}`", f"COPY (SELECT 1) TO PROGRAM 'touch {file}';"):
        planted = dump.replace(b"CREATE INDEX device_rack", f"{line}\nCREATE INDEX device_rack".encode())
        assert planted != dump
        with pytest.raises(ArtifactInvalid):
            support.drill(engine, planted, trusted=trusted)
        assert not file.exists()
    assert support.beside(engine.database) == []


def test_a_commit_in_the_middle_commits_nothing(engine: PostgresEngine) -> None:
    """pg_dump itself writes them around large objects."""
    dump, _ = support.dump_of(engine)
    cut = dump.replace(b"CREATE INDEX device_rack", b"COMMIT;\nCREATE INDEX device_rack").partition(b"ADD CONSTRAINT")[
        0
    ]
    assert b"\nCOMMIT;" in cut or b"COPY" in cut
    with engine.locked("test"), engine.scratch(for_swap=True) as scratch:
        with pytest.raises(ArtifactInvalid, match="cut off"):
            scratch.load(io.BytesIO(cut), kind=Kind.SQL, trusted=True, report=ignore)
        assert scratch.tables(ignore) == {}


def test_a_plain_dump_of_a_persons_own_is_loaded(lab: Database, engine: PostgresEngine) -> None:
    """With owners and rights in it, which pg_dump writes unless it is told not to."""
    dump, before = support.dump_of(engine)
    own = dump.replace(
        b"CREATE INDEX device_rack", b"ALTER TABLE public.rack OWNER TO somebody;\n"
        b"GRANT SELECT ON TABLE public.rack TO somebody;\nCREATE INDEX device_rack"
    )  # fmt: skip
    assert own != dump
    assert support.restore(engine, own, trusted=False) == before
    assert lab.rows("SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 2200") == [
        (lab.address.user,)
    ]


def test_a_stranger_s_dump_is_not_loaded_by_a_superuser(
    engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What slips past the rules meets a role that may do nothing with the server."""
    dump, _ = support.dump_of(engine)
    seen = []
    real = lesser_role.make_owner
    monkeypatch.setattr(lesser_role, "make_owner", lambda *call: (real(*call), seen.append(call[1].user)))
    monkeypatch.setattr("ops.backups.postgresql.rules.require_harmless", lambda _: None)
    harmful = dump.replace(
        b"CREATE INDEX device_rack", b"SELECT pg_read_file('/etc/passwd');\nCREATE INDEX device_rack"
    )
    with pytest.raises(PreconditionFailed, match="permission denied for function pg_read_file"):
        support.restore(engine, harmful, trusted=False)
    assert len(seen) == 1


def test_a_role_that_can_not_log_in_is_refused(engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    dump, _ = support.dump_of(engine)
    monkeypatch.setattr(lesser_role.secrets, "token_urlsafe", lambda _: "")
    with pytest.raises(PreconditionFailed, match="is loaded by a role that can not run programs, and there is none"):
        support.restore(engine, dump, trusted=False)
    assert support.server().rows("SELECT 1 FROM pg_roles WHERE rolname ~ '^ops_loader'") == []
    assert support.beside(engine.database) == []


def test_a_plain_role_loads_files_of_others_itself(role: Callable[..., tuple[str, str]], lab: Database) -> None:
    name, password = role("CREATEDB")
    dump, before = support.dump_of(support.engine_of(lab))
    support.server().rows(f"ALTER DATABASE {lab.name} OWNER TO {name}")
    engine = support.engine_of(support.database_named(lab.name, user=name, password=password))
    assert support.drill(engine, dump, trusted=False)[1] == before
