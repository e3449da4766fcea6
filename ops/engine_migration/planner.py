"""Makes the plan: the tables of the project's models, compared with those of the file."""

import functools
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from django.apps import apps
from django.db import models, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import strip_quotes

from ops.engine_migration.constraints import Unique, find_references, find_row_checks, find_unique
from ops.engine_migration.legacy import LegacyColumn, LegacyFormat, LegacyTable
from ops.engine_migration.plan import ColumnPlan, Plan, Skipped, TablePlan, literal, rename
from ops.engine_migration.source import SourceSchema, read_schema
from ops.engine_migration.types import column_type
from ops.engine_migration.types.datetimes import SourceZone
from ops.errors import PreconditionFailed
from ops.utils.identifiers import quoted

NOT_MIGRATED = {
    "django_migrations": "created in PostgreSQL by `migrate`",
    "django_session": "all users must sign in again",
}


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
    used: dict[str, set[str]] = field(default_factory=dict, init=False)
    """The columns of each table of the file that were planned."""

    @functools.cached_property
    def schema(self) -> SourceSchema:
        return read_schema(self.connection)

    def build(self) -> Plan:
        """Raises PreconditionFailed when the file lacks a table or a column that the code has, or --skip-table errs."""
        missing = self.skip - set(self.schema.columns)
        if missing:
            raise PreconditionFailed(
                f"--skip-table {min(missing)}: the file has no such table.",
                f"It has: {', '.join(sorted(self.schema.columns))}.",
            )
        planned = tuple(table for model in concrete_models() for table in self.plan_model(model))
        tables = tuple(self.measure(table) for table in planned)
        return Plan(
            format=self.legacy.name if self.legacy else "a file of this project",
            tables=tables,
            skipped=tuple(self.explain_skipped(planned)),
            unknown=(*self.find_unknown_tables(planned), *self.find_unknown_columns()),
            notes=tuple(self.notes(planned)),
        )

    def plan_model(self, model: type[models.Model]) -> Iterable[TablePlan]:
        table = strip_quotes(model._meta.db_table)
        if self.legacy:
            for entry in self.legacy.tables:
                if entry.target == table and entry.source not in self.skip:
                    yield self.plan_table(model, entry)
        elif table not in NOT_MIGRATED and table not in self.skip:
            if table not in self.schema.columns:
                raise PreconditionFailed(
                    f"The file has no table {table}, which {model._meta.label} needs.",
                    "The file's tables do not match its django_migrations. Restore or repair the file.",
                )
            yield self.plan_table(model, LegacyTable(source=table, target=table))

    def plan_table(self, model: type[models.Model], entry: LegacyTable) -> TablePlan:
        fields = [column for column in model._meta.local_concrete_fields if not column.generated]
        mapped = [entry.columns.get(column.column, LegacyColumn(source=column.column)) for column in fields]
        columns = tuple(self.plan_column(*pair, entry.source) for pair in zip(fields, mapped, strict=True))
        self.used.setdefault(entry.source, set()).update(entry.dropped, (column.source for column in mapped))
        return TablePlan(
            name=strip_quotes(model._meta.db_table),
            label=str(model._meta.verbose_name_plural),
            source=entry.source,
            columns=columns,
            key=tuple(column.column for column in model._meta.pk_fields),
            references=tuple(find_references(model)),
            unique=tuple(
                replace(rule, enforced_by_source=self.is_enforced_by_source(rule, columns, entry))
                for rule in find_unique(model, self.sqlite)
            ),
            checks=tuple(find_row_checks(model, self.sqlite)),
            where=entry.where,
        )

    def is_enforced_by_source(self, rule: Unique, columns: tuple[ColumnPlan, ...], entry: LegacyTable) -> bool:
        """Whether a unique index of the file enforces the rule already, on values that are migrated unchanged.

        Not where an expression is unique: SQLite's ``lower`` changes ASCII letters only.
        """
        if not rule.columns or any(column.allowed for column in columns if column.name in rule.columns):
            return False
        if rule.name in self.schema.indexes:
            return True
        sources = frozenset(column.source for column in columns if column.name in rule.columns)
        return not rule.where and bool(sources) and sources in self.schema.unique[entry.source]

    def plan_column(self, column: Any, mapped: LegacyColumn, table: str) -> ColumnPlan:
        if mapped.source and mapped.source not in self.schema.columns.get(table, ()):
            raise PreconditionFailed(
                f"The file's table {table} has no column {mapped.source}, which {column.model._meta.label} needs.",
                "The file was written by another version of this code. Upgrade the file first, or use the code that"
                " wrote it.",
            )
        parameters = column.db_parameters(self.postgres)
        db_type = parameters["type"]
        value = mapped.expression.format(quoted(mapped.source)) if mapped.source else mapped.expression
        return ColumnPlan(
            name=column.column,
            source=mapped.source or column.column,
            value=rename(value, mapped.values) if mapped.values else value,
            type=column_type("text")
            if mapped.lookup
            else column_type(db_type, zone=self.zone, strip_nul=self.strip_nul),
            db_type=db_type,
            null=column.null,
            check=parameters["check"] or "",
            allowed=tuple(sorted(map(literal, set(mapped.values.values())))) if mapped.values else None,
            known=tuple(map(str, mapped.values or ())),
            lookup=mapped.lookup,
        )

    def measure(self, table: TablePlan) -> TablePlan:
        """`table` with its number of rows and their size, which determine the rows of a chunk."""
        wide = [column.value for column in table.columns if column.type.text or column.db_type == "bytea"]
        size = " + ".join(f"coalesce(length({value}), 0)" for value in wide) or "0"
        where = f" WHERE {table.where}" if table.where else ""
        rows, total = self.connection.execute(
            f"SELECT count(*), coalesce(sum({size}), 0) FROM {quoted(table.source)}{where}",
        ).fetchone()
        if not self.has_rowid(table.source):
            raise PreconditionFailed(
                f"The file's table {table.source} is declared WITHOUT ROWID, which is not supported.",
                "Rebuild it without that clause in a copy of the file, and name the copy.",
            )
        width = total // rows if rows else 0
        return replace(
            table, rows=rows, bytes_per_row=width + 16 * len(table.columns), watermark=self.find_watermark(table.source)
        )

    def has_rowid(self, table: str) -> bool:
        try:
            self.connection.execute(f"SELECT rowid FROM {quoted(table)} LIMIT 0")
        except sqlite3.OperationalError:
            return False
        return True

    def find_watermark(self, table: str) -> int:
        if "sqlite_sequence" not in self.schema.columns:
            return 0
        row = self.connection.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = ?", [table]).fetchone()
        return int(row[0] or 0)

    def count(self, table: str) -> int:
        return int(self.connection.execute(f"SELECT count(*) FROM {quoted(table)}").fetchone()[0])

    def explain_skipped(self, planned: Iterable[TablePlan]) -> Iterable[Skipped]:
        reasons = dict.fromkeys(self.skip, "by --skip-table")
        reasons |= dict(self.legacy.not_migrated) if self.legacy else NOT_MIGRATED
        migrated = {table.source for table in planned}
        for name in self.schema.columns:
            if name.startswith("sqlite_"):
                yield Skipped(table=name, rows=self.count(name), reason="an internal table of SQLite")
            elif name in reasons and name not in migrated:
                yield Skipped(table=name, rows=self.count(name), reason=reasons[name])

    def find_unknown_tables(self, planned: Iterable[TablePlan]) -> list[Skipped]:
        known = {table.source for table in planned} | self.skip | set(NOT_MIGRATED)
        known |= set(self.legacy.not_migrated) if self.legacy else set()
        return [
            Skipped(table=name, rows=self.count(name), reason="no model has this table")
            for name in self.schema.columns
            if name not in known and not name.startswith("sqlite_")
        ]

    def find_unknown_columns(self) -> list[Skipped]:
        return [
            Skipped(table=f"{table}.{column}", rows=0, reason="no model has this column")
            for table, used in self.used.items()
            for column in self.schema.columns[table]
            if column not in used
        ]

    def notes(self, planned: Iterable[TablePlan]) -> Iterable[str]:
        if self.zone:
            yield f"Times without an offset are taken as times of {self.zone.zone.key}."
        for object_type, name in self.schema.views_and_triggers:
            yield f"The file's {object_type} {name} is not migrated."
        migrated = {table.source for table in planned}
        for table, column in sorted(self.schema.nocase_columns):
            if table in migrated:
                yield (
                    f"{table}.{column} is unique regardless of case in the file;"
                    " PostgreSQL distinguishes upper and lower case."
                )
