"""Bring what a storage location has back into an empty BACKUP_DIR. Nothing is written to the location."""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from ops.backups.compression import HashingCounter, IteratorFile, pool
from ops.backups.event_files import EVENT, EVENTS, MAX_EVENT, REPORTS
from ops.backups.locations.catalog import BackupCatalog
from ops.backups.locations.copying import reported
from ops.backups.locations.location import Location
from ops.backups.locations.selection import FoundBackup
from ops.backups.manifest import Manifest
from ops.backups.repository import MANIFEST
from ops.backups.signing import Trust
from ops.backups.storage.atomic_files import MAX_DOCUMENT
from ops.backups.storage.local import PARTIAL
from ops.errors import ArtifactInvalid
from ops.utils.progress import Progress, ProgressCallback, Stage
from ops.utils.streams import blocks_of

READERS = 8
"""Threads that read small files: a bucket takes many requests at a time."""
REPORT = re.compile(r"[0-9A-Za-z_-]+\.json", re.ASCII)


def remove_unfinished(catalog: BackupCatalog) -> None:
    """Delete what a killed attempt was writing. The caller knows that no other run writes to BACKUP_DIR."""
    for folder in ("", EVENTS):
        for name in catalog.files.names(folder):
            if name.endswith(PARTIAL):
                catalog.storage.delete(f"{folder}/{name}" if folder else name)


def bring_history(catalog: BackupCatalog, location: Location, on_progress: ProgressCallback) -> list[str]:
    """Copy the events that are not here, and the reports of restore tests.

    Returns a sentence for each that cannot be read; the others count.
    """
    paths = [
        f"{folder}/{name}"
        for folder, pattern in ((EVENTS, EVENT), (REPORTS, REPORT))
        for name in sorted(location.repository.files.names(folder) - catalog.files.names(folder))
        if pattern.fullmatch(name)
    ]
    unreadable = []
    done = 0
    with pool(READERS) as executor:
        # A batch at a time, so that the memory for large ones has a limit.
        for batch in batched(paths, READERS):
            for path, content in zip(batch, executor.map(partial(read, location), batch), strict=True):
                if isinstance(content, bytes):
                    catalog.files.rewrite(path, content)
                else:
                    unreadable.append(f"{path} cannot be read. {content}")
                done += 1
                on_progress(Progress(stage=Stage.HISTORY, item="events", done=done, total=len(paths)))
    return unreadable


def batched(paths: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (paths[start : start + size] for start in range(0, len(paths), size))


def read(location: Location, path: str) -> bytes | str:
    """The content of a file, or what is wrong with it. Raises other errors of the storage.

    Events are not signed: anybody with the location's key can write large ones.
    """
    try:
        with location.repository.storage.open(path, "rb") as file:
            content = bytes(file.read(MAX_EVENT + 1))
    except (ArtifactInvalid, FileNotFoundError) as error:
        return str(error)
    return content if len(content) <= MAX_EVENT else f"It is larger than {MAX_EVENT:,} bytes."


def bring_manifests(catalog: BackupCatalog, found: Iterable[FoundBackup], location: Location) -> None:
    """Write the manifests here, unless they are here and signed.

    Those that a known key has signed are signed again with this machine's; the others stay untrusted, as they are.
    """
    signed = {record.name for record in catalog.records() if record.trust is Trust.SIGNED}
    for backup in found:
        manifest = backup.record.manifest
        if manifest is None or backup.name in signed:
            continue
        if backup.record.trust is Trust.SIGNED:
            content = catalog.signed(manifest)
        else:
            with location.repository.storage.open(backup.name + MANIFEST, "rb") as file:
                content = file.read(MAX_DOCUMENT)
        catalog.files.rewrite(backup.name + MANIFEST, content)


def bring_data(
    catalog: BackupCatalog, location: Location, candidates: Sequence[FoundBackup], on_progress: ProgressCallback
) -> tuple[FoundBackup, dict[str, str]]:
    """Copy the data file of the first of `candidates` that is readable. Returns it, and the faults of those before it.

    Raises ArtifactInvalid if none is; errors of the storage are raised at once.
    """
    faults: dict[str, str] = {}
    for candidate in candidates:
        try:
            copy_data(catalog, location, candidate.record.require_file(), on_progress)
        except (ArtifactInvalid, FileNotFoundError) as error:
            faults[candidate.name] = (
                error.message if isinstance(error, ArtifactInvalid) else "Its data file is missing."
            )
        else:
            return candidate, faults
    first, fault = next(iter(faults.items()))
    others = f" The {len(faults) - 1} older ones are damaged as well." if len(faults) > 1 else ""
    raise ArtifactInvalid(
        f"{first} cannot be read. {fault}{others} The database was not changed.",
        "Recover from another storage location: run the command again with another address.",
    )


def copy_data(catalog: BackupCatalog, location: Location, manifest: Manifest, on_progress: ProgressCallback) -> None:
    """Raises ArtifactInvalid if no content that the file has or had is the one that the manifest describes."""
    if is_here(catalog, manifest):
        return
    fault = ArtifactInvalid(f"{location.where} has no data file of {manifest.name}.")
    for _content in location.contents(manifest):
        try:
            with location.repository.open_file(manifest) as file:
                blocks = reported(blocks_of(file), manifest.name, on_progress, total=manifest.size)
                content = IteratorFile(blocks, manifest.name)
                catalog.directory.replace(manifest.name, content)
        except ArtifactInvalid as error:
            fault = error
        else:
            return
    raise fault


def is_here(catalog: BackupCatalog, manifest: Manifest) -> bool:
    """Whether an earlier attempt has copied the data file, byte for byte."""
    if not catalog.storage.exists(manifest.name):
        return False
    counter = HashingCounter()
    with catalog.storage.open(manifest.name, "rb") as file:
        for _block in counter.counted(blocks_of(file)):
            pass
    return (counter.size, counter.sha256) == (manifest.size, manifest.sha256)
