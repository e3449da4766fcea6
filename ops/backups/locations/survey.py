"""What one storage location alone is good for, as it says itself."""

import contextlib
import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass

from ops.backups.encryption import SUFFIX
from ops.backups.locations.catalog import BackupCatalog
from ops.backups.locations.marker import require_marker
from ops.backups.locations.selection import judge
from ops.backups.manifest import Kind, Manifest
from ops.backups.record import LOCAL, BackupRecord
from ops.backups.repository import MANIFEST, Files
from ops.backups.signing import Trust

HEAD = 64 * 1024
"""Bytes, in which the header of an age file ends."""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """The files of a location, and the newest backup in it that is verified and whose copy is good; None without."""

    files: Files
    newest: Manifest | None


def require_present(catalog: BackupCatalog, location: str) -> None:
    """Raises PreconditionFailed where a directory is not mounted, and other errors of the storage.

    Copies that are not found there would be taken for lost.
    """
    if location in catalog.others and catalog.states.read(location).id:
        require_marker(catalog, catalog.other(location))


def survey(catalog: BackupCatalog, location: str, *, kinds: Collection[Kind], now: dt.datetime) -> Survey:
    """List the location, and read manifests there until one is that of a good backup of one of these `kinds`.

    Raises errors of the storage.
    """
    require_present(catalog, location)
    repository = catalog.repository_in(location)
    files = repository.files.entries()
    copies = catalog.states.read(location).copies
    for name in repository.names(files):
        copy = copies.get(name)
        if copy.is_good if copy else location == LOCAL:
            found = judge(repository.read_record(name, files), files)
            manifest = found.record.manifest
            if manifest and not found.objection and manifest.kind in kinds and manifest.taken_at <= now:
                return Survey(files=files, newest=manifest)
    return Survey(files=files, newest=None)


def fault_of_manifest(catalog: BackupCatalog, record: BackupRecord, location: str, files: Files) -> str:
    """Why the manifest in the location does not suffice to restore the backup from there; '' if it does."""
    if record.trust is not Trust.SIGNED:
        return ""
    if record.name + MANIFEST not in files:
        return f"Its manifest is missing in {location}"
    found = catalog.repository_in(location).read_record(record.name, files)
    if found.manifest is None or found.trust is not Trust.SIGNED or found.manifest.id != record.require_manifest().id:
        return f"Its manifest in {location} cannot be used. {found.fault}".strip().rstrip(".")
    return ""


def key_of(catalog: BackupCatalog, name: str, location: str) -> str:
    """The public key of the identity that opens the copy; '' for one that is not encrypted, or that none opens."""
    other = catalog.others.get(location)
    if other is None or not other.encrypted:
        return ""
    with contextlib.suppress(FileNotFoundError), other.storage.open(name + SUFFIX, "rb") as file:
        return other.age_keys.opened_by(file.read(HEAD))
    return ""
