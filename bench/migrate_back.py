"""Migrations from PostgreSQL to a new SQLite file: `migrate_to_sqlite` against

- ``pg_dump --data-only --inserts`` into ``sqlite3``, into the tables that Django creates, in one transaction and
  without waiting for the disk: the best case of these programs;
- the same as users type it, where every row is a transaction, of 20,000 rows at most;
- db-to-sqlite (of PyPI), with tables and indexes of its own.
"""

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench.lab_file import TABLES, django, file_of, rows_of_file
from bench.measuring import Program, ProgramFailed, stopwatch, wait_for
from bench.migrate import compare_counts, copy_and_build
from bench.results import Results, Sample
from bench.session import PEERS, Session

OURS = "`migrate_to_sqlite`"
ONCE = "`pg_dump --inserts` into `sqlite3`, one transaction"
DB_TO_SQLITE = "db-to-sqlite"
MOST_ROWS_ALONE = 20_000
"""Of the program that waits for the disk after each row."""


def run(session: Session, results: Results) -> None:
    with session.database() as database:
        programs = {
            OURS: into_new_file(session, lambda path: migrate_back(session, database, path)),
            ONCE: into_new_file(session, lambda path: dump_once(session, database, path)),
            DB_TO_SQLITE: into_new_file(session, lambda path: run_db_to_sqlite(session, database, path)),
        }
        session.compare(results, programs, needs={ONCE: "sqlite3", DB_TO_SQLITE: PEERS / "db-to-sqlite"})
    results.ratio(OURS, DB_TO_SQLITE, name="way back, everything / db-to-sqlite", at_most=1.0)
    results.ratio(OURS, DB_TO_SQLITE, of=copy_and_build, name="way back, copy and build / db-to-sqlite")
    results.ratio(OURS, ONCE, name=f"way back, everything / {ONCE}", at_most=1.0)
    compare_rows_alone(session, results)


def compare_rows_alone(session: Session, results: Results) -> None:
    rows = min(session.rows, MOST_ROWS_ALONE)
    ours, theirs = f"{OURS}, {rows:,} rows", f"`pg_dump --inserts` into `sqlite3`, {rows:,} rows"
    database, file = "few_rows", file_of(rows)
    session.migrate(file, database)
    programs = {
        ours: into_new_file(session, lambda path: migrate_back(session, database, path), file),
        theirs: into_new_file(session, lambda path: dump_into_sqlite(session, database, path), file),
    }
    session.compare(results, programs, needs={theirs: "sqlite3"}, rounds=1)
    session.drop(database)
    results.ratio(ours, theirs, name=f"way back of {rows:,} rows / `pg_dump --inserts` into `sqlite3`")


def into_new_file(session: Session, program: Callable[[Path], Sample], file: Path | None = None) -> Program:
    """`program` writes a new file, whose rows are counted."""

    def run_into_new_file() -> Sample:
        with tempfile.TemporaryDirectory(dir=session.folder) as directory:
            path = Path(directory) / "new.sqlite3"
            measured = program(path)
            compare_counts(rows_of_file(file or session.file), rows_of_file(path))
        return measured

    return run_into_new_file


def migrate_back(session: Session, database: str, path: Path) -> Sample:
    return session.migrate_with("migrate_to_sqlite", path, database)


def dump_once(session: Session, database: str, path: Path) -> Sample:
    return dump_into_sqlite(session, database, path, before="PRAGMA public.synchronous = OFF;\nBEGIN;", after="COMMIT;")


def dump_into_sqlite(session: Session, database: str, path: Path, *, before: str = "", after: str = "") -> Sample:
    """``pg_dump | sqlite3``, with statements for SQLite `before` and `after` the dump.

    sqlite3 reports the backslash commands and the settings in the dump as errors, and skips them.
    """
    django(f"sqlite:///{path}", "migrate", "--verbosity", "0")
    dump = ["pg_dump", "--data-only", "--inserts", *(f"--table={table}" for table in TABLES), database]
    with (
        stopwatch(session.server) as watch,
        subprocess.Popen(["sqlite3"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as sqlite,
    ):
        assert sqlite.stdin
        # The dump names its tables with their schema.
        sqlite.stdin.write(f"ATTACH '{path}' AS public;\n{before}\n".encode())
        sqlite.stdin.flush()
        with subprocess.Popen(dump, env=session.login, stdout=sqlite.stdin, stderr=subprocess.DEVNULL) as pg_dump:
            megabytes = [wait_for(pg_dump)]
        # Without the semicolon, the last backslash command of the dump would be a part of the next statement.
        sqlite.stdin.write(f";\n{after}\n".encode())
        sqlite.stdin.close()
        megabytes.append(wait_for(sqlite))
    if pg_dump.returncode:
        raise ProgramFailed("pg_dump failed.")
    return msgspec.structs.replace(watch.sample, megabytes=round(max(megabytes), 1))


def run_db_to_sqlite(session: Session, database: str, path: Path) -> Sample:
    url = f"postgresql+psycopg2://homerack@127.0.0.1:{session.server.port}/{database}"
    return session.run([PEERS / "db-to-sqlite", url, path, *(f"--table={table}" for table in TABLES)])
