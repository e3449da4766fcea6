"""Measures the time and memory of `manage.py migrate_to_postgres`.

    python -m bench.migrate [--rows 1000000] [--rounds 3] [--skip pgloader]

Creates a SQLite file as Django writes it, and migrates it to a PostgreSQL server of its own, in turn with

- the command: snapshot, preflight, schema, copy, build, verify, cut-over;
- pgloader (of Debian), data only, into the schema that Django creates, with a small prefetch;
- a bare ``COPY`` of prepared text files on one connection; indexes and keys are dropped before and rebuilt after.

Prints wall seconds, client memory, and ratios within each round. The file is kept in the temporary directory.
"""

import argparse
import contextlib
import datetime as dt
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2

from tests.support.postgres import PostgresServer

TABLES = ("lab_probe", "lab_reading", "lab_event")
BATCH = 5000
WORDS = ("rack", "Schrank", "ラック", "naïve", "tab\there", "line\nbreak", "back\\slash", "'quoted'", "🖥️", "NULL")


@dataclass
class Run:
    """One measured run: wall seconds, the client's peak memory in MB, and seconds by stage where known."""

    seconds: float
    megabytes: float
    stages: dict[str, float] = field(default_factory=dict)


# --- The file ---------------------------------------------------------------------------------------------------
def make_file(path: Path, rows: int) -> None:
    """A file with `rows` rows, written by Django: 1% probes, 66% readings, 33% events."""
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    django(f"sqlite:///{partial}", "migrate", "--verbosity", "0")
    code = f"from bench.migrate import fill; fill({rows})"
    subprocess.run(
        [sys.executable, "manage.py", "shell", "-v", "0", "-c", code],
        env=environment(f"sqlite:///{partial}"),
        check=True,
    )
    partial.rename(path)


def file_of(rows: int) -> Path:
    """The file with so many rows, created once, with the current tables."""
    path = Path(tempfile.gettempdir()) / f"bench_{rows}.sqlite3"
    if not path.exists():
        print(f"Creating {path} with {rows:,} rows …", flush=True)
        make_file(path, rows)
    django(f"sqlite:///{path}", "migrate", "--verbosity", "0")
    return path


def fill(rows: int) -> None:
    """Fill the file. Runs in a process of Django."""
    from bench.lab.models import Event, Probe, Reading

    generator = random.Random(15)
    start = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)

    def text(words: int) -> str:
        return " ".join(generator.choices(WORDS, k=words))

    def payload() -> dict[str, object]:
        return {"z": generator.random(), "unit": "°C", "flags": [True, None, generator.randrange(9)], "note": text(2)}

    probes, readings = max(1, rows // 100), max(1, rows * 66 // 100)
    Probe.objects.bulk_create(
        (
            Probe(
                name=f"probe {number}",
                notes=text(6),
                settings=payload(),
                price=f"{generator.randrange(10**6) / 100:.2f}",
                installed=start.date() + dt.timedelta(days=number % 900),
            )
            for number in range(probes)
        ),
        batch_size=BATCH,
    )
    for first in range(0, readings, BATCH):
        Reading.objects.bulk_create(
            Reading(
                probe_id=number % probes + 1,
                taken=start + dt.timedelta(seconds=number, microseconds=generator.randrange(10**6)),
                value=generator.gauss(20, 5),
                cost=f"{generator.randrange(10**9) / 10**4:.4f}",
                token=uuid.UUID(int=generator.getrandbits(128)),
                label=text(2)[:60],
                payload=payload(),
                good=generator.random() < 0.9,
            )
            for number in range(first, min(first + BATCH, readings))
        )
    for first in range(0, rows - probes - readings, BATCH):
        Event.objects.bulk_create(
            Event(
                reading_id=generator.randrange(readings) + 1,
                seen=start + dt.timedelta(seconds=number),
                text=text(8),
                weight=generator.random() if number % 3 else None,
            )
            for number in range(first, min(first + BATCH, rows - probes - readings))
        )
    for probe in Probe.objects.all()[:1000]:
        Probe.objects.filter(pk=probe.pk).update(latest_id=probe.pk)


def environment(url: str) -> dict[str, str]:
    settings = {"DATABASE_URL": url, "SECRET_KEY": "only-for-measuring", "DJANGO_SETTINGS_MODULE": "bench.settings"}
    # A directory of its own: backups make theirs private, which the temporary directory itself must not become.
    return {**os.environ, **settings, "BACKUP_DIR": f"{tempfile.gettempdir()}/bench_backups"}


def django(url: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "manage.py", *arguments], env=environment(url), check=True)


