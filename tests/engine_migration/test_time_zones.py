"""Times without an offset mean what they mean to Django: USE_TZ, TIME_ZONE and the TIME_ZONE of a database."""

import datetime as dt
import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.databases.override import new_wrapper, override_database, sqlite_wrapper
from tests.engine_migration import support
from tests.engine_migration.support import Database
from tests.otherproject.models import Everything

TIMES = ("2026-07-01 12:00:00", "2026-01-01 00:30:00.000001", "1999-12-31 23:59:59.999999")
LIMITS = ("0001-01-01 00:00:00", "9999-12-31 23:59:59.999999")
REPEATED = {"Europe/Berlin": "2026-10-25 02:30:00", "America/New_York": "2026-11-01 01:30:00"}
SKIPPED = {"Europe/Berlin": "2026-03-29 02:30:00", "America/New_York": "2026-03-08 02:30:00"}


def put_times(file: Path, *times: str) -> None:
    support.put(file, "everything", *({"id": number, "moment": time} for number, time in enumerate(times, 1)))


def migrate(file: Path, database: Database, **options: Any) -> tuple[str, ...]:
    """Load and verify the table of the times. Returns the notes."""
    with support.prepared(file, only=["everything"], **options) as ready:
        assert ready.preflight.groups == ()
        support.copy_and_verify_into(ready, database)
        return ready.plan.notes


def reasons(file: Path) -> list[tuple[str, str]]:
    """Key and reason of each finding."""
    return [(found[1], found[-1]) for found in support.findings(file, only=["everything"])]


def times_in_file(file: Path) -> list[Any]:
    with override_database(sqlite_wrapper(str(file))):
        return list(Everything.objects.order_by("id").values_list("moment", flat=True))


def times_in(database: Database) -> list[Any]:
    with override_database(database.address.wrapper()):
        return list(Everything.objects.order_by("id").values_list("moment", flat=True))


@pytest.fixture
def naive(settings: Any, request: pytest.FixtureRequest) -> str:
    settings.USE_TZ = False
    settings.TIME_ZONE = request.param
    return str(request.param)


@pytest.fixture
def zone_of_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The entry of DATABASES has a TIME_ZONE."""
    live = new_wrapper("django.db.backends.sqlite3", NAME=str(tmp_path / "entry.db"), TIME_ZONE=request.param)
    with override_database(live):
        yield request.param


@pytest.mark.parametrize(
    "naive", ["Europe/Berlin", "Asia/Kathmandu", "America/New_York", "Pacific/Apia", "UTC"], indirect=True
)
def test_without_use_tz_times_are_local_ones(file: Path, migrated: Database, naive: str) -> None:
    put_times(file, *TIMES, *LIMITS, *filter(None, [REPEATED.get(naive)]))
    notes = migrate(file, migrated)
    expected = times_in_file(file)
    assert times_in(migrated) == expected
    assert expected[0] == dt.datetime(2026, 7, 1, 12)  # noqa: DTZ001
    assert (f"Times without an offset are taken as times of {naive}." in notes) is (naive != "UTC")


@pytest.mark.parametrize("zone_of_database", ["Europe/Berlin", "America/New_York", "Asia/Kathmandu"], indirect=True)
def test_times_are_in_the_zone_of_the_entry_in_databases(file: Path, migrated: Database, zone_of_database: str) -> None:
    put_times(file, *TIMES, *filter(None, [REPEATED.get(zone_of_database)]))
    migrate(file, migrated)
    expected = times_in_file(file)
    assert expected[0].tzinfo
    assert times_in(migrated) == expected


@pytest.mark.slow
@pytest.mark.parametrize("naive", ["Europe/Berlin"], indirect=True)
def test_command_without_use_tz_migrates_local_times(file: Path, database: Database, naive: str) -> None:
    put_times(file, *TIMES)
    outcome = support.migrate(file, database, *support.only(file, "everything"))
    assert times_in(database) == times_in_file(file)
    assert f"Times without an offset are taken as times of {naive}." in outcome.document["notes"]


@pytest.mark.parametrize("naive", SKIPPED, indirect=True)
def test_without_use_tz_a_time_that_a_clock_change_skipped_is_a_finding(file: Path, naive: str) -> None:
    put_times(file, TIMES[0], SKIPPED[naive])
    assert reasons(file) == [("2", f"a local time that does not exist in {naive}")]


@pytest.mark.parametrize("zone_of_database", SKIPPED, indirect=True)
def test_in_the_zone_of_a_database_a_time_that_a_clock_change_skipped_is_a_finding(
    file: Path, zone_of_database: str
) -> None:
    put_times(file, TIMES[0], SKIPPED[zone_of_database])
    assert reasons(file) == [("2", f"a local time that does not exist in {zone_of_database}")]


@pytest.mark.parametrize("naive", ["Europe/Berlin"], indirect=True)
def test_without_use_tz_an_offset_is_a_finding(file: Path, naive: str) -> None:
    put_times(file, "2026-07-01 12:00:00Z", TIMES[0], "2026-07-01 12:00:00+02:00", "2026-07-01T12:00:00-0430")
    reason = "an offset, which Django does not read with USE_TZ = False"
    assert reasons(file) == [(key, reason) for key in ("1", "3", "4")]


@pytest.mark.parametrize("naive", ["Europe/Berlin"], indirect=True)
@pytest.mark.parametrize(
    ("chosen", "shown"), [("UTC", "14:00"), ("America/New_York", "18:00"), ("Europe/Berlin", "12:00")]
)
def test_source_timezone_wins_over_the_settings(
    file: Path, migrated: Database, naive: str, chosen: str, shown: str
) -> None:
    put_times(file, TIMES[0])
    migrate(file, migrated, zone=zoneinfo.ZoneInfo(chosen))
    assert f"{times_in(migrated)[0]:%H:%M}" == shown


@pytest.mark.parametrize("zone_of_database", ["Europe/Berlin"], indirect=True)
@pytest.mark.parametrize(("chosen", "in_utc"), [("UTC", 12), ("America/New_York", 16), ("Asia/Tokyo", 3)])
def test_source_timezone_wins_over_the_entry_in_databases(
    file: Path, migrated: Database, zone_of_database: str, chosen: str, in_utc: int
) -> None:
    put_times(file, TIMES[0])
    migrate(file, migrated, zone=zoneinfo.ZoneInfo(chosen))
    assert times_in(migrated)[0].astimezone(dt.UTC).hour == in_utc
