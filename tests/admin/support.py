"""Rows without files, and the content of responses."""

import datetime as dt
import html
import itertools
import re
import uuid
from typing import Any

from django.contrib.messages import get_messages
from django.db import connection
from django.http import HttpResponse
from django.utils import timezone
from django.utils.html import strip_tags

from homerack.inventory.models import Device
from ops.backups.suspicion import Loss, LossOf, Suspicion
from ops.models import Backup, Run
from tests.backups import factories
from tests.backups.factories import NOON

numbers = itertools.count(1)


def add_backup(**changes: Any) -> Backup:
    """A verified backup, unless `changes` say otherwise. Each is an hour older than the one before."""
    number = next(numbers)
    when = timezone.now() - dt.timedelta(hours=number)
    values: dict[str, Any] = {
        "id": uuid.uuid4(),
        "name": f"homerack_20261101_{number:06}.sql.gz",
        "kind": "sql.gz",
        "origin": "manual",
        "engine": "postgresql",
        "database": connection.settings_dict["NAME"],
        "created_by": "ada@example.com",
        "taken_at": when,
        "size": 1_500_000,
        "uncompressed_size": 9_000_000,
        "rows": 430,
        "duration": 1.5,
        "verified_level": "read",
        "verified_at": when,
        "verification_seconds": 0.4,
        "trust": "signed",
        "manifest": {"tables": {Device._meta.db_table: {"rows": 430, "digest": "1"}}, "migrations": []},
    }
    return Backup.objects.create(**values | changes)


def add_suspicious_backup(**changes: Any) -> Backup:
    """A verified backup in which half of the racks are missing."""
    values: dict[str, Any] = {"name": "homerack_20261123_120000.sql.gz", "suspicion": "undecided", "taken_at": NOON}
    backup = add_backup(**values | changes)
    lost = Loss(of=LossOf.TABLE, name="racks", before=400, after=200, at=NOON)
    suspicion = Suspicion(losses=(lost,), number=1, compared_with="homerack_20261122_120000.sql.gz")
    backup.manifest = factories.manifest(name=backup.name, suspicion=suspicion).as_json()
    backup.save()
    return backup


def add_run(**changes: Any) -> Run:
    """A successful backup run, unless `changes` say otherwise."""
    now = timezone.now()
    values = {
        "kind": "backup",
        "status": "succeeded",
        "requested_by": "ada@example.com",
        "started_at": now,
        "finished_at": now,
    }
    return Run.objects.create(**values | changes)


def text(response: HttpResponse, *, status: int = 200) -> str:
    """The page with its entities resolved."""
    assert response.status_code == status
    return html.unescape(response.content.decode())


def messages_of(response: HttpResponse) -> list[str]:
    """The messages that the next page shows, as text."""
    shown = (str(message) for message in get_messages(response.wsgi_request))  # type: ignore[attr-defined]
    return [html.unescape(strip_tags(re.sub("<button.*?</button>", "", message))) for message in shown]
