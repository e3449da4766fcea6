"""What backups there are: data files with their manifests in one storage, and one file for each event."""

import contextlib
import dataclasses
import datetime as dt
import difflib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

import msgspec
from django.core.files.storage import Storage

from ops.backups.compression import HashingCounter, blocks_of, compressed, reader, suitable_threads
from ops.backups.entries import BackupRecord, age
from ops.backups.manifest import Kind, Manifest, Verification
from ops.backups.signing import Keys, Trust, unsigned
from ops.backups.storage.atomic_files import AtomicFiles, written
from ops.backups.storage.local import PARTIAL
from ops.errors import ArtifactInvalid, OpsError, PreconditionFailed

logger = logging.getLogger(__name__)

MANIFEST = ".json"
EVENTS = "events"
LARGEST_EVENT = 16 * 2**20
"""Bytes. A log is most of it."""
EVENT = re.compile(r"\d{8}_\d{6}_\d{6}_[0-9A-Za-z-]+_[a-z]+\.json", re.ASCII)
KINDS = "|".join(re.escape(kind) for kind in Kind)
LIST_THEM = "`manage.py list_backups` shows all of them."
UNCHANGEABLE = {
    Trust.UNSIGNED: "it is not signed",
    Trust.FOREIGN: "it is signed with a key that is not known here",
    Trust.TAMPERED: "it was changed after it had been signed",
}


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A data file as it was written. Sizes in bytes; `sha256` and `size` are of the stored, compressed bytes."""

    size: int
    sha256: str
    uncompressed_size: int


class BackupRepository:
    """The backups that `prefix` names in any Django storage. Its callers hold the lock of the database.

    A backup exists when its manifest does, and that is written last. `keys` sign manifests.
    """

    def __init__(self, storage: Storage, keys: Keys, prefix: str) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", prefix, re.ASCII):
            raise PreconditionFailed(
                f"Backups can not be named {prefix!r}.",
                "OPS_BACKUP_PREFIX takes letters, digits, _ and -.",
            )
        self.storage = storage
        self.files = AtomicFiles(storage)
        self.keys = keys
        self.prefix = prefix
        self.pattern = re.compile(rf"{prefix}_\d{{8}}_\d{{6}}(?:_\d+)?\.({KINDS})", re.ASCII)

    @property
    def location(self) -> str:
        """Where the backups are, for a person: a directory where it is one, else what kind of storage it is."""
        known = (getattr(self.storage, name, "") for name in ("place", "location"))
        return str(next(filter(None, known), type(self.storage).__name__))

    # --- Reading ------------------------------------------------------------------------------------------------

    def entries(self) -> list[BackupRecord]:
        """All, the newest first, those without a readable manifest last. Broken ones are entries, not errors."""
        files = self.files.names()
        return sorted((self.entry(name, files) for name in self.names(files)), key=age)

    def get(self, name: str) -> BackupRecord:
        """By its name, its manifest's name, or a beginning of its name that no other has. Raises PreconditionFailed."""
        files = self.files.names()
        names = self.names(files)
        wanted = name.removesuffix(MANIFEST)
        matches = [wanted] if wanted in names else [found for found in names if wanted and found.startswith(wanted)]
        if len(matches) == 1:
            return self.entry(matches[0], files)
        if matches:
            raise PreconditionFailed(f"{name!r} begins the names of {listed(matches)}.", "Name one of them in full.")
        near = difflib.get_close_matches(wanted, names, n=3)
        hint = f"Near to it: {listed(near)}. " if near else ""
        raise PreconditionFailed(f"There is no backup {name!r}.", hint + LIST_THEM)

    def latest(self, *, now: dt.datetime, verified: bool = True) -> BackupRecord:
        """The newest that is not from after `now` (a clock may have been wrong). Raises PreconditionFailed."""
        for entry in self.entries():
            if entry.manifest and entry.manifest.taken_at <= now and (entry.verified or not verified):
                return entry
        raise PreconditionFailed(
            "There is no verified backup." if verified else "There is no backup.",
            "Make one with `manage.py backup_database`.",
        )

    def open(self, entry: BackupRecord) -> IO[bytes]:
        """The data file as it is stored. Its end raises ArtifactInvalid where its SHA-256 is not the manifest's."""
        manifest = entry.require_manifest()
        if entry.fault:
            raise ArtifactInvalid(f"{entry.name} can not be read. {entry.fault}", LIST_THEM)
        return self.open_file(manifest)

    def open_file(self, manifest: Manifest) -> IO[bytes]:
        """As `open`, of a data file that is no backup yet."""
        return reader(self.checked(manifest))

    def checked(self, manifest: Manifest) -> Iterator[bytes]:
        measure = HashingCounter()
        with self.storage.open(manifest.name, "rb") as file:
            yield from measure.passing(blocks_of(file))
        if (measure.size, measure.sha256) != (manifest.size, manifest.sha256):
            raise ArtifactInvalid(
                f"{manifest.name} is not the file that its manifest tells of: its SHA-256 is different.",
                "It was damaged or replaced. Take another backup.",
            )

    # --- Writing ------------------------------------------------------------------------------------------------

    def next_name(self, kind: Kind, now: dt.datetime) -> str:
        """A name for a data file of the second `now`, with a suffix where another file has it, of whatever kind."""
        taken = {file.partition(".")[0] for file in self.files.names()}
        first = stem = f"{self.prefix}_{now.astimezone(dt.UTC):%Y%m%d_%H%M%S}"
        number = 1
        while stem in taken:
            number += 1
            stem = f"{first}_{number}"
        return f"{stem}.{kind}"

    def store(self, name: str, blocks: Iterator[bytes]) -> StoredFile:
        """Write a data file, compressed where its name says so. It is no backup before `publish`.

        Raises what `blocks` raises and PreconditionFailed where the name is taken; then nothing of it is left.
        """
        before, after = HashingCounter(), HashingCounter()
        stream = before.passing(blocks)
        if self.kind_of(name).compressed:
            stream = compressed(stream, threads=suitable_threads())
        self.files.create(name, after.passing(stream))
        return StoredFile(size=after.size, sha256=after.sha256, uncompressed_size=before.size)

    def discard(self, name: str) -> None:
        """Remove a data file that did not become a backup, as far as the storage lets us: an error is under way."""
        with contextlib.suppress(OSError, OpsError):
            self.storage.delete(name)

    def publish(self, manifest: Manifest) -> None:
        """Make a stored file a backup. Raises ArtifactInvalid where the file is not there in its full size."""
        self.kind_of(manifest.name)
        if fault := self.fault_of(manifest, self.files.names()):
            raise ArtifactInvalid(f"{manifest.name} was not made a backup. {fault}")
        self.files.create(manifest.name + MANIFEST, iter([self.signed(manifest)]))

    def change(
        self,
        name: str,
        *,
        pinned: bool | None = None,
        note: str | None = None,
        verification: Verification | None = None,
    ) -> BackupRecord:
        """Write what is given into a manifest and sign it again.

        Raises ArtifactInvalid for one that is not ours as it is: signing would turn it into a trusted one.
        """
        entry = self.get(name)
        manifest = entry.require_manifest()
        if entry.trust is not Trust.SIGNED:
            raise ArtifactInvalid(
                f"The manifest of {entry.name} was not changed: {UNCHANGEABLE[entry.trust]}.",
                "If its key was replaced, name the old one in BACKUP_SIGNING_KEY_FALLBACKS.",
            )
        if verification is not None:
            manifest = manifest.with_verification(verification)
        manifest = msgspec.structs.replace(
            manifest,
            pinned=manifest.pinned if pinned is None else pinned,
            note=manifest.note if note is None else note,
        )
        self.files.rewrite(entry.name + MANIFEST, self.signed(manifest))
        return dataclasses.replace(entry, manifest=manifest)

    def delete(self, name: str) -> None:
        """Remove a backup by its full name.

        Raises PreconditionFailed for a name that is not one of a backup.
        """
        self.kind_of(name)
        # The data go first. Killed in between, the manifest is left: an entry that says that its data are missing, and
        # that can be deleted again. The other way round data would be left that nobody knows of.
        self.storage.delete(name)
        self.storage.delete(name + MANIFEST)

    def sweep(self, claimed: Iterable[str]) -> tuple[str, ...]:
        """Remove what killed runs left of the data files they said they would write, and say what in sentences.

        A file is removed only when its run is known to be dead, which the caller knows; never one with a manifest.
        """
        files = self.files.names()
        removed = []
        for name in sorted(filter(self.pattern.fullmatch, set(claimed))):
            unfinished = [name + PARTIAL, name + MANIFEST + PARTIAL]
            if name + MANIFEST not in files:
                unfinished.append(name)
            for file in files.intersection(unfinished):
                self.storage.delete(file)
                removed.append(f"Removed {file}, which a run that was killed had left unfinished.")
        return tuple(removed)

    def free_bytes(self) -> int | None:
        """Space for more backups; None where the storage does not know, as in S3."""
        free_bytes = getattr(self.storage, "free_bytes", None)
        return free_bytes() if free_bytes else None

    # --- History ------------------------------------------------------------------------------------------------

    def record(self, event: Mapping[str, Any]) -> str:
        """Keep `event`, values that JSON has, for good; the name of its file.

        It needs ``when`` (an ISO 8601 time), ``run`` (the run's id) and ``event`` (a word such as ``started``).
        """
        when = dt.datetime.fromisoformat(event["when"]).astimezone(dt.UTC)
        name = f"{when:%Y%m%d_%H%M%S_%f}_{event['run']}_{event['event']}{MANIFEST}"
        if not EVENT.fullmatch(name):
            raise ValueError(f"An event can not be named {name!r}.")
        self.files.create(f"{EVENTS}/{name}", iter([written(event)]))
        return name

    def events(self, run: str = "") -> list[dict[str, Any]]:
        """The whole history in its order, or that of one `run`. Files that can not be read are logged and left out."""
        return self.read_events([name for name in self.event_names() if not run or run_and_event(name)[0] == run])

    def unended_events(self) -> list[dict[str, Any]]:
        """Events of the runs that have none called ``ended``, or one called ``left`` and none called ``swept``.

        The others, of which there may be many, are not read.
        """
        names = self.event_names()
        runs: dict[str, set[str]] = {word: set() for word in ("ended", "left", "swept")}
        for run, event in map(run_and_event, names):
            runs.setdefault(event, set()).add(run)
        closed = runs["ended"] - (runs["left"] - runs["swept"])
        return self.read_events([name for name in names if run_and_event(name)[0] not in closed])

    def event_names(self) -> list[str]:
        return sorted(filter(EVENT.fullmatch, self.files.names(EVENTS)))

    def read_events(self, names: list[str]) -> list[dict[str, Any]]:
        events = []
        for name in names:
            try:
                event = self.files.document(f"{EVENTS}/{name}", largest=LARGEST_EVENT)
                if [event.get("run"), event.get("event")] != run_and_event(name):
                    raise ArtifactInvalid("Its name tells of another event.")
                events.append(event)
            except (OpsError, FileNotFoundError) as error:
                logger.warning("%s/%s can not be read. %s", EVENTS, name, sentence(error))
        return events

    # --- Files --------------------------------------------------------------------------------------------------

    def names(self, files: set[str]) -> list[str]:
        """The data files that have manifests, the newest first."""
        names = (file.removesuffix(MANIFEST) for file in files if file.endswith(MANIFEST))
        return sorted(filter(self.pattern.fullmatch, names), reverse=True)

    def kind_of(self, name: str) -> Kind:
        match = self.pattern.fullmatch(name)
        if not match:
            raise PreconditionFailed(f"{name!r} is not the name of a backup here.", LIST_THEM)
        return Kind(match[1])

    def entry(self, name: str, files: set[str]) -> BackupRecord:
        trust = Trust.UNSIGNED
        try:
            document = self.files.document(name + MANIFEST)
            trust = self.keys.check(document)
            manifest = Manifest.from_json(unsigned(document))
        except (OpsError, FileNotFoundError) as error:
            return BackupRecord(name=name, manifest=None, trust=trust, fault=sentence(error))
        if manifest.name != name:
            # A signed manifest, copied to where it vouches for other data.
            fault = f"The manifest is that of {manifest.name}."
            return BackupRecord(name=name, manifest=None, trust=Trust.TAMPERED, fault=fault)
        fault = self.fault_of(manifest, files)
        return BackupRecord(name=name, manifest=manifest, trust=trust, file_missing=name not in files, fault=fault)

    def fault_of(self, manifest: Manifest, files: set[str]) -> str:
        """What a look at the data file, without reading it, says against it."""
        if manifest.name not in files:
            return "Its data file is missing."
        size = self.storage.size(manifest.name)
        if size != manifest.size:
            return f"Its data file has {size:,} bytes, and the manifest says {manifest.size:,}."
        return ""

    def signed(self, manifest: Manifest) -> bytes:
        """The content of its file, which `entry` can read. Raises ArtifactInvalid for values that it could not."""
        document = manifest.as_json()
        Manifest.from_json(document)
        return written(self.keys.sign(document))


def run_and_event(name: str) -> list[str]:
    """What the name of an event's file says: whose it is, and what happened."""
    return name.removesuffix(MANIFEST).split("_")[3:]


def listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def sentence(error: OpsError | FileNotFoundError) -> str:
    return error.message if isinstance(error, OpsError) else "The file is gone."
