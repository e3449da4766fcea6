"""What makes the console's pages full: users, long names, backups in each state, runs of each kind.

Runs in a process of the site: ``site.shell("from tests.browser import rich_data; rich_data.fill()")``.
"""

import contextlib
import datetime as dt
import io
import tempfile
import uuid
from pathlib import Path
from typing import Any

from axes.models import AccessAttempt
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone

from homerack.accounts.models import User
from homerack.inventory.models import Brand, Cable, Device, DeviceModel, DeviceType, Rack, RackPosition
from ops import operations
from ops.backups.encryption import new_identity, recipient_of
from ops.backups.signing import Trust
from ops.errors import OpsError
from ops.models import Backup, Run
from ops.runs.context import get_context

LONG = "a-name-of-more-than-sixty-characters-that-no-column-was-ever-made-for-01"
USERS = {
    "olga@example.com": ("Backup restorers",),
    "edda@example.com": ("Editors",),
    "vera@example.com": ("Viewers", "Backup viewers"),
    "stan@example.com": (),
}
"""The groups of those who are no administrators."""
PASSWORD = "a-password-of-the-tests"
DEVICES = 130
"""More than one page of the list."""
ENDS = {
    Run.Status.FAILED: "pg_dump ended with exit code 1: connection to server at 10.0.0.5 was closed unexpectedly.",
    Run.Status.INTERRUPTED: "The process was killed.",
    Run.Status.CANCELLED: "Cancelled while queued.",
}


def fill() -> None:
    add_users()
    add_lab()
    add_history()
    add_rows()


def add_users() -> None:
    for email, groups in USERS.items():
        user = User.objects.filter(email=email).first() or User.objects.create_user(email, PASSWORD, is_staff=True)
        user.groups.set(Group.objects.filter(name__in=groups))
    User.objects.create_user(f"{LONG}@{LONG}.example.com"[:120], PASSWORD, is_staff=True)


def add_lab() -> None:
    """Next to the demo lab: long names, a second page of devices, an empty rack and a small one with problems."""
    brand = Brand.objects.create(name=f"Brand {LONG}", slug=LONG)
    kind = DeviceType.objects.create(name=f"Type {LONG}", slug=f"type-{LONG}", color="#F59E0B")
    model = DeviceModel.objects.create(name=f"Model {LONG}", brand=brand, device_type=kind, height_u=2)
    first = Device.objects.create(custom_name="spare-000", model=model)
    # The manager of the models saves and validates row by row.
    QuerySet(Device).bulk_create(Device(custom_name=f"spare-{number:03}", model=model) for number in range(1, DEVICES))
    long = Device.objects.create(custom_name=LONG, model=model, serial_number=LONG.upper(), notes=f"{LONG} " * 4)
    kept = {
        "remote address": f"https://dcim.example/{LONG}",
        "links": [{"port": "eth0", "speed": None}, {"port": LONG}],
    }
    rack = Rack.objects.create(name=f"Rack {LONG}", location=f"Location {LONG}", max_power_watts=10, legacy_fields=kept)
    Rack.objects.create(name="Empty rack", total_height_u=6)
    RackPosition.objects.create(device=long, rack=rack, start_u=1)
    RackPosition.objects.create(device=first, rack=rack, start_u=40)
    Cable.objects.create(from_device=long, from_port=LONG[:40], to_device=first, to_port="eth0")


def run(kind: Run.Kind, operation: Any, *, by: str = "ada@example.com", objects: Any = None, **arguments: Any) -> Any:
    """The result of an operation, or None if it fails, as some are meant to."""
    request = Run(kind=kind, requested_by=by, origin=Run.Origin.ADMIN, arguments=arguments)
    with contextlib.suppress(OpsError):
        return operation(get_context(), request, **(objects or {}))


