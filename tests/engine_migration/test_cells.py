"""Cells that PostgreSQL would refuse or change: each is a finding that names table, key, column and reason."""

import zoneinfo
from pathlib import Path
from typing import Any

import pytest

from tests.engine_migration import support
from tests.engine_migration.support import Database
from tests.otherproject.models import Everything

TABLES = ("accounts_user", "everything", "otherproject_author", "otherproject_book", "otherproject_tag")
DATE_FORM = "not a date of the form 2026-01-31"
MOMENT_FORM = "not a date and time of the form 2026-01-31 23:59:59"
NUL = "a NUL character, which PostgreSQL cannot store in text"
LOST = "too large for SQLite, which stored it as a floating-point number and lost digits"


def finding(file: Path, column: str, value: Any, **options: Any) -> tuple[str, str]:
    """Stored type and reason of the one finding that `value` is, in row 7."""
    support.put(file, "everything", {"id": 6}, {"id": 7, column: value}, {"id": 8})
    ((table, key, where, stored_type, shown, reason),) = support.findings(file, only=TABLES, **options)
    assert (table, key, where) == ("everything", "7", column)
    assert shown == repr(value)
    return stored_type, reason


@pytest.mark.parametrize(
    ("column", "value", "stored_type", "reason"),
    [
        # Django reads each of these as NULL, or fails without saying where.
        ("day", "", "text", DATE_FORM),
        ("day", "2024-01-01 00:00:00", "text", DATE_FORM),
        ("day", "01/02/2024", "text", DATE_FORM),
        ("day", "2024-02-30", "text", "day is out of range for month"),
        ("day", "0000-01-01", "text", "year 0 is out of range"),
        ("day", 20240101, "integer", "a whole number instead of a date"),
        ("moment", "", "text", MOMENT_FORM),
        ("moment", 1700000000, "integer", "a whole number instead of a date and time"),
        ("moment", 1700000000.5, "real", "a floating-point number instead of a date and time"),
        ("moment", "2023-02-29 12:00:00", "text", "day is out of range for month"),
        ("moment", "2023-02-28 24:00:00", "text", "hour must be in 0..23"),
        ("moment", "0000-12-31 00:00:00", "text", "year 0 is out of range"),
        ("moment", "2024-01-01", "text", MOMENT_FORM),
        ("clock", "", "text", "not a time of the form 23:59:59"),
        ("clock", "24:00:00", "text", "hour must be in 0..23"),
        ("clock", "12:00", "text", "not a time of the form 23:59:59"),
        # SQLite's two booleans are 0 and 1.
        ("flag", 2, "integer", "neither 0 nor 1, which SQLite stores for false and true"),
        ("flag", "t", "text", "text instead of 0 or 1"),
        ("flag", "true", "text", "text instead of 0 or 1"),
        ("flag", "", "text", "text instead of 0 or 1"),
        ("flag", b"\x01", "blob", "binary data instead of 0 or 1"),
        # Lengths are counted in characters.
        ("short", "x" * 21, "text", "21 characters; the limit is 20"),
        ("short", "𝄞" * 21, "text", "21 characters; the limit is 20"),
        # PostgreSQL stores no NUL.
        ("long", "a\0b", "text", NUL),
        ("short", "\0", "text", NUL),
        ("data", '{"a": "\\u0000"}', "text", "JSON with a NUL character, which PostgreSQL cannot store"),
        # Values of another type, or outside the range of the column.
        ("number", "", "text", "text instead of a whole number"),
        ("number", "abc", "text", "text instead of a whole number"),
        ("number", 1.5, "real", "a floating-point number instead of a whole number"),
        ("number", 2**31, "integer", "outside -2147483648 to 2147483647"),
        ("small", -32769, "integer", "outside -32768 to 32767"),
        ("big", 9.3e18, "real", LOST),
        ("big", b"1", "blob", "binary data instead of a whole number"),
        ("long", b"bytes", "blob", "binary data instead of text"),
        ("real", "fast", "text", "text instead of a number"),
        ("money", 1.005, "real", "more than 2 decimals"),
        ("money", 12345678901.5, "real", "more than 10 digits before the point"),
        ("money", "a lot", "text", "text instead of a decimal number"),
        ("money", b"1", "blob", "binary data instead of a decimal number"),
        ("span", "1 day", "text", "text instead of a number of microseconds"),
        ("data", "{'a': 1}", "text", "not valid JSON"),
        ("data", "", "text", "not valid JSON"),
        ("data", "[NaN]", "text", "JSON with NaN, which PostgreSQL cannot store"),
        ("data", "-Infinity", "text", "JSON with -Infinity, which PostgreSQL cannot store"),
        ("data", '"\\ud800"', "text", "JSON with an unpaired surrogate, which PostgreSQL cannot store"),
        ("data", b"{}", "blob", "binary data instead of JSON"),
        ("address", "010.0.0.1", "text", "not an IP address"),
        ("address", "", "text", "not an IP address"),
        ("address", "fe80::1%eth0", "text", "an IP address with a zone, which PostgreSQL cannot store"),
        ("code", "", "text", "not a UUID"),
        ("code", b"0123456789abcdef", "blob", "not a UUID"),
        # Most functions of SQLite do not see what comes after a NUL.
        ("code", f"{'0' * 32}\0 and more", "text", "not a UUID"),
        ("day", "2024-01-01\0 and more", "text", DATE_FORM),
        ("moment", "2024-01-01 00:00:00\0 and more", "text", MOMENT_FORM),
        ("moment", "2024-01-01 00:00:00.123456\0 and more", "text", MOMENT_FORM),
        ("clock", "12:00:00.123456\0 and more", "text", "not a time of the form 23:59:59"),
        ("blob", "text", "text", "text instead of binary data"),
        # Times that PostgreSQL would round or refuse.
        ("moment", "2024-01-01 00:00:00.123456789", "text", "finer than a microsecond, which PostgreSQL would round"),
        ("moment", "2024-01-01 00:00:00+24:00", "text", "+24:00 is not an offset from UTC"),
        ("moment", "0001-01-01 00:00:00+01:00", "text", "outside the years 1 to 9999 in UTC"),
    ],
)
def test_invalid_cell_is_a_finding(file: Path, column: str, value: Any, stored_type: str, reason: str) -> None:
    assert finding(file, column, value) == (stored_type, reason)


