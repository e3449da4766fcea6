"""Copy backups to the other storage locations, and prune there. No other run writes to them."""

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence

import msgspec

from ops.backups.event_files import EVENTS
from ops.backups.locations import copying
from ops.backups.locations.catalog import BackupCatalog
from ops.backups.locations.location import Location
from ops.backups.locations.marker import require_marker, require_owner
from ops.backups.locations.ownership import is_of_another
from ops.backups.locations.records import (
    find_unencrypted,
    finish_deletions,
    learn,
    update_manifests,
    write_history,
    write_manifest,
)
from ops.backups.manifest import Manifest
from ops.backups.record import BackupRecord, Copy
from ops.backups.repository import MANIFEST
from ops.backups.retention import RetentionDecision
from ops.backups.signing import Trust
from ops.backups.storage.entries import Entry
from ops.errors import ArtifactInvalid, Cancelled, OpsError, VerificationFailed
from ops.models import Run
from ops.operations.prune import evaluate_location, pinned_by_undo, wanted_in
from ops.operations.settings_copies import copy_settings, is_settings_copy_due
from ops.runs.context import OpsContext
from ops.runs.executor import operation
from ops.runs.recorder import RunRecorder
from ops.runs.results import CopyResult, LocationResult
from ops.utils import clock
from ops.utils.progress import Progress, Stage
from ops.utils.redaction import redact

CLOCK_TOLERANCE = dt.timedelta(hours=1)
"""Between this machine's clock and that of a storage."""
ROOM = 16 * 2**20
"""Bytes for manifests, history and the overhead of encryption."""
LONGEST_PAUSE = dt.timedelta(hours=20)
"""After which a location is looked at although it should lack nothing."""


@operation(Run.Kind.COPY)
def copy_backups(
    context: OpsContext, run: RunRecorder, *, locations: Sequence[str] = (), take_over: bool = False
) -> CopyResult:
    """Bring `locations`, or all, up to date: each gets what its policy keeps, and is pruned by it.

    A location that fails does not stop the others; the run fails at its end. With `take_over`, a location that another
    installation has used is this one's from now on.
    """
    chosen = [context.repository.other(name) for name in locations] or list(context.repository.others.values())
    results = {location.name: update_location(context, run, location, take_over=take_over) for location in chosen}
    for location in chosen:
        # A backup may have been made while the locations after it were brought up to date.
        if not results[location.name].error and missing_in(context, context.repository.records(), location):
            results[location.name] = results[location.name].followed_by(update_location(context, run, location))
    remove_waiting(context)
    run.refresh_rows()
    failed = [f"{name}: {result.error.rstrip('.')}." for name, result in results.items() if result.error]
    if failed:
        hint = "The backups themselves are not affected. The next run copies what is missing: manage.py copy_backups"
        run.fail(OpsError(f"Not every storage location is up to date. {' '.join(failed)}", hint))
    return CopyResult(locations=results)


def is_due(context: OpsContext) -> bool:
    """Whether a location lacks a copy, failed, or was not looked at for `LONGEST_PAUSE`, as far as is known here."""
    catalog = context.repository
    found = catalog.records()
    for location in catalog.others.values():
        state = catalog.states.read(location.name)
        is_recent = state.answered_at is not None and clock.now() - state.answered_at < LONGEST_PAUSE
        # An object lock may keep for weeks what was deleted. The daily look suffices for that.
        deletes = state.deletions and not location.settings.lock_days
        if not is_recent or state.error or deletes or missing_in(context, found, location):
            return True
        if is_settings_copy_due(catalog, location):
            return True
    return False


# --- One location -----------------------------------------------------------------------------------------------------


def update_location(
    context: OpsContext, run: RunRecorder, location: Location, *, take_over: bool = False
) -> LocationResult:
    """Copy, record and prune. An error of the location is recorded in its state and returned, not raised."""
    catalog = context.repository
    transfer = Transfer(context, run, location)
    try:
        transfer.expect(0)
        require_marker(catalog, location)
        require_owner(catalog, location, take_over=take_over)
        finish_deletions(catalog, location, now=clock.now())
        found = (*learn(catalog, location), *forget_vanished(catalog, location), *find_unencrypted(location))
        for sentence in found:
            run.log(f"{location.name}: {sentence}")
        delete_requested(catalog, location)
        transfer.make_room()
        transfer.copy_missing()
        # Last: after a lost state, reading all that is there must not delay the newest backup.
        transfer.adopt()
        update_manifests(catalog, location, [record.name for record in catalog.records() if is_copyable(record)])
        copy_settings(catalog, location)
        write_history(catalog, location, run=run.id)
        transfer.prune()
        # Once more, for what was lost meanwhile: a server may have been replaced by an empty one.
        require_marker(catalog, location)
        for sentence in forget_vanished(catalog, location):
            transfer.note(OpsError(sentence))
        free = location.repository.free_bytes()
        shares_disk = location.shares_disk(catalog.directory.location)
        catalog.update_state(location.name, lambda state: state.answered(clock.now(), free, shares_disk=shares_disk))
    except (OpsError, OSError) as error:
        if isinstance(error, Cancelled):
            raise
        transfer.fail(error)
    return transfer.result()


