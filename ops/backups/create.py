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
from ops.backups.verify import read_back
from ops.errors import VerificationFailed
from ops.utils.progress import Progress, ProgressCallback, Stage


@dataclass(frozen=True, kw_only=True)
class BackupSpec:
    """What is asked for, and what the manifest says of it. `app_version` is the project's version.

    `excluded` maps tables whose rows are left out to the reason.
    """

    kind: Kind
    origin: Origin
    created_by: str
    run: str
    app_version: str
    excluded: Mapping[str, str]
    note: str = ""
    pinned: bool = False


def create_backup(
    *, engine: Engine, repository: BackupRepository, spec: BackupSpec, name: str, on_progress: ProgressCallback
) -> Manifest:
    """Make the backup `name` and verify it by reading it back. On any error nothing of it stays in the storage.

    Raises PreconditionFailed, ToolFailed, VerificationFailed.
    """
    try:
        manifest = write(engine=engine, repository=repository, spec=spec, name=name, on_progress=on_progress)
        on_progress(Progress(stage=Stage.VERIFY, total=manifest.uncompressed_size))
        verification = require_passed(
            read_back(engine=engine, source=own_source(repository, manifest), on_progress=on_progress)
        )
        manifest = manifest.with_verification(verification)
        repository.publish(manifest)
    except BaseException:
        repository.discard(name)
        raise
    return manifest


def write(
    *, engine: Engine, repository: BackupRepository, spec: BackupSpec, name: str, on_progress: ProgressCallback
) -> Manifest:
    began = time.monotonic()
    on_progress(Progress(stage=Stage.SNAPSHOT))
    with engine.snapshot(kind=spec.kind, excluded=spec.excluded) as snapshot:
        described = snapshot.description
        on_progress(Progress(stage=Stage.DUMP, total=described.size))
        stored = repository.store(name, snapshot.stream(on_progress))
        tables = dict(snapshot.tables())
        return Manifest(
            id=str(uuid.uuid4()),
            name=name,
            kind=spec.kind,
            engine=engine.kind,
            database=engine.database,
            origin=spec.origin,
            created_by=spec.created_by,
            taken_at=snapshot.taken_at,
            duration=round(time.monotonic() - began, 3),
            server_version=described.server_version,
            tool_version=described.tool_version,
            app_version=spec.app_version,
            migrations=snapshot.migrations,
            tables=tables,
            size=stored.size,
            uncompressed_size=stored.uncompressed_size,
            sha256=stored.sha256,
            note=spec.note,
            pinned=spec.pinned,
            run=spec.run,
            metadata=dict(described.metadata),
            excluded=tuple(
                ExcludedTable(table=table, reason=reason)
                for table, reason in sorted(snapshot.excluded.items())
                if table in tables
            ),
        )


def require_passed(verification: Verification) -> Verification:
    """Raises VerificationFailed for one that did not pass."""
    if not verification.passed:
        raise VerificationFailed(
            f"The backup was written, but reading it back showed: {verification.error}. It was discarded.",
            "Check the disk that it is written to, and run the command again.",
        )
    return verification


def own_source(repository: BackupRepository, manifest: Manifest) -> RestoreSource:
    """The file that was just written, which has no manifest in the storage yet."""
    return RestoreSource(
        name=manifest.name,
        kind=manifest.kind,
        size=manifest.size,
        manifest=manifest,
        trust=Trust.SIGNED,
        opener=lambda: repository.open_file(manifest),
    )
