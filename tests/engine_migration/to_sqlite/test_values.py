"""Whatever PostgreSQL holds in whatever column: Django reads an equal value from the file, or it is a named finding.

What has to be in the file is what Django puts there: each value that it reads from PostgreSQL is saved to another file.
`ops.engine_migration.types` is not looked at.
"""

import contextlib
import ipaddress
import json
import math
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from django.db.models import JSONField, Value
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ops.databases.override import override_database, sqlite_wrapper
from ops.engine_migration.prepared import MigrationOptions
from ops.engine_migration.to_sqlite import pipeline, target
from ops.utils.progress import StageTimer, no_progress
from tests.engine_migration import support
from tests.engine_migration.support import Database
from tests.engine_migration.test_round_trip import FLOATS, LONG, QUICK, TEXTS, documents
from tests.otherproject.models import Everything

Stored = tuple[str, Any]
"""The type and the value of a cell."""

# --- Values, as PostgreSQL reads them -------------------------------------------------------------------------------
characters = st.characters(exclude_categories=("Cs",), exclude_characters="\0")
texts = st.text(characters) | st.sampled_from([text for text in TEXTS if "\0" not in text])
texts |= st.sampled_from(["\uffff", "\ufffe", "\U0010ffff", "x" * 100_000, "𝄞" * 5000, " \t\n", "'\"" * 9, "\u202e"])


def whole(bits: int) -> st.SearchStrategy[str]:
    edges = [-(2**bits), 2**bits - 1, 0, -1, *(2**53 + step for step in (-1, 0, 1) if bits > 53)]
    return (st.integers(-(2**bits), 2**bits - 1) | st.sampled_from(edges)).map(str)


days = st.dates().map(str) | st.sampled_from(
    [
        *("infinity", "-infinity", "0044-03-15 BC", "0001-12-31 BC", "0001-01-01", "9999-12-31", "10000-01-01"),
        *("5874897-12-31", "4713-01-01 BC", "0999-01-02"),
    ]
)
moments = st.datetimes().map(str) | st.sampled_from(
    [
        *("infinity", "-infinity", "0044-03-15 12:00 BC", "0001-01-01 00:00:00+00", "0001-01-01 00:00:00+01"),
        *("9999-12-31 23:59:59.999999+00", "9999-12-31 23:59:59.999999-01", "294276-12-31 23:59:59", "0999-01-01"),
        *("2026-10-25 00:30:00.100000+00", "2026-10-25 01:30:00+00", "1890-01-01 12:00:00+00:53:28"),
    ]
)
clocks = st.times().map(str) | st.sampled_from(["24:00", "00:00", "23:59:59.999999", "12:00:00.100000"])
spans = st.integers(-(2**62), 2**62).map(lambda number: f"{number} microseconds") | st.sampled_from(
    [
        *("0", "1 mon", "-1 year", "1 mon -30 days", "1 day -24:00:00", "-1 day +24:00:00.000001", "1 week", "24:00"),
        *("106751991 days", "106751991 days 04:00:54.775807", "106751991 days 04:00:54.775808", "106751992 days"),
        *("-106751991 days -04:00:54.775808", "-106751992 days", "999999999 days", "1000000000 days", "240:00"),
        *("2147483647 days 2562047788:00:54.775807", "-2147483648 days", "178000000 years", "-0.000001 seconds"),
    ]
)
addresses = (
    st.ip_addresses().map(str)
    | st.integers(0, 2**33).map(lambda number: f"::{number >> 16:x}:{number & 65535:x}")
    | st.integers(0, 2**32 - 1).map(lambda number: f"::ffff:{number >> 16:x}:{number & 65535:x}")
    | st.lists(st.sampled_from(["0", "0", "1", "ffff"]), min_size=8, max_size=8).map(":".join)
    | st.sampled_from(["10.0.0.5/24", "10.0.0.0/8", "1.2.3.4/32", "::1/64", "2001:db8::/32", "0.0.0.0/0", "::/0"])
    | st.sampled_from(["::1.2.3.4", "64:ff9b::1.2.3.4", "::", "::1", "1::", "::ffff:0:1.2.3.4", "255.255.255.255"])
)
jsons = documents.map(json.dumps).filter(lambda text: "\\u0000" not in text) | st.sampled_from(
    [
        *("null", "1.10", "1e5", "-0.0", "0.10e-3", "1e300", "1e400", "1e-400", "9" * 500, f"0.{'3' * 60}"),
        *("[" * 500 + "]" * 500, "[" * 1500 + "]" * 1500, "[" * 2500 + "]" * 2500, "12345678901234567.5"),
        *('"\\ud83d\\ude00 \\u202e\\uffff"', '"\\b\\f\\u001f\\u007f\\u0080/\\"\\\\"', '{"": "", "ä": "\\u2028"}'),
        *('{"a": 1, "a": 2}', '{"b": 1, "a": {}}'),
    ]
)
reals = (st.floats() | st.sampled_from([*FLOATS, math.nan, -0.0, 2**53 + 1.0, 1e-320, -5e-324])).map(repr)
VALUES: dict[str, st.SearchStrategy[str]] = {
    "small": whole(15),
    "number": whole(31),
    "big": whole(63),
    "positive": st.integers(0, 2**31 - 1).map(str),
    "flag": st.sampled_from(["true", "false"]),
    "short": st.text(characters, max_size=20) | st.sampled_from(["", " ", "'", "%s", "\uffff", "𝄞" * 20]),
    "long": texts,
    "real": reals,
    "money": st.integers(-(10**12) + 1, 10**12 - 1).map(lambda n: f"{n}e-2") | st.sampled_from(["NaN", "0", "-0.01"]),
    "day": days,
    "moment": moments,
    "clock": clocks,
    "span": spans,
    "code": st.uuids().map(str),
    "address": addresses,
    "blob": st.binary(max_size=99).map(lambda content: f"\\x{content.hex()}"),
    "data": jsons,
}
NO_YEAR = "infinite, or outside the years 1 to 9999, which Python has"
STRICTER = {
    "day": NO_YEAR,
    "moment": NO_YEAR,
    "real": "negative zero, which SQLite stores without its sign",
    "clock": "24:00, which Python does not have",
    "span": "months or years, of which not all are equally long",
    "address": "an address with a netmask, which Django does not store in SQLite",
}
"""Findings where Django reads another value than there is, and the same one from both databases."""


