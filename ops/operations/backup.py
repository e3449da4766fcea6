"""Back up, verify, prune."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ops.backups import retention, sources
from ops.backups.create import BackupSpec, create_backup
from ops.backups.entries import BackupRecord
from ops.backups.manifest import Kind, Level, Manifest, Origin, Verification
from ops.backups.retention import RetentionDecision
from ops.backups.signing import Trust
from ops.backups.sources import RestoreSource
from ops.backups.stages import Stage
from ops.backups.table_policy import exclusions
from ops.backups.verify import read_back, restore_test
from ops.errors import ArtifactInvalid, VerificationFailed
from ops.models import Run
from ops.operations.context import OpsContext
from ops.operations.results import Done, as_json
from ops.runs import event_log, executor
from ops.runs.recorder import Request, RunRecorder
from ops.utils.progress import Progress, ProgressCallback


@dataclass(frozen=True, kw_only=True)
class BackedUp:
    """A backup that is proven complete, and what the retention made of all of them."""

    manifest: Manifest
    verdicts: tuple[RetentionDecision, ...]


def back_up(site: OpsContext, request: Request, report: ProgressCallback) -> Done[BackedUp]:
    """Make a backup, then prune. Arguments: kind, note, keep (all optional)."""
    with executor.recorded(request, engine=site.engine, catalogue=site.catalogue, report=report) as recording:
        by_schedule = request.origin == Run.Origin.SCHEDULE
        manifest = make_backup(site, request, recording, origin=Origin.SCHEDULED if by_schedule else Origin.MANUAL)
        recording.report(Progress(stage=Stage.PRUNE))
        result = BackedUp(manifest=manifest, verdicts=apply_retention(site, recording, last_run_failed=False))
        recording.set_backup(manifest.name)
        facts = {name: getattr(manifest, name) for name in ("rows", "size", "plain_size", "seconds")}
        recording.result.update(facts, tables=len(manifest.tables), deleted=deleted(result.verdicts))
    return Done(run=recording.id, found=recording.recovered, result=result)


def make_backup(site: OpsContext, request: Request, recording: RunRecorder, *, origin: Origin) -> Manifest:
    """One backup within a run. Raises what `create_backup` raises; nothing of it is left then."""
    arguments = request.arguments
    kind = Kind(arguments.get("kind") or site.kind())
    name = site.catalogue.next_name(kind, dt.datetime.now(dt.UTC))
    recording.reserve_file(name)
    order = BackupSpec(
        kind=kind,
        origin=origin,
        who=request.who,
        run=recording.id,
        software=site.software,
        note=arguments.get("note", ""),
        keep=bool(arguments.get("keep")),
        excluded=exclusions(),
    )
    manifest = create_backup(
        engine=site.engine, catalogue=site.catalogue, order=order, name=name, report=recording.report
    )
    recording.index(site.catalogue.get(name))
    return manifest


# --- Verify -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Verified:
    """Proofs by the name of the backup, of which some may have failed."""

    proofs: tuple[tuple[str, Verification], ...]

    @property
    def passed(self) -> bool:
        return all(proof.passed for _, proof in self.proofs)


def verify(site: OpsContext, request: Request, report: ProgressCallback) -> Done[Verified]:
    """Prove backups anew. Arguments: names (a list), restore (a drill instead of reading)."""
    with executor.recorded(request, engine=site.engine, catalogue=site.catalogue, report=report) as recording:
        names = request.arguments["names"]
        if len(names) == 1:
            recording.set_backup(names[0])
        proofs = []
        for name in names:
            proof = verify_one(site, recording, name, restore=bool(request.arguments.get("restore")))
            proofs.append((name, proof))
            recording.log(f"{name}: {proof.level}, {proof.error or 'passed'}")
        result = Verified(proofs=tuple(proofs))
        recording.result.update(as_json(result))
        if not result.passed:
            faults = "; ".join(f"{name}: {proof.fault}" for name, proof in proofs if proof.fault)
            recording.fail(VerificationFailed(f"Not every backup passed. {faults}.", "Make a new one: backup_database"))
    return Done(run=recording.id, found=recording.recovered, result=result)


def verify_one(site: OpsContext, recording: RunRecorder, name: str, *, restore: bool) -> Verification:
    """Verify, and keep the proof in the manifest where that is ours to write."""
    entry = site.catalogue.get(name)
    try:
        source = sources.from_entry(site.catalogue, entry)
        refuse_tampered(source)
        if restore:
            proof = restore_test(engine=site.engine, source=source, report=recording.report, claims=recording)
        else:
            recording.report(Progress(stage=Stage.PROVE, total=source.manifest.plain_size if source.manifest else 0))
            proof = read_back(engine=site.engine, source=source, report=recording.report)
    except ArtifactInvalid as error:
        level = Level.RESTORED if restore else Level.READ
        proof = Verification(level=level, when=dt.datetime.now(dt.UTC), seconds=0, error=error.message.rstrip("."))
    if entry.trust is Trust.SIGNED:
        recording.index(site.catalogue.change(name, proof=proof))
    return proof


def newest_verified(site: OpsContext) -> BackupRecord | None:
    """The newest backup that was made here, for this kind of database, is whole, and passed its last verification."""
    for entry in site.catalogue.entries():
        if entry.verified and entry.manifest and entry.manifest.kind in site.engine.kinds():
            return entry
    return None


def refuse_tampered(source: RestoreSource) -> None:
    """What a manifest says that was changed proves nothing."""
    if source.trust is Trust.TAMPERED:
        raise ArtifactInvalid("Its manifest was changed after it was made.")


# --- Prune --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Pruned:
    """Every backup's verdict; those not kept are deleted."""

    verdicts: tuple[RetentionDecision, ...]


