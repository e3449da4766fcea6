"""The way back of `bench.migrate`: from PostgreSQL to SQLite.

Migrates the file to PostgreSQL once, and that database to a new file, in turn with

- the command `migrate_to_sqlite`: preflight, copy, build, verify;
- ``pg_dump --data-only --inserts`` into ``sqlite3``, into the tables that Django creates: every row is a transaction;
- the same in one transaction, without waiting for the disk: the best case of these programs;
- db-to-sqlite (of PyPI), with tables and indexes of its own. It is installed into the temporary directory.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from bench.lab_file import TABLES, django, rows_of_file
from bench.measuring import Program, Ratio, Run, compare_counts, measure, migrate, run_command, wait_for
from tests.support.postgres import PASSWORD, PostgresServer

DATABASE = "lab"
DB_TO_SQLITE = (
    "db-to-sqlite==1.5",
    "psycopg2-binary==2.9.13",
    # It works with neither SQLAlchemy 2.1 nor sqlite-utils 4.
    "SQLAlchemy==2.0.58",
    "sqlite-utils==3.39.1",
)
RATIOS: Mapping[str, Ratio] = {
    "copy + build / db-to-sqlite": ("db-to-sqlite", lambda run: run.copy_and_build),
    "whole command / db-to-sqlite": ("db-to-sqlite", lambda run: run.seconds),
    "copy + build / pg_dump in one transaction": ("pg_dump-once", lambda run: run.copy_and_build),
    "whole command / pg_dump in one transaction": ("pg_dump-once", lambda run: run.seconds),
    "copy + build / pg_dump": ("pg_dump", lambda run: run.copy_and_build),
    "whole command / pg_dump": ("pg_dump", lambda run: run.seconds),
}


# --- The programs -------------------------------------------------------------------------------------------------
def into_new_file(program: Callable[[Path, PostgresServer], Run]) -> Program:
    """`program` writes a new file, whose rows are counted. The first one migrates the rows to PostgreSQL before."""

    def run(file: Path, server: PostgresServer, folder: Path) -> Run:
        filled = folder / "filled"
        if not filled.exists():
            migrate(file, server.url(DATABASE))
            filled.touch()
        with tempfile.TemporaryDirectory(dir=folder) as directory:
            path = Path(directory) / "new.sqlite3"
            measured = program(path, server)
            compare_counts(rows_of_file(file), rows_of_file(path))
        return measured

    return run


def run_back(path: Path, server: PostgresServer) -> Run:
    report = path.with_suffix(".json")
    run = run_command("migrate_to_sqlite", path, server.url(DATABASE), "--json", str(report))
    return replace(run, stages=json.loads(report.read_text())["seconds"])


def login(server: PostgresServer) -> dict[str, str]:
    """The environment of programs that use libpq. Everybody can read the arguments of a program, with a password."""
    variables = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "homerack", "PGPASSWORD": PASSWORD}
    return {**os.environ, **variables, "PGDATABASE": DATABASE}


def run_pg_dump(path: Path, server: PostgresServer, *, before: str = "", after: str = "") -> Run:
    """``pg_dump | sqlite3``, with statements for SQLite `before` and `after` the dump.

    sqlite3 reports the backslash commands and the settings in the dump as errors, and skips them.
    """
    django(f"sqlite:///{path}", "migrate", "--verbosity", "0")
    dump = [str(server.binaries / "pg_dump"), "--data-only", "--inserts", *(f"--table={table}" for table in TABLES)]
    start = time.monotonic()
    with subprocess.Popen(["sqlite3"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as sqlite:
        assert sqlite.stdin
        # The dump names its tables with their schema.
        sqlite.stdin.write(f"ATTACH '{path}' AS public;\n{before}\n".encode())
        sqlite.stdin.flush()
        with subprocess.Popen(dump, env=login(server), stdout=sqlite.stdin, stderr=subprocess.DEVNULL) as pg_dump:
            megabytes = {"pg_dump": wait_for(pg_dump)}
        # Without the semicolon, the last backslash command of the dump would be a part of the next statement.
        sqlite.stdin.write(f";\n{after}\n".encode())
        sqlite.stdin.close()
        megabytes["sqlite3"] = wait_for(sqlite)
    seconds = time.monotonic() - start
    if pg_dump.returncode:
        sys.exit("pg_dump failed.")
    largest = max(megabytes, key=lambda program: megabytes[program])
    return Run(seconds=seconds, megabytes=megabytes[largest], largest=largest)


def run_pg_dump_once(path: Path, server: PostgresServer) -> Run:
    return run_pg_dump(path, server, before="PRAGMA public.synchronous = OFF;\nBEGIN;", after="COMMIT;")


def run_db_to_sqlite(path: Path, server: PostgresServer) -> Run:
    url = f"postgresql+psycopg2://homerack@127.0.0.1:{server.port}/{DATABASE}"
    tables = [f"--table={table}" for table in TABLES]
    return measure([str(install_db_to_sqlite()), url, str(path), *tables], login(server))


def install_db_to_sqlite() -> Path:
    """The program, in a virtual environment that is made once: it needs older packages than HomeRack."""
    directory = Path(tempfile.gettempdir()) / "bench_db_to_sqlite"
    program = directory / "bin" / "db-to-sqlite"
    if not program.exists():
        print(f"Installing {DB_TO_SQLITE[0]} into {directory} …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(directory)], check=True)
        subprocess.run([str(directory / "bin" / "pip"), "install", "--quiet", *DB_TO_SQLITE], check=True)
    return program


PROGRAMS: Mapping[str, Program] = {
    "command": into_new_file(run_back),
    "pg_dump": into_new_file(run_pg_dump),
    "pg_dump-once": into_new_file(run_pg_dump_once),
    "db-to-sqlite": into_new_file(run_db_to_sqlite),
}
