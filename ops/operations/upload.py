"""Upload: add a backup file that was made elsewhere, or downloaded here."""

import datetime as dt
import uuid
from typing import IO

from ops.backups.file_content import COPY_AGAIN, require_backup
from ops.backups.manifest import Kind, Manifest, Origin, TableDigest
from ops.backups.sources import from_open_file, from_start
from ops.backups.verify import count_rows
from ops.databases.migration_state import require_recorded
from ops.errors import ArtifactInvalid
from ops.models import Run
from ops.runs.context import OpsContext
from ops.runs.executor import operation
from ops.runs.recorder import RunRecorder
from ops.runs.results import UploadResult
from ops.utils.progress import Progress, Stage
from ops.utils.streams import blocks_of

NOTHING = "Nothing was kept."


@operation(Run.Kind.UPLOAD)
def upload(context: OpsContext, run: RunRecorder, *, file: IO[bytes], named: str) -> UploadResult:
    """Add `file` to the backups, unverified and untrusted. `named` is its original name.

    Raises ArtifactInvalid for a file that cannot be restored.
    """
    require_backup(named, lambda: from_start(file), outcome=NOTHING)
    source = from_open_file(file, named)
    kind = source.kind
    require_same_engine(context, kind, named)
    run.report(Progress(stage=Stage.VERIFY))
    try:
        rows = count_rows(context.engine, source, on_progress=run.report)
    except ArtifactInvalid as error:
        hint = error.hint or COPY_AGAIN
        raise ArtifactInvalid(f"{named} cannot be restored. {error.message} {NOTHING}", hint) from error
    require_recorded(rows, named, NOTHING)
    now = dt.datetime.now(dt.UTC)
    name = context.repository.next_name(kind, now)
    run.reserve_file(name)
    run.set_backup(name)
    run.report(Progress(stage=Stage.STORE, total=source.size))
    with source.open() as stream:
        stored = context.repository.store(name, blocks_of(stream))
    manifest = Manifest(
        id=str(uuid.uuid4()),
        name=name,
        kind=kind,
        engine=context.engine.kind,
        database="",
        origin=Origin.UPLOAD,
        created_by=run.requested_by,
        taken_at=now,
        duration=0,
        server_version="",
        tool_version="",
        app_version="",
        migrations=(),
        tables={table: TableDigest(rows=count, digest="") for table, count in rows.items()},
        size=stored.size,
        uncompressed_size=stored.uncompressed_size,
        sha256=stored.sha256,
        note=f"Uploaded as {named}",
        run=run.id,
        untrusted=True,
    )
    context.repository.publish(manifest)
    run.index(context.repository.get(name))
    return UploadResult(backup=name, rows=manifest.rows, tables=len(manifest.tables), size=manifest.size)


def require_same_engine(context: OpsContext, kind: Kind, named: str) -> None:
    """Raises ArtifactInvalid for a file of another kind of database."""
    if kind in context.engine.kinds:
        return
    if kind in {Kind.SQLITE, Kind.SQLITE_GZIP}:
        raise ArtifactInvalid(
            f"{named} is a SQLite file, but the live database is PostgreSQL. {NOTHING}",
            "Migrate a SQLite file to PostgreSQL with: manage.py migrate_to_postgres --sqlite-path FILE",
        )
    raise ArtifactInvalid(
        f"{named} is a dump of PostgreSQL, but the live database is SQLite. {NOTHING}",
        "Dumps of PostgreSQL can be restored on a site that runs on PostgreSQL.",
    )
