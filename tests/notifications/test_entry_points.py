"""The page and the command that send a test notification."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from tests.notifications.conftest import Receiver


@pytest.fixture
def told(settings: Any, receiver: Receiver) -> Receiver:
    settings.NOTIFY_URLS = [f"json://someone:geheim77@{receiver.host}"]
    settings.HEARTBEAT_URL = f"http://{receiver.host}/beat"
    return receiver


def test_the_page_names_who_is_told_and_sends_nothing(sign_in: Callable[..., Client], told: Receiver) -> None:
    shown = sign_in(is_superuser=True).get("/notifications/").content.decode()

    assert "<li>json at 127.0.0.1</li>" in shown
    assert "geheim77" not in shown
    assert "Send a test" in shown
    assert told.requests == []


def test_the_button_shows_what_they_answered(sign_in: Callable[..., Client], told: Receiver) -> None:
    told.status = 418

    shown = sign_in(is_superuser=True).post("/notifications/").content.decode()

    assert shown.count("<span>failed:") == 2
    assert "418" in shown
    assert len(told.requests) == 2


def test_the_page_says_how_to_set_it_up(sign_in: Callable[..., Client], settings: Any) -> None:
    settings.NOTIFY_URLS, settings.HEARTBEAT_URL = [], ""

    shown = sign_in(is_superuser=True).get("/notifications/").content.decode()

    assert "NOTIFY_URLS" in shown
    assert "Send a test" not in shown


@pytest.mark.parametrize("method", ["get", "post"])
def test_the_page_is_for_superusers(editor_client: Client, told: Receiver, method: str) -> None:
    assert getattr(editor_client, method)("/notifications/").status_code == 403
    assert told.requests == []


def test_a_form_of_another_site_sends_nothing(sign_in: Callable[..., Client], told: Receiver) -> None:
    client = sign_in(is_superuser=True)
    client.handler.enforce_csrf_checks = True

    assert client.post("/notifications/").status_code == 403
    assert told.requests == []


def test_the_command_says_what_they_answered(told: Receiver, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("send_test_notification")

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("✓ json at 127.0.0.1: ")
    assert lines[1] == "✓ http at 127.0.0.1: 200 OK"


def test_the_command_fails_when_one_refuses(told: Receiver, capsys: pytest.CaptureFixture[str]) -> None:
    told.status = 500

    with pytest.raises(CommandError, match=r"Failed: json at 127\.0\.0\.1, http at 127\.0\.0\.1\."):
        call_command("send_test_notification")


def test_the_command_says_when_nobody_is_told(settings: Any) -> None:
    settings.NOTIFY_URLS, settings.HEARTBEAT_URL = [], ""

    with pytest.raises(
        CommandError, match="No notification targets configured: NOTIFY_URLS and HEARTBEAT_URL are not set"
    ):
        call_command("send_test_notification")
