"""The scheduled restore test takes a backup of this site's own making that is verified, however new others are."""

import datetime as dt
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings

from ops import tasks
from ops.backups.manifest import Kind, Origin
from ops.backups.repository import BackupRepository
from ops.backups.signing import Keys
from ops.models import Run
from ops.runs import executor
from ops.runs.context import OpsContext, get_context
from tests.backups import factories

NOON = factories.NOON
LATER = NOON + dt.timedelta(hours=1)


@pytest.fixture
def site(db: None, settings: Any, tmp_path: Path) -> OpsContext:
    backups = {"BACKEND": "ops.backups.storage.local.PrivateFileSystemStorage", "OPTIONS": {"location": str(tmp_path)}}
    settings.STORAGES = {**settings.STORAGES, "backups": backups}
    return get_context()


@pytest.fixture
def tested(site: OpsContext, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the backups that are given to the restore test."""
    names: list[str] = []

    def verify(_context: OpsContext, run: Run) -> None:
        assert run.kind == Run.Kind.RESTORE_TEST
        names.extend(run.arguments["names"])

    monkeypatch.setitem(executor.OPERATIONS, Run.Kind.RESTORE_TEST, verify)
    return names


def an_upload(site: OpsContext) -> None:
    factories.backup(site.repository, taken_at=LATER, origin=Origin.UPLOAD, untrusted=True)


def one_called_an_upload(site: OpsContext) -> None:
    factories.backup(site.repository, taken_at=LATER, origin=Origin.UPLOAD)


def a_foreign_one(site: OpsContext) -> None:
    foreign = BackupRepository(site.repository.storage, Keys(["somebody else's"]), site.repository.prefix)
    factories.backup(foreign, taken_at=LATER)


def an_unsigned_one(site: OpsContext) -> None:
    changed(site, lambda document: document.pop("signature"))


def a_tampered_one(site: OpsContext) -> None:
    changed(site, lambda document: document.update(note="changed"))


def changed(site: OpsContext, change: Any) -> None:
    entry = factories.backup(site.repository, taken_at=LATER)
    path = Path(str(site.repository.location)) / f"{entry.name}.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def an_unverified_one(site: OpsContext) -> None:
    factories.backup(site.repository, taken_at=LATER, verifications=())


def one_that_failed(site: OpsContext) -> None:
    factories.backup(site.repository, taken_at=LATER, verifications=(factories.COMPLETE, factories.FAILED))


def one_without_data(site: OpsContext) -> None:
    entry = factories.backup(site.repository, taken_at=LATER)
    site.repository.storage.delete(entry.name)


def one_cut_short(site: OpsContext) -> None:
    entry = factories.backup(site.repository, taken_at=LATER)
    path = Path(str(site.repository.location)) / entry.name
    path.write_bytes(path.read_bytes()[:-1])


def one_of_sqlite(site: OpsContext) -> None:
    factories.backup(site.repository, taken_at=LATER, kind=Kind.SQLITE_GZIP, engine="sqlite")


OTHERS = [
    an_upload, one_called_an_upload, a_foreign_one, an_unsigned_one, a_tampered_one, an_unverified_one, one_that_failed,
    one_without_data, one_cut_short, one_of_sqlite,
]  # fmt: skip


@pytest.mark.parametrize("other", OTHERS)
def test_a_newer_backup_that_is_not_ours_or_not_verified_is_passed_over(
    site: OpsContext, tested: list[str], other: Any
) -> None:
    own = factories.backup(site.repository, taken_at=NOON)
    other(site)
    assert len(site.repository.records()) == 2
    tasks.restore_test()
    assert tested == [own.name]


@pytest.mark.parametrize("other", OTHERS)
def test_where_there_is_no_other_there_is_nothing_to_test(
    site: OpsContext, tested: list[str], other: Any, caplog: pytest.LogCaptureFixture
) -> None:
    other(site)
    with caplog.at_level(logging.INFO, "ops.tasks"):
        tasks.restore_test()
    assert tested == []
    assert [record.getMessage() for record in caplog.records] == [
        "The restore test was skipped: there is no verified backup."
    ]


def test_one_that_an_older_key_signed_is_ours(site: OpsContext, tested: list[str], settings: Any) -> None:
    own = factories.backup(site.repository, taken_at=NOON)
    settings.SECRET_KEY_FALLBACKS = [django_settings.SECRET_KEY]
    settings.SECRET_KEY = "another one from now on"
    tasks.restore_test()
    assert tested == [own.name]


def test_the_newest_of_several_is_taken(site: OpsContext, tested: list[str]) -> None:
    factories.backup(site.repository, taken_at=NOON)
    newest = factories.backup(site.repository, taken_at=LATER)
    tasks.restore_test()
    assert tested == [newest.name]
