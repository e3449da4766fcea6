"""Create a backup: dump one snapshot, count and hash its tables, read the stored file back and compare."""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from ops.backups.engines.base import Engine
from ops.backups.locations.catalog import BackupCatalog
from ops.backups.losses import Baseline
from ops.backups.manifest import ExcludedTable, Kind, Manifest, Origin
from ops.backups.signing import Trust
from ops.backups.sources import from_manifest
from ops.backups.verify import read_back
from ops.errors import PreconditionFailed, VerificationFailed
from ops.utils.formatting import format_size
from ops.utils.progress import Progress, ProgressCallback, Stage

FIRST_SIZE = {Kind.SQL_GZIP: 0.1, Kind.SQL: 0.4, Kind.CUSTOM: 0.1, Kind.SQLITE_GZIP: 0.1, Kind.SQLITE: 0.9}
"""The least that a first backup takes of the size of its database: dumps have no indexes, files may shrink."""


@dataclass(frozen=True, kw_only=True)
class BackupSpec:
    """The kind of backup, and what its manifest says about it. `app_version` is the project's version.

    `excluded` maps tables whose rows are left out to the reason. `baseline` are the backups that it is compared with.
    """

    kind: Kind
    origin: Origin
    created_by: str
    run: str
    app_version: str
    excluded: Mapping[str, str]
    baseline: Baseline = field(default_factory=Baseline)
    note: str = ""
    pinned: bool = False


def create_backup(
    *, engine: Engine, repository: BackupCatalog, spec: BackupSpec, name: str, on_progress: ProgressCallback
) -> Manifest:
    """Create the backup `name` and verify it by reading it back. An error leaves nothing of it in the storage.

    A backup that has lost much of what those before it contain is suspicious, as its manifest says.

    Raises PreconditionFailed, before anything is written where the disk is too small; ToolFailed, VerificationFailed,
    and OpsError if the lock of the database was lost.
    """
    require_space(engine=engine, repository=repository, kind=spec.kind)
    try:
        manifest = write(engine=engine, repository=repository, spec=spec, name=name, on_progress=on_progress)
        on_progress(Progress(stage=Stage.VERIFY, total=manifest.uncompressed_size))
        source = from_manifest(repository, manifest, Trust.SIGNED)
        verification = read_back(engine=engine, source=source, on_progress=on_progress)
        if not verification.passed:
            raise VerificationFailed(  # noqa: TRY301
                f"The backup was written, but reading it back showed: {verification.error}. The backup was discarded.",
                "Check the disk that it was written to, and run the command again.",
            )
        manifest = spec.baseline.judge(manifest.with_verification(verification))
        # Another run would have taken the data file for one that a killed run had left, and deleted it.
        engine.require_lock()
        repository.publish(manifest)
    except BaseException:
        repository.discard(name)
        raise
    return manifest


def require_space(*, engine: Engine, repository: BackupCatalog, kind: Kind) -> None:
    """Raises PreconditionFailed where the storage is a disk with less free space than the backup will need.

    An estimate can be too low; then the disk is full while the backup is written, which ends and removes it.
    """
    free = repository.free_bytes()
    needed = expected_size(engine=engine, repository=repository, kind=kind) if free is not None else 0
    if free is not None and free < needed:
        raise PreconditionFailed(
            f"The backup needs about {format_size(needed)}, and {format_size(free)} is free in {repository.location}."
            " Nothing was written.",
            "Free some space there (manage.py prune_backups deletes old backups), or set BACKUP_DIR to another disk.",
        )


def expected_size(*, engine: Engine, repository: BackupCatalog, kind: Kind) -> int:
    """Bytes that a backup needs now: those of the newest one of this database and kind, and a quarter more.

    Without an earlier one, a share of the database's size; never more than that size; 0 where it is unknown.
    """
    size = engine.size()
    if size is None:
        return 0
    for record in repository.records():
        manifest = record.manifest
        if manifest and (manifest.engine, manifest.database, manifest.kind) == (engine.kind, engine.database, kind):
            return min(size, manifest.size + manifest.size // 4)
    return int(size * FIRST_SIZE[kind])


def write(
    *, engine: Engine, repository: BackupCatalog, spec: BackupSpec, name: str, on_progress: ProgressCallback
) -> Manifest:
    started = time.monotonic()
    on_progress(Progress(stage=Stage.SNAPSHOT))
    with engine.snapshot(kind=spec.kind, excluded=spec.excluded) as snapshot:
        on_progress(Progress(stage=Stage.DUMP, total=snapshot.size))
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
            duration=round(time.monotonic() - started, 3),
            server_version=snapshot.server_version,
            tool_version=snapshot.tool_version,
            app_version=spec.app_version,
            migrations=snapshot.migrations,
            tables=tables,
            size=stored.size,
            uncompressed_size=stored.uncompressed_size,
            sha256=stored.sha256,
            note=spec.note,
            pinned=spec.pinned,
            run=spec.run,
            metadata=dict(snapshot.metadata),
            properties=snapshot.properties,
            excluded=tuple(
                ExcludedTable(table=table, reason=reason)
                for table, reason in sorted(snapshot.excluded.items())
                if table in tables
            ),
        )
