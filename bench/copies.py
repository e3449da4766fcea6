"""Measures a backup with an encrypted copy in a second location against the usual pipe, and the copy alone.

    python -m bench.copies [--rows 1000000] [--rounds 3]

Measures on a PostgreSQL server of its own, in turn within each round

- a backup as the command makes it (verified by reading it back), and its copy in a second directory as `copy_backups`
  makes it: encrypted for two keys, written, read back and compared;
- ``pg_dump | gzip -6 | age`` for two keys followed by ``rclone copy`` to a second directory, which compares nothing but
  sizes; both need Debian's `age` and `rclone`;
- of the same file: `copy_backups` to a directory that is not encrypted, and ``cp`` with ``sync``.

Prints wall seconds, the peak memory of this program and the ratios within each round.
"""

import argparse
import itertools
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import django
import pyrage

from bench.backup import new_run, pipe
from bench.lab_file import environment, file_of
from bench.measuring import execute, migrate
from tests.support.postgres import PostgresServer

Round = dict[str, float]
"""Seconds by what was measured."""
numbers = itertools.count(1)


def back_up_and_copy(location: str) -> str:
    """The name of the backup, which has an encrypted copy in `location`."""
    from ops import operations
    from ops.models import Run
    from ops.runs.context import get_context

    name: str = operations.back_up(get_context(), new_run(Run.Kind.BACKUP)).backup
    copy_to(location)
    return name


def copy_to(location: str) -> None:
    from ops import operations
    from ops.models import Run
    from ops.runs.context import get_context

    result = operations.copy_backups(get_context(), new_run(Run.Kind.COPY, locations=[location]))
    assert not result.locations[location].error, result


def dump_and_copy(server: PostgresServer, directory: Path, recipients: list[str]) -> None:
    first, second = directory / "theirs", directory / "theirs-second"
    first.mkdir(exist_ok=True)
    keys = " ".join(f"-r {recipient}" for recipient in recipients)
    file = first / f"lab-{next(numbers)}.sql.gz.age"
    pipe(f"{server.binaries}/pg_dump -d lab | gzip -6 | age {keys} > {file} && sync {file}", server)
    subprocess.run(["rclone", "copy", "--config", "/dev/null", str(first), str(second)], check=True)


def plain_copy(file: Path, directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    target = directory / file.name
    subprocess.run(["cp", str(file), str(target)], check=True)
    subprocess.run(["sync", str(target)], check=True)


def timed(work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start


def one_round(server: PostgresServer, directory: Path, recipients: list[str], number: int) -> Round:
    from django.conf import settings

    pair: list[tuple[str, Callable[[], object]]] = [
        ("backup and encrypted copy", lambda: back_up_and_copy("second")),
        ("pg_dump | gzip | age; rclone", lambda: dump_and_copy(server, directory, recipients)),
    ]
    result: Round = {}
    for name, work in pair if number % 2 else reversed(pair):
        execute(server, "CHECKPOINT")
        result[name] = timed(work)
    newest = max((settings.BACKUP_DIR).glob("*.sql.gz"))
    result["plain copy"] = timed(lambda: copy_to("plain"))
    result["cp"] = timed(lambda: plain_copy(newest, directory / "cp"))
    return result


def report(rounds: list[Round], size: int) -> None:
    for one in rounds:
        print("  ".join(f"{name} {seconds:.2f} s" for name, seconds in one.items()), flush=True)
    for ours, theirs in (("backup and encrypted copy", "pg_dump | gzip | age; rclone"), ("plain copy", "cp")):
        ratios = [one[ours] / one[theirs] for one in rounds]
        print(f"{ours} / {theirs}: {statistics.median(ratios):.2f} ({', '.join(f'{ratio:.2f}' for ratio in ratios)})")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"one backup has {size / 1e6:.0f} MB; the peak memory of this program was {memory:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="bench-copies-"))
    server = PostgresServer.start("shared_buffers = '256MB'")
    machine, person = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    recipients = [str(machine.to_public()), str(person.to_public())]
    locations = {
        "BACKUP_LOCATIONS": "second plain",
        "BACKUP_LOCATION_SECOND": f"{directory}/second",
        "BACKUP_LOCATION_PLAIN": f"{directory}/plain",
        "BACKUP_LOCATION_PLAIN_ENCRYPTED": "false",
        "BACKUP_AGE_IDENTITY": str(machine),
        "BACKUP_AGE_RECIPIENTS": recipients[1],
    }
    try:
        url = server.url("lab")
        migrate(file_of(options.rows), url)
        backups = {"BACKUP_DIR": f"{directory}/backups", "PG_BIN": str(server.binaries)}
        os.environ.update(environment(url) | backups | locations)
        django.setup()
        rounds = [one_round(server, directory, recipients, number) for number in range(options.rounds)]
        report(rounds, max(path.stat().st_size for path in (directory / "backups").glob("*.sql.gz")))
    finally:
        server.stop()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
