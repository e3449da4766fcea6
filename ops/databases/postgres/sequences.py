"""The sequences that number the rows of tables: where they continue, and where they would fail.

A sequence belongs to the column that owns it, as those of Django's fields do, and to the columns whose default takes
its next value. Only columns of integers count.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.utils.identifiers import quoted

LARGEST = {"smallint": 2**15 - 1, "integer": 2**31 - 1, "bigint": 2**63 - 1}
"""The largest value of a column, and the default maximum of a sequence, by type."""
SEQUENCES = (
    "SELECT DISTINCT seqrelid::regclass::text, {table}, attname::text, atttypid::regtype::text,"
    " seqtypid::regtype::text, seqmax, seqincrement, seqcycle, relid::regclass::text"
    " FROM (SELECT objid, refobjid, refobjsubid FROM pg_depend WHERE refclassid = 'pg_class'::regclass"
    " AND classid = 'pg_class'::regclass AND deptype IN ('a', 'i')"
    " UNION ALL SELECT refobjid, adrelid, adnum FROM pg_attrdef JOIN pg_depend"
    " ON classid = 'pg_attrdef'::regclass AND objid = pg_attrdef.oid AND refclassid = 'pg_class'::regclass"
    ") AS used(seqid, relid, attnum)"
    " {join} JOIN pg_sequence ON seqrelid = seqid"
    " JOIN pg_attribute ON attrelid = relid AND pg_attribute.attnum = used.attnum"
    " WHERE atttypid IN ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype) {condition} ORDER BY 1, 2, 3"
)
OF_SCHEMA = (
    "AND relid IN (SELECT pg_class.oid FROM pg_class WHERE relnamespace = quote_ident(current_schema())::regnamespace"
    " AND has_table_privilege(pg_class.oid, 'SELECT')) AND has_sequence_privilege(seqrelid, 'SELECT')"
    # Otherwise the whole table would be read for its largest value.
    " AND EXISTS (SELECT FROM pg_index WHERE indrelid = relid AND indkey[0] = used.attnum AND indpred IS NULL)"
)


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """A sequence and a column that it numbers. `name` and `table` are SQL."""

    name: str
    table: str
    column: str
    column_type: str
    type: str
    maximum: int
    increment: int
    cycles: bool
    shown: str
    """The table, quoted where it needs that."""

    @property
    def is_narrow(self) -> bool:
        return self.maximum < LARGEST[self.column_type]

    def __str__(self) -> str:
        return f"The sequence {self.name} of {self.shown}.{self.column} ({self.column_type})"


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """The largest value of a column, and the value that its sequence gives next."""

    largest: int
    following: int


def read_sequences(cursor: Any, tables: Collection[str] | None = None) -> list[Sequence]:
    """The ascending sequences of `tables`, which are quoted; without them, of indexed columns of the current schema."""
    if tables is None:
        cursor.execute(SEQUENCES.format(table="relid::regclass::text", join="", condition=OF_SCHEMA))
    else:
        named = "JOIN unnest(%s::text[]) AS named(name) ON named.name::regclass = relid"
        cursor.execute(SEQUENCES.format(table="named.name", join=named, condition=""), [list(tables)])
    names = ("name", "table", "column", "column_type", "type", "maximum", "increment", "cycles", "shown")
    found = [Sequence(**dict(zip(names, row, strict=True))) for row in cursor.fetchall()]
    return [sequence for sequence in found if sequence.increment > 0]


def read_numbers(cursor: Any, sequences: Collection[Sequence]) -> list[Numbers]:
    """One for each of `sequences`, all at the same moment."""
    if not sequences:
        return []
    rows = [
        f"((SELECT max({quoted(sequence.column)}) FROM {sequence.table}), (SELECT last_value FROM {sequence.name}),"
        f" (SELECT is_called FROM {sequence.name}))"
        for sequence in sequences
    ]
    cursor.execute(f"VALUES {', '.join(rows)}")
    return [
        Numbers(largest=largest or 0, following=last + sequence.increment if was_called else last)
        for sequence, (largest, last, was_called) in zip(sequences, cursor.fetchall(), strict=True)
    ]


def widen_sequences(cursor: Cursor, tables: Collection[str]) -> tuple[str, ...]:
    """Give sequences of a smaller type than their column the type of the column. Returns a note for each.

    They are left over where SQL has changed the type of a column alone. One with a maximum of its own stays as it is.
    """
    notes = []
    for sequence in read_sequences(cursor, tables):
        if sequence.is_narrow and sequence.maximum == LARGEST[sequence.type]:
            cursor.execute(f"ALTER SEQUENCE {sequence.name} AS {sequence.column_type}")
            notes.append(f"{sequence} was of the type {sequence.type}. It has the type of the column now.")
    return tuple(notes)


def restart_sequences(cursor: Cursor, watermarks: Mapping[str, int]) -> None:
    """Let the sequences of the columns of tables continue after the largest value and after the table's watermark.

    The tables are quoted, and may have a schema. ``ALTER SEQUENCE`` is undone by a rollback, ``setval`` is not.
    """
    found = read_sequences(cursor, watermarks)
    lasts: dict[str, int] = {}
    first: dict[str, int] = {}
    for sequence, numbers in zip(found, read_numbers(cursor, found), strict=True):
        last = max(numbers.largest, watermarks[sequence.table], 0)
        lasts[sequence.name] = max(last, lasts.get(sequence.name, 0))
        first[sequence.name] = numbers.following
    changes: list[sql.Composable] = []
    for sequence in {sequence.name: sequence for sequence in found}.values():
        last, limit = lasts[sequence.name], sequence.maximum
        if first[sequence.name] != (following := min(last + 1, limit)):
            changes.append(
                sql.SQL("ALTER SEQUENCE {} RESTART WITH {}").format(sql.SQL(sequence.name), sql.Literal(following))
            )
        if last >= limit:
            changes.append(
                sql.SQL("SELECT setval({}::regclass, {}, true)").format(sql.Literal(sequence.name), sql.Literal(limit))
            )
    if changes:
        cursor.execute(sql.SQL("; ").join(changes))


def find_problems(cursor: Any, tables: Collection[str] | None = None) -> tuple[str, ...]:
    """A sentence for each sequence that gives numbers that exist, or ends before its column does, with SQL to type.

    Tables as in `read_sequences`. `cursor` is one of psycopg2 or of Django.
    """
    found = read_sequences(cursor, tables)
    numbers = read_numbers(cursor, found)
    return tuple(filter(None, map(explain, found, numbers)))


def explain(sequence: Sequence, numbers: Numbers) -> str:
    """A sentence on what is wrong, and SQL to type; '' where nothing is."""
    reasons, changes = [], []
    if has_ended := numbers.largest >= LARGEST[sequence.column_type]:
        reasons.append(f"has no number left: the largest is {numbers.largest}")
    if sequence.is_narrow:
        reasons.append(f"ends at {sequence.maximum}, before the column does")
        changes += [f"AS {sequence.column_type}"] if sequence.type != sequence.column_type else []
        changes.append("NO MAXVALUE")
    if sequence.cycles:
        reasons.append("starts again at its end, with numbers that exist")
        changes.append("NO CYCLE")
    if numbers.following <= numbers.largest and not has_ended:
        reasons.append(f"continues with {numbers.following}, and the largest number is {numbers.largest}")
        changes.append(f"RESTART WITH {numbers.largest + 1}")
    if not reasons:
        return ""
    fix = f" Type: ALTER SEQUENCE {sequence.name} {' '.join(changes)};" if changes else ""
    return f"{sequence} {', and '.join(reasons)}.{fix}"
