"""Prove that PostgreSQL holds what the snapshot holds: every value of every row, in the order of the primary key.

Both sides spell a chunk of rows as one text. PostgreSQL sends only its SHA-256; where that differs, the rows are
compared value by value, so that the error can name them.
"""

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.errors import VerificationFailed
from ops.postgres.queries import fetch_row
from ops.postgres.schema import quote
from ops.progress import Progress, Report, Tally
from ops.transfer.copying import line_of
from ops.transfer.findings import excerpt
from ops.transfer.kinds import same_json
from ops.transfer.parallel import for_each, split
from ops.transfer.plan import ColumnPlan, TablePlan
from ops.transfer.preflight import SHARES, Examination
from ops.transfer.reading import chunk_rows, connect, leave_out, register_converters, rows_of, spelled
from ops.transfer.source import Snapshot
from ops.transfer.target import Workspace

NATIVE_ORDER = ("bigint", "integer", "smallint", "uuid")
"""Types that both sides sort alike by themselves; others are sorted by their text, byte for byte."""
Bound = tuple[Any, ...] | None


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some rows of one side: the SHA-256 of their text, their number, and each JSON column's documents as one array."""

    sha256: str
    rows: int
    documents: tuple[str | None, ...]

    def equals(self, other: "Chunk") -> bool:
        if (self.sha256, self.rows) != (other.sha256, other.rows):
            return False
        pairs = zip(self.documents, other.documents, strict=True)
        return all(left == right or same_json(left or "", right or "") for left, right in pairs)


