"""Dumps of both formats as pieces of plain text."""

from collections.abc import Callable, Iterator, Mapping
from typing import IO

from ops.backups.manifest import Kind
from ops.backups.postgresql.reader import CopyBlock, DumpReader
from ops.backups.stages import Stage
from ops.errors import ArtifactInvalid, ToolFailed
from ops.postgres import tools
from ops.postgres.tools import Tools
from ops.progress import Progress, Report

PIECE = 1 << 20
"""Bytes."""
ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


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


def read_keys(pieces: Iterator[bytes], columns: Mapping[str, str]) -> Mapping[str, frozenset[str]]:
    """The values of one column of each table in `columns`. A table that the dump does not have is left out."""
    found = {}
    for item in DumpReader(pieces):
        if isinstance(item, CopyBlock) and columns.get(item.table) in item.columns:
            found[item.table] = frozenset(column_values(item, item.columns.index(columns[item.table])))
    return found


def column_values(block: CopyBlock, number: int) -> Iterator[str]:
    """Column `number` of each row; NULLs are left out."""
    rest = b""
    while piece := block.read(PIECE):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            value = line.split(b"\t", number + 1)[number]
            if value != b"\\N":
                yield decode_value(value)


def decode_value(value: bytes) -> str:
    """A value of COPY's text format (https://www.postgresql.org/docs/current/sql-copy.html, "Text Format")."""
    first, *escaped = value.decode().split("\\")
    text = [first]
    parts = iter(escaped)
    for part in parts:
        if part:
            text.append(ESCAPES.get(part[0], part[0]) + part[1:])
        else:
            # Two backslashes are one; what follows them belongs to no escape.
            text.append("\\" + next(parts, ""))
    return "".join(text)
