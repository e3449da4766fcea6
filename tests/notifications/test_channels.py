"""Sending, against a real server."""

import json

import pytest

from ops.notifications import channels
from ops.notifications.channels import Message, ping_heartbeat, redact_url, safe_label, send, send_to_all
from tests.notifications.conftest import Receiver

MESSAGE = Message(title="The backup failed.", text="The disk is full.")


def test_a_webhook_gets_the_message(receiver: Receiver) -> None:
    answer = send(f"json://someone:geheim77@{receiver.host}/hooks/tok3n-5678", MESSAGE)

    assert answer.accepted
    assert answer.target == "json at 127.0.0.1"
    ((method, path, body),) = receiver.requests
    assert (method, path) == ("POST", "/hooks/tok3n-5678")
    assert json.loads(body)["title"] == "The backup failed."
    assert json.loads(body)["message"] == "The disk is full."
    assert json.loads(body)["type"] == "failure"


def test_ntfy_gets_the_message(receiver: Receiver) -> None:
    answer = send(f"ntfy://{receiver.host}/my-lab", MESSAGE)

    assert answer.accepted
    ((_, _, body),) = receiver.requests
    assert json.loads(body)["topic"] == "my-lab"
    assert json.loads(body)["message"] == "The disk is full."


def test_a_refusal_is_told_with_what_the_other_side_said(receiver: Receiver) -> None:
    receiver.status, receiver.answer = 500, b"the token tok3n-5678 has expired"

    answer = send(f"json://someone:geheim77@{receiver.host}/hooks/tok3n-5678", MESSAGE)

    assert not answer.accepted
    assert "error=500" in answer.said
    assert "has expired" in answer.said
    assert "tok3n-5678" not in answer.said
    assert "geheim77" not in answer.said


def test_nobody_there_is_told_without_the_secret() -> None:
    answer = send("json://someone:geheim77@127.0.0.1:1/tok3n-5678", MESSAGE)

    assert not answer.accepted
    assert "refused" in answer.said
    assert "geheim77" not in answer.said
    assert "tok3n-5678" not in answer.said


def test_an_address_that_is_none_is_told() -> None:
    answer = send("carrier-pigeon://roof", MESSAGE)

    assert not answer.accepted
    assert answer.said.startswith("Not an address that apprise understands.")


def test_silence_ends_after_the_agreed_time(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "SEND_TIMEOUT", 0.3)
    receiver.seconds = 20

    (answer,) = send_to_all([f"json://{receiver.host}"], MESSAGE)

    assert not answer.accepted
    assert answer.said.startswith("no answer for 0.")


def test_one_that_is_gone_does_not_keep_the_others_from_being_told(receiver: Receiver) -> None:
    gone, there = send_to_all(["json://127.0.0.1:1", f"json://{receiver.host}"], MESSAGE)

    assert (gone.accepted, there.accepted) == (False, True)


def test_the_heart_beats_on_success(receiver: Receiver) -> None:
    answer = ping_heartbeat(f"http://{receiver.host}/ping/5b1f-uuid?rid=1", success=True)

    assert answer.accepted
    assert answer.said == "200 OK"
    assert receiver.requests == [("GET", "/ping/5b1f-uuid?rid=1", "")]


def test_the_heart_tells_of_a_failure(receiver: Receiver) -> None:
    ping_heartbeat(f"http://{receiver.host}/ping/5b1f-uuid?rid=1", success=False)

    assert receiver.paths == ["/ping/5b1f-uuid/fail?rid=1"]


def test_a_check_that_is_not_known_is_told(receiver: Receiver) -> None:
    receiver.status = 404

    answer = ping_heartbeat(f"http://{receiver.host}/ping/5b1f-uuid", success=True)

    assert not answer.accepted
    assert answer.said == "404 Not Found"


def test_a_heartbeat_into_the_void_is_told() -> None:
    answer = ping_heartbeat("http://127.0.0.1:1/5b1f-uuid", success=True)

    assert not answer.accepted
    assert "refused" in answer.said
    assert "5b1f-uuid" not in answer.said


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("mailto://me:secret@mail.example.org?to=you", "mailto at mail.example.org"),
        ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", "discord"),
        ("tgram://123456789:abcdefg_hijklmnop/12315544/", "tgram"),
        ("ntfy://topic-nobody-should-know", "ntfy"),
    ],
)
def test_an_address_is_named_without_its_secrets(url: str, name: str) -> None:
    assert safe_label(url) == name


def test_secrets_are_blotted_out_in_every_spelling() -> None:
    url = "mailto://me:p%40ssw%2Frd@mail.example.org/deep-path?to=you"

    told = redact_url("Can not sign in to mail.example.org with p@ssw/rd (p%40ssw%2Frd) at deep-path", url)

    assert told == "Can not sign in to mail.example.org with … (…) at …"
