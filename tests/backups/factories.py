"""Manifests and stored backups for tests."""

import datetime as dt
import uuid
from collections.abc import Iterator
from typing import Any

from ops.backups.entries import BackupRecord
from ops.backups.manifest import Kind, Level, Manifest, Origin, TableDigest, Verification
from ops.backups.repository import BackupRepository
from ops.backups.signing import Keys

NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
KEYS = Keys(["a secret of this installation"])
COMPLETE = Verification(level=Level.READ, when=NOON, seconds=1.5)
FAILED = Verification(level=Level.RESTORED, when=NOON, seconds=2.0, error="rows are missing")


def manifest(**values: Any) -> Manifest:
    usual: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "name": "homerack_20261123_120000.sql.gz",
        "kind": Kind.SQL_GZIP,
        "engine": "postgresql",
        "database": "homerack",
        "origin": Origin.MANUAL,
        "who": "ada@example.com",
        "when": NOON,
        "seconds": 1.25,
        "server_version": "15.18",
        "tool_version": "15.18",
        "software": "0.1.0",
        "migrations": ("inventory.0001_initial",),
        "tables": {"inventory_rack": TableDigest(rows=3, digest="123")},
        "size": 4,
        "plain_size": 9,
        "sha256": "0" * 64,
        "proofs": (COMPLETE,),
    }
    return Manifest(**{**usual, **values})


def backup(
    catalogue: BackupRepository, *, content: bytes = b"CREATE TABLE x;\n", when: dt.datetime = NOON, **values: Any
) -> BackupRecord:
    """A stored and published backup."""
    kind = values.pop("kind", Kind.SQL_GZIP)
    name = catalogue.next_name(kind, when)
    stored = catalogue.store(name, iter([content]))
    catalogue.publish(
        manifest(
            name=name,
            kind=kind,
            when=when,
            size=stored.size,
            sha256=stored.sha256,
            plain_size=stored.plain_size,
            **values,
        ),
    )
    return catalogue.get(name)


def failing(*blocks: bytes, error: BaseException) -> Iterator[bytes]:
    """Blocks of a dump that fails after them."""
    yield from blocks
    raise error
