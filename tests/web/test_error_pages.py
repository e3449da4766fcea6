"""The pages of refused and failed requests."""

import itertools
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.core.exceptions import BadRequest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, InterfaceError, OperationalError
from django.db.transaction import TransactionManagementError
from django.http import Http404, HttpResponse
from django.test import Client
from django.urls import clear_url_caches, path, reverse

from homerack import urls
from homerack.accounts.models import User
from homerack.postgresql.base import CommitUnknown
from homerack.web import error_texts, outages
from ops import maintenance
from ops.maintenance import MaintenanceMode, maintenance_mode
from ops.models import Backup, Run
from tests.support.postgres import free_port
from tests.support.web import Browser, WebServer, send_request

pytestmark = pytest.mark.django_db

DASHBOARD = '<a class="button" href="/admin/">Dashboard</a>'


def fail(_request: Any, name: str) -> HttpResponse:
    raise {
        "bad": BadRequest,
        "missing": Http404,
        "sentence": Http404("This link is no longer valid."),
        "hostile": Http404("<script>alert(1)</script>"),
        "error": ZeroDivisionError,
        "row": IntegrityError("UNIQUE constraint failed"),
        "database": OperationalError("could not connect to lab.example: password 'hunter2'"),
    }[name]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The site with addresses that fail."""
    monkeypatch.setattr(urls, "urlpatterns", [path("fail/<str:name>/", fail), *urls.urlpatterns])
    clear_url_caches()
    yield
    clear_url_caches()


@pytest.fixture
def visitor() -> Client:
    return Client(raise_request_exception=False, enforce_csrf_checks=True)


@pytest.fixture
def staff(visitor: Client) -> Client:
    """A visitor who is signed in and may do nothing."""
    visitor.force_login(User.objects.create_user("sam@example.com", "x", is_staff=True))
    return visitor


@pytest.fixture
def trusted(staff: Client) -> Client:
    """The same, whose forms have valid tokens."""
    staff.handler.enforce_csrf_checks = False
    return staff


def shown(response: HttpResponse, status: int) -> str:
    """The text of an error page; it must be one, and complete in itself."""
    text = response.content.decode()
    assert response.status_code == status
    assert response["Content-Type"] == "text/html; charset=utf-8"
    assert '<html lang="en">' in text
    assert len(re.findall(r"<h1>.+</h1>", text)) == len(re.findall(r"<title>.+ \| HomeRack</title>", text)) == 1
    assert not re.search(r'<link(?! rel="icon" href="data:,">)|<script|src=|/static/', text)
    return text


class TestNotFound:
    def test_stranger_is_not_shown_the_path_of_the_admin(self, visitor: Client) -> None:
        text = shown(visitor.get("/nowhere/"), 404)
        assert "There is no page at this address." in text
        assert "Nothing was changed." in text
        assert "admin" not in text

    def test_staff_are_led_to_the_dashboard(self, staff: Client) -> None:
        assert DASHBOARD in shown(staff.get("/nowhere/"), 404)

    @pytest.mark.usefixtures("failing")
    def test_sentence_of_the_exception_is_shown_as_text(self, visitor: Client) -> None:
        assert "This link is no longer valid." in shown(visitor.get("/fail/sentence/"), 404)
        assert "&lt;script&gt;alert(1)" in shown(visitor.get("/fail/hostile/"), 404)
        assert "There is no page at this address." in shown(visitor.get("/fail/missing/"), 404)

    def test_expired_link_to_a_run_says_so(self, visitor: Client) -> None:
        assert "This link is no longer valid. Sign in to see the run." in shown(visitor.get("/runs/forged/"), 404)

    def test_broken_session_store_does_not_break_the_page(self, staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            "django.contrib.sessions.backends.db.SessionStore.load",
            lambda _self: (_ for _ in ()).throw(OperationalError),
        )
        assert "admin" not in shown(staff.get("/nowhere/"), 404)


class TestForbidden:
    def test_staff_may_sign_in_as_another_user_and_return(self, staff: Client) -> None:
        text = shown(staff.get("/admin/accounts/user/?q=ada"), 403)
        assert "Your account has no permission for this page or action." in text
        assert "Nothing was changed." in text
        assert DASHBOARD in text
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', text)
        assert token
        assert '<input type="hidden" name="next" value="/admin/accounts/user/?q=ada">' in text
        answer = staff.post("/admin/logout/", {"csrfmiddlewaretoken": token[1], "next": "/admin/accounts/user/?q=ada"})
        assert answer["Location"] == "/admin/accounts/user/?q=ada"
        assert staff.get(answer["Location"]).status_code == 302

    def test_refused_form_leads_back_to_the_dashboard(self, trusted: Client) -> None:
        text = shown(trusted.post("/admin/ops/backup/make/"), 403)
        assert '<input type="hidden" name="next" value="/admin/">' in text


class TestCsrf:
    def test_form_without_a_token_is_explained(self, staff: Client) -> None:
        text = shown(
            staff.post("/admin/password_change/", headers={"referer": "http://testserver/admin/password_change/"}), 403
        )
        assert "<h1>The form has expired</h1>" in text
        assert "The form was not saved." in text
        assert "A restore ended all sessions" in text
        assert 'href="http://testserver/admin/password_change/">Open the page of the form again</a>' in text
        assert DASHBOARD in text

    def test_stranger_at_another_path_is_not_shown_the_admin(self, visitor: Client) -> None:
        text = shown(visitor.post("/runs/x/", headers={"referer": "http://testserver/runs/x/"}), 403)
        assert "admin/" not in text

    def test_referrer_of_another_site_is_no_link(self, visitor: Client) -> None:
        text = shown(visitor.post("/admin/login/", headers={"referer": "http://evil.example/"}), 403)
        assert "evil.example" not in text

    def test_unknown_origin_names_the_setting(self, visitor: Client) -> None:
        text = shown(visitor.post("/admin/login/", headers={"origin": "https://rack.example"}), 403)
        assert "CSRF_TRUSTED_ORIGINS" in text
        assert "not saved" in text


class TestRefused:
    def test_unknown_host_names_the_setting(self, visitor: Client) -> None:
        text = shown(visitor.get("/admin/", headers={"host": "rack.example"}), 400)
        assert "ALLOWED_HOSTS" in text
        assert "<a " not in text

    def test_form_that_is_too_large_was_not_saved(self, trusted: Client) -> None:
        body = "a" * 1_100_000
        text = shown(trusted.post("/admin/login/", body, content_type="application/x-www-form-urlencoded"), 413)
        assert "A form may have 1 MB" in text
        assert "The form was not saved." in text

    def test_form_with_too_many_fields_was_not_saved(self, trusted: Client) -> None:
        body = "&".join(f"a{number}=1" for number in range(1100))
        text = shown(trusted.post("/admin/login/", body, content_type="application/x-www-form-urlencoded"), 400)
        assert "A form may have 1000 fields." in text

    def test_page_that_accepts_no_files_says_so(self, trusted: Client) -> None:
        text = shown(trusted.post("/admin/login/", {"file": SimpleUploadedFile("a.txt", b"a")}), 400)
        assert "<h1>This page accepts no files</h1>" in text

    @pytest.mark.usefixtures("failing")
    def test_malformed_request_gets_a_page(self, visitor: Client) -> None:
        assert "<h1>This request was refused</h1>" in shown(visitor.get("/fail/bad/"), 400)

    def test_address_without_a_page_says_so(self, trusted: Client) -> None:
        text = shown(trusted.get("/admin/logout/"), 405)
        assert "It only receives forms from another page." in text
        assert DASHBOARD in text


class TestServerError:
    @pytest.mark.usefixtures("failing")
    def test_id_on_the_page_is_in_the_log(self, visitor: Client, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.ERROR, "django.request"):
            text = shown(visitor.get("/fail/error/"), 500)
        assert "Nothing was changed." in text
        assert "admin" not in text
        found = re.search(r"Error <code>([0-9a-f]{8})</code> at <time", text)
        assert found
        (record,) = caplog.records
        assert record.getMessage() == f"Error {found[1]}: Internal Server Error: /fail/error/"
        assert record.exc_info

    @pytest.mark.usefixtures("failing")
    def test_form_may_not_have_been_saved(self, trusted: Client) -> None:
        assert "Your changes may not have been saved." in shown(trusted.post("/fail/error/"), 500)

    @pytest.mark.usefixtures("failing")
    def test_failure_of_the_database_shows_no_details(self, staff: Client) -> None:
        text = shown(staff.get("/fail/database/"), 503)
        assert "<h1>The database does not answer</h1>" in text
        assert "manage.py check_database" in text
        assert "hunter2" not in text
        assert "lab.example" not in text

    @pytest.mark.usefixtures("failing")
    def test_failure_of_the_database_may_end_by_itself(self, staff: Client) -> None:
        assert staff.get("/fail/database/")["Retry-After"] == "10"
        assert "<h1>Something went wrong</h1>" in shown(staff.get("/fail/row/"), 500)

    @pytest.mark.usefixtures("failing")
    def test_failure_of_the_database_is_explained_with_debug_too(self, staff: Client, settings: Any) -> None:
        settings.DEBUG = True
        answer = staff.get("/fail/database/")
        assert "<h1>The database does not answer</h1>" in shown(answer, 503)
        assert answer["Retry-After"] == "10"
        detailed = staff.get("/fail/error/")
        assert (detailed.status_code, "Request information" in detailed.content.decode()) == (500, True)
        assert staff.get("/fail/bad/").status_code == 400

    @pytest.mark.usefixtures("failing")
    def test_failure_during_maintenance_shows_its_reason(
        self, staff: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mode = MaintenanceMode(redis_url="", key="", path=tmp_path / "mode")
        monkeypatch.setattr(maintenance, "mode_from_settings", lambda: mode)
        with maintenance_mode(reason="A restore by ada is running.", mode=mode):
            response = staff.get("/fail/database/")
        assert response.status_code == 503
        assert "A restore by ada is running." in response.content.decode()

    def test_missing_static_files_do_not_break_the_page(self, staff: Client, settings: Any) -> None:
        settings.STORAGES = {
            **settings.STORAGES,
            "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
        }
        assert DASHBOARD in shown(staff.get("/admin/"), 500)

    @pytest.mark.usefixtures("failing")
    def test_missing_template_leaves_the_sentences(self, visitor: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("homerack.web.error_pages.TEMPLATE", "errors/none.html")
        response = visitor.get("/fail/error/")
        assert response.status_code == 500
        assert response["Content-Type"] == "text/plain; charset=utf-8"
        assert re.search(r"^Error [0-9a-f]{8} at .* UTC$", response.content.decode(), re.MULTILINE)


def test_pages_of_gunicorn_without_a_database() -> None:
    """As in production: no debugging, static files that nobody collected, and a database that does not answer."""
    server = WebServer.start(
        DATABASE_URL=f"postgres://nobody@127.0.0.1:{free_port()}/none",
        DEBUG="false",
        HTTPS="false",
        SECRET_KEY="x" * 50,
    )
    try:
        visitor = Browser(server.port)
        assert "Page not found" in visitor.request("GET", "/nowhere/")[2]
        visitor.cookies["sessionid"] = "a" * 32
        assert "Page not found" in visitor.request("GET", "/nowhere/")[2]
        status, _, text = visitor.request("GET", "/admin/")
        found = re.search(r"Error <code>(\w+)</code>", text)
        assert (status, bool(found)) == (503, True)
        assert "The database does not answer" in text
        assert found
        assert f"Error {found[1]}: Service Unavailable: /admin/" in server.log.read_text()
        status, _, text = send_request(server.port, "POST", "/admin/login/", headers={"Content-Length": "2000000"})
        assert (status, "The form is too large" in text) == (413, True)
    finally:
        server.stop()


def test_null_character_in_the_address_is_refused_on_every_page_of_the_admin(admin_client: Client) -> None:
    """PostgreSQL refuses it in queries, which the filters of lists pass on."""
    for model, model_admin in admin.site._registry.items():
        page = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        names = [each[0] if isinstance(each, tuple) else each for each in model_admin.list_filter]
        for name in ["q", *(each for each in names if isinstance(each, str))]:
            answer = admin_client.get(f"{page}?{name}=%00")
            assert answer.status_code == 400, (page, name)
            assert "This request was refused" in answer.content.decode()
    assert admin_client.get("/admin/inventory/rack/%00/change/").status_code == 400
    assert admin_client.get("/admin/inventory/rack/?q=%2500").status_code == 200


def test_pages_of_ops_refuse_null_characters_in_projects_without_our_middleware(
    admin_client: Client, settings: Any
) -> None:
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if not name.endswith("refuse_null_characters")]
    for model in (Run, Backup):
        page = reverse(f"admin:ops_{model._meta.model_name}_changelist")
        names = [each[0] if isinstance(each, tuple) else each for each in admin.site._registry[model].list_filter]
        for parameter in ["q=%00", "a%00=b", *(f"{each}=%00" for each in names if isinstance(each, str))]:
            assert admin_client.get(f"{page}?{parameter}").status_code == 400, (page, parameter)
        assert admin_client.get(f"{page}%00/change/").status_code in {302, 404}


@pytest.mark.parametrize(
    ("text", "title", "reason"),
    [
        ("connection to server at h failed: Connection refused", "The database does not answer", "could not connect"),
        ("connection to server at h failed: session is read-only", "cannot be changed now", "No database server"),
        ("connection to server at h failed: server is in hot standby mode", "cannot be changed now", "No database"),
        ("server closed the connection unexpectedly", "The connection to the database was lost", "or it is restarting"),
        ("SSL connection has been closed unexpectedly", "The connection to the database was lost", "or it is"),
        ("database is locked", "The database is locked", "Another process has been writing"),
        ("database table is locked: rack", "The database is locked", "Another process"),
        ("deadlock detected", "The database does not answer", "could not read or write"),
    ],
)
def test_page_names_the_reason_of_a_failure(text: str, title: str, reason: str) -> None:
    page = outages.page_of(OperationalError(text))
    assert page is not None
    assert title in page.title
    assert reason in page.text


def test_first_failure_of_a_chain_is_shown_and_an_unknown_commit_before_all() -> None:
    def chain(*errors: Exception) -> Exception:
        for error, cause in itertools.pairwise(errors):
            error.__context__ = cause
        return errors[0]

    lost = OperationalError("server closed the connection unexpectedly")
    follows = InterfaceError("connection already closed")
    locked = OperationalError("database is locked")
    assert outages.page_of(chain(TransactionManagementError(), follows, locked)) is error_texts.DATABASE_LOCKED
    assert outages.page_of(chain(follows, CommitUnknown("lost"), lost)) is error_texts.COMMIT_UNKNOWN
    assert outages.page_of(chain(KeyError("name"), IntegrityError("UNIQUE"))) is None
    assert outages.page_of(None) is None
