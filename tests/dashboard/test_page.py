"""The dashboard as a browser gets it."""

import datetime as dt
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from homerack.accounts.models import User
from homerack.inventory.models import Rack
from ops.admin.dashboard import status
from ops.backups.reports import RestoreTest
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.models import Run
from ops.runs.results import VerificationResult
from ops.utils.schema import to_json
from tests.dashboard.conftest import MakeBackup, MakeRun
from tests.inventory import factories
from tests.support.locations import add_location, answered, copy, failed, row_copies


@pytest.fixture
def backup_viewer(sign_in: Callable[..., Client]) -> Client:
    """A user who may view backups and nothing else."""
    client = sign_in()
    user = User.objects.get()
    user.user_permissions.set(Permission.objects.filter(codename="view_backup", content_type__app_label="ops"))
    return client


@pytest.fixture
def superuser(sign_in: Callable[..., Client]) -> Client:
    return sign_in(is_superuser=True)


def page(client: Client) -> str:
    response = client.get("/admin/")
    assert response.status_code == 200
    return re.sub(r"\s+", " ", response.content.decode())


def test_dashboard_without_backups_says_so(superuser: Client) -> None:
    shown = page(superuser)

    assert "No backup yet. Make the first one." in shown
    assert 'class="dash-summary is-bad"' in shown
    assert "There is no verified backup" in shown
    assert "Shown from the first backup on." in shown
    assert "Known after the first restore test" in shown


def test_dashboard_shows_the_last_verified_backup(superuser: Client, make_backup: MakeBackup) -> None:
    make_backup(hours=3)
    make_backup(hours=1, verification_error="The file is cut off.")

    shown = page(superuser)

    assert "Backed up 3 hours ago, read back in full, without a restore test so far." in shown
    assert "2.0 MB, 1,400 rows, read back in full" in shown
    assert "4.0 MB used" in shown
    assert "2 backups" in shown


@pytest.mark.parametrize(
    "field", [{"trust": "tampered"}, {"file_missing": True}, {"origin": "upload"}, {"verified_level": ""}]
)
def test_dashboard_does_not_count_unreliable_backups(
    superuser: Client, make_backup: MakeBackup, field: dict[str, Any]
) -> None:
    make_backup(**field)

    assert "There are backups, but none is verified." in page(superuser)


def test_dashboard_shows_escaped_error_of_failed_backup(
    superuser: Client, make_backup: MakeBackup, make_run: MakeRun
) -> None:
    make_backup(hours=3)
    make_run(hours=1, status=Run.Status.FAILED, error="<b>pg_dump</b> ended with exit code 1.")

    shown = page(superuser)

    assert "The last attempt failed 59 minutes ago: &lt;b&gt;pg_dump&lt;/b&gt; ended with exit code 1." in shown
    assert 'class="dash-summary is-warning"' in shown


def test_calendar_shows_missed_days_when_a_backup_was_scheduled(superuser: Client, make_backup: MakeBackup) -> None:
    make_backup(hours=24 * 3)

    assert page(superuser).count("no backup, though one was due") >= 2 * 2  # the title and the label of two squares


def test_restore_time_is_that_of_the_newest_restore_test(superuser: Client, make_run: MakeRun) -> None:
    make_run(hours=50, kind=Run.Kind.RESTORE, backup="older.sql.gz")
    make_run(hours=24, kind=Run.Kind.RESTORE_TEST, backup="newer.sql.gz")

    shown = page(superuser)

    assert "9.0 s" in shown
    assert "Measured yesterday in a restore test" in shown
    assert "newer.sql.gz" in shown


def measured(seconds: float, age: float | None) -> Any:
    """The result of a restore test."""
    test = RestoreTest(
        backup="one",
        began_at=dt.datetime.now(dt.UTC),
        seconds={"load": seconds},
        recovery_time=seconds,
        location="<nas>",
        recovery_point_age=age,
    )
    return to_json(VerificationResult(verifications={}, tests=(test,)))


def test_dashboard_shows_the_two_numbers_of_restore_tests_over_time(superuser: Client, make_run: MakeRun) -> None:
    assert "Restore tests</h2>" not in page(superuser)
    for weeks, seconds in ((2, 60.0), (1, 90.0), (0, 240.0)):
        make_run(hours=24 * 7 * weeks + 1, kind=Run.Kind.RESTORE_TEST, backup="one", result=measured(seconds, 36_000.0))
    assert '<p class="dash-value">4 min 0 s</p>' in page(superuser)
    make_run(hours=0.5, kind=Run.Kind.RESTORE_TEST, status=Run.Status.FAILED, result=measured(1.0, 1.0))
    make_run(hours=0.4, kind=Run.Kind.RESTORE_TEST)

    shown = page(superuser)

    assert "Time to restore (RTO)</h3><p><b>4 min 0 s</b>" in shown
    assert "with the copy in &lt;nas&gt;" in shown
    assert "Possible data loss (RPO)</h3><p><b>10 hours</b>" in shown
    assert "if only &lt;nas&gt; is left" in shown
    assert 'aria-label="Time to restore (RTO): 1 min on ' in shown
    assert ", 4 min on " in shown


