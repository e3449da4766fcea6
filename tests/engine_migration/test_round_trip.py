"""Whatever a file holds in whatever column: it arrives as Django read it there, or it is a named finding.

What Django would read is defined here again, strictly and without looking at `ops.engine_migration.types`.
"""

import contextlib
import datetime as dt
import decimal
import ipaddress
import json
import math
import re
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops.databases.override import override_database
from ops.databases.sqlite.snapshot import Snapshot
from ops.engine_migration.findings import FindingLog
from ops.engine_migration.plan import Plan
from ops.engine_migration.to_postgres.copying import copy_table
from ops.engine_migration.to_postgres.preflight import run_preflight
from ops.engine_migration.to_postgres.target import StagingDatabase
from ops.engine_migration.verify import verify_tables
from ops.utils.progress import no_progress
from tests.engine_migration import support
from tests.otherproject.models import Everything

UTC = dt.UTC


class NoReading(Exception):
    """Django has no strict reading of the stored value, so it has to be a finding."""


@dataclass(frozen=True)
class BrokenText:
    """Bytes that are stored as text."""

    content: bytes


# --- The oracle: what a stored value means ------------------------------------------------------------------
def demand(condition: Any) -> None:
    if not condition:
        raise NoReading


def read_integer(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        demand(type(value) is int and low <= value <= high)
        return int(value)

    return read


def read_flag(value: Any) -> bool:
    demand(type(value) is int and value in {0, 1})
    return bool(value)


def read_text(limit: float) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        demand(isinstance(value, str) and "\0" not in value and len(value) <= limit)
        return str(value)

    return read


def read_real(value: Any) -> float:
    demand(isinstance(value, float))
    return float(value)


def read_money(value: Any) -> decimal.Decimal:
    demand(isinstance(value, int | float) and math.isfinite(value))
    exact = decimal.Decimal(repr(value))
    with decimal.localcontext(prec=400):
        demand(exact == round(exact, 2) and abs(exact) < 10**10)
    return exact


def read_day(value: Any) -> dt.date:
    demand(isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value))
    return converted(dt.date.fromisoformat, value)