class Proof:
    """Compares one table on one connection to each side."""

    def __init__(self, table: TablePlan, source: sqlite3.Connection, cursor: Cursor, seen: Examination) -> None:
        self.table = table
        self.source = source
        self.cursor = cursor
        self.odd = seen.odd.get(table.name, frozenset())
        register_converters(source, table, self.odd)
        self.kept = leave_out(source, seen.refused, table.name)
        self.keys = [table.column(name) for name in table.key]
        self.documents = [column for column in table.columns if column.kind.document]

    def compare(self, low: Bound, high: Bound) -> tuple[str, int]:
        """SHA-256 and number of the rows in a range. Raises VerificationFailed naming the first differences."""
        ours, theirs = self.read_source(low, high), self.read_target(low, high)
        if not ours.equals(theirs):
            raise self.describe_difference(low, high)
        return ours.sha256, ours.rows

    # --- The source -----------------------------------------------------------------------------------------
    def text_of(self, column: ColumnPlan) -> str:
        return spelled(column, column.kind.proof, odd=column.name in self.odd)

    def source_key(self, column: ColumnPlan) -> str:
        if column.db_type in NATIVE_ORDER and column.name not in self.odd:
            return quote(column.name)
        return f"{self.text_of(column)} COLLATE BINARY"

    def ranges(self) -> Iterator[tuple[Bound, Bound]]:
        """``(after, up_to)`` in primary-key order; None is without bound, so that no row of the target escapes."""
        keys = ", ".join(map(self.source_key, self.keys))
        low: Bound = None
        while True:
            condition, parameters = self.source_range(low, None)
            row = self.source.execute(
                f"SELECT {keys} FROM {rows_of(self.table)} WHERE {condition}"
                f" ORDER BY {keys} LIMIT 1 OFFSET {chunk_rows(self.table) - 1}",
                parameters,
            ).fetchone()
            yield low, row
            if row is None:
                return
            low = row

    def source_range(self, low: Bound, high: Bound) -> tuple[str, list[Any]]:
        keys = f"({', '.join(map(self.source_key, self.keys))})"
        marks = f"({', '.join('?' * len(self.keys))})"
        conditions = [self.kept]
        if low is not None:
            conditions.append(f"{keys} > {marks}")
        if high is not None:
            conditions.append(f"{keys} <= {marks}")
        return " AND ".join(conditions), [*(low or ()), *(high or ())]

    def source_rows(self, columns: Sequence[ColumnPlan], low: Bound, high: Bound) -> list[Any]:
        condition, parameters = self.source_range(low, high)
        order = ", ".join(map(self.source_key, self.keys))
        texts = ", ".join(map(self.text_of, columns))
        query = f"SELECT {texts} FROM {rows_of(self.table)} WHERE {condition} ORDER BY {order}"
        return self.source.execute(query, parameters).fetchall()

    def read_source(self, low: Bound, high: Bound) -> Chunk:
        condition, parameters = self.source_range(low, high)
        order = ", ".join(map(self.source_key, self.keys))
        line = line_of([self.in_line(column, self.text_of(column)) for column in self.table.columns])
        documents = "".join(
            f", ifnull({self.text_of(column)}, 'null') AS d{number}" for number, column in enumerate(self.documents)
        )
        joined = "".join(f", '[' || group_concat(d{number}) || ']'" for number in range(len(self.documents)))
        text, rows, *found = self.source.execute(
            f"SELECT CAST(group_concat(line, char(10)) AS BLOB), count(*){joined} FROM (SELECT {line} AS line"
            f"{documents} FROM {rows_of(self.table)} WHERE {condition} ORDER BY {order})",
            parameters,
        ).fetchone()
        return Chunk(sha256=hashlib.sha256(text or b"").hexdigest(), rows=rows, documents=tuple(found))

    def in_line(self, column: ColumnPlan, text: str) -> str:
        """What stands for `column` in the text of a row: of documents only whether there is one."""
        return f"{quote(column.name)} IS NULL" if column.kind.document else text

    # --- The target -----------------------------------------------------------------------------------------
    def target_range(self, low: Bound, high: Bound) -> str:
        keys = f"({', '.join(map(target_key, self.keys))})"
        conditions = ["true"]
        if low is not None:
            conditions.append(f"{keys} > {self.literals(low)}")
        if high is not None:
            conditions.append(f"{keys} <= {self.literals(high)}")
        return " AND ".join(conditions)

    def literals(self, bound: tuple[Any, ...]) -> str:
        types = (column.db_type if column.db_type in NATIVE_ORDER else "text" for column in self.keys)
        values = (self.cursor.mogrify("%s", [value]).decode() for value in bound)
        return f"({', '.join(f'{value}::{kind}' for value, kind in zip(values, types, strict=True))})"

    def target_text(self, column: ColumnPlan) -> str:
        return column.kind.target_proof.format(c=quote(column.name))

    def read_target(self, low: Bound, high: Bound) -> Chunk:
        line = " || ',' || ".join(quoted_text(self.target_line_text(column), column) for column in self.table.columns)
        documents = "".join(
            f", coalesce({self.target_text(column)}, 'null') AS d{number}"
            for number, column in enumerate(self.documents)
        )
        joined = "".join(f", '[' || string_agg(d{number}, ',') || ']'" for number in range(len(self.documents)))
        digest, rows, *found = fetch_row(
            self.cursor,
            "SELECT encode(sha256(convert_to(coalesce(string_agg(line, E'\\n'), ''), 'UTF8')), 'hex'), count(*)"
            f"{joined} FROM (SELECT {line} AS line{documents} FROM {quote(self.table.name)}"
            f" WHERE {self.target_range(low, high)} ORDER BY {', '.join(map(target_key, self.keys))}) AS chunk",
        )
        return Chunk(sha256=digest, rows=rows, documents=tuple(found))

    def target_line_text(self, column: ColumnPlan) -> str:
        return f"({quote(column.name)} IS NULL)::int::text" if column.kind.document else self.target_text(column)

    def target_rows(self, low: Bound, high: Bound) -> list[Any]:
        condition = self.target_range(low, high)
        texts = ", ".join(map(self.target_text, self.table.columns))
        self.cursor.execute(
            f"SELECT {texts} FROM {quote(self.table.name)} WHERE {condition}"
            f" ORDER BY {', '.join(map(target_key, self.keys))}"
        )
        return self.cursor.fetchall()

    # --- When they differ -------------------------------------------------------------------------------------
    def describe_difference(self, low: Bound, high: Bound) -> VerificationFailed:
        """Compare the range value by value and name the first differences."""
        columns = self.table.columns
        width = [column.name for column in columns]
        positions = [width.index(name) for name in self.table.key]
        ours = {tuple(as_text(row[p]) for p in positions): row for row in self.source_rows(columns, low, high)}
        theirs = {tuple(as_text(row[p]) for p in positions): row for row in self.target_rows(low, high)}
        lines = [f"row {', '.join(map(str, key))} is missing" for key in ours if key not in theirs]
        lines += [f"row {', '.join(map(str, key))} is not in the file" for key in theirs if key not in ours]
        for key in ours.keys() & theirs.keys():
            for column, left, right in zip(columns, ours[key], theirs[key], strict=True):
                if not is_same(column, as_text(left), right):
                    shown = f"{excerpt(as_text(left), column.name)} became {excerpt(right, column.name)}"
                    lines.append(f"row {', '.join(map(str, key))}, column {column.name}: {shown}")
        listed = "\n  ".join(sorted(lines)[:5]) or "the order of its rows"
        return VerificationFailed(f"{self.table.name}: PostgreSQL does not hold what the file holds:\n  {listed}")


