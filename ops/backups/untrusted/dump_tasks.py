"""Tasks of the limited process for dumps: find the COPY blocks, and pass their rows on unchanged."""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ops.backups.engines.postgresql import dump_reader
from ops.backups.engines.postgresql.dump_reader import CopyBlock, DumpReader, Statement, column_rows
from ops.errors import ArtifactInvalid
from ops.utils.environment import minimal_environment
from ops.utils.streams import BLOCK_SIZE, blocks_of, open_gzip, read_gzip

MIGRATIONS = "django_migrations"
MAX_MIGRATIONS = 20_000
MAX_STATEMENTS = 250_000
MAX_NAME = 255
"""Characters of the name of an app or a migration, as in Django's table."""
MAX_ROWS_READ = 1_000_000
"""Rows of a table whose columns are read into memory."""
INSERT = re.compile(rb"INSERT\s", re.IGNORECASE)
SET_ENCODING = re.compile(rb"(?:SET\s|SELECT\s).{0,200}\bclient_encoding\b", re.IGNORECASE | re.DOTALL)
UTF8 = re.compile(rb"SET client_encoding = 'UTF-?8';")


def survey(**file: Any) -> dict[str, Any]:
    """The migrations that the dump records, and the rows of each table; the dump is read to its end marker."""
    migrations: list[list[str | None]] = []
    rows: dict[str, int] = {}
    for block in copied_blocks(plain_sql_chunks(**file)):
        if block.table == MIGRATIONS and {"app", "name"} <= set(block.columns):
            for pair in column_rows(block, ("app", "name")):
                require(
                    all(0 < len(name or "") <= MAX_NAME for name in pair), "The names of its migrations are invalid."
                )
                migrations.append(list(pair))
                require(len(migrations) <= MAX_MIGRATIONS, f"It names more than {MAX_MIGRATIONS:,} migrations.")
        while block.read(BLOCK_SIZE):
            pass
        rows[block.table] = rows.get(block.table, 0) + block.rows
    return {"migrations": migrations, "rows": rows}


def read_columns(*, columns: Mapping[str, Sequence[str]], **file: Any) -> dict[str, Any]:
    """The values of some columns as text. Tables that lack one of them are left out."""
    return dump_reader.read_columns(copied_blocks(plain_sql_chunks(**file)), columns, most=MAX_ROWS_READ)


def copy_rows(*, tables: Sequence[str], **file: Any) -> dict[str, Any]:
    """Emit each COPY block of `tables`: a frame with table and columns, frames of rows, and an empty frame.

    Returns the numbers of rows that were left out, by table.
    """
    left_out: dict[str, int] = {}
    for block in copied_blocks(plain_sql_chunks(**file)):
        if block.table not in tables:
            while block.read(BLOCK_SIZE):
                pass
            left_out[block.table] = left_out.get(block.table, 0) + block.rows
            continue
        emit(b"T", json.dumps({"table": block.table, "columns": block.columns}).encode())
        while chunk := block.read(BLOCK_SIZE):
            emit(b"R", chunk)
        emit(b"R", b"")
    return {"left_out": left_out}


def copied_blocks(text: Iterator[bytes]) -> Iterator[CopyBlock]:
    """The COPY blocks of the dump. Raises ArtifactInvalid for rows in INSERT statements, which would be lost."""
    for number, item in enumerate(DumpReader(text)):
        require(number < MAX_STATEMENTS, f"It has more than {MAX_STATEMENTS:,} statements.")
        if isinstance(item, CopyBlock):
            yield item
        else:
            check_statement(item)


def check_statement(statement: Statement) -> None:
    """Raises ArtifactInvalid for statements that would change the rows; none is executed in any case."""
    if INSERT.match(statement.text):
        raise ArtifactInvalid(
            f"The dump contains rows as INSERT statements ({statement.beginning}), which are not executed. Nothing was"
            " changed.",
            "Create the dump without --inserts, --column-inserts and --rows-per-insert: only rows of COPY are copied.",
        )
    if SET_ENCODING.match(statement.text) and not UTF8.fullmatch(statement.text):
        raise ArtifactInvalid(
            f"The dump is not in UTF-8: {statement.beginning}. Nothing was changed.",
            "Create it with pg_dump --encoding=UTF8.",
        )


def plain_sql_chunks(*, unpacked: int, kind: str, pg_restore: str = "") -> Iterator[bytes]:
    """The dump on standard input as plain text. Raises ArtifactInvalid beyond `unpacked` bytes."""
    return limited(converted(pg_restore) if kind == "dump" else standard_input(kind), unpacked)


def standard_input(kind: str) -> Iterator[bytes]:
    """The file on standard input before compression."""
    if not kind.endswith(".gz"):
        yield from blocks_of(sys.stdin.buffer)
        return
    with open_gzip(sys.stdin.buffer) as stream:
        yield from iter(lambda: read_gzip(stream, "The file"), b"")


def limited(chunks: Iterator[bytes], unpacked: int) -> Iterator[bytes]:
    """Raises ArtifactInvalid beyond `unpacked` bytes."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > unpacked:
            raise ArtifactInvalid(
                f"The file decompresses to more than {unpacked / 1e6:,.0f} MB, far more than its size suggests."
                " Nothing was changed.",
                "If you trust it, decompress it yourself (gunzip), and restore the decompressed file.",
            )
        yield chunk


def emit(kind: bytes, payload: bytes) -> None:
    """Write a frame (see `process.Frame`)."""
    sys.stdout.buffer.write(kind + len(payload).to_bytes(8, "big") + payload)
    sys.stdout.buffer.flush()


def require(condition: bool, fault: str) -> None:  # noqa: FBT001
    if not condition:
        raise ArtifactInvalid(f"The file is not a usable backup: {fault} Nothing was changed.")


def converted(pg_restore: str) -> Iterator[bytes]:
    """A dump of the custom format as pg_restore prints it, under the limits of this process, which it inherits."""
    command = [pg_restore, "--file=-", "--no-owner", "--no-privileges", "--no-tablespaces"]
    with (
        tempfile.TemporaryFile() as stderr,
        subprocess.Popen(
            command,
            env=minimal_environment(LC_ALL="C"),
            stdin=sys.stdin.buffer,
            stdout=subprocess.PIPE,
            stderr=stderr,
        ) as process,
    ):
        try:
            yield from blocks_of(process.stdout)  # type: ignore[arg-type]
            code = process.wait()
        finally:
            process.kill()
        if code:
            stderr.seek(0)
            lines = stderr.read(2000).decode(errors="replace").strip().splitlines() or ["it printed nothing"]
            raise ArtifactInvalid(f"pg_restore cannot read the dump: {lines[-1][:200]}. Nothing was changed.")
