"""Reads a sample of every table from both sides as Django will, and compares the values with their types.

The raw comparison shows that each cell was copied. This one shows that the project will read the same: with its time
zone, with the settings that its sessions have in PostgreSQL, and with the conversions of its fields.
"""

import contextlib
import datetime as dt
import zoneinfo
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from django.db import connections, models, transaction

from ops.databases.override import override_database, sqlite_wrapper
from ops.databases.sqlite.snapshot import Snapshot
from ops.engine_migration.findings import excerpt
from ops.engine_migration.names import folded, rows_in, table_in_postgres, table_in_sqlite
from ops.engine_migration.plan import ColumnPlan, TablePlan
from ops.engine_migration.planner import concrete_models
from ops.engine_migration.refusals import PreflightResult
from ops.engine_migration.sessions import PostgresDatabase
from ops.engine_migration.source_sql import connect, find_ends, is_canonical, rows_of
from ops.engine_migration.types import CONVERTED
from ops.engine_migration.types.base import ColumnType, Refused
from ops.engine_migration.values import comparable, conversions, equal, written_alike
from ops.errors import VerificationFailed
from ops.utils.identifiers import quoted

AT_EACH_END = 20
IN_BETWEEN = 60
NOT_CANONICAL = 20
COLUMNS_PER_QUERY = 400
DIFFERENCES_NAMED = 5
BYTES_IN_MEMORY = 8_000_000
"""Of the rows of samples that are read at a time from each side."""
Row = tuple[Any, ...]
"""The primary key and the values of a row."""


def compare_through_django(
    *,
    tables: Sequence[TablePlan],
    snapshot: Snapshot,
    postgres: PostgresDatabase,
    preflight: PreflightResult,
    chosen_zone: zoneinfo.ZoneInfo | None,
    unreadable: bool = False,
) -> tuple[str, ...]:
    """Raises VerificationFailed where Django reads another value from PostgreSQL than from the file.

    Returns sentences about columns of which the project reads whatever the drivers return, where they differ.
    `chosen_zone`: that of --source-timezone, where it was given. `unreadable`: PostgreSQL is the source, and may have
    values that Django cannot read.
    """
    notes: dict[str, str] = {}
    for samples in in_parts(find_samples(tables, snapshot, preflight)):
        ours = read_sources(samples, snapshot, chosen_zone)
        with postgres.project_session():
            check_session(samples)
            for sample, rows in zip(samples, ours, strict=True):
                sample.compare(rows, notes, unreadable=unreadable)
    return tuple(notes.values())


