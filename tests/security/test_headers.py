"""Security headers, and the path of the admin."""

import importlib
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import Resolver404, URLPattern, URLResolver, clear_url_caches, get_resolver, resolve, reverse

from tests.support.slow import each_once

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["/admin/login/", "/health/", "/health/live/"])
def test_csp_restricts_pages_to_the_site(client: Client, path: str) -> None:
    response = client.get(path)
    policy = dict(part.split(" ", 1) for part in response["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self' 'unsafe-eval'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    sources = {source for name in policy for source in policy[name].split()}
    assert sources == {"'none'", "'self'", "'unsafe-eval'", "'unsafe-inline'", "data:"}


def test_permissions_policy_disables_unused_features(client: Client) -> None:
    response = client.get("/health/live/")
    assert response["Permissions-Policy"] == "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
    assert response["Referrer-Policy"] == "same-origin"
    assert response["X-Frame-Options"] == "DENY"
    assert response["X-Content-Type-Options"] == "nosniff"


@pytest.fixture
def moved_console(settings: Any) -> Iterator[None]:
    """The project's addresses as a start with ``ADMIN_PATH=back/room/`` makes them."""
    settings.ADMIN_PATH = "back/room/"
    reload_urls()
    yield
    settings.ADMIN_PATH = "admin/"
    reload_urls()


def reload_urls() -> None:
    importlib.reload(sys.modules["homerack.urls"])
    clear_url_caches()


@pytest.mark.usefixtures("moved_console")
def test_moved_admin_is_only_at_its_path(client: Client) -> None:
    assert reverse("admin:index") == "/back/room/"
    assert client.get("/back/room/login/").status_code == 200
    for path in ("/admin/", "/"):
        with pytest.raises(Resolver404):
            resolve(path)


def outside_of_the_console() -> list[str]:
    """An address for every pattern of the site, and those that have none."""
    patterns = [re.sub(r"\\?/\?\$$|[\^$]", "/", str(each.pattern)) for each in flattened(get_resolver().url_patterns)]
    paths = {"/" + re.sub(r"<[^>]*>", "x", pattern).strip("/") for pattern in patterns}
    assert {"/health/live", "/runs/x/state"} <= paths
    known = [
        "/",
        "/admin",
        "/nowhere",
        "/static",
        "/static/x.css",
        "/back",
        "/room",
        "/favicon.ico",
        "/login",
        "/accounts/login",
    ]
    return sorted(path.rstrip("/") + end for path in paths | {*known} for end in ("", "/", "/?next=/", "//"))


def flattened(patterns: Iterable[Any]) -> Iterator[URLPattern]:
    for each in patterns:
        if str(each.pattern) == "back/room/":
            continue
        if isinstance(each, URLResolver):
            assert str(each.pattern) == "", "Join the prefix to the patterns below it, then."
            yield from flattened(each.url_patterns)
        else:
            yield each


@pytest.mark.usefixtures("moved_console")
@pytest.mark.parametrize(
    ("method", "accept"), each_once(["get", "head", "post", "put", "options"], ["text/html", "application/json"])
)
def test_public_addresses_do_not_reveal_a_moved_admin(method: str, accept: str) -> None:
    for checks_tokens in (False, True):
        client = Client(enforce_csrf_checks=checks_tokens)
        for path in outside_of_the_console():
            response = getattr(client, method)(path or "/", headers={"accept": accept})
            revealed = f"{dict(response.headers)} {response.getvalue().decode()}"
            assert "back/room" not in revealed, path


def test_root_redirects_to_the_admin_at_its_default_path(client: Client) -> None:
    assert client.get("/")["Location"] == "/admin/"
