"""Passwords cannot be guessed at length, and nobody else is locked out by it."""

import datetime as dt
import ipaddress
import logging
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import time_machine
from axes.models import AccessAttempt
from django.conf import settings as django_settings
from django.db.models import F, Sum
from django.http import HttpResponse
from django.template.response import SimpleTemplateResponse
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from homerack.accounts import login_protection, reporting
from homerack.accounts.login_protection import NO_ADDRESS, client_ip, username_from
from homerack.accounts.models import User
from tests.admin.support import add_backup

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough passphrase"
HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture(autouse=True)
def ada() -> User:
    return User.objects.create_superuser("ada@example.com", PASSWORD)


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    """Stands still, so that delays do not depend on how fast the machine is."""
    with time_machine.travel(timezone.now(), tick=False):
        yield


@pytest.fixture(autouse=True)
def another_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway of the machine that runs the tests may have any address, those of the tests among them."""
    monkeypatch.setattr(login_protection, "gateway", lambda: "203.0.113.254")


def sign_in(password: str, *, name: str = "ada@example.com", sender: str = HERE) -> HttpResponse:
    return send_form(Client(REMOTE_ADDR=sender), name, password)


def send_form(client: Client, name: str, password: str) -> HttpResponse:
    """The answer, in which the form is not drawn again: that would take longer than all the rest."""
    with mock.patch.object(SimpleTemplateResponse, "rendered_content", ""):
        response: HttpResponse = client.post("/admin/login/?next=/admin/", {"username": name, "password": password})
    return response


def fail(times: int, **who: str) -> HttpResponse:
    for _ in range(times):
        response = sign_in("wrong", **who)
    return response


def pass_time(**duration: int) -> None:
    """As far as the failures are concerned: the clock stands still."""
    AccessAttempt.objects.update(attempt_time=F("attempt_time") - dt.timedelta(**duration))


def addresses(number: int) -> list[str]:
    return [str(ipaddress.ip_address("198.18.0.1") + step) for step in range(number)]


def others_failed(number: int) -> None:
    """So many failures at `HERE`, each with another name."""
    names = [f"name:user{one}@example.com" for one in range(number)]
    now = timezone.now()
    rows = [
        AccessAttempt(username=name, ip_address=HERE, failures_since_start=1, attempt_time=now, user_agent="browser")
        for name in names
    ]
    AccessAttempt.objects.bulk_create(rows)


def attack(failures: int, *, name: str = "ada@example.com") -> None:
    """So many failures at one account, at most three from each address. After ten, every attempt is delayed."""
    account = username_from(RequestFactory().post("/"), {"username": name})
    counts = [min(3, failures - first) for first in range(0, failures, 3)]
    now = timezone.now()
    rows = [
        AccessAttempt(username=account, ip_address=address, failures_since_start=count, attempt_time=now)
        for address, count in zip(addresses(len(counts)), counts, strict=True)
    ]
    AccessAttempt.objects.bulk_create(rows)


def test_right_password_after_five_failures_is_locked_out() -> None:
    assert fail(4).status_code == 200
    assert fail(1).status_code == 429
    page = sign_in(PASSWORD)
    assert (page.status_code, page["Retry-After"]) == (429, "900")
    assert "Wait 15 minutes, then try again." in page.content.decode()


def test_lockout_affects_neither_other_users_nor_other_addresses() -> None:
    User.objects.create_superuser("bob@example.com", PASSWORD)
    fail(6)
    assert sign_in(PASSWORD, name="bob@example.com").status_code == 302
    assert sign_in(PASSWORD, sender=ELSEWHERE).status_code == 302


def test_lockout_ends_and_resets_the_failures() -> None:
    fail(6)
    pass_time(minutes=14, seconds=58)
    page = sign_in(PASSWORD)
    assert (page.status_code, page["Retry-After"]) == (429, "2")
    assert "Wait 2 seconds, then try again." in page.content.decode()
    pass_time(seconds=2)
    assert sign_in(PASSWORD).status_code == 302
    assert not AccessAttempt.objects.exists()


def test_attempt_during_lockout_does_not_extend_it() -> None:
    fail(5)
    before = AccessAttempt.objects.get().attempt_time
    fail(2)
    assert AccessAttempt.objects.get().attempt_time == before


def test_success_resets_the_failures() -> None:
    fail(4)
    sign_in(PASSWORD)
    assert fail(4).status_code == 200


def test_administrator_can_end_a_lockout(admin_client: Client) -> None:
    fail(5)
    attempt = AccessAttempt.objects.get()
    path = f"/admin/axes/accessattempt/{attempt.pk}/"
    page = admin_client.get("/admin/axes/accessattempt/?q=ada").content.decode()
    assert "ada@example.com" in page
    assert "account:" not in page
    assert admin_client.get(f"{path}change/").status_code == 200
    assert admin_client.post(f"{path}delete/", {"post": "yes"}).status_code == 302
    assert sign_in(PASSWORD).status_code == 302


def test_attempts_without_permission_are_forbidden(editor_client: Client) -> None:
    assert editor_client.get("/admin/axes/accessattempt/").status_code == 403


class TestAccount:
    """Failures belong to the account, with any capitals in its name."""

    SPELLINGS = (
        "ada.i@example.com",
        "ADA.I@EXAMPLE.COM",
        " Ada.I@Example.com ",
        "ａda.i@example.com",  # full width
        "ada．i@example.com",
        "ada.ⅰ@example.com",  # a Roman one
        "ada.ı@example.com",  # dotless
        "ada.İ@example.com",  # dotted
        "ada.i\N{COMBINING DOT ABOVE}@example.com",
        "zoë@example.com",
        "zoe\N{COMBINING DIAERESIS}@example.com",
        "ZOË@example.com",
        "maß@example.com",
        "MASS@example.com",
        "ﬁn@example.com",
        "FIN@example.com",
        "ada.i@example.com\N{NO-BREAK SPACE}",
        "ada.\N{CYRILLIC SMALL LETTER BYELORUSSIAN-UKRAINIAN I}@example.com",
    )
    EMAILS = ("ada.i@example.com", "zoë@example.com", "maß@example.com")

    def test_all_names_of_an_account_are_locked_together(self) -> None:
        for email in self.EMAILS:
            User.objects.create_superuser(email, PASSWORD)
        works = {name for name in self.SPELLINGS if sign_in(PASSWORD, name=name).status_code == 302}
        assert works >= set(self.EMAILS)
        for email in self.EMAILS:
            fail(5, name=email)
        answers = {name: sign_in(PASSWORD, name=name).status_code for name in self.SPELLINGS}
        assert {name for name, status in answers.items() if status == 429} >= works
        assert 302 not in answers.values()

    def test_failures_with_different_case_count_together(self) -> None:
        for name in ("ada@example.com", "ADA@example.com", " Ada@Example.com", "ａda@example.com", "aDa@example.com"):
            fail(1, name=name)
        assert sign_in(PASSWORD).status_code == 429

    def test_accounts_that_differ_in_case_both_sign_in(self) -> None:
        for email in ("ada.i@example.com", "ada.ı@example.com"):
            User.objects.create_superuser(email, PASSWORD)
        for email in ("ada.i@example.com", "ada.ı@example.com"):
            assert sign_in(PASSWORD, name=email).status_code == 302

    def test_account_stays_locked_after_its_email_changes(self) -> None:
        fail(5)
        User.objects.update(email="countess@example.com")
        assert sign_in(PASSWORD, name="countess@example.com").status_code == 429

    def test_unknown_name_is_locked_like_an_account(self) -> None:
        assert [fail(1, name="Nobody@example.com").status_code for _ in range(6)] == [200] * 4 + [429] * 2
        assert fail(1, name="nobody@EXAMPLE.com").status_code == 429

    @pytest.mark.parametrize("name", ["account:1", "x" * 255, "ﷺ" * 255, "\N{COMBINING DIAERESIS}"])
    def test_name_like_an_account_key_does_not_lock_the_account(self, name: str, ada: User) -> None:
        assert fail(6, name=name.replace("1", str(ada.pk))).status_code == 429 or len(name) > 255
        assert sign_in(PASSWORD).status_code == 302

    def test_keys_of_names_and_accounts_differ(self, ada: User) -> None:
        request = RequestFactory().post("/")
        assert username_from(request, {"username": "ADA@example.com"}) == f"account:{ada.pk}"
        assert username_from(request, {"username": f"account:{ada.pk}"}) == f"name:account:{ada.pk}"


class TestAddress:
    """Whose failures count together: an IPv4 address, or the /64 of an IPv6 address."""

    @pytest.mark.parametrize(
        ("failed", "tried", "is_locked"),
        [
            ("192.0.2.1", "192.0.2.1", True),
            ("192.0.2.1", "192.0.2.2", False),
            ("2001:db8:1:2::1", "2001:db8:1:2::1", True),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
            ("::ffff:192.0.2.1", "192.0.2.1", True),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
            ("fe80::1%eth0", "fe80::2", True),
        ],
    )
    def test_pair_of_account_and_address_is_locked(
        self, settings: Any, failed: str, tried: str, is_locked: bool
    ) -> None:
        settings.BEHIND_PROXY = ":" in failed
        for number in range(5):
            self.sign_in("wrong", failed if "%" in failed or "." in failed else self.neighbour(failed, number))
        assert self.sign_in(PASSWORD, tried).status_code == (429 if is_locked else 302)

    def neighbour(self, address: str, number: int) -> str:
        """Each time another address of the same network."""
        return str(ipaddress.ip_address(address) + number)

    def sign_in(self, password: str, sender: str) -> HttpResponse:
        proxy = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": f"6.6.6.6, {sender}"}
        client = Client(**(proxy if django_settings.BEHIND_PROXY else {"REMOTE_ADDR": sender}))
        return send_form(client, "ada@example.com", password)

    def test_address_is_locked_after_fifty_failures(self) -> None:
        others_failed(45)
        for number in range(45, 50):
            assert fail(1, name=f"user{number}@example.com").status_code == (429 if number == 49 else 200)
        assert sign_in(PASSWORD).status_code == 429
        assert sign_in(PASSWORD, sender=ELSEWHERE).status_code == 302
        pass_time(minutes=15)
        assert sign_in(PASSWORD).status_code == 302

    def test_success_with_own_account_does_not_unlock_the_address(self) -> None:
        User.objects.create_superuser("eve@example.com", PASSWORD)
        others_failed(49)
        assert sign_in(PASSWORD, name="eve@example.com").status_code == 302
        assert fail(1, name="last@example.com").status_code == 429

    def test_shared_client_address_is_not_locked(self, settings: Any) -> None:
        settings.CLIENT_ADDRESSES_DIFFER = False
        others_failed(60)
        assert fail(10).status_code == 200
        answer = sign_in(PASSWORD)
        assert (answer.status_code, answer["Retry-After"]) == (429, "1")
        pass_time(seconds=1)
        assert sign_in(PASSWORD).status_code == 302

    def test_behind_proxy_clients_have_their_own_addresses(self, settings: Any) -> None:
        assert django_settings.CLIENT_ADDRESSES_DIFFER
        settings.CLIENT_ADDRESSES_DIFFER = False
        assert not login_protection.identifies_client(HERE)

    @pytest.mark.parametrize("behind_proxy", [True, False])
    def test_gateway_address_is_locked_only_without_a_proxy(
        self, settings: Any, monkeypatch: pytest.MonkeyPatch, behind_proxy: bool
    ) -> None:
        monkeypatch.setattr(login_protection, "gateway", lambda: HERE)
        settings.BEHIND_PROXY = behind_proxy
        assert fail(6).status_code == (200 if behind_proxy else 429)
        assert sign_in(PASSWORD).status_code == (302 if behind_proxy else 429)

    def test_the_gateway_is_that_of_the_default_route(self, monkeypatch: pytest.MonkeyPatch) -> None:
        lines = (
            "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT",
            "eth0 000011AC 00000000 0001 0 0 0 0000FFFF 0 0 0",
            "eth0 00000000 010011AC 0003 0 0 0 00000000 0 0 0",
        )
        monkeypatch.undo()
        monkeypatch.setattr(login_protection.Path, "read_text", lambda _path, **_options: "\n".join(lines))
        assert login_protection.gateway.__wrapped__() == "172.17.0.1"
        lines = lines[:2]
        assert login_protection.gateway.__wrapped__() == ""

    def test_missing_address_is_not_locked(self) -> None:
        assert fail(6, sender="").status_code == 200
        assert sign_in(PASSWORD, sender="").status_code == 302


class TestSlowed:
    """An account under attack from many addresses: every attempt is delayed, and its owner is never locked out."""

    def test_owner_under_attack_signs_in_after_a_short_delay(self) -> None:
        attack(10)
        answer = sign_in(PASSWORD)
        assert (answer.status_code, answer["Retry-After"]) == (429, "1")
        assert "Wait 1 second, then try again." in answer.content.decode()
        pass_time(seconds=1)
        assert sign_in(PASSWORD).status_code == 302

    def test_delay_grows_with_failures_up_to_a_minute(self) -> None:
        for number in range(10):
            assert sign_in("wrong", sender=addresses(10)[number // 3]).status_code == 200
        pauses = []
        for number in range(9):
            sender = f"198.19.0.{number}"
            pauses.append(int(sign_in("wrong", sender=sender)["Retry-After"]))
            pass_time(seconds=pauses[-1])
            assert sign_in("wrong", sender=sender).status_code == 200
        assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]

    def test_attempt_during_delay_is_refused_without_extending_it(self) -> None:
        attack(14)
        for _ in range(3):
            assert sign_in(PASSWORD).status_code == 429
        pass_time(seconds=10)
        assert sign_in(PASSWORD)["Retry-After"] == "6"
        pass_time(seconds=6)
        assert sign_in(PASSWORD).status_code == 302

    def test_failures_before_the_window_do_not_extend_the_delay(self) -> None:
        attack(10)
        assert sign_in(PASSWORD)["Retry-After"] == "1"
        old = AccessAttempt.objects.filter(ip_address=HERE)
        old.update(attempt_time=timezone.now() - dt.timedelta(hours=1))
        assert sign_in(PASSWORD)["Retry-After"] == "1"
        pass_time(seconds=1)
        assert sign_in(PASSWORD).status_code == 302

    def test_thousand_failures_from_other_addresses_lock_no_administrator_out(self, ada: User) -> None:
        """While the attack goes on: each of 200 addresses fails five times, and goes on trying."""
        now = timezone.now()
        rows = [
            AccessAttempt(username=f"account:{ada.pk}", ip_address=address, failures_since_start=5, attempt_time=now)
            for address in addresses(200)
        ]
        AccessAttempt.objects.bulk_create(rows)
        assert sign_in(PASSWORD)["Retry-After"] == "60"
        for sender in addresses(5):
            assert sign_in("wrong", sender=sender).status_code == 429
            assert sign_in("wrong", sender=f"2001:db8:{sender.rpartition('.')[2]}::1").status_code == 429
        pass_time(seconds=60)
        assert sign_in(PASSWORD).status_code == 302
        assert AccessAttempt.objects.aggregate(sum=Sum("failures_since_start"))["sum"] == 1000

    def test_unknown_names_are_delayed_like_accounts(self) -> None:
        attack(10, name="nobody@example.com")
        assert sign_in("wrong", name="nobody@example.com")["Retry-After"] == "1"

    def test_other_accounts_are_not_delayed(self) -> None:
        User.objects.create_superuser("bob@example.com", PASSWORD)
        attack(12)
        assert sign_in(PASSWORD, name="bob@example.com").status_code == 302


class TestReport:
    def test_log_names_the_attacked_account(self, caplog: pytest.LogCaptureFixture) -> None:
        attack(8)
        sign_in("wrong", sender=addresses(3)[2])
        assert not self.warnings(caplog)
        sign_in("wrong", sender=ELSEWHERE)
        (line,) = self.warnings(caplog)
        pass_time(seconds=1)
        sign_in("wrong", sender=ELSEWHERE)
        assert "11 sign-ins failed" in self.warnings(caplog)[1]
        assert line == (
            "Possible password guessing for ada@example.com: 10 sign-ins failed within 15 minutes, from 4 addresses."
            " Sign-ins are delayed."
        )

    def warnings(self, caplog: pytest.LogCaptureFixture) -> list[str]:
        return [
            record.getMessage()
            for record in caplog.records
            if (record.name, record.levelno) == ("homerack.accounts.reporting", logging.WARNING)
        ]

    def test_unknown_names_are_not_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        attack(9, name="nobody@example.com")
        assert sign_in("wrong", name="nobody@example.com").status_code == 200
        assert not self.warnings(caplog)
        assert reporting.password_guessing_alerts("default") == {}

    def test_attack_is_an_alert_until_it_ends(self, ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("socket.gethostname", lambda: "attic")
        attack(9)
        assert reporting.password_guessing_alerts("default") == {}
        sign_in("wrong", sender=ELSEWHERE)
        ((key, trouble),) = reporting.password_guessing_alerts("default").items()
        assert key == f"account:{ada.pk}"
        assert trouble.title == "Possible password guessing for ada@example.com on attic."
        assert trouble.text.startswith("10 sign-ins failed within 15 minutes, from 4 addresses.")
        pass_time(minutes=15)
        assert reporting.password_guessing_alerts("default") == {}

    def test_dashboard_shows_the_attack_to_administrators(self, admin_client: Client, viewer_client: Client) -> None:
        attack(10)
        alert = "<b>ada@example.com</b>: 10 sign-ins failed within 15 minutes, from 4 addresses."
        assert alert in admin_client.get("/admin/").content.decode()
        assert alert not in viewer_client.get("/admin/").content.decode()
        pass_time(minutes=15)
        assert "Possible password guessing" not in admin_client.get("/admin/").content.decode()


@pytest.mark.usefixtures("uncollected_static_files")
class TestEveryPage:
    """Every page that asks for a password counts wrong ones, with the sign-ins."""

    PAGES = ("sign-in", "restore", "password change")

    @pytest.fixture(autouse=True)
    def storage(self, settings: Any, tmp_path: Any) -> None:
        settings.BACKUP_DIR = tmp_path / "b"

    @pytest.fixture
    def browser(self, ada: User) -> Client:
        client = Client(REMOTE_ADDR=HERE)
        client.force_login(ada)
        return client

    def type_in(self, browser: Client, page: str, password: str) -> HttpResponse:
        if page == "sign-in":
            return sign_in(password)
        new = {"new_password1": f"{PASSWORD} and new", "new_password2": f"{PASSWORD} and new"}
        path, form = {
            "restore": (reverse("admin:ops_backup_restore", args=[add_backup().pk]), {"password": password}),
            "password change": ("/admin/password_change/", {"old_password": password, **new}),
        }[page]
        response: HttpResponse = browser.post(path, {"database": "homerack", **form})
        return response

    @pytest.mark.parametrize("page", PAGES)
    def test_five_wrong_current_passwords_lock_all_forms(self, browser: Client, page: str) -> None:
        codes = [self.type_in(browser, page, "wrong").status_code for _ in range(5)]
        assert codes == [200] * 4 + [429]
        for other in self.PAGES:
            answer = self.type_in(browser, other, PASSWORD)
            assert answer.status_code == 429, other
            assert "Wait 15 minutes, then try again." in answer.content.decode(), other
        assert User.objects.get(email="ada@example.com").check_password(PASSWORD)

    @pytest.mark.parametrize("page", ["restore", "password change"])
    def test_wrong_current_passwords_after_the_fifth_are_not_checked(self, browser: Client, page: str) -> None:
        for _ in range(9):
            self.type_in(browser, page, "wrong")
        assert AccessAttempt.objects.aggregate(sum=Sum("failures_since_start"))["sum"] == 5

    @pytest.mark.parametrize("page", PAGES)
    def test_right_current_password_resets_the_failures(self, browser: Client, page: str) -> None:
        fail(4)
        self.type_in(browser, page, PASSWORD)
        assert not AccessAttempt.objects.exists()

    @pytest.mark.parametrize("page", PAGES)
    def test_typed_passwords_are_not_stored(self, browser: Client, page: str) -> None:
        for _ in range(2):
            self.type_in(browser, page, "hunter2-is-secret")
        kept = str(AccessAttempt.objects.values().get())
        assert "hunter2" not in kept
        assert PASSWORD not in kept

    def test_password_of_another_user_is_refused(self, browser: Client) -> None:
        User.objects.create_superuser("eve@example.com", "eve's long passphrase")
        answer = self.type_in(browser, "password change", "eve's long passphrase")
        assert answer.status_code == 200
        assert AccessAttempt.objects.get().failures_since_start == 1

    def test_own_password_form_of_administrators_requires_the_current_password(
        self, browser: Client, ada: User
    ) -> None:
        new = {"password1": "a new long passphrase", "password2": "a new long passphrase"}
        for key in (str(ada.pk), f"%20{ada.pk}", f"0{ada.pk}"):
            answer = browser.post(f"/admin/accounts/user/{key}/password/", new)
            assert (answer.status_code, answer["Location"]) == (302, "/admin/password_change/")
        ada.refresh_from_db()
        assert ada.check_password(PASSWORD)


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("10.0.0.1, 203.0.113.7", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::"),
        ("nonsense", NO_ADDRESS),
    ],
)
def test_forwarded_header_uses_only_the_entry_of_the_proxy(settings: Any, forwarded: str, address: str) -> None:
    request = RequestFactory().get("/", REMOTE_ADDR=HERE, HTTP_X_FORWARDED_FOR=forwarded)
    assert client_ip(request) == HERE
    settings.BEHIND_PROXY = True
    assert client_ip(request) == address


def test_missing_forwarded_header_uses_the_sender_address(settings: Any) -> None:
    settings.BEHIND_PROXY = True
    assert client_ip(RequestFactory().get("/", REMOTE_ADDR=HERE)) == HERE
    assert client_ip(RequestFactory().get("/", REMOTE_ADDR="")) == NO_ADDRESS
