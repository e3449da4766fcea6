"""Runs programs and statements for the benchmarks of migrations, and reports what they took."""

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812

from bench.lab_file import TABLES, environment
from tests.support.postgres import PostgresServer


@dataclass
class Run:
    """One measured run: wall seconds, the peak memory of the largest client process in MB, and seconds by stage."""

    seconds: float
    megabytes: float
    stages: dict[str, float] = field(default_factory=dict)
    largest: str = ""
    """The program with that memory, where several ran."""

    @property
    def copy_and_build(self) -> float:
        return self.stages["copy"] + self.stages["build"]

    def __str__(self) -> str:
        memory = f", {self.megabytes:.0f} MB" if self.megabytes else ""
        program = f" in {self.largest}" if self.largest else ""
        stages = "  ".join(f"{name} {seconds:.1f}" for name, seconds in self.stages.items())
        return f"{self.seconds:.1f} s{memory}{program}{f'  ({stages})' if stages else ''}"


Program = Callable[[Path, PostgresServer, Path], Run]
"""Migrates the file to or from the server; its own files are in the directory."""


# --- Programs -----------------------------------------------------------------------------------------------------
def measure(command: list[str], env: Mapping[str, str]) -> Run:
    """Run `command` and report its time and peak memory. Its output is shown when it fails."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=output)
        megabytes = wait_for(process)
        seconds = time.monotonic() - start
        if process.returncode:
            output.seek(0)
            sys.exit(output.read().decode(errors="replace"))
    return Run(seconds=seconds, megabytes=megabytes)


def wait_for(process: subprocess.Popen[bytes]) -> float:
    """Wait until `process` ends. Returns the peak memory in MB of the largest of it and its children.

    Less than the memory of this program when it started the process (26 MB) is not seen: Linux counts that, too.
    """
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss / 1024


def migrate(file: Path, url: str, *arguments: str) -> Run:
    """Run `migrate_to_postgres`."""
    return run_command("migrate_to_postgres", file, url, "--no-backup", *arguments)


def run_command(name: str, file: Path, url: str, *arguments: str) -> Run:
    """Run a command that migrates. The address holds a password, so it is in the environment, not in the arguments."""
    command = [sys.executable, "manage.py", name, "--sqlite-path", str(file), "--yes", *arguments]
    with tempfile.TemporaryDirectory() as folder:
        # The command locks the database of the project, which is neither the file nor the one on the server.
        live = environment(f"sqlite:///{folder}/live.sqlite3")
        return measure(command, live | {"POSTGRES_URL": url, "BACKUP_DIR": f"{folder}/backups"})


# --- PostgreSQL ---------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def connected(server: PostgresServer, database: str) -> Iterator[Connection]:
    connection = psycopg2.connect(server.url(database))
    try:
        yield connection
    finally:
        connection.close()


def create(server: PostgresServer, name: str) -> None:
    execute(server, f"CREATE DATABASE {name}")


def drop(server: PostgresServer, name: str) -> None:
    execute(server, f"DROP DATABASE {name}")
    execute(server, "CHECKPOINT")


def execute(server: PostgresServer, statement: str) -> None:
    with connected(server, "postgres") as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)


def rows_of_database(server: PostgresServer, database: str) -> dict[str, int]:
    """The number of rows of each table."""
    counts = {}
    with connected(server, database) as connection, connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"SELECT count(*) FROM {table}")
            (counts[table],) = cursor.fetchone() or (0,)
    return counts


# --- The report ---------------------------------------------------------------------------------------------------
def compare_counts(expected: Mapping[str, int], found: Mapping[str, int]) -> None:
    for table, rows in expected.items():
        if found[table] != rows:
            print(f"  note: {table} has {found[table]} of {rows} rows")


def show_round(number: int, runs: Mapping[str, Run]) -> None:
    heading = f"round {number}:"
    for name, run in runs.items():
        print(f"{heading} {name} {run}", flush=True)
        heading = " " * len(heading)


Ratio = tuple[str, Callable[[Run], float]]
"""A program, and what of `Run` is divided by its seconds."""


def show_ratios(rounds: Sequence[Mapping[str, Run]], ratios: Mapping[str, Ratio]) -> None:
    """Medians of the command's `ratios` to other programs within each round, and the smallest and the largest."""
    for name, (other, pick) in ratios.items():
        found = [pick(runs["command"]) / runs[other].seconds for runs in rounds if {"command", other} <= runs.keys()]
        if found:
            print(f"  {name}: {statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})")
