"""Verify backups by reading copies of them back."""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from msgspec.structs import replace

from ops.backups import sources
from ops.backups.locations.survey import require_present
from ops.backups.manifest import Level, Verification
from ops.backups.record import LOCAL, BackupRecord
from ops.backups.restore_checks import require_engine
from ops.backups.signing import Trust
from ops.backups.sources import Reading, RestoreSource
from ops.backups.verify import new_verification, read_back
from ops.errors import ArtifactInvalid, VerificationFailed
from ops.models import Run
from ops.operations.copy_faults import CopyUnreachable, listing, others_of, reachable, record_outcome
from ops.runs.context import OpsContext
from ops.runs.executor import operation
from ops.runs.recorder import RunRecorder
from ops.runs.results import VerificationResult
from ops.utils.formatting import join_names
from ops.utils.progress import Progress, Stage

Outcome = TypeVar("Outcome")


@operation(Run.Kind.VERIFICATION)
def verify(context: OpsContext, run: RunRecorder, *, names: Sequence[str], location: str = "") -> VerificationResult:
    """Read backups back, and record the outcomes.

    The copies in the storage location `location` are read, or the nearest good ones that can be reached.

    Raises ArtifactInvalid for a backup of another kind of database, about which nothing can be found out here, and
    CopyUnreachable if no backup could be read.
    """
    require_engines(context, names)
    if len(names) == 1:
        run.set_backup(names[0])
    done: dict[str, Verification] = {}
    unread: dict[str, str] = {}
    for record in map(context.repository.get, names):
        try:
            done[record.name] = first_reachable(run, record, location, partial(verify_copy, context, run, record))
        except CopyUnreachable as error:
            unread[record.name] = error.message
            if not done and len(unread) == len(names):
                raise
    return finish(context, run, VerificationResult(verifications=done, unread=unread))


def require_engines(context: OpsContext, names: Iterable[str]) -> None:
    for record in map(context.repository.get, names):
        if record.manifest:
            require_engine(record.name, record.manifest.kind, context.engine)


def first_reachable(run: RunRecorder, record: BackupRecord, location: str, act: Callable[[str], Outcome]) -> Outcome:
    """`act` with `location`, or with the nearest one that has a good copy and answers. Raises CopyUnreachable.

    Without a good copy, the one here is examined.
    """
    *others, last = [location] if location else record.locations or (LOCAL,)
    for where in others:
        try:
            return act(where)
        except CopyUnreachable as error:
            run.log(f"{record.name} cannot be read from {where}: {error.message}")
    return act(last)


def verify_copy(context: OpsContext, run: RunRecorder, record: BackupRecord, location: str) -> Verification:
    """Read the copy in `location` back, and record the outcome if the manifest is signed here."""
    reading: Reading | None = None
    with listing():
        require_present(context.repository, location)
    try:
        reading = Reading(readable_source(context, record, location))
        manifest = reading.source.manifest
        run.report(Progress(stage=Stage.VERIFY, total=manifest.uncompressed_size if manifest else 0))
        with reachable(reading):
            done = read_back(engine=context.engine, source=reading.source, on_progress=run.report)
    except ArtifactInvalid as error:
        done = failed_verification(Level.READ, error)
    done = replace(done, location=location)
    record_if_signed(context, run, record, done, reading)
    return done


def readable_source(context: OpsContext, record: BackupRecord, location: str) -> RestoreSource:
    """Raises ArtifactInvalid if it cannot be read, PreconditionFailed if the location is not known to have a copy."""
    # Without a good copy anywhere, the error says what is wrong with the one here.
    source = sources.from_record(context.repository, record, location if record.locations or location != LOCAL else "")
    if source.trust is Trust.TAMPERED:
        raise ArtifactInvalid("Its manifest was changed after it was made.")
    return source


def failed_verification(level: Level, error: ArtifactInvalid) -> Verification:
    """Of a backup that could not even be opened."""
    return new_verification(level, error.message, since=time.monotonic())


def record_if_signed(
    context: OpsContext, run: RunRecorder, record: BackupRecord, done: Verification, reading: Reading | None
) -> None:
    """Record the outcome; a manifest that is not signed here cannot take it."""
    if record.trust is Trust.SIGNED and record.manifest:
        run.index(record_outcome(context, record, done, reading))


def finish(context: OpsContext, run: RunRecorder, result: VerificationResult) -> VerificationResult:
    """Log each outcome. The run fails if a backup did not pass, or could not be read."""
    for name, done in result.verifications.items():
        run.log(f"{name} in {done.location}: {done.level}, {done.error or 'passed'}")
        for left in done.not_kept:
            run.log(str(left))
    if not result.passed:
        failed = {name: done.error for name, done in result.verifications.items() if done.error}
        errors = "; ".join(f"{name}: {error.rstrip('.')}" for name, error in {**failed, **result.unread}.items())
        hint = hint_for(context, result, *failed)
        run.fail(VerificationFailed(f"Not every backup passed. {errors}.", hint))
    return result


def hint_for(context: OpsContext, result: VerificationResult, *failed: str) -> str:
    """Another copy of the first of these backups that has one."""
    for name in failed:
        others = others_of(context.repository.get(name), result.verifications[name].location)
        if others:
            return f"{name} has good copies in {join_names(others)}, and can be restored from there."
    return "Make a new one: backup_database" if failed else "Check the storage locations."


def newest_verified(context: OpsContext) -> BackupRecord | None:
    """The newest verified backup for this kind of database."""
    for record in context.repository.records():
        if record.verified and record.manifest and record.manifest.kind in context.engine.kinds:
            return record
    return None
