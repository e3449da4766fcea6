"""Copies rows from PostgreSQL into the staging file. One thread reads ahead while another writes."""

import os
import queue
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from psycopg2.errors import CharacterNotInRepertoire, UntranslatableCharacter
from psycopg2.extensions import connection as Connection  # noqa: N812

from ops.databases.postgres.connection import server_message
from ops.engine_migration.plan import TablePlan
from ops.engine_migration.source_sql import chunk_rows
from ops.engine_migration.target_sql import Key, all_but, key_order, key_texts
from ops.engine_migration.to_sqlite.storing import StoredColumn, store
from ops.errors import PreconditionFailed
from ops.utils import collector
from ops.utils.identifiers import quoted
from ops.utils.progress import Progress, ProgressCallback, Stage

CHUNKS_AHEAD = 3
PATIENCE = 2.0
"""Seconds that a reader has to end when it is no longer needed."""
Row = tuple[Any, ...]
ABOUT_ROWS = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, OverflowError)
"""Errors of one row: a constraint, or a value that SQLite does not take."""


@dataclass(frozen=True, kw_only=True)
class RefusedRow:
    """A row that SQLite refuses: its key, and the error."""

    key: Key
    error: Exception


@dataclass(kw_only=True)
class TableCopier:
    """Copies `table`, without the rows that have the keys `left_out`."""

    table: TablePlan
    columns: Sequence[StoredColumn]
    source: Connection
    target: sqlite3.Connection
    left_out: Sequence[Key]
    on_progress: ProgressCallback
    refused: list[RefusedRow] = field(default_factory=list, init=False)

    def run(self) -> int:
        """The number of rows that were copied. Those that SQLite does not take are in `refused`."""
        ours = ", ".join(quoted(column.column.source) for column in self.columns)
        marks = ", ".join("?" * len(self.columns))
        insert = f"INSERT INTO {quoted(self.table.source)} ({ours}) VALUES ({marks})"
        done = 0
        with collector.paused():
            for rows in read_ahead(self.chunks, partial(end_connection, self.source)):
                done += self.insert(insert, rows)
                report = Progress(stage=Stage.COPY, item=self.table.name, done=done, total=self.table.rows)
                self.on_progress(report)
        return done

    def insert(self, statement: str, rows: list[Row]) -> int:
        """Insert the rows, and put those that SQLite refuses aside. Returns how many it took."""
        before, position, width = self.target.total_changes, 0, len(self.columns)
        # Rows are only wider than the statement where their keys are needed as well.
        values = rows if self.keys_are_stored else [row[:width] for row in rows]
        while position < len(rows):
            start = self.target.total_changes
            try:
                self.target.executemany(statement, values[position:] if position else values)
                break
            except ABOUT_ROWS as error:
                # Every row before the refused one was inserted.
                position += self.target.total_changes - start
                self.refused.append(RefusedRow(key=self.key_of(rows[position]), error=error))
                position += 1
        return self.target.total_changes - before

    # --- Reading ------------------------------------------------------------------------------------------------------
    @cached_property
    def keys_are_stored(self) -> bool:
        """Whether the stored values of a key are its texts."""
        types = [self.table.column(name).type for name in self.table.key]
        return all(kind.native_order or (kind.text and kind.stored == "{c}") for kind in types)

    def key_of(self, row: Row) -> Key:
        if not self.keys_are_stored:
            return tuple(row[len(self.columns) :])
        names = [column.column.name for column in self.columns]
        return tuple(str(row[names.index(name)]) for name in self.table.key)

    def chunks(self) -> Iterator[list[Row]]:
        """The rows in the order of their keys, as Django stores them. Raises Refused."""
        selected = ", ".join(column.select for column in self.columns)
        if not self.keys_are_stored:
            selected += f", {key_texts(self.table)}"
        stored = store(self.columns)
        with self.source.cursor(name="ops_copy") as cursor:
            kept = all_but(cursor, self.table, self.left_out)
            query = f"SELECT {selected} FROM {quoted(self.table.name)} WHERE {kept} ORDER BY {key_order(self.table)}"
            try:
                cursor.execute(query)
                while rows := cursor.fetchmany(chunk_rows(self.table)):
                    yield stored(rows) if stored else rows
            except (CharacterNotInRepertoire, UntranslatableCharacter) as error:
                # Only of databases with another encoding, such as SQL_ASCII.
                raise PreconditionFailed(
                    f"{self.table.name} has a text that PostgreSQL cannot send as UTF-8: {server_message(error)}."
                    " Nothing was changed.",
                    "Correct the text in PostgreSQL, and run the command again.",
                ) from error


def end_connection(connection: Connection) -> None:
    """Let a thread fail that waits for the server, which may not answer any more."""
    with socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)


def read_ahead(chunks: Callable[[], Iterator[list[Row]]], give_up: Callable[[], None]) -> Iterator[list[Row]]:
    """What `chunks` yields, read by a thread of its own. Raises what that raises; the thread ends with the loop.

    `give_up` ends the thread where it does not end by itself.
    """
    waiting: queue.Queue[list[Row] | BaseException | None] = queue.Queue(CHUNKS_AHEAD)
    stopped = threading.Event()

    def put(item: list[Row] | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def read() -> None:
        try:
            for chunk in chunks():
                put(chunk)
                if stopped.is_set():
                    return
            put(None)
        except BaseException as error:  # noqa: BLE001 - raised again in the other thread
            put(error)

    reader = threading.Thread(target=read, name="read-ahead", daemon=True)
    reader.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        end(reader, give_up)


def end(reader: threading.Thread, give_up: Callable[[], None]) -> None:
    reader.join(PATIENCE)
    if reader.is_alive():
        give_up()
        reader.join()
