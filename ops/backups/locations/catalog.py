"""The backups of a database, wherever their copies are: the first storage location, and what it knows of the others."""

import dataclasses
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import IO

import msgspec

from ops.backups.locations.location import Location
from ops.backups.locations.state import LOST, LocationState, LocationStates
from ops.backups.manifest import Manifest
from ops.backups.record import LIST_THEM, LOCAL, MISSING, BackupRecord, Copy
from ops.backups.repository import MANIFEST, BackupRepository, Files
from ops.backups.signing import Keys, Trust
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.errors import ArtifactInvalid, PreconditionFailed
from ops.utils.formatting import join_names


class BackupCatalog(BackupRepository):
    """The first location, a directory, which has the manifests of all backups, the history, and the states of `others`.

    A backup whose data file is only in other locations keeps its manifest here. Reading takes the nearest good copy.
    """

    def __init__(
        self, storage: PrivateFileSystemStorage, keys: Keys, prefix: str, others: Sequence[Location] = ()
    ) -> None:
        super().__init__(storage, keys, prefix)
        self.directory = storage
        self.states = LocationStates(storage, keys)
        # The nearest first: those at the same site.
        self.others = {location.name: location for location in sorted(others, key=lambda other: other.off_site)}

    def other(self, name: str) -> Location:
        """The location `name`, which is not the first. Raises PreconditionFailed."""
        if name not in self.others:
            known = join_names(list(self.others)) or "none is configured"
            raise PreconditionFailed(
                f"There is no storage location {name!r} besides {self.location}.",
                f"Locations in BACKUP_LOCATIONS: {known}.",
            )
        return self.others[name]

    def where(self, name: str) -> str:
        """Name and address of a location, for messages."""
        return f"{LOCAL} ({self.location})" if name == LOCAL else self.other(name).where

    def repository_in(self, name: str) -> BackupRepository:
        """The backups in a location as it has them, without what is known here of other copies."""
        return BackupRepository(self.storage, self.keys, self.prefix) if name == LOCAL else self.other(name).repository

    def farthest_first(self) -> tuple[str, ...]:
        """The names of all locations: those off-site, the others, and this one."""
        return (*reversed(self.others), LOCAL)

    def installation_id(self) -> str:
        """The id of this BACKUP_DIR, made when it is first needed. A copied installation has the same keys."""
        known = self.states.read(LOCAL).id
        if known and known != LOST:
            return known
        made = str(uuid.uuid4())
        self.update_state(LOCAL, lambda state: msgspec.structs.replace(state, id=made))
        return made

    # --- Reading ------------------------------------------------------------------------------------------------

    def read_records(self, names: Iterable[str], files: Files) -> list[BackupRecord]:
        """With the copies in other locations, of backups that are signed here."""
        states = self.states.read_all((LOCAL, *self.others)) if self.others else {}
        return [with_copies(self.read_record(name, files), states) for name in names]

    def open_file(self, manifest: Manifest, location: str = "") -> IO[bytes]:
        """The data file in `location`, or the nearest good copy. Reading its end raises ArtifactInvalid if it differs.

        A file that is no backup yet is in the first location.
        """
        where = location or self.nearest(manifest)
        return super().open_file(manifest) if where == LOCAL else self.other(where).repository.open_file(manifest)

    def nearest(self, manifest: Manifest) -> str:
        """The location from which the backup is read. Raises ArtifactInvalid if no location has a good copy."""
        files = self.files.entries()
        if not self.others or manifest.name + MANIFEST not in files:
            return LOCAL
        record = self.read_records([manifest.name], files)[0]
        if not record.locations:
            raise ArtifactInvalid(f"{manifest.name} cannot be read. {record.fault}", LIST_THEM)
        return record.locations[0]

    def has_copy(self, record: BackupRecord, location: str) -> bool:
        """Whether `location` is known to have a data file of this backup, good or not. Raises PreconditionFailed."""
        return record.local_fault != MISSING if location == LOCAL else self.other(location).name in record.copies

    def require_copy(self, record: BackupRecord, location: str) -> None:
        """Raises PreconditionFailed if `location` is not known to have a data file of this backup."""
        if not self.has_copy(record, location):
            places = join_names(list(record.locations)) or "none"
            raise PreconditionFailed(
                f"{location} has no copy of {record.name}.", f"Locations with a good copy: {places}."
            )

    # --- Writing: what is decided from a state is done before another process changes it ---------------------------

    def changing(self) -> AbstractContextManager[None]:
        """Two changes at the same time are made one after the other."""
        return self.states.locked()

    def update_state(self, location: str, change: Callable[[LocationState], LocationState]) -> None:
        with self.states.locked():
            self.states.update(location, change)

    def record_check(self, name: str, location: str, copy: Copy) -> BackupRecord:
        """Record what reading the copy in `location` in full has shown. Returns the backup with it."""
        self.update_state(location, lambda state: state.with_copy(name, copy))
        return self.get(name)

    def delete(self, name: str) -> None:
        """As `delete_decided`, for callers that have decided without looking at other backups."""
        with self.states.locked():
            self.delete_decided(name)

    def delete_decided(self, name: str) -> None:
        """Delete the backup here, and record for each other location that its files there are to be deleted.

        The caller holds `states.locked` since it looked for other good backups: pruning another location must not
        delete those meanwhile.
        """
        for location in self.others:
            self.states.update(location, lambda state: state.with_deletion(name))
        super().delete(name)

    def delete_copy(self, name: str, location: str) -> None:
        """Record that the copy is about to be deleted, so that no other deletion relies on it. In the first location
        the data file is deleted as well. The manifest goes with the last copy. The caller holds `states.locked`.
        """
        if name in self.states.read(location).copies:
            self.states.update(location, lambda state: state.with_copy(name, None))
        if location == LOCAL:
            self.storage.delete(name)
        if not any(name in self.states.read(other).copies for other in self.others) and not self.storage.exists(name):
            self.storage.delete(name + MANIFEST)


def with_copies(record: BackupRecord, states: dict[str, LocationState]) -> BackupRecord:
    """The record with what `states` say about it."""
    if not states or record.trust is not Trust.SIGNED or record.manifest is None:
        return record
    damage = states[LOCAL].copies.get(record.name)
    local_fault = record.local_fault or (damage.error if damage else "")
    known = ((location, state.copies.get(record.name)) for location, state in states.items() if location != LOCAL)
    copies = {location: copy for location, copy in known if copy}
    is_elsewhere = any(copy.is_good for copy in copies.values())
    return dataclasses.replace(
        record,
        copies=copies,
        unreachable=frozenset(location for location in copies if not states[location].answers),
        local_fault=local_fault,
        fault="" if is_elsewhere else local_fault,
        file_missing=record.file_missing and not is_elsewhere,
    )
