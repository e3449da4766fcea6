"""Copies of backups in the admin: the list and its filter, a backup's page, deletion, and "Copy now"."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from ops import tasks
from ops.models import Backup, Run
from tests.admin.support import add_backup, messages_of, text
from tests.support.locations import add_location, row_copies

pytestmark = pytest.mark.django_db

LIST = "/admin/ops/backup/"
COLUMN = "column-locations"


@pytest.fixture
def locations(settings: Any) -> None:
    """A directory called nas, and a locked bucket called cloud."""
    add_location(settings, "nas")
    add_location(settings, "cloud", url="s3://bucket/lab", encrypted=True, lock_days=30, secret_key="kept-secret")


@pytest.fixture
def workers(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site with workers, which do not start."""
    settings.OPS_CELERY_APP = "homerack.celery.app"
    monkeypatch.setattr(tasks, "require_redis", lambda: None)


def page_of(backup: Backup) -> str:
    return f"{LIST}{backup.pk}/change/"


# --- The list -----------------------------------------------------------------------------------------------------


def test_list_without_other_locations_has_no_column_no_filter_and_no_button(admin_client: Client) -> None:
    add_backup(**row_copies())

    page = text(admin_client.get(LIST))

    assert COLUMN not in page
    assert "?copies=" not in page
    assert "Copy now" not in page


@pytest.mark.usefixtures("locations")
def test_list_shows_where_each_backup_is_and_what_does_not_count(viewer: Client) -> None:
    add_backup(**row_copies("nas", "cloud", damaged="nas", silent="cloud"))

    page = text(viewer.get(LIST))

    assert COLUMN in page
    assert '<span class="ops-copy ops-copy-good" title="good">' in page
    for name, state in (("nas", "damaged"), ("cloud", "unreachable")):
        assert f'</span>{name}<span class="ops-copy-state"> {state}</span>' in page
    assert "Copy now" not in page
    assert "kept-secret" not in page


@pytest.mark.usefixtures("locations")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("enough", {"all"}),
        ("too-few", {"nas", "silent", "elsewhere"}),
        ("in-local", {"all", "nas", "silent"}),
        ("in-nas", {"all", "nas", "silent"}),
        ("in-cloud", {"all", "silent", "elsewhere"}),
        ("in-mars", {"all", "nas", "silent", "elsewhere"}),
    ],
)
def test_filter_finds_backups_by_their_copies(viewer: Client, query: str, expected: set[str]) -> None:
    elsewhere = row_copies("cloud")
    rows = {
        "all": row_copies("nas", "cloud"),
        "nas": row_copies("nas"),
        "silent": row_copies("nas", "cloud", silent="cloud"),
        "elsewhere": {"copies": elsewhere["copies"][1:], "copy_count": 1},
    }
    backups = {add_backup(**copies).name: name for name, copies in rows.items()}

    page = text(viewer.get(f"{LIST}?copies={query}"))

    assert {name for backup, name in backups.items() if backup.partition(".")[0] in page} == expected


@pytest.mark.usefixtures("locations")
def test_min_copies_decides_what_is_enough(viewer: Client, settings: Any) -> None:
    settings.BACKUP_MIN_COPIES = 2
    two, one = add_backup(**row_copies("nas")), add_backup(**row_copies())

    page = text(viewer.get(f"{LIST}?copies=enough"))

    assert two.name.partition(".")[0] in page
    assert one.name.partition(".")[0] not in page


