"""Dumps of both formats as pieces of plain text."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO

from ops.backups.engine import Columns, Rows
from ops.backups.manifest import Kind
from ops.backups.postgresql.reader import CopyBlock, DumpReader
from ops.backups.stages import Stage
from ops.errors import ArtifactInvalid, ToolFailed
from ops.postgres import tools
from ops.postgres.tools import Tools
from ops.progress import Progress, Report

PIECE = 1 << 20
"""Bytes."""
NULL = b"\\N"
ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
ESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def plain_pieces(stream: IO[bytes], *, kind: Kind, find: Callable[[], Tools]) -> Iterator[bytes]:
    """The dump as plain text; `find` gives the programs, which only the custom format needs.

    Reads `stream` to its end. Raises ArtifactInvalid for a file of the custom format that pg_restore can not read.
    """
    if kind is not Kind.CUSTOM:
        yield from iter(lambda: stream.read(PIECE), b"")
        return
    try:
        yield from tools.output_of(tools.plain_text_call(find()), feed=stream)
    except ToolFailed as error:
        raise ArtifactInvalid(
            f"The dump can not be read: {error.message}", "Choose another backup; this one is damaged."
        ) from error


def count_rows(pieces: Iterator[bytes], report: Report) -> Mapping[str, int]:
    """Rows by table. Raises ArtifactInvalid when the dump is cut off."""
    reader = DumpReader(pieces)
    rows = {}
    for item in reader:
        if isinstance(item, CopyBlock):
            while item.read(PIECE):
                report(Progress(stage=Stage.PROVE, item=item.table, done=reader.size))
            rows[item.table] = item.rows
    return rows


def read_columns(pieces: Iterator[bytes], columns: Columns) -> Mapping[str, Rows]:
    """See `ops.backups.engine.Engine`."""
    found: dict[str, Rows] = {}
    lacking = set()
    for item in DumpReader(pieces):
        if not isinstance(item, CopyBlock) or item.table not in columns:
            continue
        if not set(columns[item.table]) <= set(item.columns):
            lacking.add(item.table)
            continue
        positions = [item.columns.index(column) for column in columns[item.table]]
        # A foreign dump may bring the rows of a table in several blocks.
        found.setdefault(item.table, []).extend(rows_of(item, positions))
    return {table: rows for table, rows in found.items() if table not in lacking}


def rows_of(block: CopyBlock, positions: Sequence[int]) -> Iterator[tuple[str | None, ...]]:
    """The values at `positions` of each row. Raises ArtifactInvalid for a row that is not one of the table."""
    rest = b""
    while piece := block.read(PIECE):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            values = line.split(b"\t")
            if len(values) != len(block.columns):
                raise ArtifactInvalid(
                    f"A row of {block.table} in the dump has {len(values)} values instead of {len(block.columns)}.",
                    "Choose another backup; this one is damaged.",
                )
            yield tuple(decode_value(values[position]) for position in positions)


def decode_value(value: bytes) -> str | None:
    """A value of COPY's text format (https://www.postgresql.org/docs/current/sql-copy.html, "Text Format")."""
    if value == NULL:
        return None
    if b"\\" in value:
        value = ESCAPE.sub(unescape, value)
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise ArtifactInvalid("The dump holds text that is not UTF-8.", "Choose another backup.") from error


def unescape(match: re.Match[bytes]) -> bytes:
    code: bytes = match[1]
    if code.startswith(b"x") and len(code) > 1:
        return bytes([int(code[1:], 16)])
    if code.isdigit() and code < b"8":
        return bytes([int(code, 8) & 0xFF])
    return ESCAPES.get(code, code)
