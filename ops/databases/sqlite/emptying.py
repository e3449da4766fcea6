"""Remove the rows of some tables from a copy, including what deleted rows leave in free pages."""

import contextlib
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from django.db.backends.signals import connection_created
from django.db.backends.sqlite3._functions import register as register_django_functions

from ops.databases.override import sqlite_wrapper
from ops.databases.sqlite.files import remove, sibling
from ops.databases.sqlite.snapshot import FREE_SPACE, create_private
from ops.databases.sqlite.tables import parents, reading, table_names
from ops.errors import PreconditionFailed
from ops.utils.identifiers import quoted

REGISTER_IT = "Register it for each connection of the project, in a receiver of Django's signal connection_created."


def find_tables(path: Path, names: Collection[str]) -> dict[str, str]:
    """The tables of the file with these names, in upper or lower case: the name in the file to the given one.

    Raises PreconditionFailed for a virtual table, whose rows are in tables with other names.
    """
    wanted = {name.lower(): name for name in names}
    with reading(path) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage = 0"):
            if name.lower() in wanted:
                raise PreconditionFailed(
                    f"Rows of {name} cannot be left out of backups: it is a virtual table. No backup was made.",
                    "Name the tables that store its rows instead.",
                )
        return {name: wanted[name.lower()] for name in table_names(connection) if name.lower() in wanted}


def references_to(path: Path, tables: Collection[str]) -> Sequence[tuple[str, str]]:
    """Foreign keys from other tables to these: the referring and the referenced table."""
    referred = {name.lower() for name in tables}
    with reading(path) as connection:
        return [
            (name, parent)
            for name in table_names(connection)
            if name.lower() not in referred
            for parent in parents(connection, name)
            if parent.lower() in referred
        ]


def empty_tables(path: Path, tables: Collection[str]) -> None:
    """Rewrite the file at `path`, which no other program uses, without the rows of `tables`, if there are any.

    Deleting alone would leave them, and earlier versions of them, in free pages
    (https://www.sqlite.org/pragma.html#pragma_secure_delete). Statistics have samples of indexed values, so those of
    the tables are deleted as well; AUTOINCREMENT is not reset. Raises PreconditionFailed; then `path` is unusable.
    """
    if not has_rows(path, tables):
        return
    clean = sibling(path, ".clean")
    create_private(clean)
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            register_functions(connection, path)
            # The copy is deleted when anything fails.
            for setting in ("foreign_keys = OFF", "journal_mode = OFF", "synchronous = OFF"):
                connection.execute(f"PRAGMA {setting}").fetchall()
            for table in tables:
                with without_triggers(connection, table):
                    connection.execute(f"DELETE FROM {quoted(table)}")
            for statistics in statistics_tables(connection):
                connection.executemany(f"DELETE FROM {statistics} WHERE tbl = ?", [(table,) for table in tables])
            # Unlike VACUUM alone it writes the content once, and keeps the rowids of every table.
            connection.execute("VACUUM INTO ?", [str(clean)])
        remove(path)
        clean.rename(path)
    except sqlite3.Error as error:
        raise PreconditionFailed(
            f"The copy of {path.name} could not be written without the rows of {', '.join(sorted(tables))}: {error}."
            " No backup was made.",
            REGISTER_IT if str(error).startswith("no such") else FREE_SPACE,
        ) from error
    finally:
        remove(clean)


def register_functions(connection: sqlite3.Connection, path: Path) -> None:
    """Register the functions and collations of Django and of the project, which are used to rewrite indexes."""
    register_django_functions(connection)
    wrapper = sqlite_wrapper(str(path))
    wrapper.connection = connection
    connection_created.send(sender=type(wrapper), connection=wrapper)


def has_rows(path: Path, tables: Collection[str]) -> bool:
    """Whether any of the tables has rows, or statistics on those it had."""
    with reading(path) as connection:
        holding = [f"SELECT 1 FROM {quoted(table)}" for table in tables]
        names = ", ".join("?" * len(tables))
        known = [f"SELECT 1 FROM {name} WHERE tbl IN ({names})" for name in statistics_tables(connection)]
        return any(
            connection.execute(f"{query} LIMIT 1", parameters).fetchone()
            for queries, parameters in ((holding, ()), (known, tuple(tables)))
            for query in queries
        )


def statistics_tables(connection: sqlite3.Connection) -> list[str]:
    """Where ANALYZE keeps what it found (https://www.sqlite.org/fileformat2.html#the_sqlite_stat1_table)."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'sqlite_stat[1-4]'")
    return [name for (name,) in rows.fetchall()]


@contextlib.contextmanager
def without_triggers(connection: sqlite3.Connection, table: str) -> Iterator[None]:
    """The table has no triggers in the block: what is done there is no event of the project."""
    query = "SELECT name, sql FROM main.sqlite_master WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE"
    triggers = connection.execute(query, [table]).fetchall()
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER main.{quoted(name)}")
    yield
    for _, statement in triggers:
        connection.execute(statement)
