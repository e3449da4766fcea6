"""What the page of a run shows at its end: the same after polling and after a reload, and links to backups."""

import re
from typing import Any

import pytest
from django.test import Client

from ops.admin import run_outcome
from ops.backups.engines.base import PreviousDatabase
from ops.models import Backup, Run
from ops.utils import clock
from tests.admin.support import add_backup, add_run, text
from tests.admin.test_runs import RESTORED, link, path_of
from tests.support.slow import each_once

pytestmark = pytest.mark.django_db

MADE = "homerack_20261101_020000.sql.gz"
ENDS = [status for status in Run.Status if status not in {"queued", "running"}]
FOR_ADMINISTRATORS = {Run.Kind.PREFLIGHT, Run.Kind.MIGRATION_TO_SQLITE}
"""Whose pages have more, which run-status.js fetches at the end of the run."""
RESULTS: dict[Run.Kind, dict[str, Any]] = {
    Run.Kind.RESTORE: RESTORED,
    Run.Kind.UPLOAD: {"backup": MADE, "rows": 1, "tables": 1, "size": 1},
    Run.Kind.VERIFICATION: {
        "verifications": {MADE: {"level": "read", "verified_at": "2026-11-23T10:15:00+00:00", "duration": 0.1}}
    },
    Run.Kind.COPY: {"locations": {"nas": {"copied": [MADE], "size": 10}}},
}


def finished(kind: Run.Kind, **changes: Any) -> Run:
    return add_run(kind=kind, backup=MADE, result=RESULTS.get(kind, {}), log="10:00:00 done\n", **changes)


def without_tags(part: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", part)).strip()


@pytest.mark.parametrize(("kind", "status"), each_once(list(Run.Kind), ENDS))
def test_polled_status_has_all_that_the_reloaded_page_has(
    admin_client: Client, client: Client, kind: Run.Kind, status: Run.Status
) -> None:
    add_backup(name=MADE)
    run = finished(kind, status=status, error="" if status == "succeeded" else "It ended.")
    polled = without_tags(text(client.get(f"{link(run, may_undo=True)}state/")))
    page = text(admin_client.get(path_of(run)))
    shown = without_tags(page.partition("data-run-page>")[2].partition('class="ops-quiet ops-zone"')[0])
    assert shown.startswith(polled)
    assert MADE in polled
    more = shown.removeprefix(polled).rpartition("Retrying…")[2].strip(" <p")
    assert (more == "") == (kind not in FOR_ADMINISTRATORS), more


@pytest.mark.parametrize("kind", [Run.Kind.BACKUP, Run.Kind.UPLOAD, Run.Kind.VERIFICATION, Run.Kind.RESTORE])
def test_polled_status_links_to_the_backup(client: Client, kind: Run.Kind) -> None:
    backup = add_backup(name=MADE)
    page = text(client.get(f"{link(finished(kind))}state/"))
    assert f'<a class="ops-link ops-name" href="/admin/ops/backup/{backup.pk}/change/">{MADE}</a>' in page


def test_polled_status_of_a_restore_links_to_the_backup_that_was_made_before_it(client: Client) -> None:
    add_backup(name=MADE)
    before = add_backup(name=RESTORED["pre_backup"])
    page = text(client.get(f"{link(finished(Run.Kind.RESTORE))}state/"))
    assert f'href="/admin/ops/backup/{before.pk}/change/"' in page


def test_deleted_backup_is_named_without_a_link(client: Client) -> None:
    page = text(client.get(f"{link(finished(Run.Kind.BACKUP))}state/"))
    assert f'<span class="ops-name">{MADE}</span> (not in the list of backups any more)' in page


@pytest.mark.parametrize("status", ["running", "failed", "interrupted", "cancelled"])
def test_backup_that_was_not_made_is_not_named(client: Client, status: str) -> None:
    assert not Backup.objects.exists()
    run = finished(Run.Kind.BACKUP, status=status)
    assert MADE not in text(client.get(f"{link(run)}state/"))


def test_page_of_a_restore_that_was_killed_after_the_swap_says_that_its_backup_is_due(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = add_run(kind=Run.Kind.RESTORE, backup=MADE, result={})
    kept = PreviousDatabase(
        name="lab_ops_undo", replaced_at=clock.now(), run=str(run.pk), backup=MADE, size=1000, backup_due=True
    )
    monkeypatch.setattr(run_outcome, "find_previous", lambda: kept)
    page = text(client.get(f"{link(run, may_undo=True)}state/"))
    assert "The previous database is kept as lab_ops_undo" in page
    assert "It has no verified backup yet. Until it has one, it is kept, and no other restore can start." in page
    assert "Undo…" in page
