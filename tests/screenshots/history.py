"""Seven weeks of backups, a restore and two recovery kits. Runs in a process of a `PictureSite`."""

import contextlib
import datetime as dt
import random
from typing import Any

from django.db import connection
from django.utils import timezone

from homerack.inventory.models import Device
from ops import operations
from ops.backups.encryption import new_identity, recipient_of
from ops.errors import OpsError
from ops.models import Backup, Run
from ops.runs.context import get_context
from ops.runs.executor import OPERATIONS
from tests.screenshots.site import ADMINISTRATOR

REAL = dt.datetime
EVENING = REAL.now(dt.UTC)
DAY = dt.timedelta(days=1)
LAST_NIGHT = (EVENING - dt.timedelta(hours=2)).replace(hour=1, minute=0, second=1)
NIGHTS = 50
MISSED, FAILED = 16, 22
"""Nights ago."""


class OfRealOnes(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, REAL)


class Clock(dt.datetime, metaclass=OfRealOnes):
    """Stands in for `datetime.datetime`: makes real ones, and its `now` is at another time."""

    moved = dt.timedelta()

    def __new__(cls, *args: Any, **options: Any) -> dt.datetime:  # type: ignore[misc]
        return REAL(*args, **options)

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override]
        return REAL.now(tz) + cls.moved


def at(moment: dt.datetime) -> None:
    """Go to `moment`, and on from there, in all modules: each looks up `dt.datetime` when it asks for the time."""
    Clock.moved = moment - REAL.now(dt.UTC)
    dt.datetime = Clock  # type: ignore[misc]


def run(kind: Run.Kind, operation: Any, *, by: str = ADMINISTRATOR, **arguments: Any) -> Any:
    origin = Run.Origin.SCHEDULE if by == "scheduler" else Run.Origin.ADMIN
    return operation(
        get_context(),
        Run(kind=kind, requested_by=by, origin=origin, arguments=arguments, requested_at=Clock.now(dt.UTC)),
    )


def fill(*, nights: int = NIGHTS) -> None:
    chance = random.Random(5)
    archive = Device.objects.get(custom_name="archive-01")
    for ago in range(nights, -1, -1):
        night = LAST_NIGHT - ago * DAY
        at(night)
        archive.notes = f"{archive.notes} {chance.randbytes(25_000).hex()}"
        Device.objects.filter(pk=archive.pk).update(notes=archive.notes)
        if ago == FAILED:
            add_failed(night)
        elif ago != MISSED:
            made = run(Run.Kind.BACKUP, operations.back_up, by="scheduler").backup
            if night.weekday() == 6 or not ago:
                run(Run.Kind.RESTORE_TEST, operations.restore_test, by="scheduler", names=[made])
    Device.objects.filter(pk=archive.pk).update(notes="Too heavy to move alone.")


def add_failed(night: dt.datetime) -> None:
    Run.objects.create(
        kind=Run.Kind.BACKUP,
        status=Run.Status.FAILED,
        requested_by="scheduler",
        origin=Run.Origin.SCHEDULE,
        requested_at=night,
        started_at=night,
        finished_at=night + dt.timedelta(seconds=2),
        error="The disk of BACKUP_DIR is full. The unfinished file was deleted.",
        hint="Free some space there.",
    )


def restore() -> str:
    """A backup before a change, a lost device, and the restore. Returns the path of the run's page."""
    at(EVENING - 3 * DAY)
    name = run(Run.Kind.BACKUP, operations.back_up).backup
    run(Run.Kind.CHANGE, operations.change_backup, name=name, pinned=False, note="Before the switch firmware update")
    at(EVENING - dt.timedelta(minutes=25))
    Device.objects.filter(custom_name__in=("tape-01", "console-01")).delete()
    run(Run.Kind.RESTORE, operations.restore, name=name, pre_backup=True)
    return f"/admin/ops/run/{Run.objects.filter(kind=Run.Kind.RESTORE)[0].pk}/change/"


def preflight() -> None:
    """Of a database with a table that no model describes."""
    at(EVENING - dt.timedelta(minutes=15))
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE photos (id integer)")
    run(Run.Kind.PREFLIGHT, operations.preflight)


def add_running() -> str:
    """The row of a restore that loads its backup. Returns the path of its page."""
    now = timezone.now()
    stages = [
        {"stage": "read", "began": (now - dt.timedelta(seconds=4)).isoformat(), "seconds": 1.4},
        {"stage": "load", "began": (now - dt.timedelta(seconds=2)).isoformat(), "seconds": None},
    ]
    row = Run.objects.create(
        kind=Run.Kind.RESTORE,
        status=Run.Status.RUNNING,
        requested_by=ADMINISTRATOR,
        origin=Run.Origin.ADMIN,
        backup=Run.objects.filter(kind=Run.Kind.BACKUP, status=Run.Status.SUCCEEDED)[0].backup,
        started_at=now - dt.timedelta(seconds=4),
        stage="load",
        stages=stages,
        done=1_900_000,
        total=3_100_000,
    )
    return f"/admin/ops/run/{row.pk}/change/"


def add_kits() -> None:
    """One that was proven, and one that waits for its proof."""
    at(EVENING - 40 * DAY)
    first, second = (recipient_of(new_identity()) for _ in range(2))
    run(Run.Kind.RECOVERY_KIT, operations.create_recovery_kit, recipient=first)
    at(EVENING - 39 * DAY)
    run(Run.Kind.KIT_PROOF, operations.prove_recovery_kit, recipient=first)
    at(EVENING - 9 * DAY)
    run(Run.Kind.RECOVERY_KIT, operations.create_recovery_kit, recipient=second)


def copy() -> None:
    """To all locations; one may fail."""
    with contextlib.suppress(OpsError):
        run(Run.Kind.COPY, operations.copy_backups, by="scheduler")


def verify_copy(location: str) -> None:
    newest = Backup.objects.order_by("-taken_at")[0].name
    with contextlib.suppress(OpsError):
        run(Run.Kind.VERIFICATION, operations.verify, names=[newest], location=location)


def migrate_to_sqlite() -> None:
    at(EVENING - dt.timedelta(minutes=20))
    run(Run.Kind.BACKUP, operations.back_up)
    run(Run.Kind.MIGRATION_TO_SQLITE, OPERATIONS[Run.Kind.MIGRATION_TO_SQLITE])
