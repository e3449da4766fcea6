"""Manifests and stored backups for tests."""

import datetime as dt
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ops.backups.create import BackupSpec, create_backup
from ops.backups.engines.base import Engine
from ops.backups.locations.catalog import BackupCatalog
from ops.backups.manifest import Kind, Level, Manifest, Origin, TableDigest, Verification
from ops.backups.record import BackupRecord
from ops.backups.repository import BackupRepository
from ops.backups.signing import Keys
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.utils.progress import no_progress

NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
KEYS = Keys(["a secret of this installation"])
COMPLETE = Verification(level=Level.READ, verified_at=NOON, duration=1.5)
FAILED = Verification(level=Level.RESTORED, verified_at=NOON, duration=2.0, error="rows are missing")


def manifest(**values: Any) -> Manifest:
    usual: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "name": "homerack_20261123_120000.sql.gz",
        "kind": Kind.SQL_GZIP,
        "engine": "postgresql",
        "database": "homerack",
        "origin": Origin.MANUAL,
        "created_by": "ada@example.com",
        "taken_at": NOON,
        "duration": 1.25,
        "server_version": "15.18",
        "tool_version": "15.18",
        "app_version": "0.1.0",
        "migrations": ("inventory.0001_initial",),
        "tables": {"inventory_rack": TableDigest(rows=3, digest="123")},
        "size": 4,
        "uncompressed_size": 9,
        "sha256": "0" * 64,
        "verifications": (COMPLETE,),
    }
    return Manifest(**{**usual, **values})


def catalog_in(folder: Path, keys: Keys = KEYS) -> BackupCatalog:
    """The backups in `folder`, which is the only storage location."""
    return BackupCatalog(PrivateFileSystemStorage(folder), keys, "homerack")


def backup(
    repository: BackupRepository, *, content: bytes = b"CREATE TABLE x;\n", taken_at: dt.datetime = NOON, **values: Any
) -> BackupRecord:
    """A stored and published backup."""
    kind = values.pop("kind", Kind.SQL_GZIP)
    name = repository.next_name(kind, taken_at)
    stored = repository.store(name, iter([content]))
    repository.publish(
        manifest(
            name=name,
            kind=kind,
            taken_at=taken_at,
            size=stored.size,
            sha256=stored.sha256,
            uncompressed_size=stored.uncompressed_size,
            **values,
        ),
    )
    return repository.get(name)


def make_backup(engine: Engine, repository: BackupCatalog, kind: Kind) -> Manifest:
    """A backup of the database of `engine`, created as in a run."""
    spec = BackupSpec(
        kind=kind, origin=Origin.MANUAL, created_by="ada@example.com", run="r", app_version="0.1.0", excluded={}
    )
    name = repository.next_name(kind, dt.datetime.now(dt.UTC))
    return create_backup(engine=engine, repository=repository, spec=spec, name=name, on_progress=no_progress)


def failing(*blocks: bytes, error: BaseException) -> Iterator[bytes]:
    """Blocks of a dump that fails after them."""
    yield from blocks
    raise error