class Transfer:
    """What one run does in one location."""

    def __init__(self, context: OpsContext, run: RunRecorder, location: Location) -> None:
        self.context, self.run, self.location, self.catalog = context, run, location, context.repository
        self.copied: list[str] = []
        self.deleted: dict[str, str] = {}
        self.errors: list[str] = []
        self.size = 0
        self.expected = 0

    def report(self, progress: Progress) -> None:
        """Each location is a stage of its own."""
        self.run.report(dataclasses.replace(progress, stage=f"{Stage.COPY} to {self.location.name}"))

    def expect(self, size: int) -> None:
        """So many more bytes will be written or read."""
        self.expected += size
        self.report(Progress(stage=Stage.COPY, total=self.expected))

    def result(self) -> LocationResult:
        return LocationResult(
            copied=tuple(self.copied), size=self.size, deleted=self.deleted, error=" ".join(self.errors)
        )

    def fail(self, error: OpsError | OSError) -> None:
        """The location cannot be used now: its copies do not count until it answers again."""
        message = self.note(error)
        self.catalog.update_state(self.location.name, lambda state: state.failed(message, clock.now()))

    def note(self, error: OpsError | OSError) -> str:
        """Add its message, and the hint, to the errors of the run."""
        message = redact(error.text if isinstance(error, OpsError) else str(error))
        self.errors.append(message)
        self.run.log(f"{self.location.name}: {message}")
        return message

    def adopt(self) -> None:
        """Read files that are there in full although this installation does not know it: from before it was recovered,
        or of a run that was killed before it could record them.
        """
        state = self.catalog.states.read(self.location.name)
        present = self.location.repository.files.entries()
        for record in self.catalog.records():
            expected = copying.stored_file(self.location, record.manifest) if record.manifest else None
            entry = present.get(record.name)
            if record.trust is not Trust.SIGNED or record.name in state.copies or not (expected and entry):
                continue
            if entry.size == expected.size:
                self.expect(expected.size)
                copy = copying.check(self.location.storage, expected, self.location.name, self.report)
                if copy.is_good:
                    self.record(record.name, copy)

    def record(self, name: str, copy: Copy) -> bool:
        """Write the manifest, and then record here that the location has both.

        False for a backup that was deleted here during the transfer: it is deleted there as well.
        """
        if not self.is_known(name):
            if not self.location.is_locked(name, clock.now()):
                self.location.repository.delete(name)
            return False
        digest = write_manifest(self.catalog, self.location, name)
        self.catalog.update_state(
            self.location.name, lambda state: state.with_copy(name, copy).with_manifests({name: digest})
        )
        return True

    def make_room(self) -> None:
        """Prune before copying where the newest backup has no room: a full location would stay full for ever."""
        missing = missing_in(self.context, self.catalog.records(), self.location)
        free = self.location.repository.free_bytes() if missing else None
        if free is not None and free < missing[0].require_manifest().size + ROOM:
            self.prune()

    def copy_missing(self) -> None:
        """Copy what the location should have, the newest first, until there is nothing that was not tried.

        Backups that are made meanwhile are copied, too. A backup that cannot be read does not stop the others.
        """
        tried: set[str] = set()
        while missing := [
            record
            for record in missing_in(self.context, self.catalog.records(), self.location)
            if record.name not in tried
        ]:
            # Each is written and read back; what is there is only read.
            present = self.location.repository.files.entries()
            passes = {record.name: 1 if record.name in present else 2 for record in missing}
            self.expect(sum(passes[record.name] * record.require_manifest().size for record in missing))
            for record in missing:
                tried.add(record.name)
                try:
                    self.copy(record.require_manifest())
                except OpsError as error:
                    # A backup that was deleted meanwhile is not missing.
                    if self.is_known(record.name):
                        if not isinstance(error, ArtifactInvalid | VerificationFailed | copying.NotEncrypted):
                            raise
                        self.note(error)

    def is_known(self, name: str) -> bool:
        """Whether the backup was not deleted here meanwhile."""
        return self.catalog.storage.exists(name + MANIFEST)

    def copy(self, manifest: Manifest) -> None:
        # Each time: a directory that is no longer mounted must not fill the local disk with the rest.
        require_marker(self.catalog, self.location)
        copy = copying.copy_to(self.catalog, self.location, manifest, self.report)
        if self.record(manifest.name, copy):
            self.copied.append(manifest.name)
            self.size += copy.size

    def prune(self) -> None:
        """First the state forgets a copy, then its files are deleted: no other deletion relies on it any more."""
        present = self.location.repository.files.entries()
        now = min(clock.now(), storage_clock(self.location))
        expired = {decision.name for decision in self.decide(present, now) if not decision.keep}
        unlocked = {name for name in expired if not self.location.is_locked(name, now)}
        with self.catalog.states.locked():
            # Once more: another run may have deleted copies that the first decisions relied on.
            chosen = {each.name: each.reason for each in self.decide(present, now) if not each.keep}
            for name in unlocked & chosen.keys():
                self.catalog.delete_copy(name, self.location.name)
        for name in unlocked & chosen.keys():
            self.location.repository.delete(name)
            self.deleted[name] = chosen[name]

    def decide(self, present: Mapping[str, Entry], now: dt.datetime) -> list[RetentionDecision]:
        records = [dated_before_storage(record, present, self.location.name) for record in self.catalog.records()]
        return evaluate_location(self.context.with_current_policy(), records, self.location.name, now=now)


