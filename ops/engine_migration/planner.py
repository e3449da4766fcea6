"""Makes the plan: the tables of the project's models, compared with those of the file."""

import functools
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from django.apps import apps
from django.db import models, router
from django.db.backends.base.base import BaseDatabaseWrapper

from ops.engine_migration.legacy import LegacyColumn, LegacyFormat, LegacyTable
from ops.engine_migration.names import check_names, folded, table_in_postgres, table_in_sqlite
from ops.engine_migration.plan import ColumnPlan, Plan, Skipped, TablePlan, literal, rename
from ops.engine_migration.prepared_tables import Reads
from ops.engine_migration.source_sql import balanced, rows_of
from ops.engine_migration.sqlite_schema import ROWID_NAMES, SourceSchema, SourceTable, read_columns, read_schema
from ops.engine_migration.types import column_type
from ops.engine_migration.types.datetimes import SourceZone
from ops.errors import PreconditionFailed
from ops.utils.formatting import pluralize
from ops.utils.identifiers import quoted

MODELSEARCH = "a search index, which has another form in PostgreSQL: run manage.py rebuild_modelsearch_index there"
WAGTAIL = "wagtail's search index, which has another form in PostgreSQL: run manage.py wagtail_update_index there"
NOT_MIGRATED = {
    "django_migrations": "created in PostgreSQL by `migrate`",
    "django_session": "all users must sign in again",
    "modelsearch_indexentry": MODELSEARCH,
    "modelsearch_indexentry_fts": MODELSEARCH,
    "wagtailsearch_indexentry": WAGTAIL,
    "wagtailsearch_indexentry_fts": WAGTAIL,
}
NARROW_ROW = 1000
"""Bytes. Where the rows of a table cannot have more on average, the largest chunk is no larger than 2 MB."""
ROWS_MEASURED = 1000
VIRTUAL = "a virtual table of SQLite, such as a search index: PostgreSQL has none, so build its like there"


def concrete_models(alias: str = "default") -> list[type[models.Model]]:
    """Every managed model with a table of its own, auto-created many-to-many ones included, parents first."""
    found = [
        model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy and router.allow_migrate_model(alias, model)
    ]
    return in_reference_order(found)


def in_reference_order(found: Iterable[type[models.Model]]) -> list[type[models.Model]]:
    """Depth first along foreign keys. Within a circle the order does not matter."""
    ordered: dict[type[models.Model], None] = {}
    pending = set(found)

    def visit(model: type[models.Model]) -> None:
        if model not in pending:
            return
        pending.discard(model)
        for column in model._meta.local_concrete_fields:
            if column.remote_field and isinstance(column.remote_field.model, type):
                visit(column.remote_field.model)
        ordered[model] = None

    for model in sorted(pending, key=lambda model: model._meta.db_table):
        visit(model)
    return list(ordered)


