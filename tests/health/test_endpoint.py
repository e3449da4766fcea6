"""The health endpoints with a database that works."""

import tomllib
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client, override_settings

from tests.engine_migration import support
from tests.support.postgres import free_port

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("path", ["/health", "/health/"])
def test_health_of_a_healthy_site_has_all_keys(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    answer = response.json()
    assert list(answer) == [
        "status",
        "database_type",
        "query_time_ms",
        "pool_info",
        "pool_scope",
        "version",
        "checks",
    ]
    assert (answer["status"], answer["database_type"], answer["version"]) == ("healthy", "postgresql", "0.1.0")
    assert 0 < answer["query_time_ms"] < 1000
    assert set(answer["pool_info"]) == {"pool_size", "checked_in", "checked_out", "overflow", "total_connections"}
    assert answer["pool_info"]["pool_size"] == 20
    assert answer["pool_scope"].startswith("process ")
    assert answer["checks"] == {
        "database": {"status": "healthy"},
        "migrations": {"status": "healthy"},
        "backup_disk": {"status": "healthy"},
        "settings": {"status": "healthy"},
        "maintenance": {"status": "healthy"},
        "backups": {"status": "healthy"},
        "copies": {"status": "healthy"},
        "backup_keys": {"status": "healthy"},
        "operations": {"status": "healthy"},
        "last_restore": {"status": "healthy"},
    }
    assert "no-store" in response["Cache-Control"]


@pytest.mark.parametrize("path", ["/health/", "/health/live/", "/health/ready/"])
def test_post_is_not_allowed(client: Client, path: str) -> None:
    assert client.post(path).status_code == 405
    assert client.head(path).status_code == 200


def test_probe_from_localhost_is_not_redirected(client: Client) -> None:
    with override_settings(SECURE_SSL_REDIRECT=True):
        for path in ("/health", "/health/live/", "/health/ready", "/health/full/?format=json"):
            assert client.get(path, headers={"host": "localhost:8000"}).status_code == 200
        assert client.get("/healthy/").status_code == 301


def test_live_uses_no_database_and_no_thread(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.utils.single_flight.shared_calls.run", None)
    monkeypatch.setattr("django.db.backends.base.base.BaseDatabaseWrapper.ensure_connection", None)
    response = client.get("/health/live/")
    assert (response.status_code, response.json()) == (200, {"status": "healthy"})


def test_version_equals_that_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["version"] == settings.OPS_VERSION


def unrecord_migration() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE django_migrations SET name = name || '-gone' WHERE app = 'sessions'")


def record_migration() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE django_migrations SET name = replace(name, '-gone', '')")


def test_unapplied_migration_is_degraded_and_not_ready(client: Client) -> None:
    unrecord_migration()
    try:
        health, ready, full = (client.get(path) for path in ("/health/", "/health/ready/", "/health/full/?format=json"))
    finally:
        record_migration()
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    assert health.json()["checks"]["migrations"] == {"status": "degraded", "error": "UnappliedMigrations"}
    assert (ready.status_code, ready.json()["status"]) == (503, "unhealthy")
    assert (full.status_code, full.json()["migrations"]) == (200, "Warning: UnappliedMigrations")
    assert client.get("/health/ready/").status_code == 200


def test_read_only_database_is_degraded_and_ready_and_staff_see_why(client: Client) -> None:
    staff = get_user_model().objects.create_user("staff@example.org", is_staff=True)
    client.force_login(staff)
    name = connection.settings_dict["NAME"]
    support.server().rows(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    connection.close_pool()
    try:
        signed_in = client.get("/health/")
        public = Client().get("/health/").json()["checks"]["database"]
        ready = client.get("/health/ready/")
    finally:
        support.server().rows(f"ALTER DATABASE {name} RESET ALL")
        connection.close_pool()
    assert (signed_in.status_code, signed_in.json()["status"]) == (200, "degraded")
    assert public == {"status": "degraded", "error": "ReadOnlyDatabase"}
    assert signed_in.json()["checks"]["database"]["detail"].startswith(
        "The database cannot be written: its transactions are read-only (default_transaction_read_only). As an"
    )
    assert ready.status_code == 200


def test_details_are_shown_to_staff_only(client: Client) -> None:
    users = get_user_model().objects
    staff = users.create_user("staff@example.org", is_staff=True)
    guest = users.create_user("guest@example.org")
    port = free_port()
    with override_settings(REDIS_URL=f"redis://:pass%40word@127.0.0.1:{port}/0"):
        public = client.get("/health/").json()["checks"]["redis"]
        client.force_login(guest)
        signed_in = client.get("/health/").json()["checks"]["redis"]
        client.force_login(staff)
        full = client.get("/health/").json()["checks"]["redis"]
    assert public == signed_in == {"status": "degraded", "error": "ConnectionError"}
    assert full["detail"] == f"Error 111 connecting to 127.0.0.1:{port}. Connection refused."


@pytest.mark.parametrize(
    ("query", "accept", "kind"),
    [
        ("", "text/html", "text/html"),
        ("?format=json", "*/*", "application/json"),
        ("", "application/json", "application/json"),
        ("?format=openmetrics", "*/*", "application/openmetrics-text"),
        ("?format=text", "*/*", "text/plain"),
    ],
)
def test_full_has_the_requested_format(client: Client, query: str, accept: str, kind: str) -> None:
    response = client.get(f"/health/full/{query}", headers={"accept": accept})
    assert response.status_code == 200
    assert response["Content-Type"].startswith(kind)
    for name in ("database", "migrations", "maintenance", "backup_disk", "operations"):
        assert name in response.content.decode()


def test_full_with_malformed_accept_header_is_406(client: Client) -> None:
    assert client.get("/health/full/", headers={"accept": "not a type"}).status_code == 406
