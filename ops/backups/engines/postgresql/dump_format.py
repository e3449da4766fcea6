"""Dumps of both formats as chunks of plain SQL."""

from collections.abc import Callable, Iterator, Mapping
from typing import IO

from ops.backups.engines.base import Columns, Rows
from ops.backups.engines.postgresql.dump_reader import CopyBlock, DumpReader, column_rows
from ops.backups.manifest import Kind
from ops.databases.postgres import client_programs
from ops.databases.postgres.client_programs import ClientPrograms
from ops.errors import ArtifactInvalid, ToolFailed
from ops.utils.progress import Progress, ProgressCallback, Stage

CHUNK_SIZE = 1 << 20
"""Bytes."""


def plain_sql_chunks(stream: IO[bytes], *, kind: Kind, find_programs: Callable[[], ClientPrograms]) -> Iterator[bytes]:
    """The dump as plain SQL. Only the custom format needs `find_programs`.

    Reads `stream` to its end. Raises ArtifactInvalid for a file of the custom format that pg_restore cannot read.
    """
    if kind is not Kind.CUSTOM:
        yield from iter(lambda: stream.read(CHUNK_SIZE), b"")
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
    rows = {}
    for item in reader:
        if isinstance(item, CopyBlock):
            while item.read(CHUNK_SIZE):
                on_progress(Progress(stage=Stage.VERIFY, item=item.table, done=reader.size))
            rows[item.table] = item.rows
    return rows


def read_columns(chunks: Iterator[bytes], columns: Columns) -> Mapping[str, Rows]:
    """As `ops.backups.engines.base.Engine.read_columns`."""
    found: dict[str, Rows] = {}
    lacking = set()
    for item in DumpReader(chunks):
        if not isinstance(item, CopyBlock) or item.table not in columns:
            continue
        if not set(columns[item.table]) <= set(item.columns):
            lacking.add(item.table)
            continue
        # A dump may bring the rows of a table in several blocks.
        found.setdefault(item.table, []).extend(column_rows(item, columns[item.table]))
    return {table: rows for table, rows in found.items() if table not in lacking}
