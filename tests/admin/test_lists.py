"""The lists of backups and runs: badges, filters, and as many queries for many rows as for few."""

import datetime as dt
import itertools
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from homerack.inventory.models import Device
from ops.models import Backup
from ops.runs.context import get_context
from tests.admin.support import add_backup, add_run, add_suspicious_backup, text
from tests.otherproject.models import Tag

pytestmark = pytest.mark.django_db

BACKUPS, RUNS = "/admin/ops/backup/", "/admin/ops/run/"


def queries_of(client: Client, path: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        text(client.get(path))
    return len(captured)


def test_lists_use_constant_queries_when_rows_are_added(admin_client: Client) -> None:
    for path in (BACKUPS, RUNS):
        admin_client.get(path)
    add_backup()
    add_run()
    short = [queries_of(admin_client, path) for path in (BACKUPS, RUNS)]
    for _ in range(30):
        add_run(backup=add_backup().name)
    assert [queries_of(admin_client, path) for path in (BACKUPS, RUNS)] == short


def test_backup_page_uses_constant_queries_when_runs_are_added(admin_client: Client) -> None:
    backup = add_backup()
    path = f"{BACKUPS}{backup.pk}/change/"
    admin_client.get(path)
    short = queries_of(admin_client, path)
    for _ in range(20):
        add_run(backup=backup.name)
    assert queries_of(admin_client, path) == short


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "verified"),
        ({"verified_level": "restored"}, "restore tested"),
        ({"verified_level": "", "verified_at": None}, "unverified"),
        ({"verification_error": "its SHA-256 differs"}, "failed"),
        ({"file_missing": True}, "file missing"),
        ({"trust": "tampered"}, "tampered with"),
        ({"trust": "foreign key"}, "not signed here"),
        ({"origin": "upload"}, "untrusted"),
        ({"suspicion": "undecided"}, "suspicious"),
        ({"suspicion": "wrong"}, "decided to be wrong"),
        ({"suspicion": "right"}, "verified"),
        ({"suspicion": "undecided", "verification_error": "cut off"}, "failed"),
    ],
)
def test_badge_shows_the_state_of_the_backup(viewer: Client, changes: dict[str, Any], words: str) -> None:
    add_backup(**changes)
    assert words in text(viewer.get(BACKUPS))


def test_every_backup_has_exactly_one_state() -> None:
    values = itertools.product(
        (False, True),
        ("signed", "unsigned", "tampered"),
        ("", "cut off"),
        ("manual", "upload"),
        ("", "read", "restored"),
        ("", "undecided", "right", "wrong"),
    )
    for missing, trust, fault, origin, level, suspicion in values:
        state = {"file_missing": missing, "trust": trust, "verification_error": fault, "origin": origin}
        add_backup(**state, verified_level=level, suspicion=suspicion)
    states = list(Backup.objects.with_state().values_list("state", flat=True))
    assert set(states) == set(Backup.State)
    assert len(states) == Backup.objects.count()
    verified = {"restore_tested", "verified", "suspicious", "wrong"}
    with_state = Backup.objects.with_state()
    assert set(Backup.objects.verified()) == {backup for backup in with_state if backup.state in verified}


def test_list_is_filtered_by_state_and_searched_by_note(viewer: Client) -> None:
    good, bad = add_backup(note="before the move"), add_backup(verification_error="cut off")
    failed = text(viewer.get(f"{BACKUPS}?state=failed"))
    assert f"{bad.pk}/change/" in failed
    assert f"{good.pk}/change/" not in failed
    found = text(viewer.get(f"{BACKUPS}?q=move"))
    assert f"{good.pk}/change/" in found
    assert f"{bad.pk}/change/" not in found


def test_list_names_time_zone_and_commands_when_no_worker_is_set_up(viewer: Client, settings: Any) -> None:
    settings.OPS_CELERY_APP = ""
    page = text(viewer.get(BACKUPS))
    assert "Times are in the UTC time zone." in page
    assert "The site has no worker. Set REDIS_URL, or use the commands, for example" in page


def test_list_shows_origin_and_escaped_note_below_the_name(viewer: Client) -> None:
    add_backup(note="before <the> move")
    page = viewer.get(BACKUPS).content.decode()
    assert '<span class="ops-quiet ops-remark">manual: before &lt;the&gt; move</span>' in page


def days_ago(number: int) -> dt.datetime:
    return timezone.now() - dt.timedelta(days=number)


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"taken_at": days_ago(1)}, (f"until {days_ago(-6):%Y-%m-%d}", "less than 7 days old")),
        ({"taken_at": days_ago(8)}, ("until the next pruning", "older than 7 days")),
        (
            {"taken_at": days_ago(8), "verification_error": "x"},
            ("until the next pruning", "older than 7 days, and its"),
        ),
        ({"taken_at": days_ago(8), "pinned": True}, ("because it is pinned", "")),
        ({"taken_at": days_ago(8), "origin": "upload"}, ("as an upload", "only a user deletes it")),
    ],
)
def test_kept_column_shows_date_and_reason_without_the_word_kept(
    viewer: Client, changes: dict[str, Any], shown: tuple[str, str]
) -> None:
    live = get_context().engine
    where = {"engine": live.kind, "database": live.database, "copies": [{"location": "local"}]}
    add_backup(**where, taken_at=timezone.now())
    backup = add_backup(**where, **changes)
    how_long, because = shown
    assert f'"ops-reason">{how_long}<span class="ops-quiet">{because}' in text(viewer.get(BACKUPS))
    page = text(viewer.get(f"{BACKUPS}{backup.pk}/change/"))
    assert f"<dt>Kept</dt><dd>{how_long}{': ' if because else ''}{because}" in page


