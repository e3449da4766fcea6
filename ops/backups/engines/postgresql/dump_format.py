"""Dumps of both formats as chunks of plain SQL."""

from collections.abc import Callable, Iterator, Mapping
from typing import IO

from ops.backups.engines.postgresql.dump_reader import DumpReader
from ops.backups.manifest import Kind
from ops.databases.postgres import client_programs
from ops.databases.postgres.client_programs import ClientPrograms
from ops.errors import ArtifactInvalid, ToolFailed
from ops.utils.progress import Progress, ProgressCallback, Stage
from ops.utils.streams import BLOCK_SIZE, blocks_of


def plain_sql_chunks(stream: IO[bytes], *, kind: Kind, find_programs: Callable[[], ClientPrograms]) -> Iterator[bytes]:
    """The dump as plain SQL. Only the custom format needs `find_programs`.

    Reads `stream` to its end. Raises ArtifactInvalid for a file of the custom format that pg_restore cannot read.
    """
    if kind is not Kind.CUSTOM:
        yield from blocks_of(stream)
        return
    try:
        yield from client_programs.output_of(client_programs.plain_text_command(find_programs()), feed=stream)
    except ToolFailed as error:
        raise ArtifactInvalid(
            f"The dump cannot be read: {error.message}", "Choose another backup; this one is damaged."
        ) from error


def count_rows(chunks: Iterator[bytes], on_progress: ProgressCallback) -> Mapping[str, int]:
    """Rows by table. Raises ArtifactInvalid for a truncated dump."""
    reader = DumpReader(chunks)
    rows: dict[str, int] = {}
    for block in reader.blocks():
        while block.read(BLOCK_SIZE):
            on_progress(Progress(stage=Stage.VERIFY, item=block.table, done=reader.size))
        rows[block.table] = rows.get(block.table, 0) + block.rows
    return rows