@dataclass(kw_only=True)
class Planner:
    """Builds the `Plan` of one file, of which `sqlite` is Django's view.

    `postgres` is a (not connected) wrapper that knows PostgreSQL's types.
    """

    connection: sqlite3.Connection
    sqlite: BaseDatabaseWrapper
    postgres: BaseDatabaseWrapper
    legacy: LegacyFormat | None
    zone: SourceZone | None = None
    strip_nul: bool = False
    skip: frozenset[str] = frozenset()
    reads: Reads = field(default_factory=dict)
    """What the legacy format has read of the file to prepare tables."""
    used: dict[str, set[str]] = field(default_factory=dict, init=False)
    """The columns that were planned, by table of the file, both `folded`."""

    @functools.cached_property
    def schema(self) -> SourceSchema:
        return read_schema(self.connection)

    @functools.cached_property
    def skipped(self) -> frozenset[str]:
        return frozenset(map(folded, self.skip))

    def build(self) -> Plan:
        """Raises PreconditionFailed when the file lacks a table or a column that the code has, or --skip-table errs."""
        self.used.update({table: set(columns) for table, columns in self.reads.items()})
        names = [*(table.name for table in self.schema.tables.values()), *self.schema.virtual, *self.schema.shadow]
        missing = [name for name in sorted(self.skip) if folded(name) not in set(map(folded, names))]
        if missing:
            raise PreconditionFailed(
                f"--skip-table {missing[0]}: the file has no such table.", f"It has: {', '.join(sorted(names))}."
            )
        if needed := sorted(name for name in self.skip if folded(name) in self.reads):
            raise PreconditionFailed(
                f"--skip-table {needed[0]}: rows of several tables are made of it, so it cannot be skipped.",
                f"Leave the option out, or skip others than {', '.join(sorted(self.reads))}.",
            )
        models = [model for model in concrete_models() if not self.is_left_out(model)]
        check_names(models)
        planned = tuple(table for model in models for table in self.plan_model(model))
        tables = tuple(map(self.measure, planned))
        return Plan(
            format=self.legacy.name if self.legacy else "a file of this project",
            tables=tables,
            skipped=tuple(self.explain_skipped(planned)),
            unknown=(*self.find_unknown_tables(planned), *self.find_unknown_columns()),
            notes=tuple(self.notes(planned)),
        )

    def is_left_out(self, model: type[models.Model]) -> bool:
        """Not for a legacy format, whose tables need not have the models' names."""
        name = folded(self.source_name(model))
        virtual = {folded(table) for table in (*self.schema.virtual, *self.schema.shadow)}
        return not self.legacy and (name in NOT_MIGRATED or name in self.skipped or name in virtual)

    def source_name(self, model: type[models.Model]) -> str:
        """The name of the model's table in the file; as Django has it now where the file has no other."""
        names = [table_in_sqlite(model), table_in_postgres(model)]
        return next((name for name in names if self.schema.find(name)), names[0])

    def plan_model(self, model: type[models.Model]) -> Iterable[TablePlan]:
        name = table_in_postgres(model)
        if self.legacy:
            for entry in self.legacy.tables:
                if entry.target == name and folded(entry.source) not in self.skipped:
                    yield self.plan_table(model, entry)
            return
        source = self.source_name(model)
        if not self.schema.find(source):
            raise PreconditionFailed(
                f"The file has no table {source}, which {model._meta.label} needs.",
                "The file's tables do not match its django_migrations. Restore or repair the file.",
            )
        yield self.plan_table(model, LegacyTable(source=source, target=name))

    def plan_table(self, model: type[models.Model], entry: LegacyTable) -> TablePlan:
        fields = [column for column in model._meta.local_concrete_fields if not column.generated]
        mapped = [entry.columns.get(column.column, LegacyColumn(source=column.column)) for column in fields]
        columns = tuple(self.plan_column(*pair, entry.source) for pair in zip(fields, mapped, strict=True))
        used = (*entry.dropped, *entry.files, *(column.source for column in mapped))
        self.used.setdefault(folded(entry.source), set()).update(map(folded, used))
        return TablePlan(
            name=table_in_postgres(model),
            label=str(model._meta.verbose_name_plural),
            source=entry.source,
            columns=columns,
            key=tuple(column.column for column in model._meta.pk_fields),
            where=entry.where,
            files=tuple(file_column(*pair) for pair in entry.files.items()),
            made_of=entry.made_of,
            origin=entry.origin,
        )

    def source(self, name: str) -> SourceTable:
        return self.schema.tables.get(folded(name)) or self.schema.prepared[folded(name)]

    def plan_column(self, column: Any, mapped: LegacyColumn, table: str) -> ColumnPlan:
        found = self.schema.find(table)
        if mapped.source and folded(mapped.source) not in map(folded, found.columns if found else ()):
            raise PreconditionFailed(
                f"The file's table {table} has no column {mapped.source}, which {column.model._meta.label} needs.",
                "The file was written by another version of this code. Upgrade the file first, or use the code that"
                " wrote it.",
            )
        db_type = column.db_parameters(self.postgres)["type"]
        stored_as = "" if mapped.values or not mapped.source else column.db_parameters(self.sqlite)["type"]
        value = mapped.expression.format(quoted(mapped.source)) if mapped.source else mapped.expression
        return ColumnPlan(
            name=column.column,
            source=mapped.source or column.column,
            value=rename(value, mapped.values) if mapped.values else value,
            type=column_type("text")
            if mapped.lookup
            else column_type(db_type, stored_as=stored_as, zone=self.zone, strip_nul=self.strip_nul),
            db_type=db_type,
            field=column,
            null=column.null,
            allowed=tuple(sorted(map(literal, set(mapped.values.values())))) if mapped.values else None,
            known=tuple(map(str, mapped.values or ())),
            lookup=mapped.lookup,
        )

    def measure(self, table: TablePlan) -> TablePlan:
        """`table` with its number of rows and their size, which determine the rows of a chunk."""
        source = self.source(table.source)
        if not source.rowid and set(ROWID_NAMES) <= set(map(folded, source.columns)):
            raise PreconditionFailed(
                f"The file's table {table.source} has columns named {', '.join(ROWID_NAMES)}, so that its rows have no"
                " number.",
                "Rename one of them in the model (db_column), and migrate the file with Django first.",
            )
        if not source.rowid:
            raise PreconditionFailed(
                f"The file's table {table.source} is declared WITHOUT ROWID, which is not supported.",
                "Rebuild it without that clause in a copy of the file, and name the copy.",
            )
        self.note_columns(table.source, rows_of(replace(table, rowid=source.rowid)))
        keys = [column.value for column in table.columns if column.name in table.key]
        rows = self.count(table.source, table.where)
        return replace(
            table,
            rowid=source.rowid,
            key_is_row=bool(source.number_column) and keys == [quoted(source.number_column)],
            rows=rows,
            bytes_per_row=self.measure_text(table, rows) + 16 * len(table.columns),
            watermark=self.find_watermark(next(iter(table.made_of), table.source)),
        )

    def note_columns(self, table: str, rows: str) -> None:
        """Add to `used` what else the SQL of the columns reads of the file's table."""
        found = read_columns(self.connection, f"SELECT * FROM {rows}")
        self.used[folded(table)] |= found.get(folded(table), set())

    def measure_text(self, table: TablePlan, rows: int) -> int:
        """The bytes of text of a row, on average: of some rows where the file has no room for many bytes in each."""
        wide = [column.value for column in table.columns if column.type.text or column.db_type == "bytea"]
        size = balanced(" + ", [f"coalesce(length({value}), 0)" for value in wide]) or "0"
        where = f" WHERE {table.where}" if table.where else ""
        limit = f" LIMIT {ROWS_MEASURED}" if rows * NARROW_ROW > self.file_size else ""
        (width,) = self.connection.execute(
            f"SELECT CAST(avg(size) AS INTEGER) FROM (SELECT {size} AS size FROM {quoted(table.source)}{where}{limit})"
        ).fetchone()
        return width or 0

    @functools.cached_property
    def file_size(self) -> int:
        pages, size = (self.connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        return int(pages * size)

    def find_watermark(self, table: str) -> int:
        """Other programs may have written anything into SQLite's table of numbers."""
        if not self.schema.find("sqlite_sequence"):
            return 0
        query = "SELECT max(seq) FROM sqlite_sequence WHERE name = ? COLLATE NOCASE AND typeof(seq) = 'integer'"
        return int(self.connection.execute(query, [table]).fetchone()[0] or 0)

    def count(self, table: str, where: str = "") -> int:
        condition = f" WHERE {where}" if where else ""
        return int(self.connection.execute(f"SELECT count(*) FROM {quoted(table)}{condition}").fetchone()[0])

    def explain_skipped(self, planned: Iterable[TablePlan]) -> Iterable[Skipped]:
        not_migrated = self.legacy.not_migrated if self.legacy else NOT_MIGRATED
        reasons = dict.fromkeys(self.skipped, "by --skip-table")
        reasons |= {folded(name): reason for name, reason in not_migrated.items()}
        migrated = {folded(table.source) for table in planned} | self.reads.keys()
        for key, table in self.schema.tables.items():
            if key.startswith("sqlite_"):
                yield Skipped(table=table.name, rows=self.count(table.name), reason="an internal table of SQLite")
            elif key in reasons and key not in migrated:
                yield Skipped(table=table.name, rows=self.count(table.name), reason=reasons[key])
        for name in self.schema.virtual:
            if folded(name) in reasons or folded(name) in self.tables_of_models:
                yield self.virtual_table(name, reasons.get(folded(name), VIRTUAL))
        for name in self.schema.shadow:
            yield Skipped(table=name, rows=self.count(name), reason="a part of a virtual table of SQLite")

    @functools.cached_property
    def tables_of_models(self) -> frozenset[str]:
        return frozenset(folded(table_in_sqlite(model)) for model in concrete_models())

    def find_unknown_tables(self, planned: Iterable[TablePlan]) -> list[Skipped]:
        known = {folded(table.source) for table in planned} | self.reads.keys() | self.skipped | set(NOT_MIGRATED)
        known |= set(map(folded, self.legacy.not_migrated)) if self.legacy else set()
        unknown = [
            Skipped(table=table.name, rows=self.count(table.name), reason="no model has this table")
            for key, table in self.schema.tables.items()
            if key not in known and not key.startswith("sqlite_")
        ]
        known |= self.tables_of_models
        return unknown + [
            self.virtual_table(name, f"no model has this table, {VIRTUAL}")
            for name in self.schema.virtual
            if folded(name) not in known
        ]

    def virtual_table(self, name: str, reason: str) -> Skipped:
        try:
            return Skipped(table=name, rows=self.count(name), reason=reason)
        except sqlite3.OperationalError as error:
            return Skipped(table=name, rows=0, reason=f"{reason}; its rows cannot be counted: {error}")

    def find_unknown_columns(self) -> list[Skipped]:
        return [
            Skipped(table=f"{self.source(table).name}.{column}", rows=0, reason="no model has this column")
            for table, used in self.used.items()
            if table in self.schema.tables
            for column in self.source(table).columns
            if folded(column) not in used
        ]

    def notes(self, planned: Iterable[TablePlan]) -> Iterable[str]:
        if self.zone:
            yield f"Times without an offset are taken as times of {self.zone.zone.key}."
        for object_type, name in self.schema.views_and_triggers:
            yield f"The file's {object_type} {name} is not migrated."
        for name in sorted({name for table in planned for name in table.made_of or (table.source,)}):
            for column in self.source(name).nocase_columns:
                yield (
                    f"{name}.{column} is unique regardless of case in the file;"
                    " PostgreSQL distinguishes upper and lower case."
                )
        yield from self.explain_dropped()
        if strange := self.find_strange_numbers():
            yield (
                f"SQLite's table sqlite_sequence has no number for {', '.join(strange)}: there, ids of rows that were"
                " deleted last can be used again."
            )

    def explain_dropped(self) -> Iterable[str]:
        """A sentence for each column with values that a legacy format drops."""
        for entry in self.legacy.tables if self.legacy else ():
            for column, reason in entry.dropped.items():
                found = self.schema.find(entry.source)
                if not found or folded(column) not in map(folded, found.columns):
                    continue
                if count := self.count(entry.source, f"{quoted(column)} IS NOT NULL"):
                    are = "is" if count == 1 else "are"
                    yield f"{pluralize(count, 'value')} of {entry.source}.{column} {are} not migrated: {reason}"

    def find_strange_numbers(self) -> list[str]:
        if not self.schema.find("sqlite_sequence"):
            return []
        query = "SELECT DISTINCT CAST(name AS TEXT) FROM sqlite_sequence WHERE typeof(seq) <> 'integer' ORDER BY 1"
        return [name for (name,) in self.connection.execute(query)]


def file_column(name: str, prefix: str) -> ColumnPlan:
    """A column of the file that is read for the names of files only."""
    return ColumnPlan(
        name=name, source=name, value=quoted(name), type=column_type("text"), db_type="text", null=True, files=prefix
    )