def test_dashboard_shows_restore_tests_of_a_location_without_good_backups(superuser: Client, make_run: MakeRun) -> None:
    make_run(hours=1, kind=Run.Kind.RESTORE_TEST, result=measured(2.5, None))
    shown = page(superuser)
    assert "Time to restore (RTO)</h3><p><b>2.5 s</b>" in shown
    assert "Possible data loss (RPO)" not in shown


def test_dashboard_answers_when_the_storage_hangs(superuser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PrivateFileSystemStorage, "free_bytes", lambda _self: time.sleep(5))
    start = time.monotonic()

    shown = page(superuser)

    assert time.monotonic() - start < 3
    assert "The storage does not answer" in shown


def test_dashboard_answers_when_redis_is_down(superuser: Client, make_backup: MakeBackup, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    settings.OPS_CELERY_APP = "homerack.celery.app"
    make_backup(hours=3)

    assert "The next one will not be made: Redis does not answer." in page(superuser)


def test_dashboard_hides_backups_without_the_permission(viewer_client: Client, make_backup: MakeBackup) -> None:
    backup = make_backup()
    factories.place(factories.make_device(), factories.make_rack("Cellar"))

    shown = page(viewer_client)

    assert backup.name not in shown
    assert "dash-summary" not in shown
    assert "Cellar" in shown


def test_dashboard_has_no_buttons_for_backup_viewers(backup_viewer: Client, make_backup: MakeBackup) -> None:
    make_backup()

    shown = page(backup_viewer)

    assert "Backed up 3 hours ago" in shown
    assert "Back up now" not in shown
    assert "Racks" not in shown


def test_dashboard_without_any_permission_says_so(stranger_client: Client) -> None:
    assert "Your account has no permissions yet" in page(stranger_client)


def test_lab_card_shows_space_and_power_of_racks(superuser: Client) -> None:
    rack = factories.make_rack("<i>Cellar</i>", total_height_u=10, max_power_watts=500)
    factories.place(factories.make_device(height_u=2, power_watts=480), rack)

    shown = page(superuser)

    assert "&lt;i&gt;Cellar&lt;/i&gt;" in shown
    assert "2 of 10 U" in shown
    assert "480 of 500 W" in shown
    assert "is-nearly" in shown


def test_lab_card_shows_the_fullest_racks_of_many(superuser: Client) -> None:
    for number in range(9):
        factories.make_rack(f"Empty {number}", total_height_u=10)
    factories.place(factories.make_device(height_u=2), factories.make_rack("Full", total_height_u=2))

    shown = page(superuser)

    assert shown.index(">Full<") < shown.index(">Empty 0<")
    assert "2 more racks, less full" in shown
    assert "Empty 8" not in shown


def test_lab_card_leaves_unknown_heights_and_power_budgets_out_of_the_totals(superuser: Client) -> None:
    unknown = factories.make_rack("Of an old file", total_height_u=10)
    factories.place(factories.make_device(height_u=2, power_watts=480), unknown)
    Rack.objects.update(total_height_u=None, max_power_watts=None)
    factories.make_rack("Empty", total_height_u=10, max_power_watts=500)

    shown = page(superuser)

    assert shown.index(">Of an old file<") < shown.index(">Empty<")
    assert "2 of 10 U" in shown
    assert "480 of 500 W" in shown


def test_lab_card_lists_equal_racks_and_types_in_the_order_of_the_alphabet(superuser: Client) -> None:
    for number, name in enumerate(("Zebra", "Äther", "apple")):
        factories.make_rack(f"Rack {name}")
        kind = factories.make_type(f"type-{number}", name=f"Type {name}")
        factories.make_device(device_type=kind)

    shown = page(superuser)

    for what in ("Rack", "Type"):
        assert shown.index(f">{what} apple<") < shown.index(f">{what} Zebra<") < shown.index(f">{what} Äther<")


def test_lab_card_shows_large_power_in_kilowatts(superuser: Client) -> None:
    for number in range(2):
        rack = factories.make_rack(f"Rack {number}", total_height_u=10, max_power_watts=200_000)
        factories.place(factories.make_device(height_u=2, power_watts=60_000), rack)

    shown = page(superuser)

    assert "120 of 400 kW" in shown
    assert "4 of 20 U" in shown


def test_dashboard_without_racks_links_to_the_form(superuser: Client) -> None:
    shown = page(superuser)

    assert "No racks yet." in shown
    assert 'href="/admin/inventory/rack/add/"' in shown


def test_dashboard_uses_constant_queries_when_rows_are_added(
    superuser: Client, make_backup: MakeBackup, make_run: MakeRun
) -> None:
    page(superuser)
    with CaptureQueriesContext(connection) as few:
        page(superuser)
    for number in range(30):
        make_backup(hours=number * 20)
        make_run(hours=number * 20, backup="one")
        make_run(hours=number * 20, kind=Run.Kind.RESTORE_TEST, result=measured(number, number))
        factories.place(factories.make_device(), factories.make_rack(f"Rack {number}"))
    with CaptureQueriesContext(connection) as many:
        page(superuser)

    assert len(many) == len(few)
    assert len(many) <= 19


def test_row_counts_leave_out_system_models(superuser: Client, make_run: MakeRun) -> None:
    make_run()
    factories.make_device()
    counted = page(superuser).partition("<h2>Rows</h2>")[2].partition("</section>")[0]
    assert "/admin/inventory/device/" in counted
    assert "/admin/accounts/user/" in counted
    for other in ("django_celery_beat", "axes", "ops/"):
        assert f"/admin/{other}" not in counted


def test_row_count_stops_at_the_maximum(superuser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.admin.dashboard.context.MAX_COUNT", 3)
    for _ in range(5):
        factories.make_rack()

    assert "over 3" in page(superuser)


def test_database_figure_shows_engine_version_and_size(superuser: Client) -> None:
    described = status.describe_database()

    assert described.kind == "PostgreSQL"
    assert described.size > 1_000_000
    assert f"PostgreSQL {described.version}" in page(superuser)


# --- Storage locations --------------------------------------------------------------------------------------------


@pytest.fixture
def locations(settings: Any, tmp_path: Path) -> None:
    settings.BACKUP_DIR = tmp_path / "backups"
    add_location(settings, "usb")
    add_location(settings, "cloud", url="s3://bucket/lab", encrypted=True, secret_key="kept-secret")
    answered(
        "usb", hours=2, shares_disk=True, free=5_000_000_000, copies={"a": copy(), "b": copy(error="It is cut off.")}
    )
    answered("cloud")


@pytest.mark.usefixtures("locations")
def test_dashboard_shows_copies_and_locations(superuser: Client, make_backup: MakeBackup, settings: Any) -> None:
    make_backup(hours=3, **row_copies("usb", "cloud"))
    make_backup(hours=27, copies=row_copies("cloud")["copies"][1:], copy_count=1, size=7_000_000)

    shown = page(superuser)

    assert "restore test so far. 3 copies in 2 locations, 1 off-site." in shown
    card = shown[shown.index("dash-locations") :]
    card = card[: card.index("</section>")]
    assert str(settings.BACKUP_DIR) in card
    assert "1 good copy, 2.0 MB<" in card
    assert "1 good copy, 2.0 MB, 1 damaged" in card
    assert "Directory, not encrypted, on the disk of BACKUP_DIR" in card
    assert "Answered 2 hours ago, 5.0 GB free" in card
    assert "S3, encrypted, off-site" in card
    assert "s3://bucket/lab" in card
    assert "manage.py verify_backup --all --location usb" in card
    assert "Copy now" in card
    assert "kept-secret" not in shown
    assert "2.0 MB used" in shown


@pytest.mark.usefixtures("locations")
def test_dashboard_says_which_location_fails(superuser: Client, make_backup: MakeBackup) -> None:
    failed("usb", hours=5, error="<b>Input/output error</b>.")
    make_backup(hours=9, **row_copies("usb", "cloud"))

    shown = page(superuser)

    assert "The newest backup has 2 good copies instead of 3 since" in shown
    assert ": unreachable in usb. usb has failed since" in shown
    assert "&lt;b&gt;Input/output error&lt;/b&gt;" in shown
    assert "3 copies" not in shown
    assert '<li class="is-failing"> <h3>usb</h3>' in shown
    assert 'class="dash-summary is-warning"' in shown


@pytest.mark.usefixtures("locations")
def test_dashboard_has_no_commands_and_no_copy_button_for_viewers(
    backup_viewer: Client, make_backup: MakeBackup
) -> None:
    make_backup(hours=3, **row_copies("usb", "cloud"))

    shown = page(backup_viewer)

    assert "dash-locations" in shown
    assert "manage.py" not in shown
    assert "Copy now" not in shown


def test_dashboard_without_other_locations_does_not_speak_of_copies(superuser: Client, make_backup: MakeBackup) -> None:
    make_backup(hours=3, **row_copies())

    shown = page(superuser)

    assert "cop" not in shown[shown.index("dash-summary") : shown.index("dash-figures")]
    assert "dash-locations" not in shown


@pytest.mark.usefixtures("locations")
def test_dashboard_with_locations_uses_constant_queries(superuser: Client, make_backup: MakeBackup) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            page(superuser)
        return len(captured)

    make_backup(hours=3, **row_copies())
    before = queries()
    for hours in range(4, 60):
        make_backup(hours=hours, **row_copies())
    assert queries() == before


def test_dashboard_answers_when_states_cannot_be_read(
    superuser: Client, make_backup: MakeBackup, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    add_location(settings, "usb")
    monkeypatch.setattr(status, "read_locations", lambda: time.sleep(5))
    make_backup(hours=3, **row_copies("usb"))
    start = time.monotonic()

    shown = page(superuser)

    assert time.monotonic() - start < 3
    assert "Backed up 3 hours ago" in shown
    assert "dash-locations" not in shown
