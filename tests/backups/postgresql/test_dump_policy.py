"""Even in a dump that this installation has signed, only what pg_dump writes is executed."""

import io
from pathlib import Path

import pytest

from ops.backups.engines.postgresql import dump_policy
from ops.backups.engines.postgresql.dump_reader import DumpReader, Statement
from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.backups.manifest import Kind
from ops.errors import ArtifactInvalid
from ops.utils.progress import no_progress
from tests.backups.postgresql import support
from tests.backups.postgresql.support import Backup

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
DUMP = rb"""
SET standard_conforming_strings = on;
CREATE TABLE public.rack (name text DEFAULT 'it''s (a)'::text NOT NULL, height numeric(4,1));
COPY public.rack (name) FROM stdin;
\! touch file
\.
{line}
-- PostgreSQL database dump complete
"""


def admitted(line: str) -> list[str]:
    """The statements of a dump with `line` that would be executed."""
    dump = DUMP.replace(b"{line}", line.encode())
    items = [item for item in DumpReader(iter([dump])) if isinstance(item, Statement)]
    return [str(item) for item in items if dump_policy.allow_statement(item)]


@pytest.mark.parametrize("line", HARMFUL)
def test_allow_statement_refuses_what_pg_dump_does_not_write(line: str) -> None:
    with pytest.raises(ArtifactInvalid):
        admitted(line)


def test_load_of_a_tampered_dump_runs_no_program(engine: PostgresEngine, tmp_path: Path, lab_backup: Backup) -> None:
    """psql would run it as a superuser."""
    file = tmp_path / "executed"
    dump, _ = lab_backup
    for line in (f"\\! touch {file}", f"\\unrestrict `touch {file}`", f"COPY (SELECT 1) TO PROGRAM 'touch {file}';"):
        planted = dump.replace(b"CREATE INDEX device_rack", f"{line}\nCREATE INDEX device_rack".encode())
        assert planted != dump
        with pytest.raises(ArtifactInvalid):
            support.restore_test(engine, planted)
        assert not file.exists()
    assert support.leftovers(engine.database) == []


def test_load_of_a_dump_with_a_commit_commits_nothing(engine: PostgresEngine, lab_backup: Backup) -> None:
    """pg_dump itself writes them around large objects."""
    dump, _ = lab_backup
    cut = dump.replace(b"CREATE INDEX device_rack", b"COMMIT;\nCREATE INDEX device_rack").partition(b"ADD CONSTRAINT")[
        0
    ]
    assert b"\nCOMMIT;" in cut or b"COPY" in cut
    with engine.locked("test"), engine.swap_strategy().scratch(for_swap=True) as scratch:
        with pytest.raises(ArtifactInvalid, match="truncated"):
            scratch.load(io.BytesIO(cut), kind=Kind.SQL, on_progress=no_progress)
        assert scratch.tables(no_progress) == {}
