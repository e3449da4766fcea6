"""Tables of several chunks, whatever their primary key: SQLite and PostgreSQL sort few types alike."""

import contextlib
import datetime as dt
import itertools
import random
import sqlite3
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ops.engine_migration.source_sql import CHUNK_ROWS, chunk_rows, chunks, connect, line_of
from ops.errors import VerificationFailed
from tests.engine_migration import support
from tests.engine_migration.support import Database
from tests.support.slow import slow_except

ROWS = 2 * CHUNK_ROWS + 137
EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001  (as SQLite keeps it)
LETTERS = ["a", "B", "c", "Z", "_", "-", " ", "é", "É", "𝄞", "ß", "1", "10", "'", "\\", "\n", "\x01", "~", "\uffff"]


def text_key(number: int) -> str:
    return "".join(LETTERS[number // len(LETTERS) ** power % len(LETTERS)] for power in range(4))


def day(number: int) -> str:
    return str(dt.date(1, 1, 1) + dt.timedelta(days=number * 800))


def moment(number: int) -> str:
    return str(EPOCH + dt.timedelta(seconds=number * 86399, microseconds=number % 3 * 1000))


def clock(number: int) -> str:
    return str((EPOCH + dt.timedelta(seconds=number * 7, milliseconds=number % 2 * 5)).time())


KEYS: dict[str, tuple[str, str, Callable[[int], Any]]] = {
    "integer": ("everything", "id", lambda number: number * 3 - 5000),
    "text": ("otherproject_tag", "name", text_key),
    "date": ("otherproject_byday", "key", day),
    "moment": ("otherproject_bymoment", "key", moment),
    "time": ("otherproject_byclock", "key", clock),
    "decimal": ("otherproject_byprice", "key", lambda number: (number * 37 - 50000) / 100),
    "interval": ("otherproject_byspan", "key", lambda number: (number - 2000) * 10 ** (number % 9)),
    "float": ("otherproject_byreal", "key", lambda number: (number - 2000) / 7 * 10.0 ** (number % 40)),
    "address": ("otherproject_byaddress", "key", lambda number: f"10.0.{number // 256}.{number % 256}"),
    "IPv6": ("otherproject_byaddress", "key", lambda number: f"FE80::{number:X}"),
    "binary": ("otherproject_byblob", "key", lambda number: number.to_bytes(2 + number % 2, "little")),
}


@pytest.mark.parametrize("kind", slow_except(list(KEYS), "integer", "text", "moment", "decimal", "address", "binary"))
def test_large_table_is_migrated_and_verified(file: Path, migrated: Database, kind: str) -> None:
    table, column, make = KEYS[kind]
    values = list(dict.fromkeys(map(make, range(ROWS))))
    random.Random(1).shuffle(values)
    support.put(file, table, *({column: value} for value in values))
    verify_and_delete_a_row(file, migrated, [table], column, len(values))


def test_large_table_with_uuid_keys_is_migrated_and_verified(file: Path, migrated: Database) -> None:
    generator = random.Random(2)
    codes = [uuid.UUID(int=generator.getrandbits(128)) for _ in range(ROWS)]
    forms = [str(code).upper() if number % 5 == 0 else code.hex for number, code in enumerate(codes)]
    support.put(file, "otherproject_author", {"id": 1, "name": "Ada"})
    support.put(
        file,
        "otherproject_book",
        *({"id": code, "title": f"t{n}", "author_id": 1, "pages": 1, "price": 1} for n, code in enumerate(forms)),
    )
    verify_and_delete_a_row(file, migrated, ["otherproject_book", "otherproject_author"], "id", ROWS)


def test_large_table_with_composite_key_is_migrated_and_verified(file: Path, migrated: Database) -> None:
    support.put(file, "otherproject_author", {"id": 1, "name": "Ada"})
    support.put(file, "otherproject_book", {"id": "f" * 32, "title": "t", "author_id": 1, "pages": 1, "price": 1})
    support.put(file, "otherproject_shelf", *({"id": shelf, "room": "r", "number": shelf} for shelf in range(1, 21)))
    positions = [{"shelf_id": n % 20 + 1, "position": n // 20 - 50, "book_id": "f" * 32} for n in range(ROWS)]
    support.put(file, "otherproject_place", *positions)
    tables = [f"otherproject_{name}" for name in ("place", "shelf", "book", "author")]
    verify_and_delete_a_row(file, migrated, tables, "position", ROWS)


def verify_and_delete_a_row(file: Path, database: Database, tables: list[str], column: str, rows: int) -> None:
    """Migrate `tables`, then delete a row of the last chunk of the first: the verification has to fail."""
    table = tables[0]
    with support.prepared(file, only=tables) as ready:
        assert ready.preflight.groups == ()
        (plan,) = (entry for entry in ready.plan.tables if entry.name == table)
        assert rows > chunk_rows(plan)
        support.copy_and_verify_into(ready, database)
        assert database.value(f"SELECT count(*) FROM {table}") == rows
        with pytest.raises(
            VerificationFailed,
            match=rf"{table}: the contents in PostgreSQL and in the file differ:\n  row .* is not in PostgreSQL",
        ):
            support.verify_after(
                ready,
                database,
                f"DELETE FROM {table} WHERE {column} = (SELECT {column} FROM {table} ORDER BY 1 DESC LIMIT 1)",
            )


def test_wide_rows_are_copied_in_small_chunks(file: Path, migrated: Database) -> None:
    support.put(file, "everything", *({"id": n, "long": "x" * 300_000} for n in range(1, 8)))
    with support.prepared(file, only=["everything"]) as ready:
        (plan,) = (entry for entry in ready.plan.tables if entry.name == "everything")
        assert chunk_rows(plan) == 3
        support.copy_and_verify_into(ready, migrated)
    assert migrated.value("SELECT sum(length(long)) FROM everything") == 2_100_000


@pytest.mark.parametrize("width", [1, 99, 100, 101, 127, 128, 300])
def test_table_with_more_columns_than_sqlite_function_arguments_is_copied(width: int) -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        names = [f"c{number}" for number in range(width)]
        connection.execute(f"CREATE TABLE wide ({', '.join(names)})")
        values = [None if number % 3 == 0 else f"it's {number}" for number in range(width)]
        connection.execute(f"INSERT INTO wide VALUES ({', '.join('?' * width)})", values)
        (line,) = connection.execute(f"SELECT {line_of([('%Q', name) for name in names])} FROM wide").fetchone()
    assert line == ",".join("NULL" if value is None else f"'it''s {n}'" for n, value in enumerate(values))


@pytest.mark.parametrize(
    "numbers",
    [
        range(1, ROWS + 1),
        range(-ROWS, 2 * ROWS, 3),
        [*range(CHUNK_ROWS), 10**9],
        [-(2**63), 0, 2**63 - 1],
        [7],
        [],
    ],
    ids=["without gaps", "with gaps", "with a large gap", "at both ends", "one row", "no rows"],
)
def test_ranges_of_row_numbers_cover_each_row_once(file: Path, numbers: Sequence[int]) -> None:
    support.alter(file, "DELETE FROM otherproject_author")
    support.put(file, "otherproject_author", *({"id": number, "name": "Ada"} for number in numbers))
    with (
        support.prepared(file, only=["otherproject_author"]) as ready,
        contextlib.closing(connect(ready.snapshot)) as connection,
    ):
        (plan,) = (entry for entry in ready.plan.tables if entry.name == "otherproject_author")
        ranges = list(chunks(connection, plan))
    assert sum(rows for _, _, rows in ranges) == len(numbers)
    assert all(last < first for (_, last, _), (first, _, _) in itertools.pairwise(ranges))
    counts = [sum(first <= number <= last for number in numbers) for first, last, _ in ranges]
    assert sum(counts) == len(numbers)
    assert all(count <= chunk_rows(plan) for count in counts)
