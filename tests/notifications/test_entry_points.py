"""The page and the command that send a test notification."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from tests.notifications.conftest import Receiver


@pytest.fixture
def targets(settings: Any, receiver: Receiver) -> Receiver:
    settings.NOTIFY_URLS = [f"json://someone:geheim77@{receiver.host}"]
    settings.HEARTBEAT_URL = f"http://{receiver.host}/beat"
    return receiver


def test_page_lists_targets_without_secrets_and_sends_nothing(
    sign_in: Callable[..., Client], targets: Receiver
) -> None:
    shown = sign_in(is_superuser=True).get("/notifications/").content.decode()

    assert "<li>json at 127.0.0.1</li>" in shown
    assert "geheim77" not in shown
    assert "Send a test" in shown
    assert targets.requests == []


def test_button_sends_a_test_and_shows_each_response(sign_in: Callable[..., Client], targets: Receiver) -> None:
    targets.status = 418

    shown = sign_in(is_superuser=True).post("/notifications/").content.decode()

    assert shown.count("<span>failed:") == 2
    assert "418" in shown
    assert len(targets.requests) == 2


def test_page_without_targets_explains_the_settings(sign_in: Callable[..., Client], settings: Any) -> None:
    settings.NOTIFY_URLS, settings.HEARTBEAT_URL = [], ""

    shown = sign_in(is_superuser=True).get("/notifications/").content.decode()

    assert "NOTIFY_URLS" in shown
    assert "Send a test" not in shown


@pytest.mark.parametrize("method", ["get", "post"])
def test_page_is_forbidden_without_superuser_status(editor_client: Client, targets: Receiver, method: str) -> None:
    assert getattr(editor_client, method)("/notifications/").status_code == 403
    assert targets.requests == []


def test_form_without_csrf_token_sends_nothing(sign_in: Callable[..., Client], targets: Receiver) -> None:
    client = sign_in(is_superuser=True)
    client.handler.enforce_csrf_checks = True

    assert client.post("/notifications/").status_code == 403
    assert targets.requests == []


def test_command_prints_each_response(targets: Receiver, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("send_test_notification")

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("✓ json at 127.0.0.1: ")
    assert lines[1] == "✓ http at 127.0.0.1: 200 OK"


def test_command_fails_when_a_target_rejects_the_message(targets: Receiver, capsys: pytest.CaptureFixture[str]) -> None:
    targets.status = 500

    with pytest.raises(CommandError, match=r"Failed: json at 127\.0\.0\.1, http at 127\.0\.0\.1\."):
        call_command("send_test_notification")


def test_command_fails_without_targets(settings: Any) -> None:
    settings.NOTIFY_URLS, settings.HEARTBEAT_URL = [], ""

    with pytest.raises(CommandError, match="No notification targets configured: set NOTIFY_URLS or HEARTBEAT_URL"):
        call_command("send_test_notification")
