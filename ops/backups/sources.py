"""Where a restore reads from: a backup of the catalogue, or a file that somebody names."""

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ops.backups.catalogue import Catalogue, Entry
from ops.backups.compression import Measured, plain
from ops.backups.manifest import Kind, Manifest
from ops.backups.signing import Trust
from ops.errors import ArtifactInvalid, PreconditionFailed


@dataclass(frozen=True, kw_only=True)
class Source:
    """A dump to read. Without `manifest` nothing is known of its content, and it can not be compared with anything."""

    name: str
    kind: Kind
    manifest: Manifest | None
    trust: Trust
    opener: Callable[[], AbstractContextManager[IO[bytes]]]

    @property
    def when(self) -> dt.datetime | None:
        return self.manifest.when if self.manifest else None

    @contextlib.contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """The dump before compression. At its end the file's SHA-256 is compared with the manifest's.

        Raises ArtifactInvalid where a reader would otherwise see the end of a file that is not the one that was made.
        """
        with self.opener() as raw:
            measured = Measured(raw, expected=self.manifest.sha256 if self.manifest else "", name=self.name)
            with plain(measured, self.kind) as stream:
                yield stream


def from_entry(catalogue: Catalogue, entry: Entry) -> Source:
    """A backup of the catalogue. Raises ArtifactInvalid when its manifest or its file is not there to be read."""
    if entry.manifest is None:
        raise ArtifactInvalid(f"The manifest of {entry.name} can not be read: {entry.fault}.", LOAD_IT_ANYWAY)
    if entry.fault:
        raise ArtifactInvalid(
            f"The backup {entry.name} can not be read: {entry.fault}.", "Choose another: list_backups"
        )
    return Source(
        name=entry.name,
        kind=entry.manifest.kind,
        manifest=entry.manifest,
        trust=entry.trust,
        opener=lambda: catalogue.open(entry.name),
    )


LOAD_IT_ANYWAY = "Its data can still be loaded: restore_database --backup-file FILE --untrusted"


def from_file(path: Path) -> Source:
    """A file without a manifest that we could believe. Raises PreconditionFailed when it can not be read."""
    if not path.is_file():
        raise PreconditionFailed(
            f"There is no file {path}.", "Name a backup, or a file that pg_dump or HomeRack wrote."
        )
    return Source(
        name=path.name, kind=kind_of(path), manifest=None, trust=Trust.UNSIGNED, opener=lambda: path.open("rb")
    )


def kind_of(path: Path) -> Kind:
    """How the file is written, by its first bytes; its name may say anything."""
    with path.open("rb") as file:
        head = file.read(16)
    compressed = head.startswith(b"\x1f\x8b")
    if compressed:
        with path.open("rb") as file, plain(file, Kind.SQL_GZIP) as stream:
            head = stream.read(16)
    if head.startswith(b"SQLite format 3\x00"):
        return Kind.SQLITE_GZIP if compressed else Kind.SQLITE
    if head.startswith(b"PGDMP"):
        return Kind.CUSTOM
    return Kind.SQL_GZIP if compressed else Kind.SQL
