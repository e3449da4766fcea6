"""What is known of the other storage locations: one signed document for each, in the first location."""

import contextlib
import datetime as dt
import fcntl
import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Self

import msgspec
from msgspec import Struct

from ops.backups.manifest import Sha256
from ops.backups.record import Copy
from ops.backups.signing import Keys, Trust, unsigned
from ops.backups.storage.atomic_files import AtomicFiles, json_bytes
from ops.backups.storage.local import NEW_OR_OLD_FILE, PrivateFileSystemStorage
from ops.errors import OpsError, PreconditionFailed
from ops.utils import schema
from ops.utils.schema import Count, Line, Moment, Text

logger = logging.getLogger(__name__)

FOLDER = "locations"
LOST = "lost"
"""The id of a location that was used before, when its document cannot be read: any marker will do, but not none."""
LOCK_FILE = f"{FOLDER}/lock"
LOCK_TIMEOUT = 30.0
"""Seconds. The lock is held for one decision and the local deletions that follow it, never during a transfer."""


class LocationState(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A location. `copies` are by name of the backup; `deletions` are backups whose files there are to be deleted."""

    id: Line = ""
    """Of the marker in the location; '' before it was first used."""
    answered_at: Moment | None = None
    """When the last run completed there."""
    error: Text = ""
    """Why the last run did not complete, and since when none did."""
    failing_since: Moment | None = None
    free: Count | None = None
    """Bytes at `answered_at`."""
    shares_disk: bool = False
    """It is on the file system of BACKUP_DIR: one disk that fails takes both."""
    copies: dict[Line, Copy] = {}
    manifests: dict[Line, Sha256] = {}
    """The SHA-256 of each manifest that was last written there."""
    deletions: tuple[Line, ...] = ()
    settings: Line = ""
    """Of the settings that were last written there; `ops.operations.settings_copies` knows what they are."""

    @property
    def answers(self) -> bool:
        return self.answered_at is not None and not self.error

    def with_copy(self, name: str, copy: Copy | None) -> Self:
        """With this `copy`, or without any."""
        others = {other: known for other, known in self.copies.items() if other != name}
        return msgspec.structs.replace(self, copies={**others, name: copy} if copy else others)

    def without_copies(self, names: Collection[str]) -> Self:
        others = {name: copy for name, copy in self.copies.items() if name not in names}
        return msgspec.structs.replace(self, copies=others)

    def with_manifests(self, written: Mapping[str, str]) -> Self:
        """With the SHA-256 of manifests that were written there; only those of copies are kept."""
        manifests = {name: digest for name, digest in {**self.manifests, **written}.items() if name in self.copies}
        return msgspec.structs.replace(self, manifests=manifests)

    def with_deletion(self, name: str) -> Self:
        """Without the copy `name`, whose files there are to be deleted."""
        return msgspec.structs.replace(self.with_copy(name, None), deletions=(*self.deletions, name))

    def without_deletions(self, names: Collection[str]) -> Self:
        return msgspec.structs.replace(self, deletions=tuple(name for name in self.deletions if name not in names))

    def failed(self, error: str, now: dt.datetime) -> Self:
        return msgspec.structs.replace(self, error=error, failing_since=self.failing_since or now)

    def answered(self, now: dt.datetime, free: int | None, *, shares_disk: bool) -> Self:
        return msgspec.structs.replace(
            self, answered_at=now, error="", failing_since=None, free=free, shares_disk=shares_disk
        )


class StatesLocked(PreconditionFailed):
    """Another process, which may be suspended, holds the lock of the states. Nothing was changed."""


class LocationStates:
    """The documents ``locations/NAME.json`` in `storage`. A document that was changed by others counts as none."""

    def __init__(self, storage: PrivateFileSystemStorage, keys: Keys) -> None:
        self.storage, self.files, self.keys = storage, AtomicFiles(storage), keys

    def read(self, name: str) -> LocationState:
        """The state of the location `name`. Without a readable document nothing is known, so no copy counts."""
        try:
            document = self.files.document(file_name(name))
        except FileNotFoundError:
            return LocationState()
        except OpsError as error:
            return self.ignored(name, error.message)
        if self.keys.check(document) is not Trust.SIGNED:
            return self.ignored(name, "It is not signed by this installation.")
        try:
            return schema.read_document(unsigned(document), LocationState, what="The document")
        except OpsError as error:
            return self.ignored(name, error.message)

    def ignored(self, name: str, why: str) -> LocationState:
        logger.warning("%s is ignored: the copies in this location do not count. %s", file_name(name), why)
        return LocationState(id=LOST)

    def read_all(self, names: Iterable[str]) -> dict[str, LocationState]:
        return {name: self.read(name) for name in names}

    def update(self, name: str, change: Callable[[LocationState], LocationState]) -> LocationState:
        """Replace the state of the location `name`. The caller holds `locked`."""
        state = change(self.read(name))
        document: dict[str, Any] = schema.to_json(state)
        self.files.rewrite(file_name(name), json_bytes(self.keys.sign(document)))
        return state

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Between the reading of a state and what is decided from it, no other process changes one.

        Not reentrant. Raises StatesLocked after `LOCK_TIMEOUT` seconds.
        """
        with self.storage.folder(LOCK_FILE, create=True) as (folder, last):
            descriptor = os.open(last, NEW_OR_OLD_FILE, 0o600, dir_fd=folder)
        try:
            wait_for(descriptor, self.storage.path(LOCK_FILE))
            yield
        finally:
            os.close(descriptor)


def wait_for(descriptor: int, path: str) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise StatesLocked(
                    f"Another process has held {path} for {LOCK_TIMEOUT:.0f} seconds.",
                    "Continue or stop the process that is suspended (fuser -v shows it), and try again.",
                ) from error
            time.sleep(0.02)
        else:
            return


def file_name(location: str) -> str:
    return f"{FOLDER}/{location}.json"
