"""Taking in a backup file that somebody else has made, or that was taken away from here."""

import datetime as dt
import uuid
from dataclasses import dataclass
from pathlib import Path

from ops.backups.compression import blocks_of, decompressed
from ops.backups.manifest import Kind, Manifest, Origin, TableDigest
from ops.backups.sources import from_file, kind_of
from ops.backups.stages import Stage
from ops.backups.verify import count_rows
from ops.errors import ArtifactInvalid
from ops.operations.context import OpsContext
from ops.operations.results import Done
from ops.runs import executor
from ops.runs.recorder import Request, RunRecorder
from ops.utils.progress import Progress, ProgressCallback


@dataclass(frozen=True, kw_only=True)
class Uploaded:
    """A file that is among the backups now, for what it is worth."""

    manifest: Manifest


def upload(site: OpsContext, request: Request, report: ProgressCallback) -> Done[Uploaded]:
    """Put a file among the backups, unproven and untrusted. Arguments: file (a path), named (what its owner calls it).

    Raises ArtifactInvalid for a file that no restore could read.
    """
    with executor.recorded(request, engine=site.engine, catalogue=site.catalogue, report=report) as recording:
        manifest = import_file(site, request, recording)
        recording.index(site.catalogue.get(manifest.name))
        recording.result.update(rows=manifest.rows, tables=len(manifest.tables), size=manifest.size)
    return Done(run=recording.id, found=recording.recovered, result=Uploaded(manifest=manifest))


def import_file(site: OpsContext, request: Request, recording: RunRecorder) -> Manifest:
    path, named = Path(request.arguments["file"]), request.arguments["named"]
    kind = kind_of(path)
    require_same_engine(site, kind, named)
    recording.report(Progress(stage=Stage.PROVE))
    counts = count_rows(site.engine, from_file(path), report=recording.report)
    now = dt.datetime.now(dt.UTC)
    name = site.catalogue.next_name(kind, now)
    recording.reserve_file(name)
    recording.set_backup(name)
    recording.report(Progress(stage=Stage.STORE, total=path.stat().st_size))
    with path.open("rb") as raw, decompressed(raw, kind) as stream:
        stored = site.catalogue.store(name, blocks_of(stream))
    manifest = Manifest(
        id=str(uuid.uuid4()),
        name=name,
        kind=kind,
        engine=site.engine.kind,
        database="",
        origin=Origin.UPLOAD,
        who=request.who,
        when=now,
        seconds=0,
        server_version="",
        tool_version="",
        software="",
        migrations=(),
        tables={table: TableDigest(rows=rows, digest="") for table, rows in counts.items()},
        size=stored.size,
        plain_size=stored.plain_size,
        sha256=stored.sha256,
        note=f"Uploaded as {named}",
        run=recording.id,
        untrusted=True,
    )
    site.catalogue.publish(manifest)
    return manifest


def require_same_engine(site: OpsContext, kind: Kind, named: str) -> None:
    """Raises ArtifactInvalid for a file of another kind of database."""
    if kind not in site.engine.kinds():
        theirs = "SQLite" if kind in {Kind.SQLITE, Kind.SQLITE_GZIP} else "PostgreSQL"
        raise ArtifactInvalid(
            f"{named} is no backup for this database: it looks like one of {theirs}. Nothing was kept.",
            "A SQLite file is moved to PostgreSQL with: manage.py migrate_to_postgres --sqlite-path FILE",
        )
