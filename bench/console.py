"""Measures the pages of the admin in a large lab with a long history.

    python -m bench.console [--backups 10000] [--runs 10000] [--devices 100000] [--rounds 15]

Creates such a database in a PostgreSQL server of its own and in a SQLite file, signs in an administrator, and requests
each page with Django's test client, without a network. Prints the median milliseconds and the number of queries.
"""

import argparse
import datetime as dt
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from typing import Any

from tests.support.postgres import PostgresServer

PAGES = {
    "dashboard": "admin:index",
    "backups": "admin:ops_backup_changelist",
    "runs": "admin:ops_run_changelist",
    "devices": "admin:inventory_device_changelist",
    "devices, page 1000": "admin:inventory_device_changelist?p=1000",
    "devices, found": "admin:inventory_device_changelist?q=device-777",
    "racks": "admin:inventory_rack_changelist",
}
RACKS = 2_500
RACK_UNITS = 40
BATCH = 5_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backups", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    server = PostgresServer.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            urls = {"PostgreSQL": server.url("postgres"), "SQLite": f"sqlite:///{folder}/bench.db"}
            results = {name: measured(url, folder, options) for name, url in urls.items()}
    finally:
        server.stop()
    show(results)


def measured(url: str, folder: str, options: argparse.Namespace) -> dict[str, Any]:
    """Fill the database at `url` and measure there, in a process of its own."""
    environment = os.environ | {
        "DATABASE_URL": url,
        "SECRET_KEY": "only-for-measuring-" + "0123456789" * 4,
        "DEBUG": "false",
        "HTTPS": "false",
        "REDIS_URL": "",
        "BACKUP_DIR": folder,
        "DJANGO_SETTINGS_MODULE": "bench.console_settings",
    }
    code = f"from bench import console; console.work({vars(options)!r})"
    run = subprocess.run([sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.PIPE)
    return dict(json.loads(run.stdout.splitlines()[-1]))


def show(results: dict[str, dict[str, Any]]) -> None:
    print(f"{'':22}" + "".join(f"{name:>24}" for name in results))
    for page in PAGES:
        cells = [result.get(page) for result in results.values()]
        texts = [f"{cell[0]:.0f} ms, {cell[1]} queries" if cell else "no such page" for cell in cells]
        print(f"{page:22}" + "".join(f"{text:>24}" for text in texts))


# --- In the measured process ------------------------------------------------------------------------------
def work(options: dict[str, Any]) -> None:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    fill(backups=options["backups"], runs=options["runs"], devices=options["devices"])
    print(json.dumps(measure(options["rounds"])))


def fill(*, backups: int, runs: int, devices: int) -> None:
    """A lab of `devices`, and a history of years in which one backup in seven was verified by restoring it."""
    from django.db import connection

    fill_lab(devices)
    fill_history(backups=backups, runs=runs)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def fill_lab(devices: int) -> None:
    from django.db.models import QuerySet

    from homerack.inventory.demo import load_demo
    from homerack.inventory.models import Device, DeviceModel, Rack, RackPosition

    load_demo()
    # The manager of the models saves and validates row by row, which is too slow here.
    racks = QuerySet(Rack).bulk_create([Rack(name=f"Rack {number:04}", location="Hall 1") for number in range(RACKS)])
    models = list(DeviceModel.objects.filter(height_u=1).select_related("brand"))
    specifications = dict(Device.objects.values_list("model_id", "specification_id"))
    models = [model for model in models if model.pk in specifications]
    rows = [
        Device(
            custom_name=f"device-{number:06}",
            model=model,
            specification_id=specifications[model.pk],
            brand_name=model.brand.name,
            model_name=model.name,
            serial_number=f"SN{number:08}",
        )
        for number, model in zip(range(devices), itertools.cycle(models))
    ]
    made = QuerySet(Device).bulk_create(rows, batch_size=BATCH)
    positions = [
        RackPosition(device=device, rack=racks[number // RACK_UNITS % RACKS], start_u=number % RACK_UNITS + 1)
        for number, device in enumerate(made)
    ]
    QuerySet(RackPosition).bulk_create(positions, batch_size=BATCH)


def fill_history(*, backups: int, runs: int) -> None:
    from ops.models import Backup, Run

    chance = random.Random(5)
    now = dt.datetime.now(dt.UTC)
    Backup.objects.bulk_create((backup_row(number, now, chance) for number in range(backups)), batch_size=500)
    Run.objects.bulk_create((run_row(number, now, chance) for number in range(runs)), batch_size=500)


def backup_row(number: int, now: dt.datetime, chance: random.Random) -> Any:
    from ops.models import Backup

    when = now - dt.timedelta(hours=number * 3)
    name = f"homerack_{when:%Y%m%d_%H%M%S}.sql.gz"
    size = 60_000_000 - number * 2_000 + chance.randrange(900_000)
    tables = {f"table_{table}": {"rows": 1000, "digest": "0123456789abcdef"} for table in range(40)}
    return Backup(
        id=uuid.UUID(int=chance.getrandbits(128)), name=name, kind="sql.gz", origin="scheduled", engine="postgresql",
        database="homerack", created_by="scheduler", taken_at=when, size=size, uncompressed_size=size * 3,
        rows=280_000, duration=4.2, verified_level="read" if number % 7 else "restored", verified_at=when,
        verification_seconds=9.0, trust="signed",
        manifest={"tables": tables},
    )  # fmt: skip


def run_row(number: int, now: dt.datetime, chance: random.Random) -> Any:
    from ops.models import Run

    when = now - dt.timedelta(hours=number * 3)
    failed = number and chance.random() < 0.03
    return Run(
        kind="restore_test" if number % 8 == 7 else "backup", status="failed" if failed else "succeeded",
        requested_by="scheduler", origin="schedule",
        backup=f"homerack_{when:%Y%m%d_%H%M%S}.sql.gz", requested_at=when, started_at=when,
        finished_at=when + dt.timedelta(seconds=9),
        stages=[{"stage": "dump", "began": when.isoformat(), "seconds": 4.2}],
        result={"size": 60_000_000 - number * 2_000}, log="12:00:00 dump\n" * 40,
        error="pg_dump ended with exit code 1." if failed else "",
    )  # fmt: skip


def measure(rounds: int) -> dict[str, tuple[float, int]]:
    """Median milliseconds and number of queries of each page."""
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext
    from django.urls import NoReverseMatch, reverse

    from homerack.accounts.models import User

    client = Client(headers={"host": "localhost"})
    client.force_login(User.objects.create_superuser("bench@example.com", "bench"))
    results = {}
    for title, page in PAGES.items():
        name, _, query = page.partition("?")
        try:
            path = f"{reverse(name)}?{query}"
        except NoReverseMatch:
            continue
        with CaptureQueriesContext(connection) as queries:
            status = client.get(path).status_code
            number = len(queries)
        if status == 302 and "p=" in query:
            continue  # a small lab has fewer pages
        assert status == 200, f"{path}: {status}"
        results[title] = (statistics.median(milliseconds(client, path) for _ in range(rounds)), number)
    return results


def milliseconds(client: Any, path: str) -> float:
    start = time.perf_counter()
    client.get(path)
    return (time.perf_counter() - start) * 1000


if __name__ == "__main__":
    main()