@pytest.mark.usefixtures("locations")
def test_list_with_copies_uses_constant_queries(viewer: Client) -> None:
    def queries(path: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            text(viewer.get(path))
        return len(captured)

    add_backup(**row_copies("nas", "cloud"))
    paths = (LIST, f"{LIST}?copies=in-nas")
    before = [queries(path) for path in paths]
    for _ in range(30):
        add_backup(**row_copies("nas", "cloud", damaged="nas"))
    assert [queries(path) for path in paths] == before


def test_invalid_locations_do_not_break_the_list(admin_client: Client, settings: Any) -> None:
    settings.BACKUP_LOCATIONS = [{"name": "nas", "url": "relative"}]
    backup = add_backup(**row_copies("nas"))

    assert COLUMN not in text(admin_client.get(LIST))
    assert "Not in the settings" in text(admin_client.get(page_of(backup)))


# --- The page -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("locations")
def test_page_has_a_row_for_each_location(operator: Client, settings: Any) -> None:
    add_location(settings, "usb")
    backup = add_backup(**row_copies("nas", "cloud", damaged="nas", silent="cloud"))

    page = " ".join(text(operator.get(page_of(backup))).split())

    rows = page[page.index('aria-label="Copies"') : page.index("</table>", page.index('aria-label="Copies"'))]
    local, nas, cloud, usb = rows.split("<tr>")[2:]
    for row, words in (
        (local, ("BACKUP_DIR", "Good", ">never</span>")),
        (nas, ("Directory, not encrypted", "Damaged", "Its SHA-256 is not that of the backup.")),
        (cloud, ("S3, encrypted, off-site", "Unreachable", "Did not answer the last run")),
        (usb, ("No copy",)),
    ):
        assert [word for word in words if word not in row] == []
    assert "<button" not in usb
    assert 'name="set" value="nas"' in nas
    assert f'formaction="{LIST}{backup.pk}/verify/"' in nas
    assert f'formaction="{LIST}{backup.pk}/restore-test/"' in nas


def test_page_without_other_locations_has_no_table_of_copies(admin_client: Client) -> None:
    assert 'aria-label="Copies"' not in text(admin_client.get(page_of(add_backup(**row_copies()))))


@pytest.mark.usefixtures("locations")
def test_viewers_see_copies_without_buttons(viewer: Client) -> None:
    page = text(viewer.get(page_of(add_backup(**row_copies("nas")))))

    assert 'aria-label="Copies"' in page
    assert "ops-small" not in page


@pytest.mark.usefixtures("locations")
@pytest.mark.parametrize(("view", "kind"), [("verify", "verification"), ("restore-test", "restore_test")])
def test_one_copy_is_verified_in_its_location(operator: Client, workers: None, view: str, kind: str) -> None:
    backup = add_backup(**row_copies("nas"))

    operator.post(f"{LIST}{backup.pk}/{view}/", {"set": "nas"})

    run = Run.objects.get(kind=kind)
    assert run.arguments == {"names": [backup.name], "location": "nas"}
    assert run.status == Run.Status.QUEUED


@pytest.mark.usefixtures("locations")
def test_copy_in_an_unknown_location_is_not_found(operator: Client, workers: None) -> None:
    backup = add_backup(**row_copies("nas"))

    assert operator.post(f"{LIST}{backup.pk}/verify/", {"set": "../etc"}).status_code == 404
    assert not Run.objects.exists()


@pytest.mark.usefixtures("locations")
def test_without_a_worker_the_command_names_the_location(operator: Client, settings: Any) -> None:
    settings.OPS_CELERY_APP = ""
    backup = add_backup(**row_copies("nas"))

    (message,) = messages_of(operator.post(f"{LIST}{backup.pk}/restore-test/", {"set": "nas"}))

    assert message.endswith(f"or run: manage.py verify_backup {backup.name} --restore --location nas")


@pytest.mark.usefixtures("locations")
def test_deletion_says_what_happens_in_other_locations(admin_client: Client) -> None:
    add_backup(**row_copies())
    backup = add_backup(**row_copies("nas", "cloud"))

    page = text(admin_client.get(f"{LIST}{backup.pk}/delete/"))

    assert "will be deleted from all storage locations." in page
    assert "Its copies in nas, cloud are deleted by the next run that copies backups." in page
    assert "In cloud, files stay until their lock ends." in page


def test_deletion_without_other_copies_names_the_storage(admin_client: Client) -> None:
    add_backup()
    backup = add_backup(**row_copies())

    assert "will be deleted from the storage. This cannot be undone." in text(
        admin_client.get(f"{LIST}{backup.pk}/delete/")
    )


# --- Copy now -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("locations")
def test_operators_copy_now(operator: Client, workers: None) -> None:
    assert "Copy now" in text(operator.get(LIST))

    answer = operator.post(f"{LIST}copy/")

    run = Run.objects.get(kind=Run.Kind.COPY)
    assert answer.headers["Location"] == f"/admin/ops/run/{run.pk}/change/"
    assert run.arguments == {}
    assert run.status == Run.Status.QUEUED


@pytest.mark.usefixtures("locations")
def test_copies_are_requested_once(operator: Client, workers: None) -> None:
    operator.post(f"{LIST}copy/")
    answer = operator.post(f"{LIST}copy/")

    assert Run.objects.count() == 1
    assert messages_of(answer)[0].startswith("Already queued by ")


@pytest.mark.usefixtures("locations")
def test_viewers_get_403_for_copy_now(viewer: Client, workers: None) -> None:
    assert viewer.post(f"{LIST}copy/").status_code == 403
    assert not Run.objects.exists()