def test_text_that_is_not_utf8_is_a_finding(file: Path) -> None:
    support.alter(file, "INSERT INTO everything (id, long) VALUES (3, CAST(x'61ff62' AS TEXT))")
    assert support.findings(file, only=TABLES) == [("everything", "3", "long", "text", "b'a\\xffb'", "not valid UTF-8")]


def test_broken_text_in_a_uuid_is_a_finding(file: Path) -> None:
    support.alter(file, f"INSERT INTO everything (id, code) VALUES (3, CAST(x'{'ff' * 32}' AS TEXT))")
    ((_, key, column, _, _, reason),) = support.findings(file, only=TABLES)
    assert (key, column, reason) == ("3", "code", "not valid UTF-8")


def test_halves_of_a_character_in_two_cells_are_findings(file: Path) -> None:
    support.alter(
        file,
        "INSERT INTO everything (id, short, long) VALUES (3, CAST(x'61c3' AS TEXT), CAST(x'a962' AS TEXT))",
        "INSERT INTO everything (id, long) VALUES (4, CAST(x'c3' AS TEXT)), (5, CAST(x'a9' AS TEXT))",
    )
    named = [(line[1], line[2], line[5]) for line in support.findings(file, only=TABLES)]
    assert named == [
        (key, name, "not valid UTF-8") for key, name in [("3", "long"), ("3", "short"), ("4", "long"), ("5", "long")]
    ]


