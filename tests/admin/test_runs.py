"""The page of a run, its status page by a signed link, and cancelling."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.core import signing
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from ops.admin import run_outcome, run_status
from ops.backups.engines.base import PreviousDatabase
from ops.maintenance import maintenance_mode
from ops.models import Run
from ops.runs import event_log, executor
from ops.runs.context import repository_from_settings
from tests.admin.support import add_run, messages_of, text

pytestmark = pytest.mark.django_db

BACKUPS = "/admin/ops/backup/"
RESTORED: dict[str, Any] = {
    "backup": "homerack_20261101_020000.sql.gz",
    "rows": 430,
    "tables": 12,
    "compared": True,
    "migrations": ["inventory.0003_more"],
    "left_out": [],
    "pre_backup": "homerack_20261123_101500.sql.gz",
    "previous": {
        "name": "homerack_ops_undo",
        "replaced_at": "2026-11-23T10:15:00+00:00",
        "run": "",
        "backup": "",
        "size": 12_000_000,
    },
    "writes_blocked": 2.4,
    "cut_over": 0.041,
}


def path_of(run: Run) -> str:
    return f"/admin/ops/run/{run.pk}/change/"


def link(run: Run, *, may_undo: bool = False) -> str:
    return f"/runs/{run_status.status_link(run, may_undo=may_undo)}/"


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Callable[[Run], None]:
    """Makes the previous database that is kept that of a run."""

    def keep(run: Run) -> None:
        previous = PreviousDatabase(
            name="homerack_ops_undo", replaced_at=timezone.now(), run=str(run.pk), backup="", size=12_000_000
        )
        monkeypatch.setattr(run_outcome, "find_previous", lambda: previous)

    return keep


class TestPage:
    def test_run_page_shows_stages_with_durations_and_progress(self, viewer: Client) -> None:
        stages = [
            {"stage": "snapshot", "began": "2026-11-23T10:00:00+00:00", "seconds": 0.31},
            {"stage": "dump", "began": "2026-11-23T10:00:01+00:00", "seconds": None},
        ]
        page = text(
            viewer.get(
                path_of(add_run(status="running", finished_at=None, stage="dump", stages=stages, done=30, total=120))
            )
        )
        assert '<span>snapshot</span> <span class="ops-number">0.3 s</span>' in page
        assert "Dump: 25%" in page
        assert 'max="100" value="25"' in page

    def test_run_page_of_restore_shows_result_and_undo(self, restorer: Client, kept: Callable[[Run], None]) -> None:
        run = add_run(kind="restore", result=RESTORED)
        kept(run)
        page = text(restorer.get(path_of(run)))
        for sentence in (
            "430 rows in 12 tables; contents match the manifest.",
            "The database as it was before the restore was backed up as homerack_20261123_101500.sql.gz.",
            "1 migration was applied.",
            "Writes were blocked for 2.4 s; the database was unavailable for 0.04 s.",
            "The previous database is kept as homerack_ops_undo (12.0 MB) for the undo.",
        ):
            assert sentence in page
        assert 'href="/admin/ops/backup/undo/">Undo…</a>' in page

    def test_run_page_shows_no_undo_to_viewers(self, viewer: Client, kept: Callable[[Run], None]) -> None:
        run = add_run(kind="restore", result=RESTORED)
        kept(run)
        page = text(viewer.get(path_of(run)))
        assert "430 rows" in page
        assert "Undo…" not in page

    def test_run_page_shows_no_undo_after_another_restore(self, restorer: Client, kept: Callable[[Run], None]) -> None:
        undone, later = (add_run(kind="restore", result=RESTORED) for _ in range(2))
        kept(later)
        page = text(restorer.get(path_of(undone)))
        assert "Undo…" not in page
        assert "is kept as" not in page
        assert run_outcome.NO_PREVIOUS in page
        assert "Undo…" in text(restorer.get(path_of(later)))

    def test_run_page_shows_no_undo_without_a_previous_database(self, restorer: Client) -> None:
        page = text(restorer.get(path_of(add_run(kind="restore", result=RESTORED))))
        assert "Undo…" not in page
        assert run_outcome.NO_PREVIOUS in page

    def test_cancelled_run_does_not_look_like_a_failed_one(self, viewer: Client) -> None:
        run = add_run(status="queued", started_at=None, finished_at=None)
        executor.cancel(run, by="ada@example.com")
        page = text(viewer.get(path_of(run)))
        sentence = "Cancelled by ada@example.com while it was queued. Nothing was changed."
        assert f'<section class="ops-card ops-neutral"><p><b>{sentence}</b></p></section>' in page
        for status, tone in (("failed", "ops-danger"), ("interrupted", "ops-warning")):
            page = text(viewer.get(path_of(add_run(status=status, error="It ended."))))
            assert f'<section class="ops-card {tone}"><p><b>It ended.' in page

    def test_run_page_shows_error_with_hint_and_log(self, viewer: Client) -> None:
        run = add_run(
            status="failed",
            error="The disk is full. Nothing was changed.",
            hint="Free some space.",
            log="10:00:00 dump\n",
        )
        page = text(viewer.get(path_of(run)))
        assert "<b>The disk is full. Nothing was changed.</b></p><p>Free some space.</p>" in page
        assert "10:00:00 dump" in page


class TestLink:
    def test_status_page_needs_no_session_and_two_queries(self, client: Client, django_assert_num_queries: Any) -> None:
        """That of the run, and that of the backups that it names."""
        run = add_run(kind="restore", result=RESTORED)
        for address in (link(run), f"{link(run)}state/"):
            with django_assert_num_queries(2):
                page = text(client.get(address))
            assert "430 rows in 12 tables" in page
            assert "Undo…" not in page
        assert client.cookies == {}

    def test_status_page_offers_undo_when_the_link_allows_it(self, client: Client, kept: Callable[[Run], None]) -> None:
        run = add_run(kind="restore", result=RESTORED)
        kept(run)
        assert 'href="/admin/ops/backup/undo/"' in text(client.get(link(run, may_undo=True)))

    def test_status_page_reads_events_when_rows_are_missing(self, client: Client) -> None:
        run = add_run(kind="restore", result=RESTORED)
        address = f"{link(run)}state/"
        event_log.record(repository_from_settings(), event_log.ENDED, run)
        Run.objects.all().delete()
        assert "430 rows in 12 tables" in text(client.get(address))

    def test_status_page_reads_events_when_database_is_unreachable(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = add_run(kind="restore", result=RESTORED)

        def is_unreachable(**_conditions: object) -> None:
            raise OperationalError

        monkeypatch.setattr(Run.objects, "filter", is_unreachable)
        monkeypatch.setattr(run_status.connection, "close", lambda: None)
        assert client.get(f"{link(run)}state/").status_code == 503
        page = text(client.get(link(run)))
        assert "Retrying…" in page
        event_log.record(repository_from_settings(), event_log.ENDED, run)
        assert "430 rows in 12 tables" in text(client.get(f"{link(run)}state/"))

    def test_status_link_is_refused_when_forged_or_expired(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = add_run()
        forged = signing.dumps({"run": str(uuid.uuid4()), "may_undo": True}, salt="another")
        assert client.get(f"/runs/{forged}/").status_code == 404
        address = link(run)
        monkeypatch.setattr(run_status, "LINK_MAX_AGE", -1)
        assert client.get(address).status_code == 404

    def test_status_page_refuses_post(self, client: Client) -> None:
        assert client.post(link(add_run())).status_code == 405


class TestCancelling:
    def test_cancel_ends_a_queued_run_at_once(self, operator: Client) -> None:
        run = add_run(status="queued", started_at=None, finished_at=None)
        operator.post(f"/admin/ops/run/{run.pk}/cancel/")
        run.refresh_from_db()
        assert (run.status, run.error) == (
            "cancelled",
            "Cancelled by Backup operators@example.com while it was queued. Nothing was changed.",
        )

    def test_cancel_requests_the_end_of_a_running_run(self, operator: Client) -> None:
        run = add_run(status="running", finished_at=None, stage="dump")
        operator.post(f"/admin/ops/run/{run.pk}/cancel/")
        run.refresh_from_db()
        assert (run.status, run.cancel_requested) == ("running", True)
        assert "Cancelling…" in text(operator.get(path_of(run)))

    def test_cancel_works_while_writes_are_blocked(self, restorer: Client) -> None:
        run = add_run(kind="restore", status="running", finished_at=None, stage="snapshot")
        with maintenance_mode(reason="A backup is being restored."):
            assert restorer.post(f"{BACKUPS}make/").status_code == 503
            assert restorer.post(f"/admin/ops/run/{run.pk}/cancel/").status_code == 302
            assert "Cancelling…" in text(restorer.get(link(run)))
            assert "Cancelling…" in text(restorer.get(f"{link(run)}state/"))
        run.refresh_from_db()
        assert run.cancel_requested

    @pytest.mark.parametrize("stage", ["write history", "cut-over"])
    def test_cancel_is_refused_from_the_cut_over_on(self, restorer: Client, stage: str) -> None:
        # The backup of the previous database follows.
        stages = [{"stage": stage, "began": "2026-11-23T10:00:00+00:00", "seconds": 0.3}]
        run = add_run(kind="restore", status="running", finished_at=None, stage="dump", stages=stages)
        assert "/cancel/" not in text(restorer.get(path_of(run)))
        answer = restorer.post(f"/admin/ops/run/{run.pk}/cancel/")
        assert messages_of(answer) == ["This run can no longer be cancelled."]
        run.refresh_from_db()
        assert not run.cancel_requested

    @pytest.mark.parametrize("kind", ["restore", "undo", "prune"])
    def test_cancel_is_refused_to_users_who_may_not_start_the_run(self, operator: Client, kind: str) -> None:
        run = add_run(kind=kind, status="running", finished_at=None)
        assert operator.post(f"/admin/ops/run/{run.pk}/cancel/").status_code == 403
