"""A small engine with a real lock, a repository in a folder, and processes that can be killed."""

import contextlib
import datetime as dt
import fcntl
import os
import subprocess
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, cast

from django.conf import settings
from django.db import connection

from ops.backups.engines.base import Engine
from ops.backups.locations.catalog import BackupCatalog
from ops.backups.manifest import Kind, Level, Manifest, Origin, TableDigest, Verification
from ops.backups.retention import Policy
from ops.backups.signing import Keys
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.errors import AlreadyRunning
from ops.models import Run
from ops.runs import executor
from ops.runs.context import OpsContext
from ops.runs.recorder import RunRecorder
from ops.utils.progress import ProgressCallback, no_progress
from tests.support import forked
from tests.support.forked import Process

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


class FileLock:
    """The part of an engine that runs need, by a lock on a file."""

    database = "lab"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lock"

    @contextlib.contextmanager
    def locked(self, label: str) -> Iterator[None]:
        with self.path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = self.path.read_text()
                raise AlreadyRunning(f"Running: {holder}.", "Wait until it has ended.", holder=holder) from error
            file.truncate(0)
            file.write(label)
            file.flush()
            yield

    def replaced_server(self) -> None:
        return None

    def leftovers(self) -> Collection[str]:
        return ()

    def sweep(self, claimed: Collection[str] = ()) -> tuple[str, ...]:
        return tuple(f"{name} was dropped." for name in sorted(claimed))


def engine_in(folder: Path) -> Engine:
    return cast("Engine", FileLock(folder))


def repository_in(folder: Path) -> BackupCatalog:
    return BackupCatalog(PrivateFileSystemStorage(location=str(folder / "backups")), Keys([settings.SECRET_KEY]), "lab")


def context_of(engine: Engine, repository: BackupCatalog) -> OpsContext:
    return OpsContext(engine=engine, repository=repository, policy=Policy(), previous_days=3, app_version="0.1.0")


def recorded(
    run: Run, *, engine: Engine, repository: BackupCatalog, on_progress: ProgressCallback = no_progress
) -> contextlib.AbstractContextManager[RunRecorder]:
    return executor.recorded(context_of(engine, repository), run, on_progress)


def reconcile(engine: Engine, repository: BackupCatalog) -> tuple[str, ...]:
    return executor.reconcile(context_of(engine, repository))


def request(kind: Run.Kind = Run.Kind.BACKUP, **fields: Any) -> Run:
    return Run(kind=kind, requested_by="jane@example.org", origin=Run.Origin.COMMAND, **fields)


def manifest(number: int, **fields: Any) -> Manifest:
    """The manifest of the backup of the second `number` after `NOON`."""
    when = NOON + dt.timedelta(seconds=number)
    values = {
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))),
        "name": f"lab_{when:%Y%m%d_%H%M%S}.sql",
        "kind": Kind.SQL,
        "engine": "postgresql",
        "database": "lab",
        "origin": Origin.MANUAL,
        "created_by": "jane@example.org",
        "taken_at": when,
        "duration": 0.5,
        "server_version": "15.18",
        "tool_version": "15.18",
        "app_version": "0.1.0",
        "migrations": ("inventory.0001_initial",),
        "tables": {
            "inventory_rack": TableDigest(rows=3, digest="12"),
            "inventory_device": TableDigest(rows=4, digest="1"),
        },
        "size": 4,
        "uncompressed_size": 4,
        "sha256": "0" * 64,
        "verifications": (Verification(level=Level.READ, verified_at=when, duration=0.1),),
        "run": "",
    }
    return Manifest(**(values | fields))


def add_backup(repository: BackupCatalog, number: int, **fields: Any) -> Manifest:
    made = manifest(number, **fields)
    stored = repository.store(made.name, iter([b"rows"]))
    assert stored.size == made.size
    repository.publish(made)
    return made


def start_process(folder: Path, what: str) -> Process:
    """A run in a process of its own, on the tests' database. Returns once it is running."""
    url = os.environ["DATABASE_URL"].rpartition("/")[0] + f"/{connection.settings_dict['NAME']}"
    process = forked.start(
        ["-m", "tests.runs.remote_process", folder, what],
        env=os.environ | {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        stdout=subprocess.PIPE,
    )
    assert process.stdout
    assert process.stdout.readline() == "running\n"
    return process


def kill(process: Process) -> None:
    process.kill()
    process.communicate()