def target_key(column: ColumnPlan) -> str:
    """PostgreSQL: what to sort by so that both sides sort alike."""
    if column.db_type in NATIVE_ORDER:
        return quote(column.name)
    return f'({column.kind.target_proof.format(c=quote(column.name))}) COLLATE "C"'


def is_same(column: ColumnPlan, left: Any, right: Any) -> bool:
    if column.kind.document and left is not None and right is not None:
        return same_json(left, right)
    return bool(left == right)


def as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) else value


def quoted_text(text: str, column: ColumnPlan) -> str:
    """PostgreSQL: `text` as SQLite's ``%Q`` writes it."""
    inner = f"replace({text}, '''', '''''')" if column.kind.text or text == quote(column.name) else text
    return f"coalesce('''' || {inner} || '''', 'NULL')" if column.null else f"'''' || {inner} || ''''"


@dataclass(frozen=True, kw_only=True)
class Share:
    """Some `ranges` of a table for one thread; `number` tells its place among the table's shares."""

    table: TablePlan
    number: int
    ranges: Sequence[tuple[Bound, Bound]]


def prove(
    *, tables: Sequence[TablePlan], snapshot: Snapshot, workspace: Workspace, seen: Examination, report: Report
) -> dict[str, str]:
    """SHA-256 of each table's content, equal on both sides. Raises VerificationFailed."""
    tally = Tally()
    digests: dict[tuple[str, int], list[str]] = {}

    def work(share: Share, tell: Report) -> None:
        table, found = share.table, digests.setdefault((share.table.name, share.number), [])
        with (
            contextlib.closing(connect(snapshot)) as source,
            workspace.session() as target,
            target.cursor() as cursor,
        ):
            proof = Proof(table, source, cursor, seen)
            for low, high in share.ranges:
                digest, rows = proof.compare(low, high)
                found.append(digest)
                done = tally.add(table.name, rows)
                tell(Progress(stage="verify", item=table.name, done=done, total=seen.rows_of(table)))

    with workspace.session() as target, target.cursor() as cursor, indexed(cursor, tables, seen):
        target.commit() if not workspace.shared else None
        shares = list_shares(tables, snapshot, cursor, seen)
        for_each(shares, work, threads=workspace.threads, report=report, interrupt=workspace.interrupt)
    return {table.name: digest_of(table.name, digests) for table in tables}


def digest_of(table: str, digests: Mapping[tuple[str, int], Sequence[str]]) -> str:
    parts = [part for name, number in sorted(digests) if name == table for part in digests[name, number]]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def list_shares(tables: Sequence[TablePlan], snapshot: Snapshot, cursor: Cursor, seen: Examination) -> list[Share]:
    by_size = sorted(tables, key=lambda table: -table.rows * table.bytes_per_row)
    with contextlib.closing(connect(snapshot)) as source:
        return [
            Share(table=table, number=number, ranges=ranges)
            for table in by_size
            for number, ranges in enumerate(split(list(Proof(table, source, cursor, seen).ranges()), SHARES))
        ]


@contextlib.contextmanager
def indexed(cursor: Cursor, tables: Sequence[TablePlan], seen: Examination) -> Iterator[None]:
    """While the block runs, keys of text in larger tables have an index in the order of their bytes."""
    made = []
    for table in tables:
        keys = [table.column(name) for name in table.key]
        if seen.rows_of(table) > chunk_rows(table) and any(column.kind.text for column in keys):
            listed = ", ".join(f"({target_key(column)})" for column in keys)
            made.append(f"ops_proof_{len(made)}")
            cursor.execute(f"CREATE INDEX {made[-1]} ON {quote(table.name)} ({listed})")
    yield
    for name in made:
        cursor.execute(f"DROP INDEX {name}")
