"""Measures backups and restores of PostgreSQL against the usual pipes, and how long a restore blocks the site.

    python -m bench.backup [--rows 1000000] [--rounds 3]

Measures on a PostgreSQL server of its own, in turn within each round

- a backup as the command makes it: snapshot, digests, dump, compression, signature, and the verification, which reads
  everything back and counts it; against ``pg_dump | gzip -6``, which verifies nothing;
- a restore as the command does it, without the backup before it: load, compare, migrate, swap; against
  ``gunzip | psql -1`` into an empty database, followed by the ANALYZE that the restore includes.

Then restores again, with the backup before it, while a client sends requests to the site in gunicorn all the time.
Prints wall seconds and bytes, ratios within each round, and their medians.
"""

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import django

from bench.lab_file import environment, file_of
from bench.measuring import execute, migrate
from tests.support.postgres import PASSWORD, PostgresServer
from tests.support.web import WebServer


@dataclass
class Round:
    """Seconds by program, and the bytes of the two files."""

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
    """Seconds that the swap took, and for which writes were blocked."""
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
def pipe(command: str, server: PostgresServer) -> None:
    """Run a pipe of PostgreSQL's programs on `server`. The password is in the environment, not in the arguments."""
    login = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "homerack", "PGPASSWORD": PASSWORD}
    arguments = ["bash", "-o", "pipefail", "-c", command]
    subprocess.run(arguments, env=os.environ | login, check=True, stdout=subprocess.DEVNULL)


def timed(work: Callable[[], object]) -> tuple[float, object]:
    start = time.monotonic()
    result = work()
    return time.monotonic() - start, result


def one_round(server: PostgresServer, directory: Path, number: int) -> Round:
    binaries, theirs = server.binaries, directory / "theirs.sql.gz"
    psql = f"{binaries}/psql -q -1 -v ON_ERROR_STOP=1 -d usual"
    result = Round()
    execute(server, "CREATE DATABASE usual")
    pairs: list[dict[str, Callable[[], object]]] = [
        {
            "backup": back_up,
            "pg_dump | gzip -6": lambda: pipe(f"{binaries}/pg_dump -d lab | gzip -6 > {theirs}", server),
        },
        {
            "restore": lambda: restore(pre_backup=False),
            "gunzip | psql -1": lambda: pipe(f"gunzip -c {theirs} | {psql} && {psql} -c ANALYZE", server),
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


# --- The site during a restore ----------------------------------------------------------------------------------
class Client(threading.Thread):
    """Requests a page that needs the database, in a loop. `longest` is the longest time without a response."""

    def __init__(self, site: WebServer) -> None:
        super().__init__()
        self.site, self.stopped = site, threading.Event()
        self.longest, self.responses, self.refusals = 0.0, 0, 0

    def run(self) -> None:
        last = time.monotonic()
        while not self.stopped.is_set():
            response = self.site.get("/one-query/")
            now = time.monotonic()
            if response.status == 200:
                self.longest, last = max(self.longest, now - last), now
                self.responses += 1
            else:
                self.refusals += 1


def restore_under_load(server: PostgresServer, rounds: int) -> None:
    site = WebServer.start(application="bench.application", DATABASE_URL=server.url("lab"), HTTPS="false")
    try:
        for _ in range(rounds):
            client = Client(site)
            client.start()
            seconds, parts = timed(lambda: restore(pre_backup=True))
            client.stopped.set()
            client.join()
            print(
                f"restore with a backup before it {seconds:.2f} s ({parts}): {client.responses:,} responses,"
                f" {client.refusals} refusals, longest time without a response {client.longest:.3f} s",
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
    migrate(file_of(rows), url)
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
            restore_under_load(server, options.rounds)
    finally:
        server.stop()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
