"""How the values of each PostgreSQL column type are read from SQLite, which stores any value in any column.

A *canonical* value is one that SQLite itself can check and format with an SQL expression, as fast as it reads it.
Every other value is passed to `ColumnType.convert`, which returns the text that PostgreSQL prints for it, or raises
`Refused` with the reason. There is no third way, so no value changes its meaning silently.
"""

from ops.engine_migration.types import datetimes, documents, numbers, text
from ops.engine_migration.types.base import ColumnType

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
    "time": datetimes.TIME,
    "uuid": text.UUID,
}


def column_type(db_type: str, *, zone: datetimes.SourceZone | None = None, strip_nul: bool = False) -> ColumnType:
    """The type of a column that Django declares as `db_type` in PostgreSQL.

    A type that Django's own fields do not use is copied and compared as text.
    """
    name, _, arguments = db_type.lower().partition("(")
    name = name.strip()
    if name == "timestamp with time zone":
        return datetimes.timestamp(zone)
    if name == "numeric":
        digits, places = (int(part) for part in arguments.rstrip(") ").split(","))
        return numbers.numeric(digits, places)
    if name in BY_NAME:
        return documents.JSON_WITHOUT_NUL if strip_nul and name == "jsonb" else BY_NAME[name]
    limit = int(arguments.rstrip(") ")) if name in {"varchar", "char"} and arguments else None
    return text.stripped(text.text(limit)) if strip_nul else text.text(limit)