def test_backup_without_a_file_is_kept_all_the_same(viewer: Client) -> None:
    backup = add_backup(copies=[], file_missing=True)
    assert "<dd>although no storage location has its file</dd>" in text(viewer.get(f"{BACKUPS}{backup.pk}/change/"))


def test_kept_is_unknown_while_the_history_cannot_be_read(viewer: Client, storage: Path) -> None:
    backup = add_backup()
    storage.mkdir()
    (storage / "events").write_text("this is no directory")
    assert "unknown: BACKUP_DIR cannot be read" in text(viewer.get(f"{BACKUPS}{backup.pk}/change/"))


def test_history_of_a_backup_is_newest_first(admin_client: Client) -> None:
    backup = add_backup()
    for kind, days in (("backup", 3), ("verification", 1), ("restore_test", 2)):
        add_run(kind=kind, backup=backup.name, requested_at=days_ago(days))
    page = text(admin_client.get(f"{BACKUPS}{backup.pk}/change/"))
    shown = [page.index(f">{words}</a></th>") for words in ("Verification", "Restore test", "Backup")]
    assert shown == sorted(shown)


def test_last_verified_backup_has_no_delete_button(admin_client: Client) -> None:
    newest, older = add_backup(), add_backup()
    page = text(admin_client.get(BACKUPS))
    assert f"{newest.pk}/delete/" not in page
    assert f"{older.pk}/delete/" in page


def test_backup_with_missing_file_has_no_restore_or_download_button(admin_client: Client) -> None:
    backup = add_backup(file_missing=True)
    page = text(admin_client.get(f"{BACKUPS}{backup.pk}/change/"))
    assert "/restore/" not in page
    assert "/download/" not in page


def test_backup_page_compares_no_system_tables(viewer: Client) -> None:
    names = ("django_celery_beat_periodictask", "axes_accessfailurelog")
    tables = {name: {"rows": 5, "digest": "1"} for name in names}
    backup = add_backup(manifest={"tables": tables, "migrations": []})
    page = text(viewer.get(f"{BACKUPS}{backup.pk}/change/"))
    assert '<th scope="row">Schedules</th>' not in page
    assert "ccess failure" not in page


def test_backup_page_compares_rows_and_migrations_with_the_live_database(viewer: Client) -> None:
    backup = add_backup(
        manifest={
            "tables": {Device._meta.db_table: {"rows": 430, "digest": "1"}},
            "migrations": ["inventory.9999_from_the_future"],
            "app_version": "0.1.0",
            "sha256": "abc",
        }
    )
    page = " ".join(text(viewer.get(f"{BACKUPS}{backup.pk}/change/")).split())
    assert '<th scope="row">Devices</th>' in page
    assert '<td class="ops-number">430</td><td class="ops-number">0</td>' in page
    assert (
        "Cannot be restored: the installed code does not have 1 of its migrations: inventory.9999_from_the_future"
        in page
    )
    assert "430 rows in 1 table" in page
    assert "1.5 MB (9.0 MB uncompressed)" in page


def test_backup_page_names_excluded_tables_by_reason(viewer: Client) -> None:
    table = Tag._meta.db_table
    Tag.objects.create(name="one")
    backup = add_backup(
        manifest={
            "tables": {table: {"rows": 0, "digest": "0"}, "axes_accesslog": {"rows": 0, "digest": "0"}},
            "migrations": [],
            "excluded": [
                {"table": "axes_accesslog", "reason": "failed sign-ins"},
                {"table": table, "reason": "named in OPS_BACKUP_EXCLUDED_TABLES"},
                {"table": "axes_accessattempt", "reason": "failed sign-ins"},
            ],
        }
    )
    page = text(viewer.get(f"{BACKUPS}{backup.pk}/change/"))
    assert (
        f"axes_accesslog, axes_accessattempt (failed sign-ins); {table} (named in OPS_BACKUP_EXCLUDED_TABLES)" in page
    )
    assert '<th scope="row">Tags</th>' not in page


def test_viewer_sees_the_losses_of_a_suspicious_backup_and_cannot_decide(viewer: Client) -> None:
    backup = add_suspicious_backup()
    for page in (BACKUPS, f"{BACKUPS}{backup.pk}/change/", "/admin/"):
        shown = text(viewer.get(page))
        assert "The table racks lost 50% of its rows: 400 before, 200 now." in shown
        assert "Decide…" not in shown
    assert viewer.get(f"{BACKUPS}{backup.pk}/decide/").status_code == 403
    assert viewer.post(f"{BACKUPS}{backup.pk}/decide/", {"set": "right"}).status_code == 403


def test_recommendation_is_shown_to_administrators_while_no_weekly_backups_are_kept(
    admin_client: Client, operator: Client, settings: Any
) -> None:
    add_backup()
    shown = text(admin_client.get(BACKUPS))
    assert "is recommended (BACKUP_KEEP_WEEKLY=4, BACKUP_KEEP_MONTHLY=6)." in shown
    assert f'<a class="ops-link" href="{BACKUPS}settings/">Change it in Settings</a>' in shown
    assert "BACKUP_KEEP_WEEKLY" not in text(operator.get(BACKUPS))
    settings.BACKUP_KEEP_WEEKLY = 1
    assert "BACKUP_KEEP_WEEKLY" not in text(admin_client.get(BACKUPS))
