"""Makes the plan: the tables of the new file, compared with those of the database."""

import contextlib
from collections.abc import Iterator, Sequence

from django.db.backends.base.base import BaseDatabaseWrapper

from ops.databases.sqlite.snapshot import Snapshot
from ops.engine_migration.catalog import match_tables
from ops.engine_migration.names import folded, in_postgres, table_in_postgres, table_in_sqlite
from ops.engine_migration.plan import Plan, Skipped, TablePlan
from ops.engine_migration.planner import NOT_MIGRATED, Planner, concrete_models
from ops.engine_migration.source_sql import connect
from ops.engine_migration.sqlite_schema import SourceSchema
from ops.engine_migration.to_sqlite.source import DatabaseSnapshot
from ops.engine_migration.types.datetimes import source_zone
from ops.errors import PreconditionFailed

REASONS = {
    **{name: reason.replace("in PostgreSQL", "in SQLite") for name, reason in NOT_MIGRATED.items()},
    "django_migrations": "created in the file by `migrate`",
}

VIRTUAL = "a virtual table in SQLite, such as a search index: fill it there"
FOREIGN = "f"
"""The kind of a table whose rows are in another database."""


def make_plan(
    file: Snapshot,
    database: DatabaseSnapshot,
    *,
    sqlite: BaseDatabaseWrapper,
    postgres: BaseDatabaseWrapper,
    skip: frozenset[str],
) -> Plan:
    """The plan of the migration of `database` to the `file`, which has the tables and no rows yet.

    It is that of the other direction, so that both agree on the type and the form of each column. The numbers of rows
    are not known yet. Raises PreconditionFailed.
    """
    if missing := sorted(skip - database.tables.keys()):
        raise PreconditionFailed(
            f"--skip-table {missing[0]}: the database has no such table. Nothing was changed.",
            f"It has: {', '.join(sorted(database.tables))}.",
        )
    names = {table_in_postgres(model): table_in_sqlite(model) for model in concrete_models()}
    with contextlib.closing(connect(file)) as connection:
        planner = Planner(
            connection=connection,
            sqlite=sqlite,
            postgres=postgres,
            legacy=None,
            zone=source_zone(sqlite, None),
            skip=frozenset(names[name] for name in skip if name in names),
        )
        planned = planner.build().tables
        for table in planned:
            require_columns(table, database)
        tables = match_tables(planned, database.tables)
        schema = planner.schema
    virtual = {folded(name) for name in (*schema.virtual, *schema.shadow)}
    reasons = {name: VIRTUAL for name, ours in names.items() if folded(ours) in virtual}
    reasons |= {**REASONS, **dict.fromkeys(skip, "by --skip-table")}
    return Plan(
        format="a database of this project",
        tables=tables,
        skipped=tuple(
            Skipped(table=name, rows=database.count(name), reason=reasons[name])
            for name in database.tables
            if name in reasons
        ),
        unknown=tuple(find_unknown(database, tables, reasons)),
        notes=tuple(notes_on(schema)),
    )


def notes_on(schema: SourceSchema) -> Iterator[str]:
    """What Django's migrations have made in the new file besides tables."""
    for name in schema.virtual:
        yield f"{name} is a virtual table of SQLite, such as a search index: it is empty in the file, so fill it there."
    if triggers := [name for kind, name in schema.views_and_triggers if kind == "trigger"]:
        yield f"Triggers of the file did not run for the rows that were copied: {', '.join(sorted(triggers))}."


def require_columns(table: TablePlan, database: DatabaseSnapshot) -> None:
    """Raises PreconditionFailed where the database lacks the table or a column of it, or has it elsewhere."""
    found = database.tables.get(table.name)
    if not found:
        raise PreconditionFailed(
            f"{database.address} has no table {table.name}, which the migrations create. Nothing was changed.",
            "Create the table, or restore a backup that has it.",
        )
    if found.kind == FOREIGN:
        raise PreconditionFailed(
            f"{table.name} is a foreign table in {database.address}: its rows are not part of a snapshot. Nothing was"
            " changed.",
            f"Skip the table, and copy its rows from their own database: --skip-table {table.name}",
        )
    for column in table.columns:
        if in_postgres(column.name) not in found.columns:
            raise PreconditionFailed(
                f"{database.address} has no column {column.name} in the table {table.name}, which the migrations"
                " create. Nothing was changed.",
                f"Create the column, or skip the table: --skip-table {table.name}",
            )


def find_unknown(
    database: DatabaseSnapshot, planned: Sequence[TablePlan], skipped: dict[str, str]
) -> Iterator[Skipped]:
    by_name = {table.name: table for table in planned}
    for name, found in database.tables.items():
        if name in skipped:
            continue
        if name not in by_name:
            yield Skipped(table=name, rows=database.count(name), reason="no model has this table")
            continue
        known = {in_postgres(column.name) for column in by_name[name].columns}
        for column in found.columns.values():
            if column.name not in known and not column.generated:
                yield Skipped(table=f"{name}.{column.name}", rows=0, reason="no model has this column")
