"""An installation with storage locations, in this process: a directory BACKUP_DIR, others, and a SQLite database."""

import contextlib
import datetime as dt
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyrage

from ops import operations
from ops.backups.encryption import AgeKeys
from ops.backups.engines.sqlite.engine import SqliteEngine
from ops.backups.locations.catalog import BackupCatalog
from ops.backups.locations.location import Location, LocationSettings
from ops.backups.locations.state import LocationState
from ops.backups.retention import Policy
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.models import Run
from ops.runs.context import OpsContext
from ops.runs.results import CopyResult
from tests.backups import factories

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
DAY = dt.timedelta(days=1)
MACHINE, PERSON = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
AGE_KEYS = AgeKeys.of_machine([str(MACHINE)], [str(PERSON.to_public())])


class Installation:
    """`locations` are dictionaries as in BACKUP_LOCATIONS; directories are below `folder` unless they have a URL."""

    def __init__(self, folder: Path, *locations: dict[str, Any], policy: Policy | None = None) -> None:
        self.folder = folder
        self.policy = policy or Policy()
        self.settings = [LocationSettings(**({"url": str(folder / each["name"])} | each)) for each in locations]
        self.age_keys = AGE_KEYS
        self.database = folder / "lab.db"
        if not self.database.exists():
            with contextlib.closing(sqlite3.connect(self.database)) as connection:
                connection.execute("CREATE TABLE rack (name TEXT)")

    @property
    def context(self) -> OpsContext:
        """A new one, as each process has."""
        storage = PrivateFileSystemStorage(self.folder / "backups")
        others = [
            Location(
                settings,
                general_policy=self.policy,
                keys=factories.KEYS,
                age_keys=lambda: self.age_keys,
                prefix="homerack",
            )
            for settings in self.settings
        ]
        return OpsContext(
            engine=SqliteEngine(self.database),
            repository=BackupCatalog(storage, factories.KEYS, "homerack", others),
            policy=self.policy,
            previous_days=3,
            app_version="0.1.0",
        )

    @property
    def catalog(self) -> BackupCatalog:
        return self.context.repository

    def state(self, name: str) -> LocationState:
        return self.catalog.states.read(name)

    def back_up(self, taken_at: dt.datetime = NOW, *, content: bytes = b"", **values: Any) -> str:
        """A verified backup of this database. Returns its name."""
        engine = self.context.engine
        content = content or f"the data at {taken_at}".encode() * 1000
        values = {"engine": engine.kind, "database": engine.database} | values
        return factories.backup(self.catalog, content=content, taken_at=taken_at, **values).name

    def copy(self, *names: str, take_over: bool = False) -> CopyResult:
        """Run `copy_backups`."""
        arguments = {"locations": list(names), "take_over": take_over}
        run = Run(kind=Run.Kind.COPY, requested_by="ada", arguments=arguments)
        result: CopyResult = operations.copy_backups(self.context, run)
        return result

    def prune(self) -> list[str]:
        """Run `prune`. Returns the names of what was deleted in the first location."""
        run = Run(kind=Run.Kind.PRUNE, requested_by="ada")
        return list(operations.prune(self.context, run).deleted)

    def files(self, location: str) -> dict[str, bytes]:
        """What is in a directory, without the history and the marker."""
        return dict(files_in(self.folder / location))

    def restored(self, name: str) -> bytes:
        """The stored bytes of a backup, from its nearest good copy."""
        catalog = self.catalog
        with catalog.open(catalog.get(name)) as file:
            return file.read()


def files_in(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.glob("*")):
        if path.is_file() and path.name != "location.json":
            yield path.name, path.read_bytes()