def add_history() -> None:
    """Real runs: backups that are good, suspicious, decided, uploaded and deleted, a restore, a kit."""
    kit = recipient_of(new_identity())
    run(Run.Kind.RECOVERY_KIT, operations.create_recovery_kit, recipient=kit)
    run(Run.Kind.RECOVERY_KIT, operations.create_recovery_kit, recipient=recipient_of(new_identity()))
    run(Run.Kind.KIT_WITHDRAWAL, operations.withdraw_recovery_kit, recipient=kit)
    first, second, third = (run(Run.Kind.BACKUP, operations.back_up).backup for _ in range(3))
    run(Run.Kind.VERIFICATION, operations.verify, names=[first])
    run(Run.Kind.RESTORE_TEST, operations.restore_test, names=[first])
    note = {"pinned": True, "note": f"Before the great move of {LONG}"}
    run(Run.Kind.CHANGE, operations.change_backup, name=first, **note)
    run(Run.Kind.DELETION, operations.delete_backup, name=second)
    run(Run.Kind.COPY, operations.copy_backups, locations=[])
    with tempfile.TemporaryDirectory() as folder:
        # Not the file itself: to close it would release the locks that this process has on it.
        with connection.cursor() as cursor:
            cursor.execute("VACUUM INTO %s", [f"{folder}/copy"])
        with Path(folder, "copy").open("rb") as file:
            run(Run.Kind.UPLOAD, operations.upload, objects={"file": file, "named": f"{LONG}.sqlite3"})
    run(Run.Kind.RESTORE, operations.restore, name=third, pre_backup=True)
    run(Run.Kind.BACKUP, operations.back_up)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM connections")
    run(Run.Kind.BACKUP, operations.back_up)
    one, other = Device.objects.all()[:2]
    Cable.objects.create(from_device=one, to_device=other)
    run(Run.Kind.PRUNE, operations.prune)
    run(Run.Kind.PREFLIGHT, operations.preflight)
    with contextlib.suppress(CommandError):  # its recipient does not answer
        call_command("send_test_notification", stdout=io.StringIO())


def add_rows() -> None:
    """What real runs cannot leave within a second: rows, as processes that were killed and old versions leave them."""
    for kind in Run.Kind:
        if not Run.objects.filter(kind=kind).exists():
            add_run(kind)
    for status, error in ENDS.items():
        add_run(
            Run.Kind.BACKUP,
            status=status,
            error=error,
            hint="Try again: manage.py backup_database",
            log=f"{LONG}\n" * 9,
        )
    add_run(Run.Kind.RESTORE_TEST, status=Run.Status.QUEUED, finished_at=None, started_at=None, requested_by=LONG)
    AccessAttempt.objects.create(username=LONG, ip_address="192.0.2.7", user_agent=LONG * 3, failures_since_start=5)
    newest = Backup.objects.order_by("-taken_at")[0]
    for number, changes in enumerate(STATES):
        newest.pk, newest.name = uuid.uuid4(), f"homerack_20261101_00000{number}.sqlite3.gz"
        newest.taken_at -= dt.timedelta(days=1)
        newest.suspicion, newest.copies, newest.copy_count = "", [], 0
        for name, value in changes.items():
            setattr(newest, name, value)
        newest.save(force_insert=True)


STATES: tuple[dict[str, Any], ...] = (
    {"file_missing": True},
    {"file_missing": False, "trust": Trust.TAMPERED},
    {"trust": Trust.SIGNED, "verification_error": f"The table {LONG} has 3 rows instead of 4."},
    {"verification_error": "", "trust": Trust.FOREIGN},
    {"trust": Trust.SIGNED, "origin": "upload"},
    {"origin": "scheduled", "suspicion": "wrong"},
    {"verified_level": "", "verified_at": None, "verification_seconds": None},
)


def add_run(kind: Run.Kind, **changes: Any) -> None:
    now = timezone.now()
    values = {"status": Run.Status.SUCCEEDED, "requested_by": "ada@example.com", "started_at": now, "finished_at": now}
    Run.objects.create(**{"kind": kind, **values, **changes})
