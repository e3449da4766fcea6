"""Copy one backup to another storage location, and read it back."""

import contextlib
import datetime as dt
import os
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import msgspec
from django.core.files.storage import Storage

from ops.backups.compression import HashingCounter, IteratorFile, reader
from ops.backups.encryption import SUFFIX, require_two
from ops.backups.locations.catalog import BackupCatalog
from ops.backups.locations.location import Location
from ops.backups.locations.ownership import require_own
from ops.backups.manifest import Encryption, Manifest
from ops.backups.record import MISSING, Copy
from ops.backups.storage.local import DISK_FULL, PARTIAL
from ops.errors import ArtifactInvalid, OpsError, PreconditionFailed, VerificationFailed
from ops.utils.formatting import join_names
from ops.utils.progress import Progress, ProgressCallback, Stage, no_progress
from ops.utils.streams import blocks_of

OUTGOING = "outgoing"
"""The folder in BACKUP_DIR for age files that were not yet copied to a location."""


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A data file as a location stores it: its name there, bytes and SHA-256."""

    name: str
    size: int
    sha256: str


Opener = Callable[[], contextlib.AbstractContextManager[IO[bytes]]]


class NotEncrypted(PreconditionFailed):
    """No age file could be made. The location has no part in it, and the copies that it has still count."""


def copy_to(catalog: BackupCatalog, location: Location, manifest: Manifest, on_progress: ProgressCallback) -> Copy:
    """Write the data file to the location unless it is there, read it back, and compare. Returns the copy.

    A file of this backup that differs is replaced. Raises VerificationFailed if what was read back is not what was
    written, ArtifactInvalid if no location has a good copy to read or the file there is of another installation, and
    errors of the storages.
    """
    expected = stored_file(location, manifest)
    if expected and location.storage.exists(expected.name):
        found = check(location.storage, expected, location.name, on_progress)
        if found.is_good:
            return found
    expected, opener = source_for(catalog, location, manifest)
    if location.storage.exists(expected.name):
        require_own(location, manifest)
    try:
        send(location, expected, opener, on_progress)
    except ArtifactInvalid:
        # If the age file in BACKUP_DIR was damaged, each run would read it again.
        catalog.storage.delete(waiting_file(manifest))
        raise
    copy = check(location.storage, expected, location.name, on_progress)
    if not copy.is_good:
        raise VerificationFailed(
            f"{expected.name} was copied to {location.where}, but reading it back showed: {copy.error}",
            "The copy does not count. Check that location; the next run copies the file again.",
        )
    return copy


def stored_file(location: Location, manifest: Manifest) -> StoredFile | None:
    """What the location stores of a backup; None before its age file exists."""
    if not location.encrypted:
        return StoredFile(name=manifest.name, size=manifest.size, sha256=manifest.sha256)
    if manifest.encryption is None:
        return None
    encryption = manifest.encryption
    return StoredFile(name=manifest.name + SUFFIX, size=encryption.size, sha256=encryption.sha256)


def source_for(catalog: BackupCatalog, location: Location, manifest: Manifest) -> tuple[StoredFile, Opener]:
    """What the location is to store, and where to read it: for an age file the one that waits in BACKUP_DIR, else the
    copy in another location, else a new one.
    """
    expected = stored_file(location, manifest)
    if expected and not location.encrypted:
        return expected, lambda: catalog.open_file(manifest)
    waiting = waiting_file(manifest)
    if expected and catalog.storage.exists(waiting) and catalog.storage.size(waiting) == expected.size:
        return expected, lambda: catalog.storage.open(waiting)
    holders = [other for other in catalog.others.values() if other is not location and other.encrypted]
    holders = [other for other in holders if expected and has_copy(catalog, other, manifest)]
    if expected and holders:
        answering = [other for other in holders if catalog.states.read(other.name).answers]
        if not answering:
            raise ArtifactInvalid(
                f"{expected.name} waits for {join_names([other.name for other in holders])}: all encrypted locations"
                " have the same file, and that location does not answer."
            )
        return expected, partial(answering[0].storage.open, expected.name)
    encryption = encrypt(catalog, location, manifest, waiting)
    made = StoredFile(name=manifest.name + SUFFIX, size=encryption.size, sha256=encryption.sha256)
    return made, lambda: catalog.storage.open(waiting)


def waiting_file(manifest: Manifest) -> str:
    """The name of the age file in BACKUP_DIR."""
    return f"{OUTGOING}/{manifest.name}{SUFFIX}"


def has_copy(catalog: BackupCatalog, location: Location, manifest: Manifest) -> bool:
    copy = catalog.states.read(location.name).copies.get(manifest.name)
    return copy is not None and copy.is_good


def encrypt(catalog: BackupCatalog, location: Location, manifest: Manifest, waiting: str) -> Encryption:
    """Make the age file `waiting` in BACKUP_DIR, and record it in the manifest."""
    try:
        require_two(location.age_keys.recipients)
    except PreconditionFailed as error:
        raise NotEncrypted(error.message, error.hint) from error
    target = Path(catalog.storage.path(waiting))
    unfinished = target.with_name(target.name + PARTIAL)
    with catalog.directory.folder(waiting, create=True):
        pass
    try:
        plain = reader(source_blocks(lambda: catalog.open_file(manifest), manifest.name))
        with plain, open(unfinished, "wb", opener=private) as file:
            counter = HashingCounter()
            location.age_keys.encrypt_file(plain, CountingWriter(file, counter))  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        if error.errno not in DISK_FULL:
            raise
        raise NotEncrypted(
            f"{manifest.name} could not be encrypted: {os.strerror(error.errno or 0)}.",
            f"Free some space in {catalog.location}: an age file is as large as the backup.",
        ) from error
    encryption = Encryption(size=counter.size, sha256=counter.sha256, recipients=location.age_keys.recipients)
    catalog.change(manifest.name, encryption=encryption)
    return encryption


def private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


class CountingWriter:
    """Counts and hashes what is written to `file`."""

    def __init__(self, file: IO[bytes], counter: HashingCounter) -> None:
        self.file, self.counter = file, counter

    def write(self, data: bytes) -> int:
        self.counter.size += len(data)
        self.counter.hash.update(data)
        return self.file.write(data)


# --- Bytes ------------------------------------------------------------------------------------------------------------


def send(location: Location, stored: StoredFile, opener: Opener, on_progress: ProgressCallback) -> None:
    """Write the file to the location; one that is there is replaced. An error leaves the old file, or none."""
    counter = HashingCounter()
    with contextlib.closing(source_blocks(opener, stored.name)) as source:
        blocks = reported(counter.counted(source), f"{stored.name} to {location.name}", on_progress)
        content = IteratorFile(complete(blocks, counter, stored), stored.name)
        with contextlib.closing(content):
            if location.storage.exists(stored.name):
                location.storage.replace(stored.name, content)  # type: ignore[attr-defined]
            else:
                location.storage.save(stored.name, content)


def source_blocks(opener: Opener, name: str) -> Generator[bytes]:
    """The content of the source. Raises ArtifactInvalid where it cannot be read: the source may be in another location,
    and its error would be taken for one of the location that is written to.
    """
    try:
        with opener() as source:
            yield from blocks_of(source)
    except ArtifactInvalid:
        raise
    except FileNotFoundError as error:
        raise ArtifactInvalid(f"{name} was not copied: its file is missing where it was read.") from error
    except (OpsError, OSError) as error:
        reason = error.message if isinstance(error, OpsError) else str(error)
        raise ArtifactInvalid(f"{name} was not copied, because its source cannot be read: {reason}") from error


def remove_waiting(catalog: BackupCatalog, needed: Collection[str]) -> None:
    """Delete the age files in BACKUP_DIR of all backups but those `needed`, by name: each location has its copy."""
    for file in catalog.files.names(OUTGOING):
        if file.removesuffix(PARTIAL).removesuffix(SUFFIX) not in needed:
            catalog.storage.delete(f"{OUTGOING}/{file}")


def complete(blocks: Iterator[bytes], counter: HashingCounter, stored: StoredFile) -> Iterator[bytes]:
    """Raise ArtifactInvalid before the end of the upload where the source is not the file that it should be."""
    yield from blocks
    if (counter.size, counter.sha256) != (stored.size, stored.sha256):
        raise ArtifactInvalid(
            f"{stored.name} was not copied: its SHA-256 is not the one in the manifest.",
            "It was damaged or replaced. Verify it: manage.py verify_backup",
        )


def check(storage: Storage, stored: StoredFile, location: str, on_progress: ProgressCallback) -> Copy:
    """Read the file in full. Raises errors of the storage; a file that differs gives an `error`."""
    counter = HashingCounter()
    with storage.open(stored.name, "rb") as file:
        for _block in reported(counter.counted(blocks_of(file)), f"{stored.name} back from {location}", on_progress):
            if counter.size > stored.size:
                # A server that lies could go on for ever.
                break
    return Copy(
        sha256=counter.sha256,
        size=counter.size,
        verified_at=dt.datetime.now(dt.UTC),
        error=difference(counter, stored),
    )


def examine(catalog: BackupCatalog, manifest: Manifest, location: str, *, is_good: bool) -> Copy:
    """The copy in `location` after a verification of the backup: where that failed, its bytes are compared.

    Raises errors of the storage.
    """
    other = catalog.others.get(location)
    expected = stored_file(other, manifest) if other else None
    expected = expected or StoredFile(name=manifest.name, size=manifest.size, sha256=manifest.sha256)
    examined = Copy(sha256=expected.sha256, size=expected.size, verified_at=dt.datetime.now(dt.UTC))
    if is_good:
        return examined
    try:
        return check(other.storage if other else catalog.storage, expected, location, no_progress)
    except FileNotFoundError:
        return msgspec.structs.replace(examined, error=MISSING)


def difference(counter: HashingCounter, stored: StoredFile) -> str:
    if counter.size != stored.size:
        return f"It has {counter.size:,} bytes instead of {stored.size:,}."
    return "" if counter.sha256 == stored.sha256 else "Its SHA-256 is not that of the backup."


def reported(blocks: Iterator[bytes], item: str, on_progress: ProgressCallback, *, total: int = 0) -> Iterator[bytes]:
    """The blocks, whose bytes are reported. A callback that raises ends the transfer."""
    done = 0
    for block in blocks:
        yield block
        done += len(block)
        on_progress(Progress(stage=Stage.COPY, item=item, done=done, total=total))
