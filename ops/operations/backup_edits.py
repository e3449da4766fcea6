"""What people do with one backup beside proving and restoring it: keep it, note something, delete it, download it."""

from dataclasses import dataclass

from ops.backups.entries import BackupRecord
from ops.errors import PreconditionFailed
from ops.operations.context import OpsContext
from ops.operations.results import Done
from ops.runs import executor
from ops.runs.recorder import Request
from ops.utils.progress import ProgressCallback


@dataclass(frozen=True, kw_only=True)
class Changed:
    """The backup after the change."""

    entry: BackupRecord


def change_backup(site: OpsContext, request: Request, report: ProgressCallback) -> Done[Changed]:
    """Write into a backup's manifest. Arguments: name; keep and note where they change."""
    with executor.recorded(request, engine=site.engine, catalogue=site.catalogue, report=report) as recording:
        arguments = dict(request.arguments)
        name = arguments.pop("name")
        recording.set_backup(name)
        result = Changed(entry=site.catalogue.change(name, **arguments))
        recording.index(result.entry)
        recording.result.update(arguments)
    return Done(run=recording.id, found=recording.recovered, result=result)


@dataclass(frozen=True, kw_only=True)
class Deleted:
    """A backup that is gone; `size` in bytes, 0 where its manifest can not be read."""

    name: str
    size: int


def delete_backup(site: OpsContext, request: Request, report: ProgressCallback) -> Done[Deleted]:
    """Delete the backup `name` for good. Raises PreconditionFailed for the last one that is verified."""
    with executor.recorded(request, engine=site.engine, catalogue=site.catalogue, report=report) as recording:
        entry = site.catalogue.get(request.arguments["name"])
        recording.set_backup(entry.name)
        if is_last_verified(site, entry):
            raise PreconditionFailed(
                f"{entry.name} is the last verified backup. Nothing was deleted.",
                "Make another one first; then this one can be deleted.",
            )
        result = Deleted(name=entry.name, size=entry.manifest.size if entry.manifest else 0)
        site.catalogue.delete(entry.name)
        recording.remove_rows([entry.name])
        recording.result.update(size=result.size)
    return Done(run=recording.id, found=recording.recovered, result=result)


def is_last_verified(site: OpsContext, entry: BackupRecord) -> bool:
    return entry.verified and not any(other.verified for other in site.catalogue.entries() if other.name != entry.name)


def record_download(site: OpsContext, request: Request) -> BackupRecord:
    """Note that somebody takes a copy of the backup `name` away. Raises OpsError where it can not be noted, or read.

    It changes nothing, so it does not wait for the database's lock.
    """
    entry = site.catalogue.get(request.arguments["name"])
    site.catalogue.open(entry).close()
    executor.log_instant(request, engine=site.engine, catalogue=site.catalogue, backup=entry.name)
    return entry
