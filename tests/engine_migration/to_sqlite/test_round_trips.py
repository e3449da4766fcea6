"""SQLite → PostgreSQL → SQLite gives the same cells, and PostgreSQL → SQLite → PostgreSQL the same rows.

Two JSON texts are the same where only the order of keys differs, or how a number is written: 1e3 or 1000.
"""

import contextlib
import decimal
import json
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from django.db.models import GenericIPAddressField
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.engine_migration import support
from tests.engine_migration.support import Database, Migration
from tests.engine_migration.test_round_trip import LONG, QUICK, WRITTEN
from tests.engine_migration.test_time_zones import LIMITS, REPEATED, TIMES, naive, put_times, zone_of_database
from tests.engine_migration.to_sqlite.support import only
from tests.support.slow import slow_except

__all__ = ("naive", "zone_of_database")
NOT_COMPARED = {"django_migrations", "django_session", "ops_run"}
"""A migration writes the row of its own run."""


# --- What is compared ---------------------------------------------------------------------------------------------
def cells(path: Path) -> dict[str, list[Any]]:
    """By table, each row with the type and the value of each cell."""
    found: dict[str, list[Any]] = {}
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for table in tables_of(connection):
            columns = [row[1] for row in connection.execute(f'PRAGMA table_xinfo("{table}")')]
            listed = ", ".join(f'typeof("{name}"), "{name}"' for name in columns)
            rows = connection.execute(f'SELECT {listed} FROM "{table}"').fetchall()
            found[table] = sorted((list(map(in_one_spelling, row)) for row in rows), key=repr)
    return found


def tables_of(connection: sqlite3.Connection) -> list[str]:
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_stat%' ORDER BY 1"
    return [name for (name,) in connection.execute(query) if name not in NOT_COMPARED]


EXACT = decimal.Context(prec=2000, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)


def in_one_spelling(value: Any) -> Any:
    """Of JSON: its value, with every digit of numbers, and with sorted keys."""
    if isinstance(value, str) and value[:1] in set('{["-0123456789'):
        with contextlib.suppress(ValueError):
            document = json.loads(value, parse_int=number, parse_float=number)
            return f"JSON {json.dumps(document, sort_keys=True)}"
    return value


def number(digits: str) -> str:
    value = decimal.Decimal(digits)
    return f"number {value.normalize(EXACT) if value else 0}"


def rows_of(database: Database) -> dict[str, list[Any]]:
    """By table, the text of each row; the last number of each sequence."""
    found = {
        name: sorted(database.rows(f'SELECT t::text FROM "{name}" AS t'))
        for name in database.tables()
        if name not in NOT_COMPARED
    }
    sequences = (
        "SELECT sequencename, last_value FROM pg_sequences WHERE sequencename !~ '(migrations|session)' ORDER BY 1"
    )
    return {**found, "sequences": database.rows(sequences)}


# --- The library --------------------------------------------------------------------------------------------------
def test_library_comes_home_and_leaves_again(migration: Migration, lab: Database, new: Path, nowhere: Database) -> None:
    support.come_back(new, lab)
    assert cells(new) == cells(migration.library)
    support.migrate(new, nowhere)
    assert rows_of(nowhere) == rows_of(lab)


# --- Whatever Django writes ---------------------------------------------------------------------------------------
@pytest.mark.slow
def test_values_that_django_writes_come_home(templates: Path, nowhere: Database, tmp_path: Path) -> None:
    property_of(settings(QUICK, max_examples=2, phases=[Phase.generate]), templates, nowhere, tmp_path)


@pytest.mark.slow
def test_many_values_that_django_writes_come_home(templates: Path, nowhere: Database, tmp_path: Path) -> None:
    property_of(settings(LONG, max_examples=20), templates, nowhere, tmp_path)


def property_of(effort: settings, templates: Path, nowhere: Database, tmp_path: Path) -> None:
    written = {**WRITTEN, "address": WRITTEN["address"].map(GenericIPAddressField().get_prep_value)}
    lists = {name: st.lists(values, min_size=20, max_size=60) for name, values in written.items()}

    @effort
    @given(st.fixed_dictionaries(lists))
    def holds(values: dict[str, list[Any]]) -> None:
        file = Path(shutil.copy(templates / "empty.db", tmp_path / "written.db"))
        rows = [(name, value) for name, listed in values.items() for value in listed]
        support.put(file, "everything", *({"id": row, name: value} for row, (name, value) in enumerate(rows, 1)))
        come_home(file, nowhere, "everything")

    holds()


def come_home(file: Path, database: Database, *tables: str) -> None:
    """Take these tables to PostgreSQL and back, and compare the cells."""
    support.drop(database.name)
    support.migrate(file, database, *support.only(file, *tables))
    home = file.with_name("home.db")
    home.unlink(missing_ok=True)
    support.come_back(home, database, *only(database, tables))
    found, expected = cells(home), cells(file)
    for name in tables:
        pairs = [pair for rows in zip(found[name], expected[name], strict=True) for pair in zip(*rows, strict=True)]
        assert [pair for pair in pairs if pair[0] != pair[1]] == []


# --- Time zones ---------------------------------------------------------------------------------------------------
ZONES = slow_except(
    {zone: zone for zone in ("Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia")}, "Europe/Berlin"
)


@pytest.mark.parametrize("naive", ZONES, indirect=True)
def test_local_times_come_home(file: Path, nowhere: Database, naive: str) -> None:
    """USE_TZ is False."""
    put_times(file, *TIMES, *LIMITS, *filter(None, [REPEATED.get(naive)]))
    come_home(file, nowhere, "everything")


@pytest.mark.parametrize("zone_of_database", ZONES, indirect=True)
def test_times_in_the_zone_of_the_entry_in_databases_come_home(
    file: Path, nowhere: Database, zone_of_database: str
) -> None:
    put_times(file, *TIMES, *filter(None, [REPEATED.get(zone_of_database)]))
    come_home(file, nowhere, "everything")


AROUND_THE_CHANGE = [f"2026-10-25 {hour:02}:30:00+00" for hour in range(3)]
"""In Berlin: 2:30, 2:30 again, 3:30."""


@pytest.mark.parametrize("naive", ["Europe/Berlin"], indirect=True)
def test_local_time_that_would_be_read_as_another_moment_is_a_finding(lab: Database, new: Path, naive: str) -> None:
    """Without time zones, PostgreSQL takes a repeated time for the second moment."""
    assert refused_moments(lab, new) == [("everything", "101", "moment")]


@pytest.mark.parametrize("zone_of_database", ["Europe/Berlin"], indirect=True)
def test_repeated_time_that_would_be_read_as_the_first_moment_is_a_finding(
    lab: Database, new: Path, zone_of_database: str
) -> None:
    assert refused_moments(lab, new) == [("everything", "102", "moment")]


def refused_moments(lab: Database, new: Path) -> list[Sequence[str]]:
    lab.rows("DELETE FROM everything")
    for row, moment in enumerate(AROUND_THE_CHANGE, 101):
        lab.rows("INSERT INTO everything (id, moment) VALUES (%s, %s)", [row, moment])
    outcome = support.back(new, lab, "--yes", *only(lab, ["everything"]))
    assert outcome.code == 2, outcome
    return [finding[:3] for finding in support.read_findings(Path(outcome.document["findings"]["file"]))]
