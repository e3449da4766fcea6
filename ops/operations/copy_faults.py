"""What reading a copy of a backup shows: it is damaged, or its location does not answer."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

from django.db import DatabaseError

from ops.backups.locations import copying
from ops.backups.locations.survey import require_present
from ops.backups.manifest import Level, Verification
from ops.backups.record import LOCAL, BackupRecord
from ops.backups.signing import Trust
from ops.backups.sources import Reading, RestoreSource
from ops.backups.verify import new_verification
from ops.errors import ArtifactInvalid, OpsError, PreconditionFailed, VerificationFailed
from ops.runs import index
from ops.runs.context import OpsContext
from ops.utils.redaction import redact


class CopyUnreachable(PreconditionFailed):
    """The location of a copy does not answer. Nothing was changed, and the copy may be good."""


@contextlib.contextmanager
def reachable(reading: Reading) -> Iterator[None]:
    """Raises CopyUnreachable where the storage, and not the content, is why `reading` ended."""
    try:
        yield
    except (OpsError, OSError) as error:
        if found := storage_error(reading):
            raise found from error
        raise
    # A damaged copy is a result and not an error. One that could not be read to its end may look damaged.
    if found := storage_error(reading):
        raise found


def storage_error(reading: Reading) -> CopyUnreachable | None:
    failure = reading.failure
    if failure is None or isinstance(failure, ArtifactInvalid):
        return None
    return unreachable(failure)


def unreachable(error: OpsError | OSError) -> CopyUnreachable:
    if isinstance(error, OpsError):
        return CopyUnreachable(error.message, error.hint)
    return CopyUnreachable(f"{redact(str(error))}.", "Check that the storage location can be read.")


@contextlib.contextmanager
def listing() -> Iterator[None]:
    """Raises CopyUnreachable for what a storage raises."""
    try:
        yield
    except (OpsError, OSError) as error:
        raise unreachable(error) from error


# --- A verification ---------------------------------------------------------------------------------------------------


def record_outcome(
    context: OpsContext, record: BackupRecord, done: Verification, reading: Reading | None
) -> BackupRecord:
    """Record what a verification has shown. Returns the backup with it.

    A copy whose bytes differ, or that cannot be decrypted, says nothing about the backup while another location has a
    good copy. All else is about the backup itself, and is written into its manifest.
    """
    catalog, manifest = context.repository, record.require_manifest()
    if not catalog.others:
        return catalog.change(record.name, verification=done)
    with listing():
        copy = copying.examine(catalog, manifest, done.location, is_good=done.passed)
    if copy.error or done.location != LOCAL or record.local_fault:
        record = catalog.record_check(record.name, done.location, copy)
    is_unreadable = copy.error or (reading is not None and reading.failure is not None)
    if is_unreadable and others_of(record, done.location):
        return record
    return catalog.change(record.name, verification=done)


def others_of(record: BackupRecord, location: str) -> Sequence[str]:
    """The other locations with a good copy, those that answered first, and of these the nearest."""
    return [name for name in record.locations if name != location]


# --- A restore, a preview, a download ---------------------------------------------------------------------------------

OnChange = Callable[[BackupRecord], None]


@contextlib.contextmanager
def recorded_faults(context: OpsContext, source: RestoreSource, on_change: OnChange) -> Iterator[RestoreSource]:
    """The source for the block. A copy that turns out to be damaged there is recorded; `on_change` gets the backup.

    The error then names a location that has another good copy. So does the error of a location that does not answer.
    """
    reading = Reading(source)
    try:
        with listing():
            require_present(context.repository, source.location)
        with reachable(reading):
            yield reading.source
    except (ArtifactInvalid, VerificationFailed, CopyUnreachable) as error:
        if source.location:
            raise explained(context, source, error, on_change) from error
        raise


def explained(context: OpsContext, source: RestoreSource, error: OpsError, on_change: OnChange) -> OpsError:
    """`error` with the command that reads another copy, if there is one."""
    record = context.repository.get(source.name)
    message = error.message
    if not isinstance(error, CopyUnreachable) and record.trust is Trust.SIGNED:
        # A location that no longer answers, or a full disk here, leaves the first error as it is.
        with contextlib.suppress(OpsError, OSError):
            found = record_damage(context, record, source.location, message)
            if found is not record:
                on_change(found)
                record = found
                message = f"The copy of {record.name} in {source.where} is damaged. Nothing was changed. {message}"
    others = others_of(record, source.location)
    if not others:
        return error
    hint = f"There is another good copy: manage.py restore_database {record.name} --location {others[0]}"
    return type(error)(message, hint)


def record_damage(context: OpsContext, record: BackupRecord, location: str, reason: str) -> BackupRecord:
    """Read the copy once more, and record it as damaged if its bytes differ; else return the same `record`.

    If no location has a good copy any more, the backup has failed.
    """
    catalog = context.repository
    copy = copying.examine(catalog, record.require_manifest(), location, is_good=False)
    if not copy.error:
        return record
    if catalog.others:
        found = catalog.record_check(record.name, location, copy)
        if found.locations:
            return found
    failed = new_verification(Level.READ, reason, since=time.monotonic(), location=location)
    return catalog.change(record.name, verification=failed)


def update_row(record: BackupRecord) -> None:
    """For what is no run. Without a database the row is updated later, with the others."""
    with contextlib.suppress(DatabaseError):
        index.write_backup(record)
