"""Deliveries to a real HTTP server."""

import json
import socket
import threading
from typing import Any

import pytest

from ops.notifications import channels
from ops.notifications.channels import Message, ping_heartbeat, redact_url, safe_label, send, send_to_all
from ops.utils.redaction import redact
from tests.notifications.conftest import Receiver

MESSAGE = Message(title="The backup failed.", text="The disk is full.")


def test_webhook_receives_title_text_and_type(receiver: Receiver) -> None:
    delivery = send(f"json://someone:geheim77@{receiver.host}/hooks/tok3n-5678", MESSAGE)

    assert delivery.accepted
    assert delivery.target == "json at 127.0.0.1"
    ((method, path, body),) = receiver.requests
    assert (method, path) == ("POST", "/hooks/tok3n-5678")
    assert json.loads(body)["title"] == "The backup failed."
    assert json.loads(body)["message"] == "The disk is full."
    assert json.loads(body)["type"] == "failure"


def test_ntfy_receives_topic_and_text(receiver: Receiver) -> None:
    delivery = send(f"ntfy://{receiver.host}/my-lab", MESSAGE)

    assert delivery.accepted
    ((_, _, body),) = receiver.requests
    assert json.loads(body)["topic"] == "my-lab"
    assert json.loads(body)["message"] == "The disk is full."


def test_rejected_message_returns_the_response_without_secrets(receiver: Receiver) -> None:
    receiver.status, receiver.answer = 500, b"the token tok3n-5678 has expired"

    delivery = send(f"json://someone:geheim77@{receiver.host}/hooks/tok3n-5678", MESSAGE)

    assert not delivery.accepted
    assert "error=500" in delivery.response
    assert "has expired" in delivery.response
    assert "tok3n-5678" not in delivery.response
    assert "geheim77" not in delivery.response


def test_refused_connection_returns_the_error_without_secrets() -> None:
    delivery = send("json://someone:geheim77@127.0.0.1:1/tok3n-5678", MESSAGE)

    assert not delivery.accepted
    sentence = "127.0.0.1:1 refused the connection. Check the address and that the service runs. "
    assert delivery.response.startswith(sentence)
    assert "NewConnectionError" in delivery.response
    assert "geheim77" not in delivery.response
    assert "tok3n-5678" not in delivery.response


def test_unsupported_url_is_not_accepted() -> None:
    delivery = send("carrier-pigeon://roof", MESSAGE)

    assert not delivery.accepted
    assert delivery.response.startswith("Not a URL that apprise supports.")


def test_target_that_does_not_answer_times_out(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "SEND_TIMEOUT", 0.3)
    receiver.seconds = 20

    (delivery,) = send_to_all([f"json://{receiver.host}"], MESSAGE)

    assert not delivery.accepted
    assert delivery.response.startswith("no answer for 0.")


def test_unreachable_target_does_not_prevent_the_other_deliveries(receiver: Receiver) -> None:
    unreachable, reachable = send_to_all(["json://127.0.0.1:1", f"json://{receiver.host}"], MESSAGE)

    assert (unreachable.accepted, reachable.accepted) == (False, True)


def test_heartbeat_after_a_success_requests_the_url(receiver: Receiver) -> None:
    delivery = ping_heartbeat(f"http://{receiver.host}/ping/5b1f-uuid?rid=1", success=True)

    assert delivery.accepted
    assert delivery.response == "200 OK"
    assert receiver.requests == [("GET", "/ping/5b1f-uuid?rid=1", "")]


def test_heartbeat_after_a_failure_appends_fail(receiver: Receiver) -> None:
    ping_heartbeat(f"http://{receiver.host}/ping/5b1f-uuid?rid=1", success=False)

    assert receiver.paths == ["/ping/5b1f-uuid/fail?rid=1"]


def test_heartbeat_with_unknown_url_is_not_accepted(receiver: Receiver) -> None:
    receiver.status = 404

    delivery = ping_heartbeat(f"http://{receiver.host}/ping/5b1f-uuid", success=True)

    assert not delivery.accepted
    assert delivery.response.startswith(f"{receiver.host} does not know this address. Check its path")
    assert delivery.response.endswith("404 Not Found")


def test_heartbeat_with_refused_connection_is_not_accepted() -> None:
    delivery = ping_heartbeat("http://127.0.0.1:1/5b1f-uuid", success=True)

    assert not delivery.accepted
    assert delivery.response.startswith("127.0.0.1:1 refused the connection. ")
    assert "5b1f-uuid" not in delivery.response


@pytest.mark.parametrize("success", [True, False])
def test_heartbeat_with_unreadable_url_is_not_accepted(*, success: bool) -> None:
    delivery = ping_heartbeat("https://[5b1f-uuid", success=success)

    assert (delivery.accepted, delivery.target) == (False, "https")
    assert "5b1f-uuid" not in delivery.response


def test_heartbeat_of_a_server_without_http_is_not_accepted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = threading.Thread(target=greet, args=(server,))
        answering.start()
        delivery = ping_heartbeat(f"http://127.0.0.1:{server.getsockname()[1]}/5b1f-uuid", success=True)
        answering.join()

    assert not delivery.accepted
    assert "BadStatusLine" in delivery.response


def greet(server: socket.socket) -> None:
    """Answer one request as a server of SSH does."""
    connection, _ = server.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("mailto://me:secret@mail.example.org?to=you", "mailto at mail.example.org"),
        ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", "discord"),
        ("tgram://123456789:abcdefg_hijklmnop/12315544/", "tgram"),
        ("ntfy://secret-topic", "ntfy"),
        ("pbul://o.gn5kj6nfhv736I7jC3cj3QLRiyhgl98b", "pbul"),
        ("json://eyJhbGciOi.eyJzdWIiOi.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJVadQssw", "json"),
        ("json://me:pa[ss@lab.example.org/x", "json at lab.example.org"),
        ("https://[secret", "https"),
        ("secret", "a URL without a service"),
    ],
)
def test_safe_label_has_no_secrets(url: str, name: str) -> None:
    assert safe_label(url) == name


def test_redact_removes_the_keys_of_backups(settings: Any) -> None:
    settings.BACKUP_SIGNING_KEY, settings.BACKUP_AGE_IDENTITY = (
        "signs-backups",
        ["AGE-SECRET-KEY-1A", "AGE-SECRET-KEY-1B"],
    )
    assert redact("signs-backups, AGE-SECRET-KEY-1A AGE-SECRET-KEY-1B.") == "…, … …."


def test_redact_url_removes_secrets_encoded_and_decoded() -> None:
    url = "mailto://me:p%40ssw%2Frd@mail.example.org/deep-path?to=you"

    redacted = redact_url("Cannot sign in to mail.example.org with p@ssw/rd (p%40ssw%2Frd) at deep-path", url)

    assert redacted == "Cannot sign in to mail.example.org with … (…) at …"
