"""Backups and runs as rows, without files."""

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from ops.models import Backup, Run
from ops.runs.results import read_result

MakeBackup = Callable[..., Backup]
MakeRun = Callable[..., Run]


@pytest.fixture
def make_backup(db: None) -> MakeBackup:
    """A verified backup, taken `hours` ago."""

    def make(hours: float = 3, **fields: Any) -> Backup:
        when = timezone.now() - dt.timedelta(hours=hours)
        values = {
            "name": f"homerack_{when:%Y%m%d_%H%M%S}.sql.gz", "kind": "sql.gz", "origin": "manual",
            "engine": "postgresql",
            "database": connection.settings_dict["NAME"], "created_by": "ada@example.com", "taken_at": when,
            "size": 2_000_000,
            "uncompressed_size": 8_000_000,
            "rows": 1400, "duration": 2.5, "verified_level": "read", "verified_at": when, "verification_seconds": 3.0,
            "trust": "signed",
        }  # fmt: skip
        return Backup.objects.create(id=uuid.uuid4(), **{**values, **fields})

    return make


@pytest.fixture
def make_run(db: None) -> MakeRun:
    """A successful backup run of 9 seconds, requested `hours` ago."""

    def make(hours: float = 3, **fields: Any) -> Run:
        asked = timezone.now() - dt.timedelta(hours=hours)
        values = {
            "kind": Run.Kind.BACKUP, "status": Run.Status.SUCCEEDED, "requested_by": "ada@example.com",
            "requested_at": asked,
            "started_at": asked, "finished_at": asked + dt.timedelta(seconds=9),
        }  # fmt: skip
        run = Run.objects.create(**{**values, **fields})
        assert not run.result or read_result(run.kind, run.result), "no run of this kind has such a result"
        return run

    return make
