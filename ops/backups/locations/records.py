"""Keep manifests and history in another storage location up to date, and learn of backups that are only there."""

import datetime as dt
import hashlib
from collections.abc import Collection

from ops.backups.event_files import EVENTS, REPORTS, run_and_event
from ops.backups.locations.catalog import BackupCatalog
from ops.backups.locations.location import Location
from ops.backups.locations.ownership import is_of_another
from ops.backups.repository import MANIFEST
from ops.backups.signing import Trust
from ops.backups.storage.atomic_files import AtomicFiles
from ops.utils.formatting import join_names, pluralize


def write_manifest(catalog: BackupCatalog, location: Location, name: str) -> str:
    """Write the manifest that the first location has. Returns the SHA-256 of its plaintext."""
    content = manifest_bytes(catalog, name)
    location.repository.files.rewrite(name + MANIFEST, content)
    return hashlib.sha256(content).hexdigest()


def update_manifests(catalog: BackupCatalog, location: Location, signed: Collection[str]) -> None:
    """Write the manifests of the backups `signed` that have changed since they were written there, or are missing."""
    state = catalog.states.read(location.name)
    present = location.repository.files.names()
    written = {}
    for name in state.copies.keys() & set(signed):
        digest = hashlib.sha256(manifest_bytes(catalog, name)).hexdigest()
        if digest != state.manifests.get(name) or name + MANIFEST not in present:
            written[name] = write_manifest(catalog, location, name)
    if written:
        catalog.update_state(location.name, lambda state: state.with_manifests(written))


def manifest_bytes(catalog: BackupCatalog, name: str) -> bytes:
    with catalog.storage.open(name + MANIFEST, "rb") as file:
        return bytes(file.read())


def write_history(catalog: BackupCatalog, location: Location, *, run: str) -> int:
    """Copy the events, and the reports of restore tests, that the location does not have. Returns how many.

    Those of `run`, which is copying, follow with the next one: without its end it would look interrupted there.
    """
    events = [name for name in catalog.event_names() if run_and_event(name)[0] != run]
    return sum(
        write_missing(catalog, location, folder, names)
        for folder, names in ((EVENTS, events), (REPORTS, catalog.report_names()))
    )


def write_missing(catalog: BackupCatalog, location: Location, folder: str, names: Collection[str]) -> int:
    missing = sorted(set(names) - location.repository.files.names(folder))
    for name in missing:
        with catalog.storage.open(f"{folder}/{name}", "rb") as file:
            location.repository.storage.save(f"{folder}/{name}", file)
    return len(missing)


def finish_deletions(catalog: BackupCatalog, location: Location, *, now: dt.datetime) -> None:
    """Delete manifests without data files, which a deletion leaves that was interrupted; not those of others."""
    copies = catalog.states.read(location.name).copies
    files = location.repository.files.entries()
    for name in location.repository.names(files):
        is_left = name not in files and name not in copies
        if is_left and not is_of_another(location, name) and not location.is_locked(name, now):
            location.repository.delete(name)


def learn(catalog: BackupCatalog, location: Location) -> list[str]:
    """Take over manifests of this installation's backups that only the location has. Returns a sentence.

    BACKUP_DIR was replaced, or the backup was made on another machine.
    """
    known = set(catalog.files.names())
    deletions = catalog.states.read(location.name).deletions
    repository = location.repository
    files = repository.files.entries()
    names = [name for name in repository.names(files) if name + MANIFEST not in known and name not in deletions]
    records = repository.read_records(names, files)
    found = [record for record in records if record.trust is Trust.SIGNED and not record.fault]
    for record in found:
        catalog.files.rewrite(record.name + MANIFEST, catalog.signed(record.require_manifest()))
    if not found:
        return []
    return [f"BACKUP_DIR did not know {pluralize(len(found), 'backup')} that it has."]


def find_unencrypted(location: Location) -> list[str]:
    """A sentence if an encrypted location has plain files from before it was encrypted, which no run deletes."""
    names = AtomicFiles(location.storage).names() if location.encrypted else set()
    plain = sorted(filter(location.repository.pattern.fullmatch, names))
    if not plain:
        return []
    files = pluralize(len(plain), "file")
    return [f"It is encrypted, and has {files} of backups from before. Delete them there: {join_names(plain, 3)}."]