def test_every_finding_of_a_row_is_listed(file: Path) -> None:
    support.put(file, "everything", {"id": 1, "day": "", "flag": 5, "positive": 2**31, "long": "a\0", "code": "?"})
    assert [line[2] for line in support.findings(file, only=TABLES)] == ["code", "day", "flag", "long", "positive"]


def test_null_in_not_null_column_is_a_finding(file: Path) -> None:
    support.loosen(file, "otherproject_author", '"name" varchar(50) NOT NULL', '"name" varchar(50)')
    support.put(file, "otherproject_author", {"id": 4, "name": None})
    assert support.findings(file, only=TABLES) == [
        ("otherproject_author", "4", "name", "NULL", "", "NULL in a column that is NOT NULL")
    ]


def test_null_in_text_key_is_a_finding(file: Path) -> None:
    """SQLite allows it in any key that is not an integer."""
    support.loosen(file, "otherproject_tag", '"name" varchar(30) NOT NULL', '"name" varchar(30)')
    support.put(file, "otherproject_tag", {"name": None}, {"name": "x"})
    assert support.findings(file, only=TABLES) == [
        ("otherproject_tag", "None", "name", "NULL", "", "NULL in a column that is NOT NULL")
    ]


def test_values_of_secret_columns_are_not_shown(file: Path) -> None:
    support.put(
        file,
        "accounts_user",
        {"id": 1, "email": "a@b.c", "full_name": "", "password": "pbkdf2$very-secret\0", "is_superuser": 0}
        | {"is_staff": 0, "is_active": 1, "created_at": "2026-01-01 00:00:00", "updated_at": "2026-01-01 00:00:00"},
    )
    assert support.findings(file, only=TABLES) == [("accounts_user", "1", "password", "text", "(hidden)", NUL)]


def test_many_findings_are_counted_and_all_written(file: Path) -> None:
    support.put(file, "everything", *({"id": number, "flag": 2} for number in range(5000)))
    with support.prepared(file, only=TABLES) as ready:
        (group,) = ready.preflight.groups
        assert (group.table, group.column, group.count, len(group.examples)) == ("everything", "flag", 5000, 3)
        assert len(support.read_findings(ready.findings_file)) == 5000


# --- What other programs write and PostgreSQL can hold ------------------------------------------------------
def arrived(file: Path, database: Database, column: str, *values: Any, **options: Any) -> list[Any]:
    support.put(file, "everything", *({"id": row, column: value} for row, value in enumerate(values, 1)))
    with support.prepared(file, only=TABLES, **options) as ready:
        assert ready.preflight.groups == ()
        support.copy_and_verify_into(ready, database)
    return [value for (value,) in database.rows(f"SELECT {column}::text FROM everything ORDER BY id")]


def test_datetimes_with_offsets_are_migrated_as_the_same_instant(file: Path, migrated: Database) -> None:
    forms = ["2024-07-01 12:00:00", "2024-07-01T12:00:00Z", "2024-07-01 14:00:00+02:00", "2024-07-01T07:30:00.000-0430"]
    forms += ["2024-07-01 12:00:00.000000", "2024-07-01 12:00:00.0000000000"]
    migrated.rows(f"ALTER DATABASE {migrated.name} SET timezone = 'Asia/Tokyo'")
    assert set(arrived(file, migrated, "moment", *forms)) == {"2024-07-01 21:00:00+09"}


def test_naive_times_without_source_timezone_are_utc(file: Path, migrated: Database) -> None:
    zone = zoneinfo.ZoneInfo("Europe/Berlin")
    values = ["2024-07-01 12:00:00", "2024-01-01 12:00:00.5", "2024-07-01 12:00:00Z"]
    assert arrived(file, migrated, "moment", *values, zone=zone) == [
        "2024-07-01 10:00:00+00",
        "2024-01-01 11:00:00.5+00",
        "2024-07-01 12:00:00+00",
    ]


