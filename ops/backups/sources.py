"""The source of a restore: a backup in a storage location, or a file at a path."""

import contextlib
import datetime as dt
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from ops.backups.compression import decompressed, reader
from ops.backups.locations.catalog import BackupCatalog
from ops.backups.locations.location import Location
from ops.backups.manifest import Kind, Manifest
from ops.backups.record import LIST_THEM, BackupRecord
from ops.backups.signing import Trust
from ops.databases.postgres.properties import DatabaseProperties
from ops.errors import ArtifactInvalid, OpsError, PreconditionFailed
from ops.utils.streams import BLOCK_SIZE

GZIP, SQLITE, CUSTOM = b"\x1f\x8b", b"SQLite format 3\x00", b"PGDMP"
"""The first bytes of the files."""
UNKNOWN_ORIGIN = "Its origin is unknown. A restore copies only rows of this project's tables and executes nothing."
"""For a file that is not trusted."""
Opener = Callable[[], AbstractContextManager[IO[bytes]]]


@dataclass(frozen=True, kw_only=True)
class RestoreSource:
    """A dump to restore. Without a `manifest` its content is unknown and cannot be compared.

    `size` is that of the stored file, in bytes. `opener` opens that file; reading its end raises ArtifactInvalid where
    it is not the one that the manifest describes.
    """

    name: str
    kind: Kind
    size: int
    manifest: Manifest | None
    trust: Trust
    opener: Opener
    location: str = ""
    """The storage location from which it is read; '' for a file that is in none."""
    where: str = ""
    """The name and the address of that location."""

    @property
    def properties(self) -> DatabaseProperties | None:
        """Of the database that was backed up, if this installation has signed them."""
        return self.manifest.properties if self.manifest and self.trusted else None

    @property
    def trusted(self) -> bool:
        """Whether this installation made the file. Only then its statements may be executed."""
        return self.trust is Trust.SIGNED

    @property
    def when(self) -> dt.datetime | None:
        return self.manifest.taken_at if self.manifest else None

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The dump before compression."""
        with self.opener() as raw, decompressed(raw, self.kind) as stream:
            yield stream


class Reading:
    """Watches how a source is read, through `source`: the seconds that it took, and the error that ended it."""

    def __init__(self, source: RestoreSource) -> None:
        self.source = replace(source, opener=self.open)
        self.seconds = 0.0
        self.failure: OpsError | OSError | None = None
        self._opener = source.opener

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        with self._opener() as raw, contextlib.closing(reader(self.blocks(raw))) as watched:
            yield watched

    def blocks(self, raw: IO[bytes]) -> Iterator[bytes]:
        while block := self.read(raw):
            yield block

    def read(self, raw: IO[bytes]) -> bytes:
        """The next block. Raises ArtifactInvalid for a missing file, and what `raw` raises."""
        began = time.monotonic()
        try:
            return raw.read(BLOCK_SIZE)
        except FileNotFoundError as error:
            self.failure = missing(self.source)
            raise self.failure from error
        except (OpsError, OSError) as error:
            self.failure = error
            raise
        finally:
            self.seconds += time.monotonic() - began


def missing(source: RestoreSource) -> ArtifactInvalid:
    return ArtifactInvalid(f"The file of {source.name} is missing in {source.where or 'its directory'}.", LIST_THEM)


def from_record(catalog: BackupCatalog, record: BackupRecord, location: str = "") -> RestoreSource:
    """A backup, read in `location` or where its nearest good copy is. Raises ArtifactInvalid if it cannot be read.

    The manifest of an upload, and one that is not signed here, are ignored.
    """
    if location:
        catalog.require_copy(record, location)
    manifest = record.require_manifest() if location else record.require_file()
    return from_manifest(catalog, manifest, Trust.UNSIGNED if manifest.untrusted else record.trust, location)


def from_manifest(catalog: BackupCatalog, manifest: Manifest, trust: Trust, location: str = "") -> RestoreSource:
    """A data file, which may have no manifest in the storage yet."""
    location = location or catalog.nearest(manifest)
    return RestoreSource(
        name=manifest.name,
        kind=manifest.kind,
        size=manifest.size,
        manifest=manifest if trust is Trust.SIGNED else None,
        trust=trust,
        opener=lambda: catalog.open_file(manifest, location),
        location=location,
        where=catalog.where(location),
    )


def from_location(location: Location, record: BackupRecord) -> RestoreSource:
    """A backup as `location` has it, with its manifest from there. Raises ArtifactInvalid if it cannot be read."""
    manifest = record.require_file()
    trust = Trust.UNSIGNED if manifest.untrusted else record.trust
    return RestoreSource(
        name=manifest.name,
        kind=manifest.kind,
        size=manifest.size,
        manifest=manifest if trust is Trust.SIGNED else None,
        trust=trust,
        opener=lambda: location.repository.open_file(manifest),
        location=location.name,
        where=location.where,
    )


def from_file(path: Path) -> RestoreSource:
    """A file without a trusted manifest. Raises PreconditionFailed when there is no such file."""
    if not path.is_file():
        raise PreconditionFailed(
            f"There is no file {path}.", "Name a backup, or a file that pg_dump or backup_database wrote."
        )
    return unsigned(path.name, lambda: path.open("rb"), path.stat().st_size)


def from_open_file(file: IO[bytes], name: str) -> RestoreSource:
    """A file without a trusted manifest that is open, and has no path. It must be read once at a time."""
    return unsigned(name, lambda: from_start(file), os.fstat(file.fileno()).st_size)


def unsigned(name: str, opener: Opener, size: int) -> RestoreSource:
    return RestoreSource(name=name, kind=kind_of(opener), size=size, manifest=None, trust=Trust.UNSIGNED, opener=opener)


@contextlib.contextmanager
def from_start(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """The open file once more, from its beginning."""
    with os.fdopen(os.dup(file.fileno()), "rb") as again:
        again.seek(0)
        yield again


def kind_of(opener: Opener) -> Kind:
    """The kind of the file, by its first bytes; its name is not trusted."""
    with opener() as file:
        head = file.read(len(SQLITE))
    if not head.startswith(GZIP):
        return Kind.SQLITE if head == SQLITE else Kind.CUSTOM if head.startswith(CUSTOM) else Kind.SQL
    with opener() as file, decompressed(file, Kind.SQL_GZIP) as stream:
        return Kind.SQLITE_GZIP if stream.read(len(SQLITE)) == SQLITE else Kind.SQL_GZIP
