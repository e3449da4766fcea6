"""The health check of copies."""

from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from ops.health.copies import check_copies
from ops.health.report import check_health
from ops.health.results import CheckResult, Status
from ops.utils.formatting import format_datetime
from tests.dashboard.conftest import MakeBackup, make_backup
from tests.support.locations import add_location, ago, answered, failed, row_copies

__all__ = ["make_backup"]

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def directory(settings: Any, tmp_path: Path) -> None:
    settings.BACKUP_DIR = tmp_path / "backups"


def test_copies_in_all_locations_are_healthy(settings: Any, make_backup: MakeBackup) -> None:
    add_location(settings, "nas")
    answered("nas")
    make_backup(hours=3, **row_copies("nas"))

    assert check_copies("default") == CheckResult()


def test_without_other_locations_no_copies_are_expected(make_backup: MakeBackup, tmp_path: Path) -> None:
    make_backup(hours=3)

    assert check_copies("default") == CheckResult()
    assert not (tmp_path / "backups").exists()


def test_missing_copy_is_degraded_and_names_the_location(settings: Any, make_backup: MakeBackup) -> None:
    add_location(settings, "nas")
    answered("nas")
    newest = make_backup(hours=3, **row_copies())
    make_backup(hours=27, **row_copies("nas"))

    result = check_copies("default")

    assert (result.status, result.error) == (Status.DEGRADED, "CopiesMissing")
    assert result.detail == (
        f"The newest backup has 1 good copy instead of 2 since {format_datetime(newest.taken_at)}: no copy in nas."
        " Copy what is missing: manage.py copy_backups"
    )


def test_failing_location_is_degraded_at_once(settings: Any, make_backup: MakeBackup) -> None:
    add_location(settings, "nas")
    failed("nas", hours=0.5)
    make_backup(hours=3, **row_copies("nas"))

    result = check_copies("default")

    assert (result.status, result.error) == (Status.DEGRADED, "LocationFailed")
    assert result.detail == (
        f"nas has failed since {format_datetime(ago(0.5))}: Connection refused."
        " Copy what is missing: manage.py copy_backups"
    )


def test_failing_location_and_missing_copies_are_reported_together(settings: Any, make_backup: MakeBackup) -> None:
    add_location(settings, "nas")
    failed("nas", hours=5)
    make_backup(hours=9, **row_copies("nas"))

    result = check_copies("default")

    assert result.error == "CopiesMissing"
    since = format_datetime(ago(5))
    assert (
        f"has 1 good copy instead of 2 since {since}: unreachable in nas. nas has failed since {since}:"
        in result.detail
    )


def test_min_copies_allows_a_location_to_lack_a_backup(settings: Any, make_backup: MakeBackup) -> None:
    settings.BACKUP_MIN_COPIES = 2
    for name in ("nas", "bucket"):
        add_location(settings, name)
        answered(name)
    make_backup(hours=3, **row_copies("nas"))

    assert check_copies("default") == CheckResult()


def test_unverified_backups_do_not_count(settings: Any, make_backup: MakeBackup) -> None:
    add_location(settings, "nas")
    answered("nas")
    make_backup(hours=3, verification_error="It is cut off.", **row_copies("nas"))
    make_backup(hours=27, **row_copies())

    assert check_copies("default").error == "CopiesMissing"


def test_state_that_others_have_changed_counts_as_none(settings: Any, make_backup: MakeBackup, tmp_path: Path) -> None:
    add_location(settings, "nas")
    failed("nas", hours=5)
    path = tmp_path / "backups" / "locations" / "nas.json"
    path.write_text(path.read_text().replace("Connection refused.", ""))
    make_backup(hours=9, **row_copies("nas"))

    assert check_copies("default").error == "CopiesMissing"


def test_state_is_read_again_when_it_has_changed(settings: Any, make_backup: MakeBackup) -> None:
    add_location(settings, "nas")
    make_backup(hours=3, **row_copies("nas"))
    found = []
    for record in (answered, failed, answered):
        record("nas", hours=1)
        found.append(check_copies("default").error)

    assert found == ["", "LocationFailed", ""]


@pytest.mark.parametrize("number", [5, 50])
def test_number_of_queries_does_not_depend_on_the_number_of_backups(
    settings: Any, make_backup: MakeBackup, number: int
) -> None:
    add_location(settings, "nas")
    answered("nas")
    for hours in range(number):
        make_backup(hours=hours + 1, **row_copies())

    with CaptureQueriesContext(connection) as queries:
        assert check_copies("default").error == "CopiesMissing"

    assert len(queries) == 2


@pytest.mark.django_db(transaction=True)
def test_health_reports_invalid_locations_and_hides_the_detail(client: Client, settings: Any) -> None:
    settings.BACKUP_LOCATIONS = [{"name": "nas", "url": "relative"}]

    assert client.get("/health/").json()["checks"]["copies"] == {"status": "degraded", "error": "PreconditionFailed"}
    assert check_health().checks["copies"].detail.startswith("The address of the storage location 'nas' is 'relative'")


@pytest.mark.django_db(transaction=True)
def test_health_contacts_no_location(settings: Any, make_backup: MakeBackup, monkeypatch: pytest.MonkeyPatch) -> None:
    """A location that does not answer cannot delay the endpoint."""

    def contacted(*_arguments: Any) -> None:
        raise AssertionError("A storage location was opened.")

    monkeypatch.setattr("ops.backups.locations.location.storage_of", contacted)
    add_location(settings, "far", url="sftp://ada@192.0.2.1/backups")
    failed("far", hours=5)
    make_backup(hours=9, **row_copies("far"))

    assert check_health().checks["copies"].error == "CopiesMissing"
