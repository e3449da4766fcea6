"""Verify backups: read them back, or restore them into a scratch database and compare."""

import time
from collections.abc import Sequence

import msgspec

from ops.backups import sources
from ops.backups.locations import copying
from ops.backups.manifest import Level, Verification
from ops.backups.repository import LOCAL, BackupRecord
from ops.backups.restore_checks import require_engine
from ops.backups.signing import Trust
from ops.backups.verify import new_verification, read_back, restore_test
from ops.errors import ArtifactInvalid, VerificationFailed
from ops.models import Run
from ops.runs.context import OpsContext
from ops.runs.executor import operation
from ops.runs.recorder import RunRecorder
from ops.runs.results import VerificationResult
from ops.utils.progress import Progress, Stage


@operation(Run.Kind.VERIFICATION, Run.Kind.RESTORE_TEST)
def verify(context: OpsContext, run: RunRecorder, *, names: Sequence[str], location: str = "") -> VerificationResult:
    """Verify backups and record the outcomes. A run of the kind RESTORE_TEST restores them.

    The copies in the storage location `location` are read, or the nearest good ones.

    Raises ArtifactInvalid for a backup of another kind of database, about which nothing can be found out here.
    """
    for record in map(context.repository.get, names):
        if record.manifest:
            require_engine(record.name, record.manifest.kind, context.engine)
    if len(names) == 1:
        run.set_backup(names[0])
    verifications = {}
    for name in names:
        done = verifications[name] = verify_one(context, run, name, location)
        run.log(f"{name} in {done.location}: {done.level}, {done.error or 'passed'}")
        for left in done.not_kept:
            run.log(str(left))
    result = VerificationResult(verifications=verifications)
    if not result.passed:
        errors = "; ".join(f"{name}: {done.error}" for name, done in verifications.items() if done.error)
        run.fail(VerificationFailed(f"Not every backup passed. {errors}.", "Make a new one: backup_database"))
    return result


def verify_one(context: OpsContext, run: RunRecorder, name: str, location: str) -> Verification:
    """Verify one backup, and record the outcome if its manifest is signed here."""
    record = context.repository.get(name)
    where = location or next(iter(record.locations), LOCAL)
    restores = run.kind == Run.Kind.RESTORE_TEST
    try:
        source = sources.from_record(context.repository, record, location)
        if source.trust is Trust.TAMPERED:
            raise ArtifactInvalid("Its manifest was changed after it was made.")  # noqa: TRY301
        if restores:
            done = restore_test(engine=context.engine, source=source, on_progress=run.report, claims=run)
        else:
            size = source.manifest.uncompressed_size if source.manifest else 0
            run.report(Progress(stage=Stage.VERIFY, total=size))
            done = read_back(engine=context.engine, source=source, on_progress=run.report)
    except ArtifactInvalid as error:
        level = Level.RESTORED if restores else Level.READ
        done = new_verification(level, error.message, since=time.monotonic())
    done = msgspec.structs.replace(done, location=where)
    if record.trust is Trust.SIGNED and record.manifest:
        run.index(record_outcome(context, record, done))
    return done


def record_outcome(context: OpsContext, record: BackupRecord, done: Verification) -> BackupRecord:
    """A copy whose bytes differ says nothing about the backup while another location has a good copy.

    All else is about the backup itself, and is written into its manifest.
    """
    catalog, manifest = context.repository, record.require_manifest()
    if not catalog.others:
        return catalog.change(record.name, verification=done)
    copy = copying.examine(catalog, manifest, done.location, is_good=done.passed)
    if copy.error or done.location != LOCAL or record.local_fault:
        record = catalog.record_check(record.name, done.location, copy)
    if copy.error and record.locations:
        return record
    return catalog.change(record.name, verification=done)


def newest_verified(context: OpsContext) -> BackupRecord | None:
    """The newest verified backup for this kind of database."""
    for record in context.repository.records():
        if record.verified and record.manifest and record.manifest.kind in context.engine.kinds:
            return record
    return None