def storage_clock(location: Location) -> dt.datetime:
    """The newest time that the storage gave to an event; each run writes those of the runs before it.

    A clock of this machine that is set to a later year must not make its copies expire.
    """
    times = [entry.modified for entry in location.repository.files.entries(EVENTS).values()]
    return max(times, default=clock.now())


def dated_before_storage(record: BackupRecord, present: Mapping[str, Entry], location: str) -> BackupRecord:
    """The record, with a fault in `location` if its signed time is later than the storage's own.

    A manifest that a thief of the signing key has dated into the future must not push others out.
    """
    entry, copy = present.get(record.name), record.copies.get(location)
    if not (entry and copy and record.manifest) or record.manifest.taken_at <= entry.modified + CLOCK_TOLERANCE:
        return record
    error = f"It says that it was taken after it was stored ({entry.modified:%Y-%m-%d %H:%M} UTC)."
    forged = msgspec.structs.replace(copy, error=error)
    return dataclasses.replace(record, copies={**record.copies, location: forged})


def is_copyable(record: BackupRecord) -> bool:
    """Made or taken in here, and readable somewhere."""
    return record.trust is Trust.SIGNED and record.manifest is not None and not record.fault


def missing_in(context: OpsContext, records: Sequence[BackupRecord], location: Location) -> list[BackupRecord]:
    """The backups that the policy of the location keeps, and of which it has no good copy; the newest first."""
    undo_needs = pinned_by_undo(context, records)
    wanted = wanted_in(context, records, location.name, now=clock.now(), undo_needs=undo_needs)
    return [
        record
        for record in records
        if record.name in wanted
        and is_copyable(record)
        and not (location.name in record.copies and record.copies[location.name].is_good)
    ]


def forget_vanished(catalog: BackupCatalog, location: Location) -> list[str]:
    """Forget copies that are not there any more, or have another size. Returns a sentence for each."""
    present = location.repository.files.entries()
    state = catalog.states.read(location.name)
    gone = [name for name, copy in state.copies.items() if name not in present or present[name].size != copy.size]
    if gone:
        catalog.update_state(location.name, lambda state: state.without_copies(gone))
    return [f"The copy of {name} is missing or has another size." for name in gone]


def delete_requested(catalog: BackupCatalog, location: Location) -> None:
    """Delete the files of backups that a user has deleted; those that an object lock keeps later."""
    requested = catalog.states.read(location.name).deletions
    now = min(clock.now(), storage_clock(location)) if requested else clock.now()
    names = [name for name in requested if not location.is_locked(name, now)]
    for name in names:
        if not is_of_another(location, name):
            location.repository.delete(name)
    if names:
        catalog.update_state(location.name, lambda state: state.without_deletions(names))


def remove_waiting(context: OpsContext) -> None:
    """Delete the age files in BACKUP_DIR that no location lacks, and those that it can get from another location.

    While a location fails for weeks, they would fill the disk. The newest is kept: the next run needs it most likely.
    """
    catalog = context.repository
    found = catalog.records()
    encrypted = {location.name: location for location in catalog.others.values() if location.encrypted}
    lacking = {record.name for location in encrypted.values() for record in missing_in(context, found, location)}
    held = {record.name for record in found if encrypted.keys() & set(record.reachable)}
    copying.remove_waiting(catalog, (lacking - held) | set(sorted(lacking)[-1:]))
