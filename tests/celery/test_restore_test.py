"""The scheduled restore test takes the newest verified backup, and skips newer ones that are not."""

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
from ops.operations import restore_tests
from ops.runs import executor
from ops.runs.context import OpsContext, get_context
from ops.runs.recorder import RunRecorder
from ops.utils.progress import no_progress
from tests.backups import factories

NOON = factories.NOON
LATER = NOON + dt.timedelta(hours=1)


@pytest.fixture
def context(db: None, settings: Any, tmp_path: Path) -> OpsContext:
    settings.BACKUP_DIR = tmp_path
    return get_context()


@pytest.fixture
def tested(context: OpsContext, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the backups that are given to the restore test."""
    names: list[str] = []

    def choose(context: OpsContext, run: Run) -> None:
        assert (run.kind, run.arguments) == (Run.Kind.RESTORE_TEST, {"farthest": True})
        recorder = RunRecorder(run, repository=context.repository, on_progress=no_progress)
        restore_tests.test_the_farthest(context, recorder)

    monkeypatch.setitem(executor.OPERATIONS, Run.Kind.RESTORE_TEST, choose)
    monkeypatch.setattr(restore_tests.Tester, "__call__", lambda self, *_found: names.append(self.record.name))
    return names


def untrusted_upload(context: OpsContext) -> None:
    factories.backup(context.repository, taken_at=LATER, origin=Origin.UPLOAD, untrusted=True)


def upload(context: OpsContext) -> None:
    factories.backup(context.repository, taken_at=LATER, origin=Origin.UPLOAD)


def foreign(context: OpsContext) -> None:
    repository = BackupRepository(context.repository.storage, Keys(["another key"]), context.repository.prefix)
    factories.backup(repository, taken_at=LATER)


def unsigned(context: OpsContext) -> None:
    changed(context, lambda document: document.pop("signature"))


def tampered(context: OpsContext) -> None:
    changed(context, lambda document: document.update(note="changed"))


def changed(context: OpsContext, change: Any) -> None:
    record = factories.backup(context.repository, taken_at=LATER)
    path = Path(str(context.repository.location)) / f"{record.name}.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def unverified(context: OpsContext) -> None:
    factories.backup(context.repository, taken_at=LATER, verifications=())


def failed(context: OpsContext) -> None:
    factories.backup(context.repository, taken_at=LATER, verifications=(factories.COMPLETE, factories.FAILED))


def without_file(context: OpsContext) -> None:
    record = factories.backup(context.repository, taken_at=LATER)
    context.repository.storage.delete(record.name)


def truncated(context: OpsContext) -> None:
    record = factories.backup(context.repository, taken_at=LATER)
    path = Path(str(context.repository.location)) / record.name
    path.write_bytes(path.read_bytes()[:-1])


def of_sqlite(context: OpsContext) -> None:
    factories.backup(context.repository, taken_at=LATER, kind=Kind.SQLITE_GZIP, engine="sqlite")


OTHERS = [
    untrusted_upload, upload, foreign, unsigned, tampered, unverified, failed,
    without_file, truncated, of_sqlite,
]  # fmt: skip


@pytest.mark.parametrize("other", OTHERS)
def test_newer_backup_that_is_unsigned_or_unverified_is_skipped(
    context: OpsContext, tested: list[str], other: Any
) -> None:
    own = factories.backup(context.repository, taken_at=NOON)
    other(context)
    assert len(context.repository.records()) == 2
    tasks.restore_test()
    assert tested == [own.name]


@pytest.mark.parametrize("other", OTHERS)
def test_restore_test_without_a_verified_backup_is_skipped(
    context: OpsContext, tested: list[str], other: Any, caplog: pytest.LogCaptureFixture
) -> None:
    other(context)
    with caplog.at_level(logging.INFO, "ops.tasks"):
        tasks.restore_test()
    assert tested == []
    assert [record.getMessage() for record in caplog.records] == [
        "The restore test was skipped: there is no verified backup."
    ]


def test_backup_signed_with_a_fallback_key_is_tested(context: OpsContext, tested: list[str], settings: Any) -> None:
    own = factories.backup(context.repository, taken_at=NOON)
    settings.SECRET_KEY_FALLBACKS = [django_settings.SECRET_KEY]
    settings.SECRET_KEY = "another one from now on"
    tasks.restore_test()
    assert tested == [own.name]


def test_newest_of_several_verified_backups_is_tested(context: OpsContext, tested: list[str]) -> None:
    factories.backup(context.repository, taken_at=NOON)
    newest = factories.backup(context.repository, taken_at=LATER)
    tasks.restore_test()
    assert tested == [newest.name]
