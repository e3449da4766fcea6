"""From a click to a worker: what is queued, which worker takes it, and what happens when none does."""

import datetime as dt
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from homerack.accounts.models import User
from ops import tasks
from ops.models import Run
from ops.runs import executor, index
from ops.runs.context import get_context, repository_from_settings
from tests.admin.support import add_backup, add_run, messages_of

pytestmark = pytest.mark.django_db

LIST = "/admin/ops/backup/"
ADA = "ada@example.com"


def enqueue(kind: Run.Kind = Run.Kind.BACKUP, **arguments: Any) -> Run:
    run, is_new = executor.queue(Run(kind=kind, requested_by=ADA, origin=Run.Origin.ADMIN, arguments=arguments))
    assert is_new
    return run


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_superuser(ADA)


class TestClick:
    def test_click_queues_a_run_and_redirects_to_its_page(
        self, operator: Client, queue: list[str], django_capture_on_commit_callbacks: Any
    ) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            answer = operator.post(f"{LIST}make/")
        run = Run.objects.get()
        assert (run.kind, run.status, run.origin) == ("backup", "queued", "admin")
        assert run.requested_by == "Backup operators@example.com"
        assert answer.headers["Location"] == f"/admin/ops/run/{run.pk}/change/"
        assert queue == [str(run.pk)]

    @pytest.mark.parametrize(("name", "kind"), [("verify", "verification"), ("restore-test", "restore_test")])
    @pytest.mark.usefixtures("queue")
    def test_verification_is_queued_for_one_backup(self, operator: Client, name: str, kind: str) -> None:
        backup = add_backup()
        operator.post(f"{LIST}{backup.pk}/{name}/")
        run = Run.objects.get()
        assert (run.kind, run.backup, run.arguments["names"]) == (kind, backup.name, [backup.name])

    def test_click_shows_the_command_when_no_worker_is_set_up(self, operator: Client, settings: Any) -> None:
        settings.OPS_CELERY_APP = ""
        backup = add_backup()
        expected = f"The site has no worker. Set REDIS_URL, or run: manage.py verify_backup {backup.name} --restore"
        assert messages_of(operator.post(f"{LIST}{backup.pk}/restore-test/")) == [expected]
        assert not Run.objects.exists()


