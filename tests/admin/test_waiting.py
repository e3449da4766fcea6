"""Why a queued run waits, a running one does not report, and what a second click does."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from ops import tasks
from ops.admin import waiting
from ops.errors import AlreadyRunning
from ops.health.queue_watch import Fault, QueueState, queue_watch
from ops.models import Run
from ops.runs import executor
from ops.runs.context import get_context
from tests.admin.support import add_backup, add_run, messages_of, text
from tests.admin.test_runs import link, path_of

pytestmark = pytest.mark.django_db

LIST = "/admin/ops/backup/"


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Callable[..., None]:
    """Makes the queue have a fault for 10 seconds, or as long as it says."""

    settings.OPS_CELERY_APP = "homerack.celery.app"

    def show(fault: Fault, *, seconds: int = 10) -> None:
        now = timezone.now()
        state = QueueState(fault=fault, since=now - dt.timedelta(seconds=seconds), asked=now, answered=0)
        monkeypatch.setattr(queue_watch, "read", lambda: state)

    return show


def ago(**passed: int) -> dt.datetime:
    return timezone.now() - dt.timedelta(**passed)


def queued(**changes: Any) -> Run:
    return add_run(
        **{"status": "queued", "started_at": None, "finished_at": None, "requested_at": ago(minutes=1)} | changes
    )


def running(**changes: Any) -> Run:
    own = {"status": "running", "finished_at": None, "started_at": ago(minutes=4), "reported_at": timezone.now()}
    return add_run(**own | {"database": get_context().engine.database} | changes)


def at(when: dt.datetime) -> str:
    return waiting.format_moment(when)


class TestReason:
    @pytest.mark.parametrize(
        ("kind", "expected"),
        [
            (Fault.REDIS, "Redis has not answered since "),
            (Fault.NO_WORKER, "No worker is running: none has been connected to Redis since "),
            (Fault.SILENT_WORKER, "The worker has not answered since "),
        ],
    )
    def test_page_and_polled_status_name_the_fault(
        self, viewer: Client, client: Client, fault: Any, kind: Fault, expected: str
    ) -> None:
        fault(kind)
        run = queued()
        for page in (text(viewer.get(path_of(run))), text(client.get(f"{link(run)}state/"))):
            assert expected in page
            assert ("<code>celery -A homerack.celery.app worker</code>" in page) == (kind is not Fault.REDIS)

    def test_fault_that_was_seen_once_is_not_named(self, viewer: Client, fault: Any) -> None:
        fault(Fault.SILENT_WORKER, seconds=1)
        assert "The worker has not answered" not in text(viewer.get(path_of(queued())))

    def test_run_waits_for_the_end_of_another(self, viewer: Client, fault: Any) -> None:
        fault(Fault.NONE)
        other = running(kind="restore", requested_by="grace@example.com")
        page = text(viewer.get(path_of(queued())))
        assert (
            f"It waits for the end of another run: restore by grace@example.com since {at(other.started_at)}." in page
        )
        assert "has not reported" not in page

    def test_run_waits_for_a_run_that_does_not_report(self, viewer: Client, fault: Any) -> None:
        fault(Fault.SILENT_WORKER)
        other = running(kind="restore", reported_at=ago(minutes=2))
        page = text(viewer.get(path_of(queued())))
        assert (
            f"Unfinished: {waiting.describe_running(other)}. It has not reported since {at(other.reported_at)}." in page
        )

    @pytest.mark.parametrize(("seconds", "is_lost"), [(5, False), (30, True)])
    def test_run_that_an_idle_worker_does_not_take_may_be_lost(
        self, viewer: Client, fault: Any, seconds: int, is_lost: bool
    ) -> None:
        fault(Fault.NONE)
        page = text(viewer.get(path_of(queued(requested_at=ago(seconds=seconds)))))
        assert ("Redis may have lost it" in page) == is_lost

    def test_copying_is_not_what_a_backup_waits_for_first(self, fault: Any) -> None:
        fault(Fault.NONE)
        running(kind="copy")
        restore = running(kind="restore", started_at=ago(minutes=1))
        assert waiting.find_other(queued()) == restore
        assert waiting.find_other(queued(kind="copy")).kind == "copy"  # type: ignore[union-attr]

    @pytest.mark.parametrize(("seconds", "waits"), [(2, False), (30, True)])
    def test_backup_waits_for_copying_only_where_no_worker_is_left_for_it(
        self, fault: Any, seconds: int, *, waits: bool
    ) -> None:
        fault(Fault.NONE)
        running(kind="copy")
        reason = waiting.explain_wait(queued(requested_at=ago(seconds=seconds))).reason
        assert (reason is waiting.Reason.OTHER_RUN) == waits

    def test_other_day_is_named(self) -> None:
        yesterday = ago(days=1)
        assert at(yesterday) == f"{timezone.localtime(yesterday):%Y-%m-%d %H:%M}"


class TestSilence:
    def test_page_and_list_say_since_when_a_run_does_not_report(self, viewer: Client) -> None:
        run = running(reported_at=ago(minutes=2), host="lab", pid=12)
        since = at(run.reported_at)
        assert f"Its process (12 on lab) has not reported since {since}." in text(viewer.get(path_of(run)))
        assert f"It has not reported since {since}." in text(viewer.get("/admin/ops/run/"))

    @pytest.mark.parametrize(
        "changes",
        [
            {"passed": {"seconds": 5}},
            {"reported_at": None},
            {"passed": {"minutes": 2}, "stage": "cut-over"},
            {"passed": {"minutes": 2}, "status": "succeeded"},
        ],
    )
    def test_nothing_is_said_of_runs_that_report_or_do_not_have_to(self, viewer: Client, changes: Any) -> None:
        changes = dict(changes)
        reported = {"reported_at": ago(**changes.pop("passed"))} if "passed" in changes else {}
        run = running(**changes | reported)
        assert "has not reported" not in text(viewer.get(path_of(run))) + text(viewer.get("/admin/ops/run/"))


@pytest.mark.usefixtures("queue")
class TestSecondClick:
    def test_backup_is_not_queued_while_one_is_running(self, operator: Client, fault: Any) -> None:
        fault(Fault.NONE)
        run = running(arguments={"note": "by a command"})
        answer = operator.post(f"{LIST}make/")
        assert answer.headers["Location"] == path_of(run)
        assert messages_of(answer) == [f"Already running: {waiting.describe_running(run)}. Nothing else was queued."]
        assert Run.objects.count() == 1

    def test_backup_is_not_queued_behind_a_frozen_one(self, operator: Client, fault: Any) -> None:
        fault(Fault.SILENT_WORKER)
        run = running(reported_at=ago(minutes=9))
        answer = operator.post(f"{LIST}make/", follow=True)
        assert f"has not reported since {at(run.reported_at)}." in text(answer)  # type: ignore[arg-type]
        assert Run.objects.count() == 1

    def test_backup_is_queued_behind_one_whose_process_was_killed(self, operator: Client, fault: Any) -> None:
        """Another worker answers. It closes the killed run before it starts this one."""
        fault(Fault.NONE)
        running(reported_at=ago(minutes=9))
        operator.post(f"{LIST}make/")
        assert Run.objects.filter(status="queued").count() == 1

    def test_running_backup_of_another_database_is_no_reason(self, operator: Client, fault: Any) -> None:
        fault(Fault.NONE)
        running(database="another")
        operator.post(f"{LIST}make/")
        assert Run.objects.filter(status="queued").count() == 1

    def test_verification_of_another_backup_is_queued_behind_a_running_one(self, operator: Client, fault: Any) -> None:
        fault(Fault.NONE)
        one, other = add_backup(), add_backup()
        same = running(kind="verification", arguments={"names": [one.name]})
        assert operator.post(f"{LIST}{one.pk}/verify/").headers["Location"] == path_of(same)
        page = text(operator.post(f"{LIST}{other.pk}/verify/", follow=True))  # type: ignore[arg-type]
        assert "It waits for the end of another run: verification by ada@example.com" in page

    def test_second_click_sends_the_queued_run_again(
        self, operator: Client, fault: Any, queue: list[str], django_capture_on_commit_callbacks: Any
    ) -> None:
        """Redis may have lost the first message."""
        fault(Fault.NONE)
        with django_capture_on_commit_callbacks(execute=True):
            operator.post(f"{LIST}make/")
            operator.post(f"{LIST}make/")
        assert queue == [str(Run.objects.get().pk)] * 2


class TestLostQueue:
    def test_reconcile_sends_queued_runs_again(self, queue: list[str]) -> None:
        lost, _fresh = queued(requested_at=ago(minutes=2)), queued(kind="restore_test", requested_at=ago(seconds=30))
        tasks.reconcile()
        assert queue == [str(lost.pk)]

    def test_worker_sends_queued_runs_again_when_it_starts(self, queue: list[str]) -> None:
        lost = queued(requested_at=ago(minutes=2))
        tasks.rebuild_index()
        assert queue == [str(lost.pk)]

    def test_runs_that_wait_for_another_are_not_sent_again(self, queue: list[str]) -> None:
        queued(requested_at=ago(minutes=2))
        running(kind="restore")
        tasks.resend_waiting()
        assert queue == []

    def test_run_that_finds_the_database_locked_waits(self, queue: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(_context: object, _run: Run) -> None:
            raise AlreadyRunning("Running: restore by ada.")

        monkeypatch.setattr(executor, "OPERATIONS", dict.fromkeys(Run.Kind, refuse))
        monkeypatch.setattr(tasks, "authorize", lambda _run: None)
        run = queued()
        tasks.execute_run(str(run.pk))
        run.refresh_from_db()
        assert (run.status, queue) == ("queued", [str(run.pk)])
