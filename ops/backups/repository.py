"""The backups of one storage: data files with their manifests, and the history with one file for each event."""

import contextlib
import dataclasses
import datetime as dt
import difflib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO

import msgspec
from django.core.files.storage import Storage

from ops.backups.compression import Counter, HashingCounter, compressed, reader
from ops.backups.event_files import EventFiles
from ops.backups.manifest import Encryption, Kind, Manifest, Verification
from ops.backups.record import LIST_THEM, MISSING, BackupRecord, newest_first
from ops.backups.signing import Keys, Trust, unsigned
from ops.backups.storage.atomic_files import AtomicFiles, json_bytes, sentence
from ops.backups.storage.entries import Entry
from ops.backups.storage.local import PARTIAL
from ops.backups.suspicion import Decision
from ops.errors import ArtifactInvalid, OpsError, PreconditionFailed
from ops.utils.formatting import join_names
from ops.utils.streams import blocks_of

MANIFEST = ".json"
Files = Mapping[str, Entry]
"""By name."""
KINDS = "|".join(re.escape(kind) for kind in Kind)
UNCHANGEABLE = {
    Trust.UNSIGNED: "it is not signed",
    Trust.FOREIGN: "it is signed with an unknown key",
    Trust.TAMPERED: "it was changed after it was signed",
}


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A data file in the storage. Sizes in bytes; `sha256` and `size` are of the stored, compressed bytes."""

    size: int
    sha256: str
    uncompressed_size: int


class BackupRepository(EventFiles):
    """The backups in a storage whose names begin with `prefix`. Callers hold the lock of the database.

    A backup exists when its manifest does, which is written last. `keys` sign manifests.
    """

    def __init__(self, storage: Storage, keys: Keys, prefix: str) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", prefix, re.ASCII):
            raise PreconditionFailed(
                f"Backups cannot be named {prefix!r}.",
                "OPS_BACKUP_PREFIX takes letters, digits, _ and -.",
            )
        self.storage = storage
        self.files = AtomicFiles(storage)
        self.keys = keys
        self.prefix = prefix
        self.pattern = re.compile(rf"{prefix}_\d{{8}}_\d{{6}}(?:_\d+)?\.({KINDS})", re.ASCII)

    @property
    def location(self) -> str:
        """Where the backups are, for messages: a directory or an address."""
        return str(self.storage.display_location)  # type: ignore[attr-defined]

    # --- Reading ------------------------------------------------------------------------------------------------

    def records(self) -> list[BackupRecord]:
        """All backups, the newest first, those without a readable manifest last. A damaged one is no error."""
        files = self.files.entries()
        return sorted(self.read_records(self.names(files), files), key=newest_first)

    def read_records(self, names: Iterable[str], files: Files) -> list[BackupRecord]:
        """The backups with these `names`, of which `files` are the manifests and data files."""
        return [self.read_record(name, files) for name in names]

    def get(self, name: str) -> BackupRecord:
        """The backup with this name, manifest name or unique beginning of a name. Raises PreconditionFailed."""
        files = self.files.entries()
        names = self.names(files)
        wanted = name.removesuffix(MANIFEST)
        matches = [wanted] if wanted in names else [found for found in names if wanted and found.startswith(wanted)]
        if len(matches) == 1:
            return self.read_records(matches, files)[0]
        if matches:
            raise PreconditionFailed(
                f"{name!r} is the beginning of {join_names(matches, 5)}.", "Give one of these names in full."
            )
        near = difflib.get_close_matches(wanted, names, n=3)
        hint = f"Similar names: {join_names(near)}. " if near else ""
        raise PreconditionFailed(f"There is no backup {name!r}.", hint + LIST_THEM)

    def latest(self, *, now: dt.datetime, verified: bool = True) -> BackupRecord:
        """The newest that is not dated after `now` (a clock may have been wrong). Raises PreconditionFailed.

        If `verified`, a suspicious one is taken only where there is no other.
        """
        past = [record for record in self.records() if record.manifest and record.manifest.taken_at <= now]
        wanted = [record for record in past if record.verified] if verified else past
        if found := [record for record in wanted if record.good and verified] or wanted:
            return found[0]
        raise PreconditionFailed(
            "There is no verified backup." if verified else "There is no backup.",
            "Make one: manage.py backup_database",
        )

    def open(self, record: BackupRecord) -> IO[bytes]:
        """The data file as it is stored. Reading its end raises ArtifactInvalid where the SHA-256 differs."""
        return self.open_file(record.require_file())

    def open_file(self, manifest: Manifest) -> IO[bytes]:
        """As `open`, for a data file that is no backup yet."""
        return reader(self._checked_blocks(manifest))

    def _checked_blocks(self, manifest: Manifest) -> Iterator[bytes]:
        counter = HashingCounter()
        with self.storage.open(manifest.name, "rb") as file:
            for block in counter.counted(blocks_of(file)):
                if counter.size > manifest.size:
                    # A server that lies could go on until the disk is full.
                    break
                yield block
        if (counter.size, counter.sha256) != (manifest.size, manifest.sha256):
            raise ArtifactInvalid(
                f"{manifest.name} is not the file that its manifest describes: its SHA-256 differs.",
                "It was damaged or replaced. Choose another backup: manage.py list_backups",
            )

    # --- Writing ------------------------------------------------------------------------------------------------

    def next_name(self, kind: Kind, now: dt.datetime) -> str:
        """A free name for a data file that is made `now`, with a number where a file of any kind has that second."""
        taken = {file.partition(".")[0] for file in self.files.names()}
        first = f"{self.prefix}_{now.astimezone(dt.UTC):%Y%m%d_%H%M%S}"
        stems = itertools.chain([first], (f"{first}_{number}" for number in itertools.count(2)))
        return f"{next(stem for stem in stems if stem not in taken)}.{kind}"

    def store(self, name: str, blocks: Iterator[bytes]) -> StoredFile:
        """Write a data file, compressed where its name says so. It is no backup before `publish`.

        Raises what `blocks` raises, and PreconditionFailed where the name is taken; then nothing of it is left.
        """
        before, after = Counter(), HashingCounter()
        stream = before.counted(blocks)
        if self.kind_of(name).compressed:
            stream = compressed(stream)
        self.files.create(name, after.counted(stream))
        return StoredFile(size=after.size, sha256=after.sha256, uncompressed_size=before.size)

    def discard(self, name: str) -> None:
        """Delete a data file that did not become a backup. Errors are ignored: another error is being raised.

        One with a manifest stays: a run that has lost its lock may have the name that the next one has used since.
        """
        with contextlib.suppress(OSError, OpsError):
            if not self.storage.exists(name + MANIFEST):
                self.storage.delete(name)

    def publish(self, manifest: Manifest) -> None:
        """Make a stored file a backup. Raises ArtifactInvalid where the file is missing or has another size."""
        self.kind_of(manifest.name)
        if fault := self.fault_of(manifest, self.files.entries()):
            raise ArtifactInvalid(f"{manifest.name} was not published. {fault}")
        self.files.create(manifest.name + MANIFEST, iter([self.signed(manifest)]))

    def change(
        self,
        name: str,
        *,
        pinned: bool | None = None,
        note: str | None = None,
        verification: Verification | None = None,
        encryption: Encryption | None = None,
        decision: Decision | None = None,
    ) -> BackupRecord:
        """Write the given values into a manifest and sign it again.

        Raises ArtifactInvalid for a manifest that is not signed here: signing would turn it into a trusted one.
        """
        with self.changing():
            record = self.get(name)
            manifest = record.require_manifest()
            if record.trust is not Trust.SIGNED:
                raise ArtifactInvalid(
                    f"The manifest of {record.name} was not changed: {UNCHANGEABLE[record.trust]}.",
                    "If the key was changed, add the old one to BACKUP_SIGNING_KEY_FALLBACKS.",
                )
            if verification is not None:
                manifest = manifest.with_verification(verification)
            if decision is not None:
                manifest = manifest.with_decision(decision)
            manifest = msgspec.structs.replace(
                manifest,
                pinned=manifest.pinned if pinned is None else pinned,
                note=manifest.note if note is None else note,
                encryption=encryption or manifest.encryption,
            )
            self.files.rewrite(record.name + MANIFEST, self.signed(manifest))
            return dataclasses.replace(record, manifest=manifest)

    def changing(self) -> contextlib.AbstractContextManager[None]:
        """Entered while a manifest is read and written again."""
        return contextlib.nullcontext()

    def delete(self, name: str) -> None:
        """Delete the backup with this full name. Raises PreconditionFailed for what is no name of a backup."""
        self.kind_of(name)
        # The data are deleted first. A process that is killed in between leaves a manifest, which is listed and can be
        # deleted again. In the other order it would leave data that no list shows.
        self.storage.delete(name)
        self.storage.delete(name + MANIFEST)

    def sweep(self, claimed: Iterable[str]) -> tuple[str, ...]:
        """Delete unfinished data files that killed runs had `claimed`. Returns a sentence for each.

        The caller knows that these runs are dead. A data file with a manifest is never deleted.
        """
        files = self.files.names()
        deleted: list[str] = []
        for name in sorted(filter(self.pattern.fullmatch, set(claimed))):
            unfinished = [name + PARTIAL, name + MANIFEST + PARTIAL]
            if name + MANIFEST not in files:
                unfinished.append(name)
            for file in files.intersection(unfinished):
                self.storage.delete(file)
                deleted.append(f"Deleted {file}, which a killed run had left unfinished.")
        return tuple(deleted)

    def free_bytes(self) -> int | None:
        """Space for more backups; None where the storage does not know, as in S3."""
        free: int | None = self.storage.free_bytes()  # type: ignore[attr-defined]
        return free

    # --- Files --------------------------------------------------------------------------------------------------

    def names(self, files: Iterable[str]) -> list[str]:
        """The data files that have manifests, the newest first."""
        names = (file.removesuffix(MANIFEST) for file in files if file.endswith(MANIFEST))
        return sorted(filter(self.pattern.fullmatch, names), reverse=True)

    def kind_of(self, name: str) -> Kind:
        match = self.pattern.fullmatch(name)
        if not match:
            raise PreconditionFailed(f"{name!r} is not the name of a backup here.", LIST_THEM)
        return Kind(match[1])

    def read_record(self, name: str, files: Files) -> BackupRecord:
        trust = Trust.UNSIGNED
        try:
            document = self.files.document(name + MANIFEST)
            trust = self.keys.check(document)
            manifest = Manifest.from_json(unsigned(document))
        except (OpsError, FileNotFoundError) as error:
            fault = sentence(error)
            return BackupRecord(name=name, manifest=None, trust=trust, fault=fault, local_fault=fault)
        if manifest.name != name:
            # A signed manifest that was copied to describe other data.
            fault = f"The manifest is that of {manifest.name}."
            return BackupRecord(name=name, manifest=None, trust=Trust.TAMPERED, fault=fault, local_fault=fault)
        fault = self.fault_of(manifest, files)
        missing = name not in files
        return BackupRecord(
            name=name, manifest=manifest, trust=trust, file_missing=missing, fault=fault, local_fault=fault
        )

    def fault_of(self, manifest: Manifest, files: Files) -> str:
        """What is wrong with the data file, as far as its size tells; '' for nothing."""
        if manifest.name not in files:
            return MISSING
        size, expected = files[manifest.name].size, self.stored_size(manifest)
        if size != expected:
            return f"Its data file has {size:,} bytes, and the manifest says {expected:,}."
        return ""

    def stored_size(self, manifest: Manifest) -> int:
        """Bytes of the data file in this storage."""
        return manifest.size

    def signed(self, manifest: Manifest) -> bytes:
        """The content of the manifest's file. Raises ArtifactInvalid for values that `read_record` would refuse."""
        document = manifest.as_json()
        Manifest.from_json(document)
        return json_bytes(self.keys.sign(document))