@pytest.mark.usefixtures("ada")
class TestWorker:
    @pytest.fixture
    def done(self, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
        requests: list[Run] = []
        remember = lambda _context, run: requests.append(run)  # noqa: E731
        monkeypatch.setattr(executor, "OPERATIONS", dict.fromkeys(Run.Kind, remember))
        return requests

    def test_worker_runs_the_operation_with_arguments_of_the_row(self, done: list[Run]) -> None:
        run = enqueue(Run.Kind.RESTORE, name="a.sql.gz", untrusted=False, pre_backup=True)
        tasks.execute_run(str(run.pk))
        (request,) = done
        assert (request.kind, request.requested_by, request.id) == ("restore", run.requested_by, run.pk)
        assert request.arguments == {"name": "a.sql.gz", "untrusted": False, "pre_backup": True}

    @pytest.mark.parametrize("status", ["running", "succeeded", "cancelled", "failed"])
    def test_worker_ignores_run_that_is_not_queued(self, done: list[Run], status: str) -> None:
        tasks.execute_run(str(add_run(status=status).pk))
        assert done == []

    def test_worker_ignores_run_that_a_restore_cancelled(self, done: list[Run]) -> None:
        run = enqueue()
        index.rebuild_index(repository_from_settings(), restored=True)
        tasks.execute_run(str(run.pk))
        assert done == []
        run.refresh_from_db()
        assert (run.status, run.error) == ("cancelled", index.QUEUED_BEFORE)

    def test_every_kind_that_pages_queue_has_an_operation(self) -> None:
        queued = {"backup", "verification", "restore_test", "restore", "undo", "drop_previous", "preflight"}
        assert queued <= set(executor.OPERATIONS)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("ada")
class TestClaim:
    """A worker takes a row out of the queue under the database's lock: only one, and none after it was cancelled."""

    def recorded(self, request: Run) -> None:
        with executor.recorded(get_context(), request):
            pass

    def test_one_message_of_a_run_waits_for_the_lock_however_often_it_was_requested(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sent: list[dict[str, str]] = [{}]
        monkeypatch.setattr(tasks.execute_run, "apply_async", lambda _key, **options: sent.append(options["kwargs"]))
        run = enqueue()
        for _ in range(5):
            tasks.resend(run.pk)
        for _ in range(2):
            waiting, sent[:] = sent[:], []
            with get_context().engine.locked("restore by ada"):
                for arguments in waiting:
                    tasks.execute_run(str(run.pk), **arguments)
            assert len(sent) == 1

    def test_run_is_claimed_by_the_first_of_two_workers(self) -> None:
        run = enqueue()
        request, second = executor.find_queued(run.pk), executor.find_queued(run.pk)
        assert request
        assert second
        self.recorded(request)
        run.refresh_from_db()
        assert run.status == "succeeded"
        with pytest.raises(executor.NoLongerQueued):
            self.recorded(second)
        run.refresh_from_db()
        assert run.status == "succeeded"

    def test_run_does_not_start_when_cancelled_after_the_claim(self) -> None:
        run = enqueue()
        request = executor.find_queued(run.pk)
        assert request
        assert executor.cancel(run, by=ADA)
        with pytest.raises(executor.NoLongerQueued, match="The run is no longer queued"):
            self.recorded(request)
        run.refresh_from_db()
        assert run.status == "cancelled"
        assert repository_from_settings().events() == []

    def test_run_that_is_no_longer_queued_when_it_starts_has_not_failed(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        notified: list[Run] = []
        monkeypatch.setattr("ops.notifications.alerts.notify_runs", notified.extend)
        run = enqueue()
        # It is cancelled between the two looks of the worker.
        monkeypatch.setattr(tasks, "authorize", lambda run: executor.cancel(run, by=ADA))
        tasks.execute_run(str(run.pk))
        run.refresh_from_db()
        assert run.status == "cancelled"
        assert notified == []
        assert not [record for record in caplog.records if record.levelname == "ERROR"]

    def test_run_stays_queued_while_the_lock_is_taken(self, queue: list[str]) -> None:
        run = enqueue()
        with get_context().engine.locked("restore by ada"):
            tasks.execute_run(str(run.pk))
        run.refresh_from_db()
        assert (run.status, run.error) == ("queued", "")
        assert queue == [str(run.pk)]
        tasks.execute_run(str(run.pk))
        run.refresh_from_db()
        assert run.status == "succeeded"


@pytest.mark.django_db(transaction=True)
class TestLostMessage:
    """Redis lost the message of a queued run."""

    @pytest.fixture
    def notified(self, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
        runs: list[Run] = []
        monkeypatch.setattr("ops.notifications.alerts.notify_runs", runs.extend)
        return runs

    @pytest.fixture(autouse=True)
    def sent(self, queue: list[str]) -> list[str]:
        return queue

    def enqueue_at(self, minutes: int, kind: Run.Kind = Run.Kind.BACKUP, *, sent_again: int = 5) -> Run:
        """Requested, and sent again, so many minutes ago."""
        run, now = enqueue(kind), timezone.now()
        requested, sent = (now - dt.timedelta(minutes=passed) for passed in (minutes, sent_again))
        Run.objects.filter(pk=run.pk).update(requested_at=requested, reported_at=sent)
        return run

    def test_queued_run_fails_after_fifteen_minutes(self, notified: list[Run]) -> None:
        lost, fresh = self.enqueue_at(16), self.enqueue_at(14, Run.Kind.RESTORE_TEST)
        tasks.reconcile()
        lost.refresh_from_db()
        fresh.refresh_from_db()
        assert (lost.status, lost.error, lost.hint) == ("failed", executor.QUEUE_LOST.message, executor.QUEUE_LOST.hint)
        assert fresh.status == "queued"
        assert notified == [lost]

    @pytest.mark.parametrize("sent_again", [1, 30])
    def test_queued_run_is_sent_again_before_it_fails(self, sent: list[str], sent_again: int) -> None:
        """No worker was there for half an hour, or one has just come."""
        run = self.enqueue_at(120, sent_again=sent_again)
        tasks.reconcile()
        run.refresh_from_db()
        assert (run.status, sent) == ("queued", [str(run.pk)])
        assert run.reported_at
        assert timezone.now() - run.reported_at < dt.timedelta(minutes=1)

    def test_queued_run_stays_queued_while_another_runs(self) -> None:
        run = self.enqueue_at(120)
        with get_context().engine.locked("restore test by ada"):
            tasks.reconcile()
        run.refresh_from_db()
        assert run.status == "queued"

    def test_queued_run_stays_queued_while_backups_are_copied(self) -> None:
        """Copying has a lock of its own, and the worker may have no other process."""
        run = self.enqueue_at(120)
        add_run(kind=Run.Kind.COPY, status=Run.Status.RUNNING, finished_at=None)
        tasks.reconcile()
        run.refresh_from_db()
        assert run.status == "queued"

    def test_queued_run_gets_fifteen_minutes_after_the_other_ended(self) -> None:
        run = self.enqueue_at(120)
        before = add_run(finished_at=timezone.now() - dt.timedelta(minutes=14))
        tasks.reconcile()
        run.refresh_from_db()
        assert run.status == "queued"
        Run.objects.filter(pk=before.pk).update(finished_at=timezone.now() - dt.timedelta(minutes=16))
        Run.objects.filter(pk=run.pk).update(reported_at=timezone.now() - dt.timedelta(minutes=5))
        tasks.reconcile()
        run.refresh_from_db()
        assert run.status == "failed"
