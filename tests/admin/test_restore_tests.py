"""Copies in other storage locations in the admin: download, restore page, restore tests and their reports."""

import datetime as dt
import json
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from homerack.accounts.models import User
from ops import operations
from ops.backups.encryption import new_identity, recipient_of
from ops.backups.manifest import Kind
from ops.backups.reports import Check, Report, RestoreTest, report_name, write_report
from ops.errors import ArtifactInvalid
from ops.models import Backup, Run
from ops.runs import index
from ops.runs.context import get_context
from ops.runs.results import VerificationResult
from ops.utils.schema import to_json
from tests.admin.support import add_run, messages_of, text
from tests.backups import factories

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/admin/ops/backup/"
LARGE = secrets.token_bytes(3 * 2**20)
"""Three blocks."""
DIFFERS = "Its SHA-256 is not that of the backup."


@pytest.fixture
def nas(settings: Any, tmp_path: Path) -> Path:
    """The directory of an encrypted location."""
    folder = tmp_path / "nas"
    settings.BACKUP_LOCATIONS = [{"name": "nas", "url": str(folder)}]
    settings.BACKUP_AGE_IDENTITY = [new_identity()]
    settings.BACKUP_AGE_RECIPIENTS = [recipient_of(new_identity())]
    return folder


def copied(**values: Any) -> Backup:
    """A backup with a copy in each location."""
    record = factories.backup(get_context().repository, taken_at=timezone.now(), **values)
    operations.copy_backups(get_context(), Run(kind=Run.Kind.COPY, requested_by="ada"))
    index.write_backup(get_context().repository.get(record.name))
    return Backup.objects.get(name=record.name)


