"""Downloads: a user gets the stored file of a backup, from the nearest location that gives it."""

from collections.abc import Iterator
from dataclasses import dataclass

from ops.backups import sources
from ops.backups.manifest import Manifest
from ops.backups.record import BackupRecord
from ops.backups.sources import RestoreSource
from ops.errors import OpsError
from ops.models import Run
from ops.operations.copy_faults import recorded_faults, update_row
from ops.runs import executor
from ops.runs.context import OpsContext
from ops.runs.results import DownloadResult
from ops.utils.schema import to_json
from ops.utils.streams import blocks_of


@dataclass(frozen=True, kw_only=True)
class Download:
    """The content of a backup's file, decrypted, in blocks of at most 1 MiB; and the location that it comes from."""

    name: str
    size: int
    where: str
    location: str
    blocks: Iterator[bytes]


def start_download(context: OpsContext, run: Run) -> Download:
    """Open the nearest copy that can be read, and record that a user downloads the backup ``name``.

    A download changes nothing, so it does not need the lock of the database. Raises OpsError if no copy can be read, or
    the download cannot be recorded.
    """
    record = context.repository.get(run.arguments["name"])
    opened = open_nearest(context, record)
    run.backup = record.name
    run.result = to_json(DownloadResult(backup=record.name, location=opened.location, where=opened.where))
    executor.log_instant(context, run)
    return opened


def open_nearest(context: OpsContext, record: BackupRecord) -> Download:
    """The copy of the first location whose first block can be read."""
    manifest = record.require_file()
    *others, last = record.locations or ("",)
    for location in others:
        try:
            return open_copy(context, record, manifest, location)
        except OpsError:
            continue
    return open_copy(context, record, manifest, last)


def open_copy(context: OpsContext, record: BackupRecord, manifest: Manifest, location: str) -> Download:
    """Raises OpsError where the copy cannot be read, or is small and damaged."""
    source = sources.from_record(context.repository, record, location)
    blocks = checked_blocks(context, source)
    first = next(blocks, b"")
    return Download(
        name=manifest.name,
        size=manifest.size,
        where=source.where,
        location=source.location,
        blocks=chain(first, blocks),
    )


def checked_blocks(context: OpsContext, source: RestoreSource) -> Iterator[bytes]:
    """The file. Its last block follows after the SHA-256 was compared: a damaged copy arrives incomplete.

    A copy that turns out to be damaged is recorded.
    """
    with recorded_faults(context, source, update_row) as watched, watched.opener() as raw:
        held = b""
        for block in blocks_of(raw):
            if held:
                yield held
            held = block
    yield held


def chain(first: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """A generator, which the response closes."""
    try:
        yield first
        yield from blocks
    finally:
        close = getattr(blocks, "close", None)
        if close:
            close()
