"""The lists of backups and runs: badges, filters, and as many queries for many rows as for few."""

import itertools
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from homerack.inventory.models import Device
from ops.admin.states import State, rows_in, state_of
from ops.models import Backup
from tests.admin.support import add_backup, add_run, text
from tests.otherproject.models import Tag

pytestmark = pytest.mark.django_db

BACKUPS, RUNS = "/admin/ops/backup/", "/admin/ops/run/"


def queries_of(client: Client, path: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        text(client.get(path))
    return len(captured)


def test_they_take_the_same_number_of_queries_however_long_they_are(admin_client: Client) -> None:
    for path in (BACKUPS, RUNS):
        admin_client.get(path)
    add_backup()
    add_run()
    short = [queries_of(admin_client, path) for path in (BACKUPS, RUNS)]
    for _ in range(30):
        add_run(backup=add_backup().name)
    assert [queries_of(admin_client, path) for path in (BACKUPS, RUNS)] == short


def test_a_backup_s_page_takes_the_same_number_of_queries_however_often_it_was_used(admin_client: Client) -> None:
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
        ({"verification_error": "its SHA-256 is different"}, "failed"),
        ({"file_missing": True}, "file missing"),
        ({"trust": "tampered"}, "tampered with"),
        ({"trust": "foreign key"}, "not signed here"),
        ({"origin": "upload"}, "untrusted"),
    ],
)
def test_badges_say_what_a_backup_is_worth(viewer: Client, changes: dict[str, Any], words: str) -> None:
    add_backup(**changes)
    assert words in text(viewer.get(BACKUPS))


def test_the_filter_finds_exactly_those_with_the_badge() -> None:
    values = itertools.product(
        (False, True),
        ("signed", "unsigned", "tampered"),
        ("", "cut off"),
        ("manual", "upload"),
        ("", "verified", "restored"),
    )
    for missing, trust, fault, origin, level in values:
        add_backup(file_missing=missing, trust=trust, verification_error=fault, origin=origin, verified_level=level)
    by_state = {state: set(Backup.objects.filter(rows_in(state))) for state in State}
    assert by_state == {state: {row for row in Backup.objects.all() if state_of(row) is state} for state in State}
    assert sum(map(len, by_state.values())) == Backup.objects.count()


def test_it_is_filtered_and_searched(viewer: Client) -> None:
    good, bad = add_backup(note="before the move"), add_backup(verification_error="cut off")
    failed = text(viewer.get(f"{BACKUPS}?state=failed"))
    assert f"{bad.pk}/change/" in failed
    assert f"{good.pk}/change/" not in failed
    found = text(viewer.get(f"{BACKUPS}?q=move"))
    assert f"{good.pk}/change/" in found
    assert f"{bad.pk}/change/" not in found


def test_it_names_the_time_zone_and_the_missing_worker(viewer: Client, settings: Any) -> None:
    settings.OPS_CELERY_APP = ""
    page = text(viewer.get(BACKUPS))
    assert "Times are in UTC." in page
    assert "No worker is set up (REDIS_URL): use the commands" in page


def test_beneath_its_name_stands_where_it_is_from_and_the_note(viewer: Client) -> None:
    add_backup(note="before <the> move")
    page = viewer.get(BACKUPS).content.decode()
    assert '<span class="ops-quiet ops-remark">manual: before &lt;the&gt; move</span>' in page


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        (
            {"retention_reason": "kept until 2026-11-30: younger than 7 days"},
            ("until 2026-11-30", "younger than 7 days"),
        ),
        ({"retention_reason": "kept: the last verified backup"}, ("the last verified backup", "")),
        ({"pinned": True}, ("marked to be kept", "")),
        ({}, ("until the next pruning", "")),
    ],
)
def test_why_it_is_kept_does_not_say_kept_again(
    viewer: Client, changes: dict[str, Any], shown: tuple[str, str]
) -> None:
    add_backup(**changes)
    how_long, because = shown
    assert f'"ops-because">{how_long}<span class="ops-quiet">{because}</span>' in text(viewer.get(BACKUPS))


def test_the_last_verified_one_has_no_button_to_delete_it(admin_client: Client) -> None:
    newest, older = add_backup(), add_backup()
    page = text(admin_client.get(BACKUPS))
    assert f"{newest.pk}/delete/" not in page
    assert f"{older.pk}/delete/" in page


def test_a_backup_whose_file_is_gone_can_not_be_restored(admin_client: Client) -> None:
    backup = add_backup(file_missing=True)
    page = text(admin_client.get(f"{BACKUPS}{backup.pk}/change/"))
    assert "/restore/" not in page
    assert "/download/" not in page


def test_a_backup_s_bars_are_the_lab_s(viewer: Client) -> None:
    names = ("django_celery_beat_periodictask", "axes_accessfailurelog")
    tables = {name: {"rows": 5, "digest": "1"} for name in names}
    backup = add_backup(manifest={"tables": tables, "migrations": []})
    page = text(viewer.get(f"{BACKUPS}{backup.pk}/change/"))
    assert "eriodic task" not in page
    assert "ccess failure" not in page


def test_a_backup_s_page_compares_it_with_today(viewer: Client) -> None:
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
    assert "1 migration ahead of this code, which cannot restore it: inventory.9999_from_the_future" in page
    assert "430 rows in 1 table" in page
    assert "1.5 MB; 9.0 MB before compression" in page


def test_a_backup_s_page_names_the_tables_that_it_does_not_hold(viewer: Client) -> None:
    table = Tag._meta.db_table
    Tag.objects.create(name="one")
    backup = add_backup(
        manifest={
            "tables": {table: {"rows": 0, "digest": "0"}, "django_session": {"rows": 0, "digest": "0"}},
            "migrations": [],
            "excluded": [
                {"table": "django_session", "reason": "sessions, whose keys sign their readers in"},
                {"table": table, "reason": "named in OPS_BACKUP_EXCLUDED_TABLES"},
            ],
        }
    )
    page = text(viewer.get(f"{BACKUPS}{backup.pk}/change/"))
    assert (
        "django_session (sessions, whose keys sign their readers in);"
        f" {table} (named in OPS_BACKUP_EXCLUDED_TABLES)" in page
    )
    assert '<th scope="row">Tags</th>' not in page
