"""The pages of the admin in a large lab with a long history: 100,000 devices, 10,000 backups and 10,000 runs.

Creates such a database in PostgreSQL and in a SQLite file, signs in an administrator, and requests each page 15 times
with Django's test client, without a network.
"""

import datetime as dt
import itertools
import json
import math
import random
import statistics
import sys
import time
import uuid
from typing import Any

from bench.lab_file import environment
from bench.measuring import measure as run_program
from bench.results import Results, Sample
from bench.session import Session, say

PAGES = {
    "dashboard": "admin:index",
    "backups": "admin:ops_backup_changelist",
    "runs": "admin:ops_run_changelist",
    "devices": "admin:inventory_device_changelist",
    "devices, page 1000": "admin:inventory_device_changelist?p=1000",
    "devices, found": "admin:inventory_device_changelist?q=device-777",
    "devices, in racks": "admin:inventory_device_changelist?mounted=yes",
    "racks": "admin:inventory_rack_changelist",
    "racks, fullest": "admin:inventory_rack_changelist?o=-4",
    "rack": "admin:inventory_rack_change",
    "device": "admin:inventory_device_change",
    "cables": "admin:inventory_cable_changelist",
    "brands": "admin:inventory_brand_changelist",
    "types": "admin:inventory_devicetype_changelist",
    "models": "admin:inventory_devicemodel_changelist",
    "settings": "admin:ops_settings",
    "schedules": "admin:ops_schedules",
    "backup": "admin:ops_backup_change",
    "restore": "admin:ops_backup_restore",
}
"""Pages of a row are of a rack with 40 devices, of the device with the most cables, and of the newest backup."""
RACK_UNITS = 40
BATCH = 5_000


BACKUPS, RUNS, DEVICES, REQUESTS = 10_000, 10_000, 100_000, 15
GOALS = {"dashboard": 150, "racks": 150, "devices": 150}
"""Milliseconds."""


def run(session: Session, results: Results) -> None:
    options = {"backups": BACKUPS, "runs": RUNS, "devices": DEVICES, "rounds": REQUESTS}
    if session.tiny:
        options = {"backups": 20, "runs": 20, "devices": 50, "rounds": 1}
    with session.database(filled=False) as database:
        urls = {"PostgreSQL": session.server.url(database), "SQLite": f"sqlite:///{session.folder}/console.sqlite3"}
        for name, url in urls.items():
            for page, (times, queries) in measured(url, options).items():
                samples = [Sample(seconds=round(ms / 1000, 6), parts={"queries": queries}) for ms in times]
                results.programs[f"{page}, {name}"] = samples
                say(f"  {page}, {name}: {statistics.median(times):.0f} ms, {queries} queries")
    for page, goal in GOALS.items():
        for name in urls:
            results.value(f"{page}, {name}", f"{page}, {name}", lambda s: s.seconds * 1000, unit="ms", at_most=goal)


def measured(url: str, options: dict[str, int]) -> dict[str, tuple[list[float], int]]:
    """Fill the database at `url` and measure there, in a process of its own."""
    code = f"from bench import console; console.work({options!r})"
    command = [sys.executable, "-W", "ignore::UserWarning", "-c", code]
    _, text = run_program(command, environment(url, settings="bench.console_settings"))
    return dict(json.loads(text.splitlines()[-1]))


# --- In the measured process ------------------------------------------------------------------------------
def work(options: dict[str, int]) -> None:
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
        # As autovacuum does soon after so many new rows; the benches' server has it off.
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")


