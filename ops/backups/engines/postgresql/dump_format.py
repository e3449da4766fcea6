"""Dumps of both formats as chunks of plain SQL."""

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import IO

from ops.backups.engines.postgresql.dump_reader import DumpReader
from ops.backups.manifest import Kind
from ops.databases.postgres import client_programs
from ops.databases.postgres.client_programs import ClientPrograms
from ops.errors import ArtifactInvalid, ToolFailed
from ops.utils.progress import Progress, ProgressCallback, Stage
from ops.utils.streams import BLOCK_SIZE, blocks_of

MAGIC = b"PGDMP"
HEADER_SIZE = len(MAGIC) + 2
"""Bytes: after the magic number come the major and the minor number of the format's version."""
FIRST_READERS: dict[tuple[int, ...], int] = {(1, 15): 16, (1, 16): 17}
"""The version of PostgreSQL that introduced a version of the custom format (K_VERS in pg_backup_archiver.h)."""
EVERY_READER, NEXT_READER = 0, 19
"""For formats older and newer than those."""


def plain_sql_chunks(stream: IO[bytes], *, kind: Kind, tools_directory: Path | None) -> Iterator[bytes]:
    """The dump as plain SQL; the custom format is read by pg_restore (see `find_reader`).

    Reads `stream` to its end. Raises ArtifactInvalid for a file of the custom format that pg_restore cannot read.
    """
    if kind is not Kind.CUSTOM:
        yield from blocks_of(stream)
        return
    header = stream.read(HEADER_SIZE)
    command = client_programs.plain_text_command(find_reader(header, tools_directory))
    try:
        yield from client_programs.output_of(command, feed=chain([header], blocks_of(stream)))
    except ToolFailed as error:
        raise ArtifactInvalid(
            f"The dump cannot be read: {error.message}", "Choose another backup; this one is damaged."
        ) from error


def find_reader(header: bytes, tools_directory: Path | None) -> ClientPrograms:
    """The programs that can read a file of the custom format, which needs no server; `header` is its beginning.

    Raises PreconditionFailed where pg_restore on this machine is too old.
    """
    version = tuple(header.removeprefix(MAGIC)) if header.startswith(MAGIC) else ()
    too_new = version > max(FIRST_READERS)
    return client_programs.find_reader(
        NEXT_READER if too_new else FIRST_READERS.get(version, EVERY_READER), tools_directory
    )


def count_rows(chunks: Iterator[bytes], on_progress: ProgressCallback) -> Mapping[str, int]:
    """Rows by table. Raises ArtifactInvalid for a truncated dump."""
    reader = DumpReader(chunks)
    rows: dict[str, int] = {}
    for block in reader.blocks():
        while block.read(BLOCK_SIZE):
            on_progress(Progress(stage=Stage.VERIFY, item=block.table, done=block.size))
        rows[block.table] = rows.get(block.table, 0) + block.rows
    return rows
