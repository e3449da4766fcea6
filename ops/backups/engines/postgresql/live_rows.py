"""Copy rows of the live database into one that is about to be swapped in.

Both may be schemas within one database, so that all of a table is read before anything is written.
"""

import contextlib
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

import psycopg2
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.backups.engines.postgresql.excluded_tables import NAMED
from ops.backups.engines.postgresql.table_digests import normalize_output
from ops.databases.postgres.connection import ConnectionInfo, server_message
from ops.databases.postgres.queries import fetch_value
from ops.databases.postgres.savepoints import savepoint
from ops.databases.postgres.sequences import restart_sequences
from ops.errors import OpsError, PreconditionFailed
from ops.utils.formatting import pluralize
from ops.utils.identifiers import quoted

LOCK_WAIT = "10s"
"""How long to wait for a locked table of the live database."""
IN_MEMORY = 8 << 20
"""Bytes of a table's rows; more go to a temporary file."""
TABLES = f"""
WITH named AS ({NAMED})
SELECT DISTINCT c.oid, n.nspname, c.relname FROM named
JOIN pg_class AS c ON c.oid = named.oid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT c.relispartition AND n.nspname !~ '^pg_' AND n.nspname <> ALL(%s) ORDER BY 2, 3
"""
COLUMNS = """
SELECT attname FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid JOIN pg_namespace AS n ON n.oid = relnamespace
WHERE nspname = %s AND relname = %s AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""
TRIGGERS = """
SELECT tgname, tgenabled::text FROM pg_trigger
WHERE tgrelid = %s AND NOT tgisinternal AND tgenabled IN ('O', 'A') ORDER BY tgname
"""
ENABLE = {"O": "ENABLE TRIGGER", "A": "ENABLE ALWAYS TRIGGER"}
KEYS = """
SELECT conrelid, confrelid::regclass::text,
       ARRAY(SELECT attname FROM unnest(conkey) WITH ORDINALITY AS k(number, place)
             JOIN pg_attribute ON attrelid = conrelid AND attnum = number ORDER BY place)::text[],
       ARRAY(SELECT attname FROM unnest(confkey) WITH ORDINALITY AS k(number, place)
             JOIN pg_attribute ON attrelid = confrelid AND attnum = number ORDER BY place)::text[]
FROM pg_constraint WHERE contype = 'f' AND conrelid = ANY(%s::oid[]) ORDER BY conrelid, conname
"""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A table that gets rows."""

    oid: int
    schema: str
    name: str

    @property
    def quoted(self) -> str:
        return f"{quoted(self.schema)}.{quoted(self.name)}"


def copy_between(live: ConnectionInfo, target: ConnectionInfo, tables: Collection[str]) -> tuple[str, ...]:
    """As `copy_rows`, from one database into another, and commit."""
    try:
        connection = live.connect()
    except PreconditionFailed as error:
        words = error.message.rstrip(".")
        return (f"The rows of {', '.join(sorted(tables))} could not be read from the live database: {words}.",)
    with (
        contextlib.closing(connection),
        connection.cursor() as source,
        contextlib.closing(target.connect()) as other,
        other.cursor() as cursor,
    ):
        with contextlib.suppress(psycopg2.Error):
            source.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_WAIT])
        sentences = copy_rows(source, cursor, tables, renamed={})
        other.commit()
    return sentences


def copy_rows(live: Cursor, target: Cursor, tables: Collection[str], *, renamed: Mapping[str, str]) -> tuple[str, ...]:
    """Replace the rows of `tables` where `target` works by those where `live` does; nothing is committed.

    `renamed` are the schemas that have another name in the live database. Tables and columns that one side lacks are
    skipped. Returns sentences on what could not be copied; such a table keeps its rows. Raises
    PreconditionFailed where rows of other tables lose what they refer to, and OpsError.
    """
    try:
        found = find_targets(target, tables, hidden=renamed.values())
        # A table whose rows wait for a check cannot be altered.
        target.execute("SET CONSTRAINTS ALL IMMEDIATE")
        with without_triggers(target, found), deferred_constraints(target, found):
            copied, sentences = copy_tables(live, target, found, renamed)
            sentences += remove_dangling(target, copied)
        filled = [
            table.quoted for table in copied if fetch_value(target, f"SELECT EXISTS (SELECT FROM {table.quoted})")
        ]
        restart_sequences(target, dict.fromkeys(filled, 0))
    except psycopg2.Error as error:
        raise OpsError(
            f"Rows of the live database could not be written to the new one: {server_message(error)}."
            " The live database is unchanged."
        ) from error
    return tuple(sentences)


def copy_tables(
    live: Cursor, target: Cursor, tables: Sequence[Target], renamed: Mapping[str, str]
) -> tuple[list[Target], list[str]]:
    """The tables that were copied, and sentences on those that could not be copied."""
    copied, sentences = [], []
    for table in tables:
        if fault := copy_table(live, target, table, live_schema=renamed.get(table.schema, table.schema)):
            sentences.append(fault)
        else:
            copied.append(table)
    return copied, sentences


def find_targets(cursor: Cursor, names: Collection[str], *, hidden: Collection[str]) -> Sequence[Target]:
    """The tables with these names, without partitions, which are filled through their parent."""
    cursor.execute(TABLES, [list(names), [*hidden, "information_schema"]])
    return [Target(oid=oid, schema=schema, name=name) for oid, schema, name in cursor.fetchall()]


