"""One run of `python -m bench`: its options, its PostgreSQL server and its files, and how benches run programs."""

import contextlib
import datetime as dt
import itertools
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812

from bench.lab_file import TABLES, environment, file_of
from bench.measuring import Program, measure
from bench.results import Results, Sample
from tests.support.postgres import PASSWORD, PostgresServer

PEERS = Path(__file__).resolve().parents[1] / ".venv" / "peers" / "bin"
"""Programs of PyPI that are measured, too: ``make bench`` installs them."""


@dataclass
class Session:
    rows: int
    rounds: int
    tiny: bool
    """Whether everything is as small as possible: the benches are tested, nothing is measured."""
    folder: Path
    sizes: Sequence[int] = ()
    """The rows of the databases that `bench.growth` measures."""
    numbers: Iterator[int] = field(default_factory=itertools.count)

    # --- The databases ------------------------------------------------------------------------------------------
    @cached_property
    def server(self) -> PostgresServer:
        return PostgresServer.start("shared_buffers = '256MB'")

    def stop(self) -> None:
        if "server" in vars(self):
            self.server.stop()

    @cached_property
    def file(self) -> Path:
        """The SQLite file with the rows of this run. It is read only."""
        return file_of(self.rows)

    @contextlib.contextmanager
    def database(self, *, filled: bool = True) -> Iterator[str]:
        """The name of a new database, with the rows of this run or empty, which is dropped afterwards."""
        name = f"bench_{next(self.numbers):03}"
        self.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {self.template}" if filled else ""))
        try:
            yield name
        finally:
            self.drop(name)

    @cached_property
    def template(self) -> str:
        """The database that filled ones are copied from."""
        self.migrate(self.file, "template_of_rows")
        return "template_of_rows"

    def drop(self, name: str) -> None:
        """Drop the database, and previous databases that restores have kept."""
        with self.connected("postgres") as connection, connection.cursor() as cursor:
            cursor.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [name])
            found = [database for (database,) in cursor]
        for database in found:
            self.execute(f'DROP DATABASE "{database}" WITH (FORCE)')
        self.execute("CHECKPOINT")

    def execute(self, statement: str) -> None:
        with self.connected("postgres") as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)

    @contextlib.contextmanager
    def connected(self, database: str) -> Iterator[Connection]:
        connection = psycopg2.connect(self.server.url(database))
        try:
            yield connection
        finally:
            connection.close()

    def rows_of(self, database: str) -> dict[str, int]:
        """The number of rows of each table."""
        counts = {}
        with self.connected(database) as connection, connection.cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"SELECT count(*) FROM {table}")
                (counts[table],) = cursor.fetchone() or (0,)
        return counts

    # --- Programs -----------------------------------------------------------------------------------------------
    def compare(
        self,
        results: Results,
        programs: Mapping[str, Program],
        *,
        needs: Mapping[str, str | Path] | None = None,
        rounds: int = 0,
    ) -> None:
        """Run the programs in turn in each round, each round beginning with another one.

        Those whose file in `needs` is not installed are skipped.
        """
        missing = {name: Path(file).name for name, file in (needs or {}).items() if not shutil.which(file)}
        results.skipped.update(missing)
        for name, file in missing.items():
            say(f"  {name} is skipped: {file} is not installed")
        running = {name: program for name, program in programs.items() if name not in missing}
        samples: dict[str, list[Sample]] = {name: [] for name in running}
        order = list(running)
        for number in range(rounds or self.rounds):
            first = number % len(order)
            for name in order[first:] + order[:first]:
                samples[name].append(running[name]())
                say(f"  {name}: {samples[name][-1]}")
        results.programs.update(samples)

    def run(self, command: Sequence[str | Path], **variables: str) -> Sample:
        """Run a program that is no command of ours, with PostgreSQL's programs on its path and a login for them."""
        return measure([str(word) for word in command], self.login | variables, server=self.server)[0]

    def pipe(self, command: str, **variables: str) -> Sample:
        return self.run(["bash", "-o", "pipefail", "-c", command], **variables)

    @property
    def login(self) -> dict[str, str]:
        """The environment of programs that use libpq: other users could read a password in their arguments."""
        path = f"{self.server.binaries}:{os.environ.get('PATH', os.defpath)}"
        return {
            **os.environ,
            "PATH": path,
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.server.port),
            "PGUSER": "homerack",
            "PGPASSWORD": PASSWORD,
        }

    def migrate(self, file: Path, database: str, **variables: str) -> Sample:
        """Run `migrate_to_postgres`, which creates the database."""
        return self.migrate_with("migrate_to_postgres", file, database, "--no-backup", **variables)

    def migrate_with(self, name: str, file: Path, database: str, *arguments: str, **variables: str) -> Sample:
        """Run a command that migrates. The address holds a password, so it is in the environment, not an argument."""
        # The command locks the database of the project, which is neither the file nor the one on the server.
        live = f"sqlite:///{self.folder}/live.sqlite3"
        url = {"POSTGRES_URL": self.server.url(database)}
        options = ("--sqlite-path", str(file), "--yes", "--json", "-", *arguments)
        sample, document = self.command(live, name, *options, **url, **variables)
        return msgspec.structs.replace(sample, parts=document["seconds"])

    def operate(self, url: str, *arguments: str, **variables: str) -> tuple[Sample, dict[str, Any]]:
        """Run a command whose run is recorded in the database at `url`.

        Returns the seconds and the stages of the run, which leave out the start of the program, and its document. The
        CPU seconds and the memory are those of the whole program.
        """
        sample, document = self.command(url, *arguments, "--json", **variables)
        seconds, stages = recorded(url, document["run"])
        return msgspec.structs.replace(sample, seconds=seconds, parts=stages), document

    def command(self, url: str, *arguments: str, **variables: str) -> tuple[Sample, dict[str, Any]]:
        """Run a command of ours on the database at `url`; what it took, and the document that it printed."""
        directories = {"BACKUP_DIR": f"{self.folder}/backups", "PG_BIN": str(self.server.binaries)}
        env = environment(url) | directories | variables
        sample, text = measure([sys.executable, "manage.py", *arguments], env, server=self.server)
        return sample, dict(json.loads(text))


def recorded(url: str, run: str) -> tuple[float, dict[str, float]]:
    """Seconds of the run, and of its stages."""
    if url.startswith("sqlite:///"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            query = "SELECT started_at, finished_at, stages FROM ops_run WHERE id = ?"
            started, finished, text = file.execute(query, [run.replace("-", "")]).fetchone()
        times, stages = (dt.datetime.fromisoformat(finished) - dt.datetime.fromisoformat(started)), json.loads(text)
    else:
        with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT finished_at - started_at, stages FROM ops_run WHERE id = %s", [run])
            times, stages = cursor.fetchone() or (dt.timedelta(), [])
    parts: dict[str, float] = {}
    for stage in stages:
        parts[stage["stage"]] = round(parts.get(stage["stage"], 0) + (stage["seconds"] or 0), 3)
    return round(times.total_seconds(), 4), parts


def say(text: str) -> None:
    print(text, flush=True)
