"""Making a backup: one snapshot, dumped, counted and hashed; read back and compared before it counts as one."""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from ops.backups.engines.base import Engine
from ops.backups.manifest import ExcludedTable, Kind, Manifest, Origin, Verification
from ops.backups.repository import BackupRepository
from ops.backups.signing import Trust
from ops.backups.sources import RestoreSource
from ops.backups.stages import Stage
from ops.backups.verify import read_back
from ops.errors import VerificationFailed
from ops.utils.progress import Progress, ProgressCallback


@dataclass(frozen=True, kw_only=True)
class BackupSpec:
    """What is asked for, and what the manifest says of it. `software` is the project's version.

    `excluded` maps tables whose rows are left out to the reason.
    """

    kind: Kind
    origin: Origin
    who: str
    run: str
    software: str
    excluded: Mapping[str, str]
    note: str = ""
    keep: bool = False


def create_backup(
    *, engine: Engine, catalogue: BackupRepository, order: BackupSpec, name: str, report: ProgressCallback
) -> Manifest:
    """Make the backup `name` and prove it ``complete``. On any error nothing of it stays in the storage.

    Raises PreconditionFailed, ToolFailed, VerificationFailed.
    """
    try:
        manifest = write(engine=engine, catalogue=catalogue, order=order, name=name, report=report)
        report(Progress(stage=Stage.PROVE, total=manifest.plain_size))
        proof = require_passed(read_back(engine=engine, source=own_source(catalogue, manifest), report=report))
        manifest = manifest.with_verification(proof)
        catalogue.publish(manifest)
    except BaseException:
        catalogue.discard(name)
        raise
    return manifest


def write(
    *, engine: Engine, catalogue: BackupRepository, order: BackupSpec, name: str, report: ProgressCallback
) -> Manifest:
    began = time.monotonic()
    report(Progress(stage=Stage.SNAPSHOT))
    with engine.snapshot(kind=order.kind, excluded=order.excluded) as snapshot:
        described = snapshot.description
        report(Progress(stage=Stage.DUMP, total=described.size))
        stored = catalogue.store(name, snapshot.stream(report))
        tables = snapshot.tables()
        return Manifest(
            id=str(uuid.uuid4()),
            name=name,
            kind=order.kind,
            engine=engine.kind,
            database=engine.database,
            origin=order.origin,
            who=order.who,
            when=snapshot.when,
            seconds=round(time.monotonic() - began, 3),
            server_version=described.server_version,
            tool_version=described.tool_version,
            software=order.software,
            migrations=snapshot.migrations,
            tables=tables,
            size=stored.size,
            plain_size=stored.plain_size,
            sha256=stored.sha256,
            note=order.note,
            keep=order.keep,
            run=order.run,
            facts=described.facts,
            excluded=tuple(
                ExcludedTable(table=table, reason=reason)
                for table, reason in sorted(snapshot.excluded.items())
                if table in tables
            ),
        )


def require_passed(proof: Verification) -> Verification:
    """Raises VerificationFailed for a proof that did not pass."""
    if not proof.passed:
        raise VerificationFailed(
            f"The backup was written, but reading it back showed: {proof.error}. It was thrown away.",
            "Look at the disk it is written to, and run the command again.",
        )
    return proof


def own_source(catalogue: BackupRepository, manifest: Manifest) -> RestoreSource:
    """The file that was just written, which has no manifest in the storage yet."""
    return RestoreSource(
        name=manifest.name,
        kind=manifest.kind,
        size=manifest.size,
        manifest=manifest,
        trust=Trust.SIGNED,
        opener=lambda: catalogue.open_file(manifest),
    )
