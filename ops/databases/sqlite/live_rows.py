"""Copy rows of the live file into one that is about to be swapped in."""

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from django.db.backends.sqlite3._functions import register as register_django_functions

from ops.databases.sqlite.emptying import without_triggers
from ops.databases.sqlite.files import writing
from ops.databases.sqlite.tables import parents, stored_columns, table_names
from ops.errors import PreconditionFailed
from ops.utils.formatting import pluralize
from ops.utils.identifiers import quoted


def copy_rows(path: Path, *, live: Path, tables: Collection[str]) -> tuple[str, ...]:
    """Replace the rows of `tables` in the file at `path`, which no other program uses, by those of `live`.

    Tables and columns that one of them lacks are skipped. Returns sentences on what could not be copied; such a table
    keeps its rows. Raises PreconditionFailed where rows of other tables lose what they refer to.
    """
    with writing(path) as connection:
        # Constraints of models may use Django's functions.
        register_django_functions(connection)
        connection.execute("PRAGMA foreign_keys = OFF")
        try:
            connection.execute("ATTACH ? AS live", [f"{live.absolute().as_uri()}?mode=rw"])
            theirs = known_tables(connection, "live", tables)
        except sqlite3.Error as error:
            return (f"The rows of {', '.join(sorted(tables))} could not be read from the live database: {error}.",)
        ours = known_tables(connection, "main", tables)
        both = [(ours[key], theirs[key]) for key in sorted(ours.keys() & theirs.keys())]
        dangling = references_of_others(connection, ours)
        sentences = [sentence for pair in both for sentence in copy_table(connection, *pair)]
        sentences += remove_dangling(connection, [name for name, _ in both])
        require_no_dangling(references_of_others(connection, ours) - dangling)
    return tuple(sentences)


def lower(names: Iterable[str]) -> dict[str, str]:
    """Names by what SQLite compares: the names in lower case."""
    return {name.lower(): name for name in names}


def known_tables(connection: sqlite3.Connection, schema: str, tables: Collection[str]) -> Mapping[str, str]:
    """The tables that the file has, by their names in lower case."""
    wanted = lower(tables)
    return {key: name for key, name in lower(table_names(connection, schema)).items() if key in wanted}


def copy_table(connection: sqlite3.Connection, ours: str, theirs: str) -> Iterator[str]:
    """Copy one table in a transaction of its own. Yields a sentence where that failed."""
    live_columns = lower(stored_columns(connection, theirs, "live"))
    our_columns = lower(stored_columns(connection, ours))
    common = ", ".join(quoted(name) for key, name in our_columns.items() if key in live_columns)
    if not common:
        return
    connection.execute("BEGIN")
    try:
        with without_triggers(connection, ours):
            connection.execute(f"DELETE FROM main.{quoted(ours)}")
            # Even an INSERT of no rows would make an entry in sqlite_sequence.
            if connection.execute(f"SELECT 1 FROM live.{quoted(theirs)} LIMIT 1").fetchone():
                query = f"SELECT {common} FROM live.{quoted(theirs)}"
                connection.execute(f"INSERT INTO main.{quoted(ours)} ({common}) {query}")
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        yield f"The rows of {ours} could not be read from the live database: {error}."


def remove_dangling(connection: sqlite3.Connection, tables: Sequence[str]) -> Iterator[str]:
    """Delete rows of `tables` that refer to missing rows, and then those that refer to the deleted ones."""
    removed: Counter[str] = Counter()
    statements = [(table, statement) for table in tables for statement in dangling(connection, table)]
    before = -1
    while before != removed.total():
        before = removed.total()
        for table, statement in statements:
            with without_triggers(connection, table):
                removed[table] += connection.execute(statement).rowcount
    for table, number in sorted((+removed).items()):
        yield f"{pluralize(number, 'row')} of {table} could not be kept: the restored database lacks what it refers to."


def dangling(connection: sqlite3.Connection, table: str) -> Iterator[str]:
    """For each foreign key, the statement that deletes the rows that refer to missing rows."""
    existing = {name.lower() for name in table_names(connection)}
    keys = connection.execute(f"PRAGMA main.foreign_key_list({quoted(table)})").fetchall()
    for _, group in groupby(sorted(keys, key=lambda key: key[:2]), key=lambda key: key[0]):
        parts = list(group)
        parent = parts[0][2]
        given = " AND ".join(f"child.{quoted(key[3])} IS NOT NULL" for key in parts)
        if parent.lower() in existing:
            referred = [key[4] or primary_key(connection, parent)[key[1]] for key in parts]
            pairs = zip(parts, referred, strict=True)
            # SQLite compares with the collation of the left operand: the parent's, as for foreign keys.
            equal = " AND ".join(f"parent.{quoted(theirs)} = child.{quoted(key[3])}" for key, theirs in pairs)
            given += f" AND NOT EXISTS (SELECT 1 FROM main.{quoted(parent)} AS parent WHERE {equal})"
        yield f"DELETE FROM main.{quoted(table)} AS child WHERE {given}"


def primary_key(connection: sqlite3.Connection, table: str) -> Sequence[str]:
    """The columns of the primary key, to which a foreign key without columns refers."""
    found = connection.execute(f"PRAGMA main.table_info({quoted(table)})").fetchall()
    return [name for _, name, *_, place in sorted(found, key=lambda column: column[-1]) if place]


def references_of_others(connection: sqlite3.Connection, tables: Mapping[str, str]) -> set[tuple[str, object, str]]:
    """Rows of other tables that refer to missing rows of `tables`."""
    return {
        (table, rowid, parent)
        for table in table_names(connection)
        if table.lower() not in tables and any(parent.lower() in tables for parent in parents(connection, table))
        for _, rowid, parent, _ in connection.execute(f"PRAGMA main.foreign_key_check({quoted(table)})")
        if parent.lower() in tables
    }


def require_no_dangling(dangling: Collection[tuple[str, object, str]]) -> None:
    for table, _, parent in sorted(dangling, key=str):
        raise PreconditionFailed(
            f"The rows of {parent} are those of the live database, and {table} refers to some that it does not have."
            " Nothing was changed.",
            f"Restore into another database, and correct the rows of {table} there.",
        )
