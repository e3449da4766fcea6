"""How the values of each PostgreSQL column type are stored in SQLite, which stores any value in any column.

A *canonical* value is one that SQLite itself can check and format with an SQL expression, as fast as it reads it.
Every other value is passed to `ColumnType.convert`, which returns the text that PostgreSQL prints for it, or raises
`Refused` with the reason. Types that Django's own fields do not use are `GENERIC`: PostgreSQL itself says what the text
of each of their values is (`ops.engine_migration.generic`). There is no other way, so no value changes its meaning
silently.

In the other direction PostgreSQL makes what Django would store in SQLite (`ColumnType.stored`), but for values that
SQLite cannot hold (`ColumnType.limits`).
"""

import dataclasses
import re

from ops.engine_migration.types import datetimes, documents, numbers, text
from ops.engine_migration.types.base import ColumnType

GENERIC = ColumnType(canonical_check="1", convert=str, target_text="{c}::text", text=True)
"""PostgreSQL has to be asked for the texts of the values."""
CONVERTED = dataclasses.replace(GENERIC)
"""The same when the values are its texts."""
BY_NAME = {
    "bigint": numbers.integer(-(2**63), 2**63 - 1),
    "boolean": numbers.BOOLEAN,
    "bytea": text.BINARY,
    "date": datetimes.DATE_TYPE,
    "double precision": numbers.FLOAT,
    "inet": text.ADDRESS,
    "integer": numbers.integer(-(2**31), 2**31 - 1),
    "interval": datetimes.INTERVAL,
    "jsonb": documents.JSON,
    "smallint": numbers.integer(-(2**15), 2**15 - 1),
    "text": text.text(None),
    "time": datetimes.TIME,
    "uuid": text.UUID,
}
ALIASES = {
    "bigserial": "bigint",
    "character varying": "varchar",
    "decimal": "numeric",
    "serial": "integer",
    "smallserial": "smallint",
    "time without time zone": "time",
    "timestamptz": "timestamp with time zone",
}
WHOLE_NUMBERS, CHARACTERS = r".*int\b.*|integer.*", r"text|(var)?char\b.*"
STORED_AS = {
    "bigint": WHOLE_NUMBERS,
    "boolean": r"bool(ean)?",
    "bytea": r"blob",
    "date": r"date",
    "double precision": r"real|double( precision)?|float",
    "inet": r"char\(39\)",
    "integer": WHOLE_NUMBERS,
    "interval": r"bigint",
    "jsonb": r"text",
    "numeric": r"(decimal|numeric)\b.*",
    "smallint": WHOLE_NUMBERS,
    "text": CHARACTERS,
    "time": r"time",
    "timestamp with time zone": r"datetime",
    "uuid": r"char\(32\)",
    "varchar": CHARACTERS,
}
"""The types in SQLite of the fields of Django that have the type in PostgreSQL. A field with another pair of types may
store its values in any way, which only the field can convert."""


def column_type(
    db_type: str, *, stored_as: str = "", zone: datetimes.SourceZone | None = None, strip_nul: bool = False
) -> ColumnType:
    """The type of a column that is `db_type` in PostgreSQL, and `stored_as` in SQLite as Django declares it."""
    name, arguments = split(db_type)
    if stored_as and not re.fullmatch(STORED_AS.get(name, ""), stored_as.lower()):
        return GENERIC
    if arguments:
        return with_arguments(name, arguments, strip_nul=strip_nul)
    if name == "timestamp with time zone":
        return datetimes.timestamp(zone)
    if strip_nul and name == "jsonb":
        return documents.JSON_WITHOUT_NUL
    if name == "varchar":
        name = "text"
    found = BY_NAME.get(name, GENERIC)
    return text.stripped(found) if strip_nul and name == "text" else found


def split(db_type: str) -> tuple[str, str]:
    """The name of a type, and its length or precision."""
    name, _, arguments = db_type.lower().partition("(")
    return ALIASES.get(name.strip(), name.strip()), arguments.replace(" ", "")


FAMILIES = ({"bigint", "integer", "smallint"}, {"text", "varchar"})


def is_same_type(declared: str, actual: str) -> bool:
    """Whether values for `declared` have the same texts in `actual`, where PostgreSQL may still refuse them."""
    names = {split(declared)[0], split(actual)[0]}
    return split(declared) == split(actual) or any(names <= family for family in FAMILIES)


def with_arguments(name: str, arguments: str, *, strip_nul: bool) -> ColumnType:
    """A type with a length or a precision."""
    match = re.fullmatch(r"(\d+)(?:,(\d+))?\)", arguments)
    if not match:
        return GENERIC
    first, second = int(match[1]), int(match[2] or 0)
    if name == "numeric":
        return numbers.numeric(first, second)
    if name == "varchar":
        return text.stripped(text.text(first)) if strip_nul else text.text(first)
    return GENERIC