@contextlib.contextmanager
def deferred_constraints(cursor: Cursor, tables: Sequence[Target]) -> Iterator[None]:
    """Check foreign keys at the end of the block, as far as they can be deferred (Django's can)."""
    try:
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        yield
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except psycopg2.IntegrityError as error:
        names = ", ".join(table.name for table in tables)
        raise PreconditionFailed(
            f"The rows of {names} are those of the live database, and other tables refer to some that it does not"
            f" have: {server_message(error)}. Nothing was changed.",
            "Restore into another database (--to), and correct the rows there.",
        ) from error


@contextlib.contextmanager
def without_triggers(cursor: Cursor, tables: Sequence[Target]) -> Iterator[None]:
    """Disable the triggers of the tables in the block: these changes are not events of the project."""
    enabled = []
    for table in tables:
        cursor.execute(TRIGGERS, [table.oid])
        enabled += [(table, name, ENABLE[mode]) for name, mode in cursor.fetchall()]
    for table, name, _ in enabled:
        cursor.execute(f"ALTER TABLE {table.quoted} DISABLE TRIGGER {quoted(name)}")
    yield
    for table, name, enable in enabled:
        cursor.execute(f"ALTER TABLE {table.quoted} {enable} {quoted(name)}")


def copy_table(live: Cursor, target: Cursor, table: Target, *, live_schema: str) -> str:
    """Copy all rows of one table or none. Returns a sentence where it failed, or ''."""
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as spool:
        try:
            columns = read_rows(live, target, table, live_schema, spool)
        except psycopg2.Error as error:
            return f"The rows of {table.name} could not be read from the live database: {server_message(error)}."
        if not columns:
            return ""
        spool.seek(0)
        try:
            write_rows(target, table, columns, spool)
        except psycopg2.Error as error:
            # The message of the server may contain a value of the row.
            return (
                f"The rows of {table.name} in the live database do not fit the restored one ({type(error).__name__})."
            )
    return ""


def read_rows(live: Cursor, target: Cursor, table: Target, live_schema: str, spool: IO[bytes]) -> str:
    """Write the rows of the live table to `spool`. Returns the columns that both sides have, or ''."""
    ours = read_columns(target, table.schema, table.name)
    with rolled_back(live):
        theirs = read_columns(live, live_schema, table.name)
        columns = ", ".join(quoted(name) for name in ours if name in theirs)
        if columns:
            normalize_output(live)
            query = f"SELECT {columns} FROM {only(live, live_schema, table.name)}"
            live.copy_expert(f"COPY ({query}) TO STDOUT WITH (ENCODING 'UTF8')", spool)
    return columns


def read_columns(cursor: Cursor, schema: str, table: str) -> Sequence[str]:
    """The columns that are not generated; none where there is no such table."""
    cursor.execute(COLUMNS, [schema, table])
    return [name for (name,) in cursor.fetchall()]


def only(cursor: Cursor, schema: str, table: str) -> str:
    """The table in a statement: with its partitions, without tables that inherit from it."""
    name = f"{quoted(schema)}.{quoted(table)}"
    cursor.execute("SELECT relkind = 'p' FROM pg_class WHERE oid = %s::regclass", [name])
    return name if cursor.fetchone() == (True,) else f"ONLY {name}"


def write_rows(cursor: Cursor, table: Target, columns: str, spool: IO[bytes]) -> None:
    with savepoint(cursor):
        cursor.execute(f"DELETE FROM {only(cursor, table.schema, table.name)}")
        cursor.copy_expert(f"COPY {table.quoted} ({columns}) FROM STDIN WITH (ENCODING 'UTF8')", spool)


@contextlib.contextmanager
def rolled_back(cursor: Cursor) -> Iterator[None]:
    """Roll back the settings and errors of the block; the transaction continues."""
    cursor.execute("SAVEPOINT live_rows")
    try:
        yield
    finally:
        # A lost session fails at its next statement.
        with contextlib.suppress(psycopg2.Error):
            cursor.execute("ROLLBACK TO SAVEPOINT live_rows")


def remove_dangling(cursor: Cursor, tables: Sequence[Target]) -> Iterator[str]:
    """Delete rows of `tables` that refer to missing rows, and then those that refer to the deleted ones."""
    cursor.execute(KEYS, [[table.oid for table in tables]])
    names = {table.oid: table for table in tables}
    statements = [(names[oid], dangling(names[oid], *key)) for oid, *key in cursor.fetchall()]
    removed: Counter[str] = Counter()
    before = -1
    while before != removed.total():
        before = removed.total()
        for table, statement in statements:
            cursor.execute(statement)
            removed[table.name] += cursor.rowcount
    for name, number in sorted((+removed).items()):
        yield f"{pluralize(number, 'row')} of {name} could not be kept: the restored database lacks what it refers to."


def dangling(table: Target, parent: str, columns: Sequence[str], referred: Sequence[str]) -> str:
    """The statement that deletes the rows whose foreign key refers to a missing row."""
    given = " AND ".join(f"child.{quoted(column)} IS NOT NULL" for column in columns)
    pairs = zip(columns, referred, strict=True)
    equal = " AND ".join(f"parent.{quoted(theirs)} = child.{quoted(ours)}" for ours, theirs in pairs)
    return (
        f"DELETE FROM {table.quoted} AS child WHERE {given}"
        f" AND NOT EXISTS (SELECT 1 FROM {parent} AS parent WHERE {equal})"
    )