def damage(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def errors_of(backup: Backup) -> dict[str, str]:
    backup.refresh_from_db()
    return {copy["location"]: copy["error"] for copy in backup.copies}


def download(admin: Client, backup: Backup) -> Any:
    return admin.post(f"{LIST}{backup.pk}/download/")


# --- Download ---------------------------------------------------------------------------------------------------------
def test_download_reads_an_encrypted_location_when_the_file_here_is_missing(
    admin_client: Client, storage: Path, nas: Path
) -> None:
    backup = copied(content=LARGE, kind=Kind.SQL)
    (storage / backup.name).unlink()
    answer = download(admin_client, backup)
    blocks = list(answer.streaming_content)
    assert b"".join(blocks) == LARGE
    assert max(map(len, blocks)) <= 2**20
    assert answer["Content-Length"] == str(len(LARGE))
    assert answer["Content-Disposition"] == f'attachment; filename="{backup.name}"'
    run = Run.objects.get(kind="download")
    assert run.result == {"backup": backup.name, "location": "nas", "where": f"nas ({nas})"}
    assert messages_of(answer) == [f"The download of {backup.name} was read from nas ({nas})."]
    page = text(admin_client.get(f"/admin/ops/run/{run.pk}/change/"))
    assert f"Read from nas ({nas})." in page


def test_download_of_a_small_damaged_file_takes_another_copy_and_records_the_damage(
    admin_client: Client, storage: Path, nas: Path
) -> None:
    backup = copied()
    good = (storage / backup.name).read_bytes()
    damage(storage / backup.name)
    assert download(admin_client, backup).getvalue() == good
    assert errors_of(backup) == {"local": DIFFERS, "nas": ""}
    assert (backup.verification_error, backup.copy_count) == ("", 1)


def test_download_of_a_large_damaged_file_arrives_incomplete(admin_client: Client, storage: Path, nas: Path) -> None:
    """A browser sees from the length that it is."""
    backup = copied(content=LARGE, kind=Kind.SQL)
    damage(storage / backup.name)
    answer = download(admin_client, backup)
    arrived = []
    with pytest.raises(ArtifactInvalid, match="is damaged"):
        arrived.extend(answer.streaming_content)
    assert 0 < sum(map(len, arrived)) < int(answer["Content-Length"])
    assert errors_of(backup) == {"local": DIFFERS, "nas": ""}
    assert download(admin_client, backup).getvalue() == LARGE


def test_download_without_a_good_copy_shows_the_error(admin_client: Client, storage: Path, nas: Path) -> None:
    backup = copied()
    (storage / backup.name).unlink()
    damage(nas / f"{backup.name}.age")
    answer = download(admin_client, backup)
    assert answer.status_code == 302
    assert "cannot be decrypted" in messages_of(answer)[0]
    assert errors_of(backup) == {"nas": DIFFERS}
    assert backup.file_missing
    assert not Run.objects.filter(kind="download").exists()


# --- Restore ----------------------------------------------------------------------------------------------------------
def test_restore_page_offers_each_good_copy(
    admin_client: Client, storage: Path, nas: Path, queue: list[str], settings: Any
) -> None:
    name = operations.back_up(get_context(), Run(kind=Run.Kind.BACKUP, requested_by="ada")).backup
    operations.copy_backups(get_context(), Run(kind=Run.Kind.COPY, requested_by="ada"))
    backup = Backup.objects.get(name=name)
    address = f"{LIST}{backup.pk}/restore/"
    page = text(admin_client.get(address))
    assert f"<b>local ({storage})</b>" in page
    assert f'<a class="ops-link" href="?location=nas">nas ({nas})</a>' in page
    chosen = text(admin_client.get(f"{address}?location=nas"))
    assert f"<b>nas ({nas})</b>" in chosen
    assert "No user will get more permissions" in chosen
    settings.OPS_CELERY_APP = ""
    without_worker = text(admin_client.get(f"{address}?location=nas"))
    assert f"manage.py restore_database {name} --location nas" in without_worker


def test_restore_page_of_a_damaged_copy_names_the_other(admin_client: Client, storage: Path, nas: Path) -> None:
    backup = copied(migrations=())
    damage(storage / backup.name)
    page = text(admin_client.get(f"{LIST}{backup.pk}/restore/"))
    assert f"The copy of {backup.name} in local ({storage}) is damaged. Nothing was changed." in page
    assert f"manage.py restore_database {backup.name} --location nas" in page
    assert f'<a class="ops-link" href="?location=nas">nas ({nas})</a>' in page
    assert errors_of(backup) == {"local": DIFFERS, "nas": ""}


def test_unknown_location_is_refused_on_the_restore_page(admin_client: Client, storage: Path, nas: Path) -> None:
    backup = copied()
    page = text(admin_client.get(f"{LIST}{backup.pk}/restore/?location=%3Cb%3E"))
    assert "There is no storage location '<b>' besides" in page
    assert "<b>'" not in admin_client.get(f"{LIST}{backup.pk}/restore/?location=%3Cb%3E").content.decode()


# --- Restore tests ----------------------------------------------------------------------------------------------------
def test_restore_test_of_the_copy_in_a_location_is_queued(
    admin_client: Client, storage: Path, nas: Path, queue: list[str]
) -> None:
    backup = copied()
    button = f'formaction="{LIST}{backup.pk}/restore-test/" name="set" value="nas"'
    assert button in text(admin_client.get(f"{LIST}{backup.pk}/change/"))
    admin_client.post(f"{LIST}{backup.pk}/restore-test/", {"set": "nas"})
    run = Run.objects.get(kind="restore_test")
    assert run.arguments == {"names": [backup.name], "location": "nas"}
    assert queue == [str(run.pk)]


def test_viewers_get_no_button_for_the_restore_test_of_a_location(
    sign_in: Callable[..., Client], storage: Path, nas: Path
) -> None:
    backup = copied()
    viewer = sign_in()
    User.objects.get().user_permissions.set(Permission.objects.filter(codename="view_backup"))
    assert "/restore-test/" not in text(viewer.get(f"{LIST}{backup.pk}/change/"))
    assert viewer.post(f"{LIST}{backup.pk}/restore-test/", {"set": "nas"}).status_code == 403


# --- Reports ----------------------------------------------------------------------------------------------------------
NOON = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
NAME = "homerack_20261130_020000.sql.gz"


def measured(**changes: Any) -> RestoreTest:
    values: dict[str, Any] = {
        "backup": NAME,
        "began_at": NOON,
        "seconds": {"list": 0.25, "load": 60.5, "compare": 3.0, "migrate": 0.25},
        "recovery_time": 64.0,
        "reading": 12.5,
        "checks": (Check(name="row counts", number=50, unit="table", passed=True),),
        "location": "nas",
        "where": "nas (sftp://ada@nas.example/<b>)",
        "key": "age1example",
        "recovery_point": NOON - dt.timedelta(hours=10),
        "recovery_point_age": 36000.0,
        "report": report_name(NAME, "nas", NOON),
    }
    return RestoreTest(**values | changes)


def run_with(test: RestoreTest, **changes: Any) -> Run:
    return add_run(
        kind="restore_test",
        backup=NAME,
        result=to_json(VerificationResult(verifications={NAME: factories.COMPLETE}, tests=(test,))),
        **changes,
    )


def store(test: RestoreTest, run: Run) -> None:
    write_report(
        get_context().repository,
        Report(
            test=test,
            installation="homerack",
            requested_by="scheduler",
            run=str(run.pk),
            app_version="0.1.0",
            sha256="ab" * 32,
            size=1_500_000,
            rows=430,
            tables=50,
        ),
    )


def report_of(client: Client, run: Run) -> Any:
    return client.get(f"/admin/ops/run/{run.pk}/report/")


def test_report_shows_copy_key_checks_and_seconds(admin_client: Client, storage: Path) -> None:
    run = run_with(measured())
    store(measured(), run)
    assert f"/admin/ops/run/{run.pk}/report/" in text(admin_client.get(f"/admin/ops/run/{run.pk}/change/"))
    answer = report_of(admin_client, run)
    assert "&lt;b&gt;" in answer.content.decode()
    page = " ".join(text(answer).split())
    assert page.count("<main>") == page.count("</main>") == 1
    for group in re.findall(r"<dl.*?</dl>", page):
        assert not set(re.findall(r"<(\w+)", group)) - {"dl", "div", "dt", "dd"}
    for shown in (
        "Passed",
        "nas (sftp://ada@nas.example/<b>)",
        "age1example",
        "<dd>10 hours</dd>",
        "<dd>1 min 4 s</dd>",
        '<th scope="row">row counts</th><td>50 tables</td><td>passed</td>',
        '<th scope="row">Download, decrypt and load</th><td class="number">60.500</td>',
        '<th scope="row">Together</th><td class="number">64.000</td>',
        "Download and decryption took 12.500 s",
        "ab" * 32,
        "is signed with HMAC-SHA256",
    ):
        assert shown in page


def test_report_that_was_changed_or_deleted_says_so(admin_client: Client, storage: Path) -> None:
    run = run_with(measured())
    store(measured(), run)
    path = storage / "reports" / measured().report
    document = json.loads(path.read_text())
    document["test"]["recovery_time"] = 1.0
    path.write_text(json.dumps(document))
    page = text(report_of(admin_client, run))
    assert "The signature of this report is not valid (tampered). Do not rely on it." in page
    assert "is signed with HMAC-SHA256" not in page
    path.write_text("{}")
    assert "cannot be shown" in text(report_of(admin_client, run))
    path.unlink()
    assert "The document is missing." in text(report_of(admin_client, run))


def test_report_of_a_failed_test_has_the_error_and_no_time_to_restore(admin_client: Client, storage: Path) -> None:
    failed = Check(name="SHA-256 of the file", number=9, unit="byte", passed=False)
    test = measured(error="Its SHA-256 differs", checks=(failed,), seconds={"list": 0.5}, recovery_time=0.5)
    run = run_with(test, status="failed")
    store(test, run)
    page = " ".join(text(report_of(admin_client, run)).split())
    assert "<b>Its SHA-256 differs.</b>" in page
    assert "<dd>not known</dd>" in page
    assert "<td>9 bytes</td><td><b>failed</b></td>" in page


def test_run_without_restore_tests_has_no_report(admin_client: Client, stranger_client: Client, storage: Path) -> None:
    assert report_of(admin_client, add_run()).status_code == 404
    assert report_of(admin_client, run_with(measured(report=""))).status_code == 404
    run = run_with(measured())
    assert report_of(stranger_client, run).status_code == 403
    assert report_of(Client(), run).status_code == 302