# --- The way of a value ---------------------------------------------------------------------------------------------
@dataclass
class Track:
    """A database, and a file with the project's tables, which many examples use."""

    database: Database
    empty: Path
    skipped: frozenset[str]

    def fill(self, cells: Sequence[tuple[str, str]]) -> None:
        """Put those of `cells`, by column, that PostgreSQL takes into rows 1, 2, …"""
        with contextlib.closing(self.database.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SET timezone = 'UTC'; DELETE FROM everything")
            cursor.execute(
                "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
                " WHERE attrelid = 'everything'::regclass"
            )
            kinds = dict(cursor.fetchall())
            for row, (column, value) in enumerate(cells, 1):
                with contextlib.suppress(psycopg2.DataError, psycopg2.OperationalError):
                    statement = f"INSERT INTO everything (id, {column}) VALUES (%s, %s::{kinds[column]})"
                    cursor.execute(statement, [row, value])

    def come_back(self, folder: Path) -> tuple[Path, dict[int, set[str]]]:
        """The file, and the reasons of findings by row."""
        with pipeline.prepare(
            address=self.database.address,
            path=folder / "new.db",
            options=MigrationOptions(skip_tables=self.skipped),
            findings=folder,
            on_progress=no_progress,
        ) as ready:
            pipeline.copy_and_verify(ready, StageTimer(no_progress))
            shutil.copy(ready.file, folder / "kept.db")
            reasons: dict[int, set[str]] = {}
            for _, row, *_, reason in support.read_findings(ready.findings_file):
                reasons.setdefault(int(row), set()).add(reason)
            assert ready.preflight.rows_refused == len(reasons)
        return folder / "kept.db", reasons


@pytest.fixture(scope="module")
def track(templates: Path, schema: str) -> Iterator[Track]:
    name = support.new_name()
    database = support.create(name, schema)
    skipped = {*database.tables()} - {"everything", "django_migrations"}
    yield Track(database=database, empty=templates / "empty.db", skipped=frozenset(skipped))
    support.drop(name)


@pytest.fixture(autouse=True)
def ready_file(track: Track, monkeypatch: pytest.MonkeyPatch) -> None:
    """The staging file is copied, not made again for each example."""

    @contextlib.contextmanager
    def staging_file(path: Path) -> Iterator[Path]:
        yield Path(shutil.copy(track.empty, path))

    monkeypatch.setattr(target, "staging_file", staging_file)


def read_through_django(cells: Sequence[tuple[str, str]]) -> dict[int, Any]:
    """What Django reads of the cell of each row of "default", or the class of its error."""
    found: dict[int, Any] = {}
    for row in Everything.objects.values_list("pk", flat=True):
        try:
            found[row] = Everything.objects.values_list(cells[row - 1][0], flat=True).get(pk=row)
        except Exception as error:  # noqa: BLE001 - whatever the drivers raise
            found[row] = type(error)
    return found


def save_through_django(cells: Sequence[tuple[str, str]], values: dict[int, Any]) -> None:
    for row, value in values.items():
        if not isinstance(value, type):
            # None is JSON's null here: no cell is NULL.
            wrapped = Value(None, JSONField()) if value is None else value
            with contextlib.suppress(Exception):
                Everything.objects.create(pk=row, **{cells[row - 1][0]: wrapped})


def stored(cells: Sequence[tuple[str, str]], file: Path) -> dict[int, Stored]:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        rows = [row for (row,) in connection.execute("SELECT id FROM everything")]
        query = "SELECT typeof({0}), {0} FROM everything WHERE id = ?"
        return {row: connection.execute(query.format(cells[row - 1][0]), [row]).fetchone() for row in rows}


def comparable(column: str, value: Any) -> Any:
    if isinstance(value, memoryview | bytes):
        return bytes(value)
    # PostgreSQL writes some addresses in another way than Django does.
    return ipaddress.ip_interface(value) if column == "address" else repr(value)


def in_one_spelling(column: str, cell: Stored) -> Stored:
    """JSON keeps the digits that PostgreSQL has, such as 1.10, which Python reads as 1.1."""
    if column == "data":
        with contextlib.suppress(RecursionError):
            return cell[0], json.dumps(json.loads(cell[1]))
    return cell


def check(track: Track, values: Mapping[str, Sequence[str]]) -> None:
    cells = [(column, value) for column, listed in values.items() for value in listed]
    track.fill(cells)
    with override_database(track.database.address.wrapper()):
        before = read_through_django(cells)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        file, refused = track.come_back(Path(name))
        arrived = stored(cells, file)
        with override_database(sqlite_wrapper(str(file))):
            after = read_through_django(cells)
        saved = shutil.copy(track.empty, Path(name, "saved.db"))
        with override_database(sqlite_wrapper(str(saved))):
            save_through_django(cells, before)
            read_again = read_through_django(cells)
        of_django = stored(cells, Path(saved))
    assert set(arrived) | set(refused) == set(before)
    assert not set(arrived) & set(refused)
    for row, reasons in refused.items():
        column, value = cells[row - 1]
        carried = row in read_again and comparable(column, read_again[row]) == comparable(column, before[row])
        assert not carried or reasons == {STRICTER.get(column)}, f"{value!r} in {column}: {reasons}"
    for row, cell in arrived.items():
        column, value = cells[row - 1]
        assert comparable(column, after[row]) == comparable(column, before[row]), f"{value!r} in {column}: {cell}"
        expected = of_django.get(row, cell)
        assert in_one_spelling(column, cell) == in_one_spelling(column, expected), f"{value!r} in {column}: {cell}"


def test_values_of_postgresql_are_stored_as_django_stores_them_or_are_findings(track: Track) -> None:
    property_of(settings(QUICK, max_examples=3, phases=[Phase.generate]), track, VALUES)


@pytest.mark.slow
@pytest.mark.parametrize("column", VALUES)
def test_many_values_of_postgresql_are_stored_as_django_stores_them_or_are_findings(track: Track, column: str) -> None:
    property_of(settings(LONG, max_examples=40), track, {column: VALUES[column]})


def property_of(effort: settings, track: Track, strategies: Mapping[str, st.SearchStrategy[str]]) -> None:
    @effort
    @given(
        st.fixed_dictionaries({name: st.lists(values, min_size=20, max_size=50) for name, values in strategies.items()})
    )
    def holds(values: dict[str, list[str]]) -> None:
        check(track, values)

    holds()