def read_moment(value: Any) -> dt.datetime:
    demand(isinstance(value, str) and not re.search(r"[.,][0-9]{6}[0-9]*[1-9]", value))
    moment = converted(dt.datetime.fromisoformat, value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def read_clock(value: Any) -> dt.time:
    demand(isinstance(value, str) and not re.search(r"[.,][0-9]{6}[0-9]*[1-9]", value))
    clock = converted(dt.time.fromisoformat, value)
    demand(clock.tzinfo is None)
    return clock


def converted(read: Callable[[str], Any], value: str) -> Any:
    try:
        return read(value)
    except (ValueError, OverflowError) as error:
        raise NoReading from error


def read_span(value: Any) -> dt.timedelta:
    demand(type(value) is int)
    try:
        return dt.timedelta(microseconds=value)
    except OverflowError as error:
        raise NoReading from error


def read_code(value: Any) -> uuid.UUID:
    demand(isinstance(value, str))
    return converted(uuid.UUID, value)


def read_address(value: Any) -> Any:
    demand(isinstance(value, str) and "%" not in value)
    return converted(ipaddress.ip_address, value)


def read_blob(value: Any) -> bytes:
    demand(isinstance(value, bytes))
    return bytes(value)


def read_data(value: Any) -> Any:
    demand(isinstance(value, str))
    document = converted(lambda text: json.loads(text, parse_constant=refuse), value)
    return json_form(document)


def refuse(_constant: str) -> None:
    raise NoReading


def json_form(value: Any) -> Any:
    """With types that keep true apart from 1, and numbers as Django reads them from either database."""
    if isinstance(value, dict):
        return {json_text(key): json_form(item) for key, item in value.items()}
    if isinstance(value, list):
        return [json_form(item) for item in value]
    if isinstance(value, str):
        return json_text(value)
    if isinstance(value, bool) or value is None:
        return repr(value)
    return ("number", value if abs(value) <= 2**53 else as_float(value))


def as_float(value: float) -> float:
    """JSON has one kind of number: 1e300 comes back from jsonb as a whole number of the same size."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def json_text(value: str) -> tuple[str, str]:
    demand("\0" not in value and not re.search("[\ud800-\udfff]", value))
    return ("text", value)


def same_moment(value: dt.datetime) -> dt.datetime:
    return value.astimezone(UTC)


READ: dict[str, Callable[[Any], Any]] = {
    "small": read_integer(-(2**15), 2**15 - 1),
    "number": read_integer(-(2**31), 2**31 - 1),
    "big": read_integer(-(2**63), 2**63 - 1),
    "positive": read_integer(-(2**31), 2**31 - 1),
    "flag": read_flag,
    "short": read_text(20),
    "long": read_text(math.inf),
    "real": read_real,
    "money": read_money,
    "day": read_day,
    "moment": read_moment,
    "clock": read_clock,
    "span": read_span,
    "code": read_code,
    "address": read_address,
    "blob": read_blob,
    "data": read_data,
}
ARRIVED: dict[str, Callable[[Any], Any]] = {"blob": bytes, "address": ipaddress.ip_address, "data": json_form}
"""What Django gives for a column of PostgreSQL, in the form of `READ`."""

# --- Values -------------------------------------------------------------------------------------------------
EDGES = [
    0,
    1,
    -1,
    2,
    *(sign * 2**power + step for sign in (1, -1) for power in (15, 31, 53, 62) for step in (-1, 0, 1)),
]
EDGES += [2**63 - 1, -(2**63), -(2**63) + 1]
FLOATS = [0.0, -0.0, 0.1, 1.5, 0.1 + 0.2, 1e15, 1e16, 123456789012345.6, 1234567890123456.75, 9007199254740993.0, 1e22]
FLOATS += [5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1.7976931348623157e308, math.inf, -math.inf]
FLOATS += [0.0001, 0.00001, 1.005, 10.555, 9999999999.99, 9999999999.995, 99999999999.0, 1e-7, 123456.789]
TEXTS = [
    "",
    "NULL",
    "'",
    "''",
    "'NULL'",
    "\\.",
    "\\N",
    "\\",
    "\n",
    "\r\n",
    "\t",
    ",",
    '"',
    "a\0b",
    "\0",
    "\ufeff",
    "𝄞",
    "é",
]
TEXTS += [
    "e\u0301",
    "\x7f\x1b",
    "\u2028",
    "%s%Q",
    "true",
    "t",
    "1",
    "0",
    "1.5",
    " 1",
    "1e3",
    "Infinity",
    "NaN",
    "nan",
    "-0",
]
TEXTS += ["x" * 20, "x" * 21, "𝄞" * 20, "𝄞" * 21]
whole = st.integers(-(2**63), 2**63 - 1) | st.sampled_from(EDGES)
floats = st.floats(allow_nan=False) | st.sampled_from(FLOATS)
text = st.text(st.characters(exclude_categories=("Cs",)), max_size=24) | st.sampled_from(TEXTS)
broken = st.sampled_from([b"\xff", b"ab\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"x\x00\xff"])
anything = st.none() | whole | floats | text | st.binary(max_size=8) | broken.map(BrokenText)


def joined(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map("".join)


def digits(width: int, low: int, high: int) -> st.SearchStrategy[str]:
    return st.integers(low, high).map(lambda number: f"{number:0{width}}")


near_day = joined(
    digits(4, 0, 10000) | st.sampled_from(["0001", "1582", "2024", "9999", "24", "２０２４"]),
    st.sampled_from(["-", "-", "-", "/", ""]),
    digits(2, 0, 13) | st.just("1"),
    st.just("-"),
    digits(2, 0, 32) | st.sampled_from(["28", "29", "30", "31"]),
    st.sampled_from(["", "", "", "", " ", "\n", "T"]),
)
fractions = st.sampled_from(
    [
        "",
        "",
        ".",
        ".5",
        ".000000",
        ".100000",
        ".999999",
        ".123",
        ".1234567",
        ".123456000",
        ",5",
        ".12345x",
        ".1234560001",
    ]
)
near_clock = joined(
    st.sampled_from(["24", "23", "00"]) | digits(2, 0, 24),
    st.just(":"),
    digits(2, 0, 60),
    st.sampled_from([":", ":", ":", ""]),
    digits(2, 0, 60),
    fractions,
) | st.sampled_from(["", "12:00", "12", "24:00:00", "23:59:60", "1:02:03", "12:00:00Z", "12:00:00+02:00", "12:00:00 "])
offsets = st.sampled_from(
    [
        "",
        "",
        "",
        "Z",
        "z",
        "+00:00",
        "-00:00",
        "+02:00",
        "-0530",
        "+05:45",
        "+14:00",
        "+23:59",
        "+24:00",
        "-99:99",
        "+00:60",
        "+02",
        " +02:00",
        "+01:02:03",
        " UTC",
    ]
)
near_moment = joined(near_day, st.sampled_from([" ", " ", "T", "t", "  ", ""]), near_clock, offsets) | near_day
near_moment |= st.sampled_from(
    [
        "0001-01-01 00:00:00+00:01",
        "9999-12-31 23:59:59-00:01",
        "9999-12-31 23:59:59.999999",
        "0001-01-01 00:00:00",
        "0000-01-01 00:00:00",
        "now",
    ]
)
near_money = joined(
    st.sampled_from(["", "-", "+", " "]),
    digits(1, 0, 10**11),
    st.sampled_from(["", ".", ".1", ".10", ".125", ".000", "e2", ".1e1"]),
) | st.sampled_from(["", ".5", "1_000", "١٢", "Infinity", "NaN", "sNaN", "0x10", "1,5"])
near_code = st.uuids().flatmap(
    lambda code: st.sampled_from(
        [
            code.hex,
            str(code),
            code.hex.upper(),
            str(code).upper(),
            f"{{{code}}}",
            code.urn,
            code.hex[:-1],
            code.hex + "0",
            code.hex[:-1] + "g",
            code.hex + "\n",
            str(code)[:18] + str(code)[19:],
            code.hex[:-1] + "１",
        ]
    )
)
near_address = (
    st.ip_addresses().map(str)
    | st.ip_addresses(v=6).map(lambda address: address.exploded.upper())
    | st.sampled_from(
        [
            "010.0.0.1",
            "1.2.3",
            "1.2.3.4/32",
            "1.2.3.4/24",
            "::1/128",
            "fe80::1%eth0",
            "::ffff:1.2.3.4",
            "::FFFF:1.2.3.4",
        ]
    )
    | st.sampled_from(
        ["::", "1::", "[::1]", " ::1", "256.1.1.1", "１.2.3.4", "0.0.0.0", "::1.2.3.4", "64:ff9b::1.2.3.4"]
    )
)
scalars = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(-1e300, 1e300, allow_nan=False) | text
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=6
)
near_json = (
    documents.flatmap(
        lambda document: st.sampled_from(
            [json.dumps(document), json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True)]
        )
    )
    | st.sampled_from(
        ["", "NaN", "[Infinity]", "-Infinity", "{'a': 1}", "[1,]", "01", "1.", ".5", "+1", "-", "tru", "[", "null "]
    )
    | st.sampled_from(
        ['"\\ud800"', '"\\ud83d\\ude00"', '"\\\\ud800"', '"\\u0000"', '"\\\\u0000"', '"\\\\\\u0000"', '{"\\u0000": 1}']
    )
    | st.sampled_from(
        ["-0.0", "[-0, 0, -0.0, 0e5]", "1e5", "1E+05", "1.10", "100000000000000000000.5", "1e-300", "[1e300]"]
    )
    | st.sampled_from(
        ['{"a": 1, "a": 2}', '{"b": 1, "a": true}', '"\t"', '"\x7f"', "\ufeff1", "\v1", "/* */ 1", '["number 1", 1]']
    )
)

NEAR: dict[str, st.SearchStrategy[Any]] = {
    "small": st.integers(-(2**15) - 2, 2**15 + 1) | st.sampled_from(["12", " 12 ", "0x10", "1e2"]),
    "number": st.integers(-(2**31) - 2, 2**31 + 1),
    "big": whole | st.sampled_from(["9223372036854775807", "9223372036854775808", 9.3e18, -9.3e18]),
    "positive": st.integers(-3, 2**31 + 2),
    "flag": st.integers(-1, 2) | st.sampled_from(["t", "f", "true", "false", "", "1", "0", 1.0, 0.5]),
    "short": text | st.text(min_size=18, max_size=22),
    "long": text,
    "real": floats | whole,
    "money": near_money | st.integers(-(10**14), 10**14).map(lambda cents: cents / 100),
    "day": near_day,
    "moment": near_moment,
    "clock": near_clock,
    "span": whole | st.sampled_from(["1 day", "00:00:01", 1.5]),
    "code": near_code,
    "address": near_address,
    "blob": st.binary(max_size=40),
    "data": near_json,
}
WRITTEN: dict[str, st.SearchStrategy[Any]] = {
    "small": st.integers(-(2**15), 2**15 - 1),
    "number": st.integers(-(2**31), 2**31 - 1),
    "big": st.integers(-(2**63), 2**63 - 1),
    "positive": st.integers(0, 2**31 - 1),
    "flag": st.integers(0, 1),
    "short": st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20),
    "long": st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")),
    "real": st.floats(allow_nan=False),
    # Django gives SQLite the decimal as text, which the column's affinity turns into a number.
    "money": st.decimals(-9999999999, 9999999999, places=2).map(str),
    "day": st.dates().map(str),
    "moment": st.datetimes().map(str),
    "clock": st.times().map(str),
    "span": st.integers(-(86_400_000_000 * 10**6), 86_400_000_000 * 10**6),
    "code": st.uuids().map(lambda code: code.hex),
    "address": st.ip_addresses().map(str),
    "blob": st.binary(),
    "data": documents.filter(lambda document: "\\u0000" not in json.dumps(document)).map(json.dumps),
}
"""What Django itself writes; none of it may be refused."""


# --- The engine, with its pieces kept between examples ------------------------------------------------------
@dataclass
class Track:
    """One file and one database that many examples go through."""

    file: Path
    plan: Plan
    database: support.Database
    target: Any

    def fill(self, column: str, values: list[Any]) -> list[Any]:
        """Put the values into rows 1, 2, … and return what SQLite made of them."""
        with support.opened(self.file) as connection:
            connection.execute("DELETE FROM everything")
            for row, value in enumerate(values, 1):
                mark = "CAST(? AS TEXT)" if isinstance(value, BrokenText) else "?"
                content = value.content if isinstance(value, BrokenText) else value
                connection.execute(f"INSERT INTO everything (id, {column}) VALUES (?, {mark})", [row, content])
            connection.commit()
            connection.text_factory = decoded
            return [value for (value,) in connection.execute(f"SELECT {column} FROM everything ORDER BY id")]

    def migrate_rows(self, rows: int) -> dict[int, str]:
        """Migrate and verify the rows without findings. Returns the reason of each finding by row."""
        snapshot = Snapshot(source=self.file, path=self.file, size=0, sha256="", wal=False)
        (table,) = (replace(table, rows=rows, bytes_per_row=100) for table in self.plan.tables)
        with tempfile.TemporaryDirectory() as directory:
            log = FindingLog(path=Path(directory) / "findings.csv")
            plan = replace(self.plan, tables=(table,))
            preflight = run_preflight(plan=plan, snapshot=snapshot, log=log, processes=1, on_progress=no_progress)
            named = support.read_findings(log.path if log.count else None)
        staging = StagingDatabase(address=self.database.address, processes=1, shared=self.target)
        with self.target:
            copy_table(table=table, snapshot=snapshot, target=self.target, preflight=preflight, on_progress=no_progress)
            verify_tables(
                tables=[table], snapshot=snapshot, postgres=staging, preflight=preflight, on_progress=no_progress
            )
        assert set(preflight.refused.get("everything", ())) == {int(finding[1]) for finding in named}
        return {int(finding[1]): finding[5] for finding in named}


def decoded(stored: bytes) -> str | BrokenText:
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return BrokenText(stored)


@pytest.fixture(scope="module")
def track(templates: Path, schema: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Track]:
    file = Path(shutil.copy(templates / "empty.db", tmp_path_factory.mktemp("track") / "track.db"))
    with support.opened(file) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = OFF")
    with support.prepared(file) as ready:
        plan = replace(ready.plan, tables=tuple(t for t in ready.plan.tables if t.name == "everything"))
    database = support.create(support.new_name(), schema)
    # Constraints are checked by loading.
    database.rows("ALTER TABLE everything DROP CONSTRAINT everything_positive_check")
    with contextlib.closing(database.address.connect()) as target:
        yield Track(file=file, plan=plan, database=database, target=target)
    support.drop(database.name)


@pytest.fixture(autouse=True)
def default_database(track: Track, live_database: None) -> Iterator[None]:
    with override_database(track.database.address.wrapper()):
        yield


def check(track: Track, column: str, values: list[Any], *, all_welcome: bool = False) -> None:
    stored = track.fill(column, values)
    refused = track.migrate_rows(len(values))
    arrived = dict(Everything.objects.values_list("pk", column))
    assert set(arrived) | set(refused) == set(range(1, len(values) + 1))
    assert not set(arrived) & set(refused)
    if all_welcome:
        assert not refused, {row: (stored[row - 1], reason) for row, reason in refused.items()}
    for row, value in arrived.items():
        before = stored[row - 1]
        if before is None:
            assert value is None
            continue
        try:
            expected = READ[column](before)
        except NoReading:
            pytest.fail(f"{before!r} in {column} became {value!r} without a word")
        found = ARRIVED.get(column, lambda same: same)(value)
        assert found == expected, f"{before!r} in {column} became {value!r}"
        assert math.copysign(1, found) == math.copysign(1, expected) if column == "real" else True
    for row, reason in refused.items():
        assert reason, f"no reason for {stored[row - 1]!r}"


QUICK = settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
LONG = settings(QUICK, max_examples=600, derandomize=False)


@pytest.mark.parametrize("column", READ)
def test_stored_value_is_migrated_unchanged_or_is_a_finding(track: Track, column: str) -> None:
    property_of_any(QUICK, track, column)


@pytest.mark.parametrize("column", READ)
def test_value_written_by_django_is_migrated(track: Track, column: str) -> None:
    property_of_written(QUICK, track, column)


@pytest.mark.slow
@pytest.mark.parametrize("column", READ)
def test_many_stored_values_are_migrated_unchanged_or_are_findings(track: Track, column: str) -> None:
    property_of_any(LONG, track, column)
    property_of_written(LONG, track, column)


def property_of_any(effort: settings, track: Track, column: str) -> None:
    @effort
    @given(st.lists(NEAR[column] | NEAR[column] | anything, min_size=20, max_size=60))
    def holds(values: list[Any]) -> None:
        check(track, column, values)

    holds()


def property_of_written(effort: settings, track: Track, column: str) -> None:
    @effort
    @given(st.lists(WRITTEN[column], min_size=20, max_size=60))
    def holds(values: list[Any]) -> None:
        check(track, column, values, all_welcome=True)

    holds()


def test_sqlite_stores_nan_as_null(track: Track) -> None:
    assert track.fill("real", [math.nan]) == [None]
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        assert connection.execute("SELECT ? IS NULL", [math.nan]).fetchone() == (1,)
