"""How fast are backups and restores of PostgreSQL, against the usual pipes? And how long does a restore close the site?

    python -m bench.backup [--rows 1000000] [--rounds 3]

Measures on a PostgreSQL server of its own, in turn within each round

- a backup as the command makes it: snapshot, digests, dump, compression, signature, and the proof, for which all of it
  is read back and counted; against ``pg_dump | gzip -6``, which proves nothing;
- a restore as the command does it, without the backup beforehand: load, compare, migrate, swap; against
  ``gunzip | psql -1`` into an empty database, followed by the ANALYZE that the restore includes.

Then restores once more beneath a site in gunicorn (with the backup beforehand), while a client asks it all the time.
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
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import django

from bench.migrate import environment, execute, file_of, measure
from tests.support.postgres import PostgresServer
from tests.support.web import WebServer


@dataclass
class Round:
    """Seconds by way, and bytes of the two files."""

    seconds: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)


# --- Ours ---------------------------------------------------------------------------------------------------------
def back_up() -> int:
    """Bytes of the backup."""
    from ops import operations
    from ops.models import Run
    from ops.runs.context import get_context

    return operations.back_up(get_context(), new_run(Run.Kind.BACKUP)).size


def restore(*, pre_backup: bool) -> dict[str, float]:
    """Seconds that the swap took, and that writers were held off."""
    from django.utils import timezone

    from ops import operations
    from ops.models import Run
    from ops.runs.context import get_context

    context = get_context()
    name = context.repository.latest(now=timezone.now()).name
    done = operations.restore(context, new_run(Run.Kind.RESTORE, name=name, pre_backup=pre_backup))
    return {"swap": done.cut_over, "writes blocked": done.writes_blocked}


def new_run(kind, **arguments):
    from ops.models import Run

    return Run(kind=kind, requested_by="bench", origin=Run.Origin.COMMAND, arguments=arguments)


# --- The usual pipes ----------------------------------------------------------------------------------------------
def pipe(command: str) -> None:
    subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True, stdout=subprocess.DEVNULL)


def timed(work: Callable[[], object]) -> tuple[float, object]:
    start = time.monotonic()
    result = work()
    return time.monotonic() - start, result


def one_round(server: PostgresServer, directory: Path, number: int) -> Round:
    binaries, theirs = server.binaries, directory / "theirs.sql.gz"
    psql = f"{binaries}/psql -q -1 -v ON_ERROR_STOP=1 -d '{server.url('usual')}'"
    result = Round()
    execute(server, "CREATE DATABASE usual")
    pairs: list[dict[str, Callable[[], object]]] = [
        {
            "backup": back_up,
            "pg_dump | gzip -6": lambda: pipe(f"{binaries}/pg_dump -d '{server.url('lab')}' | gzip -6 > {theirs}"),
        },
        {
            "restore": lambda: restore(pre_backup=False),
            "gunzip | psql -1": lambda: pipe(f"gunzip -c {theirs} | {psql} && {psql} -c ANALYZE"),
        },
    ]
    for pair in pairs:
        for name in sorted(pair, reverse=bool(number % 2)):
            execute(server, "CHECKPOINT")
            result.seconds[name], answer = timed(pair[name])
            if name == "backup":
                result.sizes["ours"] = int(answer)  # type: ignore[call-overload]
    result.sizes["theirs"] = theirs.stat().st_size
    execute(server, "DROP DATABASE usual")
    return result


# --- The site meanwhile -------------------------------------------------------------------------------------------
class Client(threading.Thread):
    """Asks for a page that needs the database, again and again. `longest` is the longest time without an answer."""

    def __init__(self, site: WebServer) -> None:
        super().__init__()
        self.site, self.over = site, threading.Event()
        self.longest, self.answers, self.refusals = 0.0, 0, 0

    def run(self) -> None:
        last = time.monotonic()
        while not self.over.is_set():
            answer = self.site.get("/one-query/")
            now = time.monotonic()
            if answer.status == 200:
                self.longest, last = max(self.longest, now - last), now
                self.answers += 1
            else:
                self.refusals += 1


def restore_beneath_a_site(server: PostgresServer, rounds: int) -> None:
    site = WebServer.start(application="bench.application", DATABASE_URL=server.url("lab"), HTTPS="false")
    try:
        for _ in range(rounds):
            client = Client(site)
            client.start()
            seconds, parts = timed(lambda: restore(pre_backup=True))
            client.over.set()
            client.join()
            print(
                f"restore with a backup beforehand {seconds:.2f} s ({parts}): {client.answers:,} answers,"
                f" {client.refusals} refusals, longest time without an answer {client.longest:.3f} s",
                flush=True,
            )
    finally:
        site.stop()


# --- The report ---------------------------------------------------------------------------------------------------
def report(rounds: list[Round]) -> None:
    for one in rounds:
        print("  ".join(f"{name} {value:.2f} s" for name, value in one.seconds.items()), one.sizes, flush=True)
    for ours, theirs in (("backup", "pg_dump | gzip -6"), ("restore", "gunzip | psql -1")):
        ratios = [one.seconds[ours] / one.seconds[theirs] for one in rounds]
        print(f"{ours} / {theirs}: {statistics.median(ratios):.2f} ({', '.join(f'{ratio:.2f}' for ratio in ratios)})")
    print(f"bytes: {statistics.median(one.sizes['ours'] / one.sizes['theirs'] for one in rounds):.3f}")


@contextlib.contextmanager
def loaded(rows: int, server: PostgresServer, directory: Path) -> Iterator[None]:
    """Django on a database with `rows` rows, whose backups go to `directory`."""
    url = server.url("lab")
    arguments = ["migrate_to_postgres", "--sqlite-path", str(file_of(rows)), "--postgres-url", url, "--yes"]
    measure([sys.executable, "manage.py", *arguments, "--no-backup"], environment("sqlite://:memory:"))
    os.environ.update(environment(url) | {"BACKUP_DIR": str(directory), "PG_BIN": str(server.binaries)})
    django.setup()
    yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="bench-backup-"))
    server = PostgresServer.start("shared_buffers = '256MB'")
    try:
        with loaded(options.rows, server, directory):
            report([one_round(server, directory, number) for number in range(options.rounds)])
            restore_beneath_a_site(server, options.rounds)
    finally:
        server.stop()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
