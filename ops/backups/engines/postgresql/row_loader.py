"""Copies the rows of an untrusted dump into tables that the project's migrations have created."""

import contextlib
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import psycopg2
from psycopg2 import errors, sql
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.backups.engines.base import LoadedRows, parts_left_out, rows_left_out
from ops.backups.engines.postgresql import table_digests
from ops.backups.engines.postgresql.dump_loader import copy_blocks
from ops.backups.untrusted.process import ROWS, TABLE, Frame
from ops.backups.untrusted.schema import NaturalKeyTables
from ops.databases.migration_state import MIGRATIONS_TABLE
from ops.databases.postgres.connection import server_message
from ops.databases.postgres.queries import fetch_value
from ops.errors import ArtifactInvalid, OpsError
from ops.utils.identifiers import quoted
from ops.utils.progress import Progress, ProgressCallback, Stage

SEQUENCE_RESERVE = 1000
"""The largest key must leave one in so many values of a sequence free for new rows."""
COLUMNS = """
SELECT a.attname, format_type(a.atttypid, NULL)
FROM pg_attribute AS a WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
ORDER BY a.attnum
"""
REFERENCES = """
SELECT a.attname, c.confrelid::regclass = %s::regclass
FROM pg_constraint AS c JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
WHERE c.contype = 'f' AND c.conrelid = %s::regclass AND c.confrelid = ANY(%s::regclass[])
"""
SEQUENCES = """
SELECT a.attname, pg_get_serial_sequence(%(table)s, a.attname), s.seqmax
FROM pg_attribute AS a JOIN pg_sequence AS s ON s.seqrelid = pg_get_serial_sequence(%(table)s, a.attname)::regclass
WHERE a.attrelid = %(table)s::regclass AND a.attnum > 0 AND NOT a.attisdropped
"""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A table that gets rows: its quoted name, and the types of its stored columns."""

    name: str
    types: Mapping[str, str]
    references: Mapping[str, str]
    """Columns that refer to the table of content types or of permissions."""


class RowLoader:
    """Loads one untrusted dump into one database, within the transaction of `cursor`."""

    def __init__(
        self, cursor: Cursor, keys: NaturalKeyTables, excluded: Iterable[str], on_progress: ProgressCallback
    ) -> None:
        self._cursor = cursor
        self._keys = keys
        self._report = on_progress
        self._staged: dict[str, list[tuple[str, Sequence[str]]]] = {}
        self._unmatched: dict[str, int] = {}
        self._unknown_columns: dict[str, list[str]] = {}
        self._existing = {table.qualified_name: table for table in table_digests.list_tables(cursor)}
        wanted = self._existing.keys() - {*excluded, *keys.names, MIGRATIONS_TABLE}
        self._targets = {table: self._target(table) for table in sorted(wanted)}
        self.rows: dict[str, int] = {}
        self._received = 0

    @property
    def tables(self) -> list[str]:
        """The tables of the dump to read: those that are copied, and those whose rows are matched."""
        return [*self._targets, *self._keys.names]

    def _target(self, table: str) -> Target:
        name = self._name(table)
        self._cursor.execute(COLUMNS, [name])
        types = dict(self._cursor.fetchall())
        references = {}
        keys = [self._name(key) for key in self._keys.names]
        if keys:
            self._cursor.execute(REFERENCES, [self._name(self._keys.content_types), name, keys])
            for column, is_content_type in self._cursor.fetchall():
                references[column] = self._keys.content_types if is_content_type else self._keys.permissions
        return Target(name=name, types=types, references=references)

    def _name(self, table: str) -> str:
        return self._existing[table].quoted

    # --- Loading ----------------------------------------------------------------------------------------------
    def load(self, frames: Generator[Frame]) -> LoadedRows:
        """Copy the rows of `frames` (see `dump_tasks.copy_rows`), without a commit. Raises ArtifactInvalid."""
        try:
            self._empty()
            not_copied = self._copy_all(frames)
            self._match()
            for table, parts in self._staged.items():
                if table in self._targets:
                    self._insert(table, parts)
            self._cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            self._cursor.execute("SET CONSTRAINTS ALL DEFERRED")
            for table in self._targets:
                self._set_sequences(table)
        except psycopg2.Error as error:
            raise translate_error(error) from error
        left_out_parts = parts_left_out(unmatched=self._unmatched, unknown_columns=self._unknown_columns)
        left_out = rows_left_out(not_copied, known=self._existing) + left_out_parts
        return LoadedRows(rows=dict(sorted(self.rows.items())), left_out=left_out)

    def _empty(self) -> None:
        """Delete the rows that migrations have inserted."""
        self._cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        self._cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        names = ", ".join(target.name for target in self._targets.values())
        if names:
            self._cursor.execute(f"TRUNCATE {names} RESTART IDENTITY CASCADE")

    def _copy_all(self, frames: Generator[Frame]) -> Mapping[str, int]:
        with contextlib.closing(frames):
            while (frame := next(frames)).kind == TABLE:
                header = frame.json()
                self._copy(header["table"], header["columns"], frames)
        return cast("Mapping[str, int]", frame.json()["left_out"])

    def _copy(self, table: str, columns: Sequence[str], frames: Generator[Frame]) -> None:
        target = self._targets.get(table)
        if (
            target
            and not target.references
            and set(columns) <= target.types.keys()
            and len(set(columns)) == len(columns)
        ):
            listed = sql.SQL(", ").join(map(sql.Identifier, columns))
            statement = sql.SQL("{} ({})").format(sql.SQL(target.name), listed)
            self.rows[table] = self.rows.get(table, 0) + self._copy_into(statement, frames, table)
            return
        staged = f"ops_rows_{sum(map(len, self._staged.values()))}"
        listed = sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(f"c{n}")) for n in range(len(columns)))
        # A temporary table, which is dropped at the end of the transaction in any case.
        self._cursor.execute(sql.SQL("CREATE TEMP TABLE {} ({}) ON COMMIT DROP").format(sql.Identifier(staged), listed))
        self._copy_into(sql.Identifier("pg_temp", staged), frames, table)
        self._staged.setdefault(table, []).append((staged, columns))

    def _copy_into(self, target: sql.Composable, frames: Generator[Frame], table: str) -> int:
        self._received = 0
        statement = sql.SQL("COPY {} FROM STDIN WITH (ENCODING 'UTF8')").format(target)
        try:
            copy_blocks(self._cursor, statement, self._rows_of_block(frames, table))
        except psycopg2.Error as error:
            raise translate_error(error, f"the rows of {table}") from error
        if self._cursor.rowcount != self._received:
            raise OpsError(
                f"{self._cursor.rowcount} of the {self._received} rows of {table} arrived. Nothing was changed."
            )
        return self._received

    def _rows_of_block(self, frames: Generator[Frame], table: str) -> Iterator[bytes]:
        for frame in frames:
            if frame.kind != ROWS:
                break
            if not frame.payload:
                return
            self._received += frame.payload.count(b"\n")
            self._report(Progress(stage=Stage.LOAD, item=table, done=self._received))
            yield frame.payload
        raise ArtifactInvalid(f"The rows of {table} are not followed by their end.")

    # --- Staged rows ----------------------------------------------------------------------------------------
    def _match(self) -> None:
        """Create temporary tables (before, after) of primary keys, one for each natural-key table."""
        for key in self._keys.names:
            self._cursor.execute(f"CREATE TEMP TABLE {self._matched(key)} (before bigint, after bigint) ON COMMIT DROP")
            for staged, columns in self._staged.get(key, []):
                old = {name: f"old.c{position}" for position, name in enumerate(columns)}
                query = self._natural_join(key, old)
                if query:
                    old_id = f"{old['id']}::bigint"
                    self._cursor.execute(
                        f"INSERT INTO pg_temp.{self._matched(key)} SELECT {old_id}, new.id"
                        f" FROM pg_temp.{staged} AS old {query}"
                    )

    def _natural_join(self, key: str, old: Mapping[str, str]) -> str:
        """The join of rows of the file (`old`, by column) with the table `key`; '' where columns are missing."""
        new = f"JOIN {self._name(key)} AS new"
        if key == self._keys.content_types and {"id", "app_label", "model"} <= old.keys():
            return f"{new} ON new.app_label = {old['app_label']} AND new.model = {old['model']}"
        if key == self._keys.permissions and {"id", "content_type_id", "codename"} <= old.keys():
            types = f"pg_temp.{self._matched(self._keys.content_types)}"
            return (
                f"JOIN {types} AS type ON type.before = {old['content_type_id']}::bigint"
                f" {new} ON new.content_type_id = type.after AND new.codename = {old['codename']}"
            )
        return ""

    def _matched(self, key: str) -> str:
        return f"ops_matched_{self._keys.names.index(key)}"

    def _insert(self, table: str, parts: Sequence[tuple[str, Sequence[str]]]) -> None:
        target = self._targets[table]
        for staged, columns in parts:
            position = {name: f"row.c{number}" for number, name in enumerate(columns)}
            known = [name for name in position if name in target.types]
            if unknown := [name for name in position if name not in target.types]:
                self._unknown_columns[table] = unknown
            total = int(fetch_value(self._cursor, f"SELECT count(*) FROM pg_temp.{staged}"))
            if known:
                self._cursor.execute(self._insert_query(target, staged, {name: position[name] for name in known}))
                self.rows[table] = self.rows.get(table, 0) + self._cursor.rowcount
                total -= self._cursor.rowcount
            self._unmatched[table] = self._unmatched.get(table, 0) + total

    def _insert_query(self, target: Target, staged: str, position: Mapping[str, str]) -> str:
        """Columns are cast to their types, references replaced by their matches, rows without a match skipped."""
        values, joins, condition = [], "", "true"
        for number, (name, text) in enumerate(position.items()):
            value = f"{text}::{target.types[name]}"
            if key := target.references.get(name):
                match = f"m{number}"
                joins += f" LEFT JOIN pg_temp.{self._matched(key)} AS {match} ON {match}.before = {value}"
                condition += f" AND ({text} IS NULL OR {match}.after IS NOT NULL)"
                value = f"{match}.after"
            values.append(value)
        return (
            f"INSERT INTO {target.name} ({', '.join(map(quoted, position))}) OVERRIDING SYSTEM VALUE"
            f" SELECT {', '.join(values)} FROM pg_temp.{staged} AS row{joins} WHERE {condition}"
        )

    def _set_sequences(self, table: str) -> None:
        """Raises ArtifactInvalid for keys so large that no numbers are left for new rows."""
        target = self._targets[table]
        self._cursor.execute(SEQUENCES, {"table": target.name})
        for column, sequence, most in self._cursor.fetchall():
            largest = fetch_value(self._cursor, f"SELECT coalesce(max({quoted(column)}), 0) FROM {target.name}")
            if largest > most - most // SEQUENCE_RESERVE:
                raise ArtifactInvalid(
                    f"The column {column} of {table} goes up to {largest}, which leaves no numbers for new rows."
                    " Nothing was changed.",
                    "Renumber that row in the application that made the dump, and create the dump again.",
                )
            self._cursor.execute("SELECT setval(%s::regclass, %s, %s)", [sequence, max(largest, 1), largest > 0])


def translate_error(error: psycopg2.Error, what: str = "its rows") -> OpsError:
    """A failure of the server, or ArtifactInvalid for rows that do not fit the schema."""
    message = server_message(error)
    if isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError) and not isinstance(
        error, errors.ProgramLimitExceeded
    ):
        return OpsError(f"The server failed: {message} (at: {what}). The load was rolled back; nothing was changed.")
    return ArtifactInvalid(
        f"The rows do not fit the project's schema: {message} (at: {what}). Nothing was changed.",
        "Correct the rows in the application that made the file, and create the file again.",
    )
