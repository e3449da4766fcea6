"""Runs send notifications of how they ended."""

import json
from pathlib import Path
from typing import Any

import pytest

from ops.errors import AlreadyRunning, OpsError, PreconditionFailed
from tests.notifications.conftest import Receiver
from tests.runs.support import engine_in, kill, reconcile, recorded, repository_in, request, start_process

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def targets(settings: Any, receiver: Receiver, storage: Path) -> None:
    settings.NOTIFY_URLS = [f"json://{receiver.host}"]
    settings.HEARTBEAT_URL = f"http://{receiver.host}/beat"


def titles(receiver: Receiver) -> list[str]:
    sent = [json.loads(body)["title"] for method, _, body in receiver.requests if method == "POST"]
    return [title.partition(" on ")[0] for title in sent]


def fail(folder: Path) -> None:
    with (
        pytest.raises(OpsError),
        recorded(request(), engine=engine_in(folder), repository=repository_in(folder)),
    ):
        raise OpsError("pg_dump ended with exit code 1.")


def test_failed_run_and_the_next_success_are_notified(tmp_path: Path, receiver: Receiver) -> None:
    fail(tmp_path)
    with recorded(request(), engine=engine_in(tmp_path), repository=repository_in(tmp_path)):
        assert titles(receiver) == ["The backup failed"]

    assert titles(receiver) == ["The backup failed", "The backup succeeded again"]
    assert [path for path in receiver.paths if "beat" in path] == ["/beat/fail", "/beat"]


def test_lock_is_released_before_notifications_are_sent(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    found_free = []

    def notify(_runs: object) -> None:
        with engine_in(tmp_path).locked("another run"):
            found_free.append(True)

    monkeypatch.setattr("ops.notifications.alerts.notify_runs", notify)
    fail(tmp_path)

    assert found_free == [True]


def test_run_is_unaffected_by_a_notification_that_cannot_be_sent(
    tmp_path: Path, receiver: Receiver, settings: Any
) -> None:
    settings.NOTIFY_URLS = ["json://127.0.0.1:1", "nothing"]
    settings.HEARTBEAT_URL = "http://127.0.0.1:1"

    fail(tmp_path)


def test_run_that_cannot_be_recorded_is_notified(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = repository_in(tmp_path)

    def refuse(_event: object) -> str:
        raise OSError("read-only file system")

    monkeypatch.setattr(repository, "add_event", refuse)
    with pytest.raises(PreconditionFailed), recorded(request(), engine=engine_in(tmp_path), repository=repository):
        pass

    assert titles(receiver) == ["The backup failed"]
    assert "does not take the record of this run" in receiver.requests[-1][2]


def test_run_refused_because_of_the_lock_is_not_notified(tmp_path: Path, receiver: Receiver) -> None:
    engine = engine_in(tmp_path)
    with (
        engine.locked("another run"),
        pytest.raises(AlreadyRunning),
        recorded(request(), engine=engine, repository=repository_in(tmp_path)),
    ):
        pass

    assert receiver.requests == []


def test_killed_run_is_notified_when_it_is_cleaned_up(tmp_path: Path, receiver: Receiver) -> None:
    kill(start_process(tmp_path, "backup"))

    reconcile(engine_in(tmp_path), repository_in(tmp_path))

    assert titles(receiver) == ["The backup failed"]
    assert "was killed" in next(body for method, _, body in receiver.requests if method == "POST")
