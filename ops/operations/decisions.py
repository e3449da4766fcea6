"""Decide on suspicious backups: whether the database is right as it is in them."""

import datetime as dt

from msgspec.structs import replace

from ops.backups.manifest import Manifest
from ops.backups.suspicion import Decision, Verdict
from ops.errors import PreconditionFailed
from ops.models import Run
from ops.operations.new_backup import find_baseline
from ops.operations.prune import ours
from ops.runs.context import OpsContext
from ops.runs.executor import operation
from ops.runs.recorder import RunRecorder
from ops.runs.results import DecisionResult


@operation(Run.Kind.DECISION)
def decide_backup(context: OpsContext, run: RunRecorder, *, name: str, right: bool) -> DecisionResult:
    """Decide on a suspicious backup. Nothing is kept for the sake of a decision any more; nothing is deleted now.

    If it is right, so are the undecided ones before it, and those after it that are not suspicious compared with it. If
    it is wrong, so are all that are undecided. A decision can be changed.

    Raises PreconditionFailed for a backup that is not suspicious, and ArtifactInvalid for one that is not signed here.
    """
    record = context.repository.get(name)
    run.set_backup(record.name)
    chosen = record.require_manifest()
    if chosen.suspicion is None:
        raise PreconditionFailed(
            f"{record.name} is not suspicious. Nothing was decided.", "`manage.py list_backups` shows which one is."
        )
    others = [manifest for manifest in undecided(context) if manifest.name != chosen.name]
    later = [manifest for manifest in others if right and manifest.taken_at > chosen.taken_at]
    same = [manifest for manifest in others if manifest not in later]
    decided = [decide(context, run, manifest, right=right) for manifest in (*same, chosen)]
    decided += [decide(context, run, manifest, right=True) for manifest in later if is_explained(context, manifest)]
    last_good = (manifest.name for manifest in good_backups(context) if manifest.taken_at < chosen.taken_at)
    return DecisionResult(
        backup=chosen.name,
        right=right,
        decided=tuple(decided),
        undecided=tuple(manifest.name for manifest in undecided(context)),
        last_good=next(last_good, ""),
    )


def decide_by_restore(
    context: OpsContext, run: RunRecorder, *, restored: str, until: dt.datetime | None = None
) -> None:
    """After the restore of a good backup of this database, the undecided ones that were made after it are wrong.

    `until` is the time of the restore, if backups of the restored database may have been made since.
    """
    good = {manifest.name: manifest for manifest in good_backups(context)}
    if restored not in good:
        return
    for manifest in undecided(context):
        if manifest.taken_at > good[restored].taken_at and not (until and manifest.taken_at > until):
            run.log(f"{manifest.name} was decided to be wrong, because {restored} was restored.")
            decide(context, run, manifest, right=False)


def decide(context: OpsContext, run: RunRecorder, manifest: Manifest, *, right: bool) -> str:
    """Write the decision into the manifest. Returns the name."""
    decision = Decision(right=right, decided_by=run.requested_by, decided_at=dt.datetime.now(dt.UTC))
    run.index(context.repository.change(manifest.name, decision=decision))
    return manifest.name


def is_explained(context: OpsContext, manifest: Manifest) -> bool:
    """Whether a suspicious backup is not suspicious any more, compared with what is right now."""
    baseline = find_baseline(context, context.repository.records(), until=manifest.taken_at)
    return baseline.judge(replace(manifest, suspicion=None)).suspicion is None


def undecided(context: OpsContext) -> list[Manifest]:
    """The suspicious backups of this database that are signed here, the oldest first."""
    manifests = ours(context, context.repository.records())
    return [manifest for manifest in reversed(manifests) if manifest.verdict is Verdict.UNDECIDED]


def good_backups(context: OpsContext) -> list[Manifest]:
    """The verified backups of this database that are not suspicious, or were decided to be right, the newest first."""
    return ours(context, [record for record in context.repository.records() if record.good])