@pytest.mark.parametrize(
    ("moment", "reason"),
    [
        ("2024-03-31 02:30:00", "a local time that does not exist in Europe/Berlin"),
        ("2024-10-27 02:30:00", "a local time that is ambiguous in Europe/Berlin"),
    ],
)
def test_nonexistent_and_ambiguous_local_times_are_findings(file: Path, moment: str, reason: str) -> None:
    assert finding(file, "moment", moment, zone=zoneinfo.ZoneInfo("Europe/Berlin")) == ("text", reason)


@pytest.mark.parametrize(
    "moment", ["2024-03-31 01:59:59", "2024-03-31 03:00:00", "2024-10-27 01:59:59", "2024-10-27 03:00:00"]
)
def test_local_times_next_to_a_clock_change_are_migrated(file: Path, moment: str) -> None:
    support.put(file, "everything", {"id": 1, "moment": moment})
    assert support.findings(file, only=TABLES, zone=zoneinfo.ZoneInfo("Europe/Berlin")) == []


def test_uuids_with_hyphens_or_capitals_are_migrated(file: Path, migrated: Database) -> None:
    code = "0F8FAD5B-D9CB-469F-A165-70867728950E"
    forms = [code, code.lower(), code.replace("-", ""), code.replace("-", "").lower()]
    assert set(arrived(file, migrated, "code", *forms)) == {code.lower()}


def test_decimals_keep_every_cent(file: Path, migrated: Database) -> None:
    values = [0.1, 0.29, 1.15, 9999999999.99, -0.01, 5, "7.10", 1e9]
    expected = ["0.10", "0.29", "1.15", "9999999999.99", "-0.01", "5.00", "7.10", "1000000000.00"]
    assert arrived(file, migrated, "money", *values) == expected


def test_intervals_are_written_as_django_writes_them(file: Path, migrated: Database) -> None:
    """Also the longest ones. Only the days may be negative."""
    spans = arrived(file, migrated, "span", -(2**63), 2**63 - 1, -1)
    assert spans == [
        "-106751992 days +19:59:05.224192",
        "106751991 days 04:00:54.775807",
        "-1 days +23:59:59.999999",
    ]


def test_smallest_integer_in_decimal_column_is_a_finding(file: Path) -> None:
    """SQLite's abs() fails on it."""
    assert finding(file, "money", -(2**63)) == ("integer", "more than 10 digits before the point")


def test_nul_is_removed_only_with_strip_nul(file: Path, migrated: Database) -> None:
    support.put(file, "everything", {"id": 9, "data": '{"k\\u0000": ["\\u0000v", "\\\\u0000"]}'})
    assert arrived(file, migrated, "long", "a\0b\0", "\0", "plain", strip_nul=True) == ["ab", "", "plain", None]
    assert migrated.rows("SELECT data::text FROM everything WHERE id = 9") == [('{"k": ["v", "\\\\u0000"]}',)]


def test_stripped_values_are_counted(file: Path) -> None:
    support.put(file, "everything", {"id": 1, "long": "a\0"}, {"id": 2, "long": "\0"}, {"id": 3, "short": "b"})
    with support.prepared(file, only=TABLES, strip_nul=True) as ready:
        assert ready.preflight.stripped == {"everything.long": 2}
        assert ready.preflight.count == 0


def test_text_that_is_too_long_only_because_of_nul_fits_when_stripped(file: Path, migrated: Database) -> None:
    assert arrived(file, migrated, "short", "\0" * 5 + "x" * 20, strip_nul=True) == ["x" * 20]


def test_auto_now_columns_keep_their_values(library: Path, migrated: Database) -> None:
    """Rows are copied, not saved."""
    support.alter(library, "UPDATE everything SET touched = '1999-12-31 23:59:59.999999'")
    with support.prepared(library, only=TABLES) as ready:
        support.copy_and_verify_into(ready, migrated)
    assert migrated.rows("SELECT DISTINCT touched::text FROM everything") == [("1999-12-31 23:59:59.999999+00",)]
    assert Everything._meta.get_field("touched").auto_now is True  # type: ignore[union-attr]