def fill_lab(devices: int) -> None:
    from django.db.models import QuerySet

    from homerack.inventory.demo import load_demo
    from homerack.inventory.models import Cable, Device, DeviceModel, Rack, RackPosition

    load_demo()
    # The manager of the models saves and validates row by row, which is too slow here.
    new_racks = [Rack(name=f"Rack {number:04}", location="Hall 1") for number in range(math.ceil(devices / RACK_UNITS))]
    racks: list[Rack] = QuerySet[Rack](Rack).bulk_create(new_racks)
    models = list(DeviceModel.objects.filter(height_u=1, devices__isnull=False).distinct())
    rows = [
        Device(
            custom_name=f"device-{number:06}",
            model=model,
            serial_number=f"SN{number:08}",
        )
        for number, model in zip(range(devices), itertools.cycle(models))
    ]
    made: list[Device] = QuerySet[Device](Device).bulk_create(rows, batch_size=BATCH)
    positions = [
        RackPosition(device=device, rack=racks[number // RACK_UNITS], start_u=number % RACK_UNITS + 1)
        for number, device in enumerate(made)
    ]
    QuerySet[RackPosition](RackPosition).bulk_create(positions, batch_size=BATCH)
    # The first device of each rack is a switch, to which all others are connected.
    cables = [
        Cable(from_device=device, to_device=made[number - number % RACK_UNITS], from_port="1", to_port=f"{number}")
        for number, device in enumerate(made)
        if number % RACK_UNITS
    ]
    QuerySet[Cable](Cable).bulk_create(cables, batch_size=BATCH)


def fill_history(*, backups: int, runs: int) -> None:
    from ops.models import Backup, Run

    chance = random.Random(5)
    now = dt.datetime.now(dt.UTC)
    Backup.objects.bulk_create((backup_row(number, now, chance) for number in range(backups)), batch_size=500)
    Run.objects.bulk_create((run_row(number, now, chance) for number in range(runs)), batch_size=500)


def backup_row(number: int, now: dt.datetime, chance: random.Random) -> Any:
    from ops.backups.engines.configured import engine_of
    from ops.models import Backup

    live, when = engine_of("default"), now - dt.timedelta(hours=number * 3)
    name = f"homerack_{when:%Y%m%d_%H%M%S}.sql.gz"
    size = 60_000_000 - number * 2_000 + chance.randrange(900_000)
    tables = {f"table_{table}": {"rows": 1000, "digest": "0123456789abcdef"} for table in range(40)}
    return Backup(
        id=uuid.UUID(int=chance.getrandbits(128)), name=name, kind="sql.gz", origin="scheduled", engine=live.kind,
        database=live.database, created_by="scheduler", taken_at=when, size=size, uncompressed_size=size * 3,
        rows=280_000, duration=4.2, verified_level="read" if number % 7 else "restored", verified_at=when,
        verification_seconds=9.0, trust="signed",
        manifest={"tables": tables}, copy_count=1,
        copies=[{"location": "local", "size": size, "verified_at": when.isoformat(), "error": "", "answers": True}],
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


def measure(rounds: int) -> dict[str, tuple[list[float], int]]:
    """Milliseconds of each request, and the number of queries of each page."""
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
            path = f"{reverse(name, args=key_of(name))}?{query}"
        except NoReverseMatch:
            continue
        with CaptureQueriesContext(connection) as queries:
            status = client.get(path).status_code
            number = len(queries)
        if status == 302 and "p=" in query:
            continue  # a small lab has fewer pages
        assert status == 200, f"{path}: {status}"
        results[title] = ([milliseconds(client, path) for _ in range(rounds)], number)
    return results


def key_of(view: str) -> list[Any]:
    """Of the row whose page it is; nothing for lists."""
    from django.db.models import Count

    from homerack.inventory.models import Device, Rack
    from ops.models import Backup

    rows: dict[str, Any] = {
        "rack_change": Rack.objects.annotate(number=Count("positions")).order_by("-number", "pk"),
        "device_change": Device.objects.annotate(number=Count("cables_to")).order_by("-number", "pk"),
        "backup_change": Backup.objects.order_by("-taken_at"),
        "backup_restore": Backup.objects.order_by("-taken_at"),
    }
    found = rows.get(view.partition("_")[2])
    return [] if found is None else [found.first().pk]


def milliseconds(client: Any, path: str) -> float:
    start = time.perf_counter()
    client.get(path)
    return (time.perf_counter() - start) * 1000