def measure(command: list[str], env: dict[str, str]) -> Run:
    """Run `command` and report its time and peak memory. Its output is shown when it fails."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - start
        if process.returncode:
            output.seek(0)
            sys.exit(output.read().decode(errors="replace"))
    return Run(seconds=seconds, megabytes=usage.ru_maxrss / 1024)


# --- The three programs -----------------------------------------------------------------------------------------------
def run_command(file: Path, server: PostgresServer) -> Run:
    report = Path(tempfile.mkdtemp()) / "report.json"
    run = migrate(file, server.url("ours"), "--json", str(report))
    run.stages = json.loads(report.read_text())["seconds"]
    shutil.rmtree(report.parent)
    drop(server, "ours")
    return run


def migrate(file: Path, url: str, *arguments: str) -> Run:
    """Run `migrate_to_postgres`. The address holds a password, so it is in the environment, not in the arguments."""
    command = [sys.executable, "manage.py", "migrate_to_postgres", "--sqlite-path", str(file), "--yes", "--no-backup"]
    with tempfile.TemporaryDirectory() as folder:
        # The command locks the database of the project, which is neither the file nor the target.
        live = environment(f"sqlite:///{folder}/live.sqlite3")
        return measure([*command, *arguments], live | {"POSTGRES_URL": url, "BACKUP_DIR": f"{folder}/backups"})


def run_pgloader(file: Path, server: PostgresServer) -> Run:
    create(server, "theirs")
    django(server.url("theirs"), "migrate", "--verbosity", "0")
    names = ", ".join(f"'{name}'" for name in TABLES)
    with tempfile.NamedTemporaryFile("w", suffix=".load") as script:
        script.write(
            f"LOAD DATABASE FROM sqlite://{file} INTO {server.url('theirs')}"
            " WITH data only, drop indexes, reset sequences, prefetch rows = 10000"
            f" INCLUDING ONLY TABLE NAMES LIKE {names};"
        )
        script.flush()
        run = measure(["pgloader", "--quiet", script.name], dict(os.environ))
    compare_counts(file, server, "theirs")
    drop(server, "theirs")
    return run


def compare_counts(file: Path, server: PostgresServer, database: str) -> None:
    import sqlite3

    with contextlib.closing(sqlite3.connect(file)) as source, connected(server, database) as connection:
        for table in TABLES:
            (expected,) = source.execute(f"SELECT count(*) FROM {table}").fetchone()
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT count(*) FROM {table}")
                (found,) = cursor.fetchone() or (None,)
            if found != expected:
                print(f"  note: {table} has {found} of {expected} rows")


def run_bare_copy(texts: Path, server: PostgresServer) -> Run:
    """Copy in this process, whose memory is not reported."""
    from ops.databases.postgres import constraints

    create(server, "bare")
    django(server.url("bare"), "migrate", "--verbosity", "0")
    start = time.monotonic()
    with connected(server, "bare") as connection, connection.cursor() as cursor:
        parts = constraints.drop_indexes_and_keys(cursor, constraints.read_indexes_and_keys(cursor, TABLES))
        for table in TABLES:
            cursor.execute(f"TRUNCATE {table}")
            with (texts / table).open("rb") as file:
                cursor.copy_expert(f"COPY {table} FROM STDIN (FREEZE)", file, size=1 << 20)
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
    migrate(file, server.url("texts"))
    with connected(server, "texts") as connection, connection.cursor() as cursor:
        for table in TABLES:
            with (texts / table).open("wb") as file_out:
                cursor.copy_expert(f"COPY {table} TO STDOUT", file_out)
    drop(server, "texts")


@contextlib.contextmanager
def connected(server: PostgresServer, database: str):
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


# --- The report ---------------------------------------------------------------------------------------------------
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--skip", action="append", default=[], choices=("pgloader", "bare"))
    options = parser.parse_args()
    file = file_of(options.rows)
    without = set(options.skip) | (set() if shutil.which("pgloader") else {"pgloader"})
    server = PostgresServer.start("shared_buffers = '256MB'")
    texts = Path(tempfile.mkdtemp(prefix="bench-"))
    rounds: list[dict[str, Run]] = []
    try:
        if "bare" not in without:
            prepare_texts(file, server, texts)
        for number in range(options.rounds):
            runs = {"command": run_command(file, server)}
            if "pgloader" not in without:
                runs["pgloader"] = run_pgloader(file, server)
            if "bare" not in without:
                runs["bare"] = run_bare_copy(texts, server)
            rounds.append(runs)
            show_round(number + 1, runs)
    finally:
        server.stop()
        shutil.rmtree(texts)
    show_summary(file, rounds)


def copy_and_build(run: Run) -> float:
    return run.stages["copy"] + run.stages["build"]


def show_round(number: int, runs: dict[str, Run]) -> None:
    ours = runs["command"]
    stages = "  ".join(f"{name} {seconds:.1f}" for name, seconds in ours.stages.items())
    print(f"round {number}: command {ours.seconds:.1f} s, {ours.megabytes:.0f} MB  ({stages})")
    for name, run in runs.items():
        if name != "command":
            memory = f", {run.megabytes:.0f} MB" if run.megabytes else ""
            print(f"         {name} {run.seconds:.1f} s{memory}", flush=True)


def show_summary(file: Path, rounds: list[dict[str, Run]]) -> None:
    print(f"\n{file.stat().st_size / 1e6:.0f} MB, medians of {len(rounds)} rounds:")
    for other, name, pick in (
        ("bare", "copy + build / bare COPY with rebuild", copy_and_build),
        ("pgloader", "copy + build / pgloader", copy_and_build),
        ("pgloader", "whole command / pgloader", lambda run: run.seconds),
    ):
        ratios = [pick(runs["command"]) / runs[other].seconds for runs in rounds if other in runs]
        if ratios:
            print(f"  {name}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