def in_parts(samples: Iterable["Sample"]) -> Iterator[list["Sample"]]:
    """The samples in parts that fit into memory: a table with large values is in several of them."""
    part: list[Sample] = []
    free = BYTES_IN_MEMORY
    for sample in samples:
        width = max(1, sample.table.bytes_per_row)
        step = max(1, BYTES_IN_MEMORY // width)
        for start in range(0, max(1, len(sample.rows)), step):
            rows = sample.rows[start : start + step]
            if part and free < len(rows) * width:
                yield part
                part, free = [], BYTES_IN_MEMORY
            part.append(replace(sample, rows=rows))
            free -= len(rows) * width
    if part:
        yield part


def read_sources(
    samples: Sequence["Sample"], snapshot: Snapshot, chosen_zone: zoneinfo.ZoneInfo | None
) -> list[list[Row]]:
    """The rows of each sample as Django reads them from the file, in the chosen zone."""
    source = sqlite_wrapper(snapshot.uri)
    if chosen_zone and settings.USE_TZ:
        source.settings_dict["TIME_ZONE"] = chosen_zone.key
    with override_database(source):
        ours = [sample.read_source() for sample in samples]
    if chosen_zone and not settings.USE_TZ:
        zones = chosen_zone, zoneinfo.ZoneInfo(source.timezone_name)
        ours = [[tuple(in_other_zone(value, *zones) for value in row) for row in rows] for rows in ours]
    return ours


@dataclass(frozen=True, kw_only=True)
class Readable:
    """Values of `type` that Django reads as others where a session has not the right `setting`."""

    type: str
    values: str
    setting: str
    right: str
    literal: str
    expected: Any


READABLE = (
    Readable(
        type="interval",
        values="durations",
        setting="intervalstyle",
        right="postgres",
        literal="-1 days +02:00:00.000005",
        expected=dt.timedelta(days=-1, hours=2, microseconds=5),
    ),
    Readable(
        type="double precision",
        values="floating-point numbers",
        setting="extra_float_digits",
        right="1",
        literal="0.30000000000000004",
        expected=0.30000000000000004,
    ),
)


def check_session(samples: Sequence["Sample"]) -> None:
    """Raises VerificationFailed if Django cannot read values of some type in the project's sessions."""
    types = {column.db_type for sample in samples for column in sample.table.columns}
    with connections["default"].cursor() as cursor:
        for kind in READABLE:
            if kind.type in types:
                require_readable(cursor, kind)


def require_readable(cursor: Any, kind: Readable) -> None:
    cursor.execute(f"SELECT current_setting('{kind.setting}'), quote_ident(current_user)")
    value, role = cursor.fetchone()
    try:
        cursor.execute(f"SELECT '{kind.literal}'::{kind.type}")
        fault = "" if cursor.fetchone() == (kind.expected,) else f"they are read as other {kind.values}"
    except Exception as error:  # noqa: BLE001 - the driver's own
        fault = str(error).strip()
    if fault:
        raise VerificationFailed(
            f"Django cannot read {kind.values} from PostgreSQL, because the sessions of {role} have {kind.setting}"
            f" {value}: {fault}.",
            f"ALTER ROLE {role} SET {kind.setting} = '{kind.right}'; and the same for the database, if it has the"
            " setting.",
        )


# --- Samples --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Rows of one table, by the row ids of the file."""

    table: TablePlan
    model: type[models.Model]
    columns: tuple[ColumnPlan, ...]
    rows: tuple[int, ...]

    def query(self, table: str) -> "models.QuerySet[models.Model, Any]":
        """The rows of `table`, not as instances, which may run other code."""
        names = {field.column: field.attname for field in self.model._meta.local_concrete_fields}
        return rows_in(table, self.model).values_list("pk", *(names[column.name] for column in self.columns))

    def read_source(self) -> list[Row]:
        """Without rows that Django cannot read from the file."""
        row_id = f"{quoted(self.model._meta.db_table)}.{self.table.rowid}".replace("%", "%%")
        query = self.query(self.table.source)

        def read(rows: Sequence[int]) -> list[Row]:
            listed = f"{row_id} IN ({', '.join(map(str, rows))})"
            return list(query.extra(where=[listed])) if rows else []  # noqa: S610 - whole numbers

        try:
            return read(self.rows)
        except Exception:  # noqa: BLE001 - the project's fields may raise anything
            found = []
            for row in self.rows:
                with contextlib.suppress(Exception):
                    found += read([row])
            return found

    def compare(self, ours: Sequence[Row], notes: dict[str, str], *, unreadable: bool) -> None:
        """Raises VerificationFailed unless the target has the same rows as `ours`, but for `unreadable` ones.

        To `notes`, a sentence is added for each column with other values of which the drivers are the cause.
        """
        theirs = self.read_target([row[0] for row in ours])
        pairs = [pair for pair in zip(ours, theirs, strict=True) if not (unreadable and isinstance(pair[1], str))]
        lines = [line for pair in pairs for line in self.differences(*pair, notes)]
        if lines:
            listed = "\n  ".join(lines[:DIFFERENCES_NAMED])
            raise VerificationFailed(
                f"Django reads other values of {self.model._meta.label} from PostgreSQL than from the file:\n  {listed}"
            )

    def read_target(self, keys: Sequence[Any]) -> list[Row | str]:
        """The row of each primary key, or why Django cannot read it."""
        found: dict[str, Row] = {}
        query = self.query(self.table.name)
        with contextlib.suppress(Exception), transaction.atomic():
            found = {repr(comparable(row[0])): row for row in query.filter(pk__in=keys)}
        return [found.get(repr(comparable(key))) or self.read_target_row(key) for key in keys]

    def read_target_row(self, key: Any) -> Row | str:
        try:
            with transaction.atomic():
                row: Row = self.query(self.table.name).filter(pk=key).get()
                return row
        except Exception as error:  # noqa: BLE001 - the project's fields may raise anything
            return f"{type(error).__name__}: {' '.join(str(error).split())}"

    def differences(self, left: Row, right: Row | str, notes: dict[str, str]) -> Iterator[str]:
        """Lines about values that differ. To `notes`, a sentence is added for each column of `reads_by_driver`."""
        if isinstance(right, str):
            yield f"row {left[0]}: {right}"
            return
        for column, one, other in zip(self.columns, left[1:], right[1:], strict=True):
            if is_same(column, one, other):
                continue
            mine, new = (excerpt(value, column.name) or "None" for value in (one, other))
            if not reads_by_driver(column, one, other):
                yield f"row {left[0]}, {column.name}: {mine} in the file, {new} in PostgreSQL"
                continue
            name = f"{self.model._meta.label}.{column.name}"
            notes.setdefault(
                name,
                f"The field {name} reads what the driver of the database returns:"
                f" {mine} in the file is {new} in PostgreSQL (row {left[0]}).",
            )


def find_samples(tables: Sequence[TablePlan], snapshot: Snapshot, preflight: PreflightResult) -> list[Sample]:
    """Samples of the tables that have rows and that Django can read in the file: not those of a legacy format."""
    by_table = {table_in_postgres(model): model for model in concrete_models()}
    found = []
    with contextlib.closing(connect(snapshot)) as connection:
        for table in tables:
            model = by_table[table.name]
            names = {folded(name) for name in (table_in_sqlite(model), table_in_postgres(model))}
            if folded(table.source) not in names or not table.rows:
                continue
            columns = tuple(
                column
                for column in table.columns
                if is_unchanged(column) and f"{table.name}.{column.source}" not in preflight.stripped
            )
            refused = set(preflight.refused.get(table.name, ()))
            rows = sorted(choose_rows(connection, table, preflight) - refused)
            found.append(Sample(table=table, model=model, columns=columns, rows=tuple(rows)))
    return found


def is_unchanged(column: ColumnPlan) -> bool:
    """Not renamed and not mapped to other values, as columns of a legacy format are."""
    plain = column.value == quoted(column.source) or column.type is CONVERTED
    return plain and folded(column.source) == folded(column.name)


def choose_rows(connection: Any, table: TablePlan, preflight: PreflightResult) -> set[int]:
    """Ids of the first and last rows, of rows in between, of rows with a value in each column, and of odd ones."""

    def ids(query: str) -> set[int]:
        return {row for found in connection.execute(query) for row in found if row is not None}

    row, numbers = table.row, rows_of(table, ())
    ends = find_ends(connection, table)
    if not ends:
        return set()
    first, last = ends
    chosen = ids(f"SELECT {row} FROM {numbers} ORDER BY {row} LIMIT {AT_EACH_END}")
    chosen |= ids(f"SELECT {row} FROM {numbers} ORDER BY {row} DESC LIMIT {AT_EACH_END}")
    for step in range(IN_BETWEEN):
        after = first + (last - first) * step // IN_BETWEEN
        chosen |= ids(f"SELECT min({row}) FROM {numbers} WHERE {row} >= {after}")
    for names in without_values(connection, table, chosen):
        values = [f"{end}(CASE WHEN {name} IS NOT NULL THEN {row} END)" for name in names for end in ("min", "max")]
        chosen |= ids(f"SELECT {', '.join(values)} FROM {rows_of(table)}")
    for column in table.columns:
        if column.name in preflight.non_canonical.get(table.name, ()):
            odd = f"{rows_of(table, (column.name,))} WHERE NOT {is_canonical(column)}"
            chosen |= ids(f"SELECT {row} FROM {odd} LIMIT {NOT_CANONICAL}")
    return chosen


def without_values(connection: Any, table: TablePlan, rows: Iterable[int]) -> Iterator[list[str]]:
    """The columns that are NULL in all of these rows, a few at a time, in SQL. To find others, all rows are read."""
    nullable = [quoted(column.name) for column in table.columns if column.null]
    listed = ", ".join(map(str, rows))
    for start in range(0, len(nullable), COLUMNS_PER_QUERY):
        names = nullable[start : start + COLUMNS_PER_QUERY]
        counts = ", ".join(f"count({name})" for name in names)
        (found,) = connection.execute(f"SELECT {counts} FROM {rows_of(table)} WHERE {table.row} IN ({listed})")
        if empty := [name for name, values in zip(names, found, strict=True) if not values]:
            yield empty


def in_other_zone(value: Any, source: zoneinfo.ZoneInfo, target: zoneinfo.ZoneInfo) -> Any:
    """A time without an offset in `source` as the same moment in `target`."""
    if not isinstance(value, dt.datetime) or value.tzinfo:
        return value
    return value.replace(tzinfo=source).astimezone(target).replace(tzinfo=None)


def is_same(column: ColumnPlan, left: Any, right: Any) -> bool:
    """Whether both are one value.

    Text that is an address, for instance, can be written in several ways, of which PostgreSQL prints one.
    """
    if equal(left, right, json=column.type.document):
        return True
    if isinstance(left, str) and isinstance(right, str):
        return converted(column.type, left) == right
    return written_alike(column.field, left, right, connections["default"], json=column.type.document)


def reads_by_driver(column: ColumnPlan, left: Any, right: Any) -> bool:
    """Whether the field converts nothing, so that the project has to expect what each driver returns."""
    if conversions(column.field, connections["default"]):
        return False
    if type(column.field).__module__.startswith("django.db."):
        return False
    return column.type is CONVERTED or type(left) is not type(right)


def converted(kind: ColumnType, value: str) -> str | None:
    try:
        return kind.convert(value)
    except Refused:
        return None
