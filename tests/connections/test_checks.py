"""System checks on the database's settings."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.db import connection
from django.test.utils import override_settings

from homerack.config import checks
from tests.support import forked


def ids(**kwargs: list[str]) -> list[str]:
    return [str(message.id) for message in run_checks(**kwargs) if str(message.id).startswith("homerack.")]  # type: ignore[arg-type]


@pytest.fixture
def ordinary_role(db: None) -> Iterator[None]:
    """The connection acts as a role that is no superuser, as HomeRack's is in production."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE homerack_ordinary; SET ROLE homerack_ordinary")
    yield
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")


@pytest.mark.usefixtures("ordinary_role")
def test_checks_with_default_settings_find_nothing() -> None:
    assert ids() == []
    assert ids(databases=["default"]) == []


@pytest.mark.django_db
def test_superuser_in_production_is_a_warning() -> None:
    with override_settings(DEBUG=False):
        (warning,) = [message for message in run_checks(databases=["default"]) if message.id == "homerack.W006"]
    assert warning.msg == "The role homerack of the database 'default' is a superuser of PostgreSQL."
    with override_settings(DEBUG=True):
        assert ids(databases=["default"]) == []


def test_installed_psycopg_3_is_an_error(tmp_path: Path) -> None:
    package = tmp_path / "psycopg"
    package.mkdir()
    (package / "__init__.py").touch()
    sys.path.insert(0, str(tmp_path))
    try:
        (error,) = checks.psycopg_3_is_absent()
    finally:
        sys.path.remove(str(tmp_path))
    assert error.id == "homerack.E001"
    assert error.hint == "pip uninstall psycopg psycopg-binary psycopg-pool"


@pytest.mark.parametrize(("db_type", "found"), [("", []), ("postgresql", []), ("sqlite", ["homerack.E002"])])
def test_db_type_that_contradicts_database_url_is_an_error(db_type: str, found: list[str]) -> None:
    with override_settings(DB_TYPE=db_type):
        assert ids() == found


def test_db_type_stops_a_command() -> None:
    environment = os.environ | {"DB_TYPE": "SQLite"}
    done = forked.run(["manage.py", "check"], env=environment)
    assert done.returncode == 1
    assert "(homerack.E002) DB_TYPE is sqlite, but DATABASE_URL leads to postgresql." in done.stderr


@pytest.mark.django_db
def test_more_connections_than_max_connections_is_a_warning() -> None:
    with override_settings(WEB_CONCURRENCY=4):  # 4 × 30; a server has 100 and keeps 3 for superusers
        (warning,) = [message for message in run_checks(databases=["default"]) if message.id == "homerack.W003"]
    assert warning.msg == (
        "The web processes may open 120 connections to 'default', but the server allows 97: "
        "WEB_CONCURRENCY 4 × (DB_POOL_SIZE 20 + DB_MAX_OVERFLOW 10)."
    )


def sqlite(path: Path) -> dict[str, dict[str, str]]:
    return {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}}


def test_sqlite_in_container_without_volume_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "CONTAINER_MARKS", (tmp_path,))
    monkeypatch.setattr(checks.settings, "DATABASES", sqlite(Path("/opt/app/homerack.db")))
    (warning,) = checks.sqlite_outlives_its_container()
    assert (warning.id, warning.msg) == (
        "homerack.W004",
        "The SQLite file is in /opt/app, inside the container: it is deleted with the container.",
    )
    monkeypatch.setattr(checks.settings, "DEBUG", True)
    assert checks.sqlite_outlives_its_container() == []
    monkeypatch.setattr(checks.settings, "DEBUG", False)
    monkeypatch.setattr(checks.settings, "DATABASES", sqlite(Path("/dev/shm/homerack.db")))  # a file system of its own
    assert checks.sqlite_outlives_its_container() == []


def test_sqlite_outside_container_is_no_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "CONTAINER_MARKS", (tmp_path / "absent",))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(checks.settings, "DATABASES", sqlite(Path("/opt/app/homerack.db")))
    assert checks.sqlite_outlives_its_container() == []
