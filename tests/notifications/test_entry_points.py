"""The command that sends a test notification."""

from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.notifications.conftest import Receiver


@pytest.fixture
def targets(settings: Any, receiver: Receiver) -> Receiver:
    settings.NOTIFY_URLS = [f"json://someone:geheim77@{receiver.host}"]
    settings.HEARTBEAT_URL = f"http://{receiver.host}/beat"
    return receiver


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

    with pytest.raises(CommandError, match="No notification targets configured: set NOTIFY_URLS"):
        call_command("send_test_notification")
