"""What people do with one backup beside proving and restoring it: keep it, note something, delete it, download it."""

from dataclasses import dataclass

from ops.backups.entries import Entry
from ops.errors import PreconditionFailed
from ops.operations.context import Site
from ops.operations.results import Done
from ops.runs import executor
from ops.runs.recorder import Request
from ops.utils.progress import Report


@dataclass(frozen=True, kw_only=True)
class Changed:
    """The backup after the change."""

    entry: Entry


def change_backup(site: Site, request: Request, report: Report) -> Done[Changed]:
    """Write into a backup's manifest. Arguments: name; keep and note where they change."""
    with executor.recorded(request, engine=site.engine, catalogue=site.catalogue, report=report) as recording:
        arguments = dict(request.arguments)
        name = arguments.pop("name")
        recording.name_backup(name)
        result = Changed(entry=site.catalogue.change(name, **arguments))
        recording.index(result.entry)
        recording.result.update(arguments)
    return Done(run=recording.id, found=recording.found, result=result)


@dataclass(frozen=True, kw_only=True)
class Deleted:
    """A backup that is gone; `size` in bytes, 0 where its manifest can not be read."""

    name: str
    size: int


def delete_backup(site: Site, request: Request, report: Report) -> Done[Deleted]:
    """Delete the backup `name` for good. Raises PreconditionFailed for the last one that is verified."""
    with executor.recorded(request, engine=site.engine, catalogue=site.catalogue, report=report) as recording:
        entry = site.catalogue.get(request.arguments["name"])
        recording.name_backup(entry.name)
        if is_last_verified(site, entry):
            raise PreconditionFailed(
                f"{entry.name} is the last verified backup. Nothing was deleted.",
                "Make another one first; then this one can be deleted.",
            )
        result = Deleted(name=entry.name, size=entry.manifest.size if entry.manifest else 0)
        site.catalogue.delete(entry.name)
        recording.forget([entry.name])
        recording.result.update(size=result.size)
    return Done(run=recording.id, found=recording.found, result=result)


def is_last_verified(site: Site, entry: Entry) -> bool:
    return entry.proven and not any(other.proven for other in site.catalogue.entries() if other.name != entry.name)


def record_download(site: Site, request: Request) -> Entry:
    """Note that somebody takes a copy of the backup `name` away. Raises OpsError where it can not be noted, or read.

    It changes nothing, so it does not wait for the database's lock.
    """
    entry = site.catalogue.get(request.arguments["name"])
    site.catalogue.open(entry).close()
    executor.note(request, engine=site.engine, catalogue=site.catalogue, backup=entry.name)
    return entry
