"""Dumps of both formats as pieces of plain text."""

from collections.abc import Callable, Iterator, Mapping
from typing import IO

from ops.backups.engines.base import Columns, Rows
from ops.backups.engines.postgresql.dump_reader import CopyBlock, DumpReader, column_rows
from ops.backups.manifest import Kind
from ops.databases.postgres import client_programs
from ops.databases.postgres.client_programs import ClientPrograms
from ops.errors import ArtifactInvalid, ToolFailed
from ops.utils.progress import Progress, ProgressCallback, Stage

PIECE = 1 << 20
"""Bytes."""


def plain_sql_chunks(stream: IO[bytes], *, kind: Kind, find: Callable[[], ClientPrograms]) -> Iterator[bytes]:
    """The dump as plain text; `find` gives the programs, which only the custom format needs.

    Reads `stream` to its end. Raises ArtifactInvalid for a file of the custom format that pg_restore can not read.
    """
    if kind is not Kind.CUSTOM:
        yield from iter(lambda: stream.read(PIECE), b"")
        return
    try:
        yield from client_programs.output_of(client_programs.plain_text_command(find()), feed=stream)
    except ToolFailed as error:
        raise ArtifactInvalid(
            f"The dump can not be read: {error.message}", "Choose another backup; this one is damaged."
        ) from error


def count_rows(pieces: Iterator[bytes], on_progress: ProgressCallback) -> Mapping[str, int]:
    """Rows by table. Raises ArtifactInvalid when the dump is cut off."""
    reader = DumpReader(pieces)
    rows = {}
    for item in reader:
        if isinstance(item, CopyBlock):
            while item.read(PIECE):
                on_progress(Progress(stage=Stage.VERIFY, item=item.table, done=reader.size))
            rows[item.table] = item.rows
    return rows


def read_columns(pieces: Iterator[bytes], columns: Columns) -> Mapping[str, Rows]:
    """See `ops.backups.engines.base.Engine`."""
    found: dict[str, Rows] = {}
    lacking = set()
    for item in DumpReader(pieces):
        if not isinstance(item, CopyBlock) or item.table not in columns:
            continue
        if not set(columns[item.table]) <= set(item.columns):
            lacking.add(item.table)
            continue
        # A dump may bring the rows of a table in several blocks.
        found.setdefault(item.table, []).extend(column_rows(item, columns[item.table]))
    return {table: rows for table, rows in found.items() if table not in lacking}
