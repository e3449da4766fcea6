"""The SQLite file of `bench.migrate` and `bench.backup`, as Django writes it. It is kept in the temporary directory."""

import contextlib
import datetime as dt
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

TABLES = ("lab_probe", "lab_reading", "lab_event")
BATCH = 5000
WORDS = ("rack", "Schrank", "ラック", "naïve", "tab\there", "line\nbreak", "back\\slash", "'quoted'", "🖥️", "NULL")


def file_of(rows: int) -> Path:
    """The file with so many rows, created once, with the current tables."""
    path = Path(tempfile.gettempdir()) / f"bench_{rows}.sqlite3"
    if not path.exists():
        print(f"Creating {path} with {rows:,} rows …", flush=True)
        make_file(path, rows)
    django(f"sqlite:///{path}", "migrate", "--verbosity", "0")
    return path


def make_file(path: Path, rows: int) -> None:
    """A file with `rows` rows, written by Django: 1% probes, 66% readings, 33% events."""
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    django(f"sqlite:///{partial}", "migrate", "--verbosity", "0")
    code = f"from bench.lab_file import fill; fill({rows})"
    subprocess.run(
        [sys.executable, "manage.py", "shell", "-v", "0", "-c", code],
        env=environment(f"sqlite:///{partial}"),
        check=True,
    )
    partial.rename(path)


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


def rows_of_file(path: Path) -> dict[str, int]:
    """The number of rows of each table."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}
