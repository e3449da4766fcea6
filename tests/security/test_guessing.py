"""Passwords can not be guessed at length, and nobody else is locked out by it."""

import datetime as dt

import pytest
from axes.models import AccessAttempt
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.utils import timezone

from homerack.accounts.guessing import client_address
from homerack.accounts.models import User

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough passphrase"
HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture(autouse=True)
def ada() -> User:
    return User.objects.create_superuser("ada@example.com", PASSWORD)


def sign_in(password: str, *, name: str = "ada@example.com", sender: str = HERE) -> HttpResponse:
    response: HttpResponse = Client(REMOTE_ADDR=sender).post(
        "/admin/login/?next=/admin/", {"username": name, "password": password}
    )
    return response


def fail(times: int, **who: str) -> HttpResponse:
    for _ in range(times):
        response = sign_in("wrong", **who)
    return response


def test_after_five_failures_the_right_password_has_to_wait_as_well() -> None:
    assert fail(4).status_code == 200
    assert fail(1).status_code == 429
    page = sign_in(PASSWORD)
    assert (page.status_code, page["Retry-After"]) == (429, "900")
    assert "Wait 15 minutes, then try again." in page.content.decode()


def test_another_spelling_is_no_other_person() -> None:
    for name in ("ada@example.com", "ADA@example.com", " Ada@Example.com", "ａda@example.com", "aDa@example.com"):
        fail(1, name=name)
    assert sign_in(PASSWORD).status_code == 429


def test_neither_other_people_nor_other_places_have_to_wait() -> None:
    User.objects.create_superuser("bob@example.com", PASSWORD)
    fail(6)
    assert sign_in(PASSWORD, name="bob@example.com").status_code == 302
    assert sign_in(PASSWORD, sender=ELSEWHERE).status_code == 302


def test_the_wait_ends_and_the_failures_are_forgotten() -> None:
    fail(6)
    AccessAttempt.objects.update(attempt_time=timezone.now() - dt.timedelta(minutes=15, seconds=1))
    assert sign_in(PASSWORD).status_code == 302
    assert not AccessAttempt.objects.exists()


def test_trying_during_the_wait_makes_it_no_longer() -> None:
    fail(5)
    before = AccessAttempt.objects.get().attempt_time
    fail(2)
    assert AccessAttempt.objects.get().attempt_time == before


def test_success_starts_the_count_anew() -> None:
    fail(4)
    sign_in(PASSWORD)
    assert fail(4).status_code == 200


def test_no_password_is_kept() -> None:
    sign_in("hunter2-is-secret")
    assert not any("hunter2" in str(value) for value in AccessAttempt.objects.values().get().values())


def test_an_administrator_ends_the_wait(admin_client: Client) -> None:
    fail(5)
    attempt = AccessAttempt.objects.get()
    path = f"/admin/axes/accessattempt/{attempt.pk}/"
    assert b"ada@example.com" in admin_client.get("/admin/axes/accessattempt/?q=ada").content
    assert admin_client.get(f"{path}change/").status_code == 200
    assert admin_client.post(f"{path}delete/", {"post": "yes"}).status_code == 302
    assert sign_in(PASSWORD).status_code == 302


def test_those_without_the_right_see_no_attempts(editor_client: Client) -> None:
    assert editor_client.get("/admin/axes/accessattempt/").status_code == 403


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("10.0.0.1, 203.0.113.7", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("nonsense", None),
    ],
)
def test_behind_a_proxy_only_what_it_wrote_counts(settings, forwarded: str, address: str | None) -> None:
    request = RequestFactory().get("/", REMOTE_ADDR=HERE, HTTP_X_FORWARDED_FOR=forwarded)
    assert client_address(request) == HERE
    settings.BEHIND_PROXY = True
    assert client_address(request) == address


def test_a_proxy_that_says_nothing_is_the_sender_itself(settings) -> None:
    settings.BEHIND_PROXY = True
    assert client_address(RequestFactory().get("/", REMOTE_ADDR=HERE)) == HERE
    assert client_address(RequestFactory().get("/", REMOTE_ADDR="")) is None
