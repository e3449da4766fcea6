"""How fast are backups and restores of PostgreSQL, against the usual pipes?

    python -m bench.backup [--rows 1000000] [--rounds 3]

Measures on a PostgreSQL server of its own, in turn within each round

- a backup: snapshot, digests, dump, compression, SHA-256, and the proof: all of it read back and counted;
- ``pg_dump | gzip -6``, which proves nothing;
- a restore: load, compare with the digests, put in place of another database;
- ``gunzip | psql -1`` into an empty database, followed by the ANALYZE that the restore includes.

Prints wall seconds and bytes, ratios within each round, and their medians.
"""

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import django

from bench.migrate import environment, execute, make_file, measure
from tests.support.postgres import PostgresServer


@dataclass
class Round:
    """Seconds by way, and bytes of the two files."""

    seconds: dict[str, float]
    sizes: dict[str, int]


# --- Ours: the engine, with the compression of backups around it ---------------------------------------------------
class Passing:
    """A file that is measured while it is read."""

    def __init__(self, file, measure) -> None:
        self.file, self.measure = file, measure

    def read(self, size: int) -> bytes:
        block = self.file.read(size)
        self.measure.add(block)
        return block


def back_up(engine, path: Path):
    from ops.backups.compression import Measure, compressed, plain, suitable_threads
    from ops.backups.manifest import Kind
    from ops.progress import ignore

    written, read = Measure(), Measure()
    with engine.snapshot(kind=Kind.SQL_GZIP) as snapshot, path.open("wb") as file:
        packed = compressed(snapshot.stream(ignore), threads=suitable_threads())
        file.writelines(written.passing(packed))
        file.flush()
        os.fsync(file.fileno())
        tables = snapshot.tables()
    with path.open("rb") as file, plain(Passing(file, read), Kind.SQL_GZIP) as stream:
        counts = engine.count(stream, kind=Kind.SQL_GZIP, report=ignore)
    if read.sha256 != written.sha256:
        sys.exit("The file is not what was written.")
    if counts != {name: table.rows for name, table in tables.items()}:
        sys.exit("The proof failed.")
    return tables


def restore(engine, path: Path, tables) -> dict[str, float]:
    from ops.backups.compression import plain
    from ops.backups.manifest import Kind
    from ops.progress import ignore

    marks = [time.monotonic()]
    with engine.locked("bench"), engine.scratch(for_swap=True) as scratch:
        with path.open("rb") as file, plain(file, Kind.SQL_GZIP) as stream:
            scratch.load(stream, kind=Kind.SQL_GZIP, trusted=True, report=ignore)
        marks.append(time.monotonic())
        if scratch.tables(ignore) != tables:
            sys.exit("The comparison failed.")
        marks.append(time.monotonic())
        engine.swap(scratch, run="bench", backup=path.name)
        marks.append(time.monotonic())
    return {"load": marks[1] - marks[0], "compare": marks[2] - marks[1], "swap": marks[3] - marks[2]}


# --- The usual pipes ----------------------------------------------------------------------------------------------
def pipe(command: str) -> None:
    subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True, stdout=subprocess.DEVNULL)


def timed(work: Callable[[], object]) -> tuple[float, object]:
    start = time.monotonic()
    result = work()
    return time.monotonic() - start, result


# --- The report ---------------------------------------------------------------------------------------------------
def one_round(server: PostgresServer, url: str, directory: Path, number: int) -> Round:
    from ops.backups.postgresql.engine import PostgresEngine
    from ops.postgres.address import parse_url

    binaries = server.binaries
    engine = PostgresEngine(parse_url(url), tools_directory=binaries)
    ours, theirs = directory / "ours.sql.gz", directory / "theirs.sql.gz"
    seconds: dict[str, float] = {}
    dumps = {
        "backup": lambda: back_up(engine, ours),
        "pg_dump | gzip -6": lambda: pipe(f"{binaries}/pg_dump -d '{url}' | gzip -6 > {theirs}"),
    }
    results: dict[str, object] = {}
    for name in sorted(dumps, reverse=bool(number % 2)):
        seconds[name], results[name] = timed(dumps[name])
    execute(server, "CREATE DATABASE usual")
    execute(server, "CREATE DATABASE live")
    try:
        live = PostgresEngine(parse_url(server.url("live")), tools_directory=binaries)
        psql = f"{binaries}/psql -q -1 -v ON_ERROR_STOP=1 -d '{server.url('usual')}'"
        loads = {
            "restore": lambda: restore(live, ours, results["backup"]),
            "gunzip | psql -1": lambda: pipe(f"gunzip -c {theirs} | {psql} && {psql} -c ANALYZE"),
        }
        for name in sorted(loads, reverse=bool(number % 2)):
            execute(server, "CHECKPOINT")
            seconds[name], results[name] = timed(loads[name])
        seconds |= results["restore"]  # type: ignore[operator]
    finally:
        for name in ("usual", "live", "live_ops_undo", "live_ops_new"):
            execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    return Round(seconds=seconds, sizes={"ours": ours.stat().st_size, "theirs": theirs.stat().st_size})


def report(rounds: list[Round]) -> None:
    for one in rounds:
        print("  ".join(f"{name} {value:.2f} s" for name, value in one.seconds.items()), one.sizes)
    for ours, theirs in (("backup", "pg_dump | gzip -6"), ("restore", "gunzip | psql -1")):
        ratios = [one.seconds[ours] / one.seconds[theirs] for one in rounds]
        print(
            f"{ours} / {theirs}: {statistics.median(ratios):.3f} of the time ({', '.join(f'{r:.3f}' for r in ratios)})"
        )
    sizes = [one.sizes["ours"] / one.sizes["theirs"] for one in rounds]
    print(f"bytes: {statistics.median(sizes):.3f}")


@contextlib.contextmanager
def filled_server(rows: int) -> Iterator[tuple[PostgresServer, str]]:
    """A server of its own with `rows` rows in its database ``lab``."""
    file = Path(tempfile.gettempdir()) / f"bench_{rows}.sqlite3"
    if not file.exists():
        print(f"Making {file} with {rows:,} rows …", flush=True)
        make_file(file, rows)
    server = PostgresServer.start("shared_buffers = '256MB'")
    try:
        arguments = ["migrate_to_postgres", "--sqlite-path", str(file), "--postgres-url", server.url("lab"), "--yes"]

        measure([sys.executable, "manage.py", *arguments, "--no-backup"], environment("sqlite://:memory:"))
        execute(server, "CHECKPOINT")
        yield server, server.url("lab")
    finally:
        server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ |= {"DJANGO_SETTINGS_MODULE": "bench.settings", "SECRET_KEY": "only-for-measuring"}
    os.environ["DATABASE_URL"] = "sqlite://:memory:"
    django.setup()
    directory = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        with filled_server(options.rows) as (server, url):
            rounds = []
            for number in range(options.rounds):
                rounds.append(one_round(server, url, directory, number))
                print(f"round {number + 1}: {rounds[-1].seconds}", flush=True)
            report(rounds)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