def prune(site: OpsContext, request: Request, report: ProgressCallback) -> Done[Pruned]:
    """Delete what the retention lets go; nothing at all when the last backup failed."""
    with executor.recorded(request, engine=site.engine, catalogue=site.catalogue, report=report) as recording:
        recording.report(Progress(stage=Stage.PRUNE))
        result = Pruned(verdicts=apply_retention(site, recording, last_run_failed=last_backup_failed(site)))
        recording.result.update(deleted=deleted(result.verdicts), kept=sum(v.keep for v in result.verdicts))
    return Done(run=recording.id, found=recording.recovered, result=result)


def evaluate_retention(site: OpsContext, entries: Iterable[BackupRecord]) -> list[RetentionDecision]:
    """What a pruning would do with `entries` at this moment."""
    return judge(site, entries, last_run_failed=last_backup_failed(site))


def judge(site: OpsContext, entries: Iterable[BackupRecord], *, last_run_failed: bool) -> list[RetentionDecision]:
    entries = list(entries)
    return retention.evaluate(
        entries,
        now=dt.datetime.now(dt.UTC),
        policy=site.policy,
        engine=site.engine.kind,
        database=site.engine.database,
        undo_needs=pinned_by_undo(site, entries),
        last_run_failed=last_run_failed,
    )


def pinned_by_undo(site: OpsContext, entries: Sequence[BackupRecord]) -> frozenset[str]:
    """The pre-restore backups of the restore whose database is still kept."""
    undo = site.engine.undo_copy()
    return frozenset(
        entry.name
        for entry in entries
        if undo and entry.manifest and entry.manifest.origin is Origin.PRE_RESTORE and entry.manifest.run == undo.run
    )


def apply_retention(
    site: OpsContext, recording: RunRecorder, *, last_run_failed: bool
) -> tuple[RetentionDecision, ...]:
    entries = site.catalogue.entries()
    verdicts = judge(site, entries, last_run_failed=last_run_failed)
    for verdict in verdicts:
        if not verdict.keep:
            site.catalogue.delete(verdict.name)
    kept = {verdict.name: (verdict.until, verdict.reason) for verdict in verdicts if verdict.keep}
    recording.index_all([entry for entry in entries if entry.name in kept], kept)
    return tuple(verdicts)


def deleted(verdicts: Iterable[RetentionDecision]) -> dict[str, str]:
    """The names of those that went, and why."""
    return {verdict.name: verdict.reason for verdict in verdicts if not verdict.keep}


def last_backup_failed(site: OpsContext) -> bool:
    """Whether the newest backup run that has ended did not succeed."""
    last = event_log.last_ended(site.catalogue, Run.Kind.BACKUP)
    return last is not None and last.status != Run.Status.SUCCEEDED
