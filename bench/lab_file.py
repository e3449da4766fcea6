"""The SQLite file of the benches, as Django writes it. It is kept in the temporary directory."""

import contextlib
import datetime as dt
import hashlib
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLES = ("lab_probe", "lab_reading", "lab_event")
BATCH = 5000
WORDS = ("rack", "Schrank", "ラック", "naïve", "tab\there", "line\nbreak", "back\\slash", "'quoted'", "🖥️", "NULL")


@cache
def file_of(rows: int) -> Path:
    """The file with so many rows, created once for each state of the code that decides its content."""
    path = Path(tempfile.gettempdir()) / f"bench_{rows}_{digest_of_sources()}.sqlite3"
    if path.exists():
        return path
    print(f"Creating {path} with {rows:,} rows …", flush=True)
    # Another bench may create it at the same time.
    partial = Path(tempfile.mkdtemp(prefix="bench-file-")) / path.name
    run_python(f"sqlite:///{partial}", f"from bench import lab_file; lab_file.make({rows})")
    partial.rename(path)
    partial.parent.rmdir()
    return path


def digest_of_sources() -> str:
    digest = hashlib.sha256()
    for source in sorted(sources()):
        digest.update(f"{source.relative_to(ROOT)}\n".encode() + source.read_bytes())
    return digest.hexdigest()[:12]


def sources() -> Iterator[Path]:
    """The code that fills the file, the migrations of its tables, and the versions of the apps of others."""
    yield from (ROOT / name for name in ("bench/lab_file.py", "bench/lab/models.py", "requirements.txt"))
    for package in ("bench", "homerack", "ops"):
        yield from (ROOT / package).rglob("migrations/*.py")


# --- In a process of Django ---------------------------------------------------------------------------------------
def make(rows: int) -> None:
    """Create the tables in the database of this process, and fill them."""
    import django
    from django.core.management import call_command
    from django.db import connection

    django.setup()
    call_command("migrate", verbosity=0)
    fill(rows)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def fill(rows: int) -> None:
    """1% probes, 66% readings, 33% events."""
    from bench.lab.models import Event, Probe, Reading

    generator = random.Random(15)
    start = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)

    def text(words: int) -> str:
        return " ".join(generator.choices(WORDS, k=words))

    def payload() -> dict[str, object]:
        return {"z": generator.random(), "unit": "°C", "flags": [True, None, generator.randrange(9)], "note": text(2)}

    probes, readings = max(1, rows // 100), max(1, rows * 66 // 100)
    Probe._default_manager.bulk_create(
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
        Reading._default_manager.bulk_create(
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
        Event._default_manager.bulk_create(
            Event(
                reading_id=generator.randrange(readings) + 1,
                seen=start + dt.timedelta(seconds=number),
                text=text(8),
                weight=generator.random() if number % 3 else None,
            )
            for number in range(first, min(first + BATCH, rows - probes - readings))
        )
    for probe in Probe._default_manager.all()[:1000]:
        Probe._default_manager.filter(pk=probe.pk).update(latest_id=probe.pk)


# --- Processes ----------------------------------------------------------------------------------------------------
NO_LOCATIONS = dict.fromkeys(("BACKUP_LOCATIONS", "BACKUP_AGE_IDENTITY", "BACKUP_AGE_RECIPIENTS", "REDIS_URL"), "")


def environment(url: str, *, settings: str = "bench.settings") -> dict[str, str]:
    """The environment of a process with the database at `url`. It depends on no ``.env``."""
    keys = {
        "SECRET_KEY": "only-for-measuring-" + "0123456789" * 4,
        "BACKUP_SIGNING_KEY": "measuring-" + "9876543210" * 4,
    }
    site = {"DEBUG": "false", "HTTPS": "false", "LOG_LEVEL": "WARNING", "DJANGO_SETTINGS_MODULE": settings}
    # A directory of its own: backups make theirs private, which the temporary directory itself must not become.
    directory = {"BACKUP_DIR": f"{tempfile.gettempdir()}/bench_backups"}
    return {**os.environ, **NO_LOCATIONS, **keys, **site, **directory, "DATABASE_URL": url}


def django(url: str, *arguments: str, **variables: str) -> None:
    """Run a command that is not measured."""
    run_quietly([sys.executable, "manage.py", *arguments], environment(url) | variables)


def run_python(url: str, code: str, **variables: str) -> None:
    run_quietly([sys.executable, "-c", code], environment(url) | variables)


def run_quietly(command: list[str], env: dict[str, str]) -> None:
    """Run a program. Its output is shown if it fails."""
    done = subprocess.run(command, env=env, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:3])} ended with {done.returncode}:\n{done.stdout[-3000:]}")


def rows_of_file(path: Path) -> dict[str, int]:
    """The number of rows of each table."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}
