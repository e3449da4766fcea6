"""Measures the time and memory of `manage.py migrate_to_postgres`, and of the way back.

    python -m bench.migrate [--rows 1000000] [--rounds 3] [--skip pgloader]
    python -m bench.migrate --back [--rows 1000000] [--rounds 3] [--skip pg_dump]

Creates a SQLite file as Django writes it, and migrates it to a PostgreSQL server of its own, in turn with

- the command: snapshot, preflight, schema, copy, build, verify, cut-over;
- pgloader (of Debian), data only, into the schema that Django creates, with a small prefetch;
- a bare ``COPY`` of prepared text files on one connection; indexes and keys are dropped before and rebuilt after.

`bench.migrate_back` says what ``--back`` measures. Prints wall seconds, the peak memory of the largest client process,
and ratios within each round. The file is kept in the temporary directory.
"""

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bench import migrate_back
from bench.lab_file import TABLES, django, file_of, rows_of_file
from bench.measuring import (
    Program,
    Ratio,
    Run,
    compare_counts,
    connected,
    create,
    drop,
    measure,
    migrate,
    rows_of_database,
    show_ratios,
    show_round,
)
from tests.support.postgres import PostgresServer

RATIOS: Mapping[str, Ratio] = {
    "copy + build / bare COPY with rebuild": ("bare", lambda run: run.copy_and_build),
    "copy + build / pgloader": ("pgloader", lambda run: run.copy_and_build),
    "whole command / pgloader": ("pgloader", lambda run: run.seconds),
}


# --- To PostgreSQL ------------------------------------------------------------------------------------------------
def run_forth(file: Path, server: PostgresServer, folder: Path) -> Run:
    report = folder / "report.json"
    run = migrate(file, server.url("ours"), "--json", str(report))
    drop(server, "ours")
    return replace(run, stages=json.loads(report.read_text())["seconds"])


def run_pgloader(file: Path, server: PostgresServer, folder: Path) -> Run:
    create(server, "theirs")
    django(server.url("theirs"), "migrate", "--verbosity", "0")
    names = ", ".join(f"'{name}'" for name in TABLES)
    script = folder / "migration.load"
    script.write_text(
        f"LOAD DATABASE FROM sqlite://{file} INTO {server.url('theirs')}"
        " WITH data only, drop indexes, reset sequences, prefetch rows = 10000"
        f" INCLUDING ONLY TABLE NAMES LIKE {names};"
    )
    run = measure(["pgloader", "--quiet", str(script)], os.environ)
    compare_counts(rows_of_file(file), rows_of_database(server, "theirs"))
    drop(server, "theirs")
    return run


def run_bare_copy(file: Path, server: PostgresServer, folder: Path) -> Run:
    """Copy in this process, whose memory is not reported."""
    from ops.databases.postgres import constraints

    texts = folder / "texts"
    if not texts.exists():
        prepare_texts(file, server, texts)
    create(server, "bare")
    django(server.url("bare"), "migrate", "--verbosity", "0")
    start = time.monotonic()
    with connected(server, "bare") as connection, connection.cursor() as cursor:
        parts = constraints.drop_indexes_and_keys(cursor, constraints.read_indexes_and_keys(cursor, TABLES))
        for table in TABLES:
            cursor.execute(f"TRUNCATE {table}")
            with (texts / table).open("rb") as rows:
                cursor.copy_expert(f"COPY {table} FROM STDIN (FREEZE)", rows, size=1 << 20)
        copied = time.monotonic()
        for part in (*parts.indexes, *parts.keys):
            cursor.execute(part.create)
        cursor.execute("ANALYZE")
        connection.commit()
    end = time.monotonic()
    drop(server, "bare")
    return Run(seconds=end - start, megabytes=0, stages={"copy": copied - start, "build": end - copied})


def prepare_texts(file: Path, server: PostgresServer, texts: Path) -> None:
    """The rows in the text format of PostgreSQL, from a database that the command filled."""
    texts.mkdir()
    migrate(file, server.url("texts"))
    with connected(server, "texts") as connection, connection.cursor() as cursor:
        for table in TABLES:
            with (texts / table).open("wb") as file_out:
                cursor.copy_expert(f"COPY {table} TO STDOUT", file_out)
    drop(server, "texts")


PROGRAMS: Mapping[str, Program] = {"command": run_forth, "pgloader": run_pgloader, "bare": run_bare_copy}


# --- The report ---------------------------------------------------------------------------------------------------
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--back", action="store_true")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--skip", action="append", default=[], choices=sorted({*PROGRAMS, *migrate_back.PROGRAMS}))
    options = parser.parse_args()
    file = file_of(options.rows)
    direction = migrate_back if options.back else sys.modules[__name__]
    without = set(options.skip) | (set() if shutil.which("pgloader") else {"pgloader"})
    programs = {name: program for name, program in direction.PROGRAMS.items() if name not in without}
    server = PostgresServer.start("shared_buffers = '256MB'")
    rounds: list[dict[str, Run]] = []
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            for number in range(options.rounds):
                rounds.append({name: program(file, server, Path(folder)) for name, program in programs.items()})
                show_round(number + 1, rounds[-1])
    finally:
        server.stop()
    print(f"\n{file.stat().st_size / 1e6:.0f} MB, medians of {len(rounds)} rounds:")
    show_ratios(rounds, direction.RATIOS)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
