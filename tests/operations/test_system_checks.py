"""System checks on the settings that name tables."""

import contextlib
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.checks import WARNING, CheckMessage, run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection, connections

from homerack.celery import app
from ops.backups.encryption import new_identity


def found(**kwargs: Any) -> list[CheckMessage]:
    return [message for message in run_checks(**kwargs) if str(message.id).startswith("ops.")]


@pytest.fixture(autouse=True)
def signing_key(settings: Any) -> None:
    settings.BACKUP_SIGNING_KEY = "signs the backups of this installation"


@pytest.mark.django_db
def test_valid_settings_have_no_messages() -> None:
    assert found(databases=["default"]) == []


@pytest.mark.parametrize("setting", ["OPS_BACKUP_EXCLUDED_TABLES", "OPS_UNTRUSTED_EXCLUDED_TABLES"])
@pytest.mark.parametrize("value", ["everything", 5, {"everything": "why"}, [5], None])
def test_setting_that_is_not_a_list_is_an_error(settings: Any, setting: str, value: object) -> None:
    setattr(settings, setting, value)
    (error,) = found()
    assert (error.id, error.msg) == ("ops.E001", f"{setting} is not a list of table names.")


@pytest.mark.parametrize(
    ("excluded", "referring"),
    [
        (["otherproject_tag"], "otherproject_book_tags"),
        (["otherproject_shelf"], "otherproject_place"),
        (
            ["otherproject_book", "otherproject_author", "otherproject_book_tags", "otherproject_book_similar"],
            "otherproject_comic",
        ),
    ],
)
def test_excluded_table_that_others_refer_to_is_an_error(settings: Any, excluded: list[str], referring: str) -> None:
    settings.OPS_BACKUP_EXCLUDED_TABLES = excluded
    errors = {message.msg for message in found() if message.id == "ops.E002"}
    assert (
        f"Rows of {excluded[0]} are left out of backups, but {referring} refers to them: no backup can be made."
        in errors
    )
    with pytest.raises(SystemCheckError, match=r"ops\.E002"):
        call_command("check")


def test_excluded_tables_that_refer_to_others_have_no_messages(settings: Any) -> None:
    settings.OPS_BACKUP_EXCLUDED_TABLES = ["otherproject_shelf", "otherproject_place"]
    assert found() == []


def test_secret_key_that_signs_backups_is_a_warning(settings: Any) -> None:
    settings.BACKUP_SIGNING_KEY = ""
    (warning,) = found()
    assert (warning.id, warning.level) == ("ops.W016", WARNING)
    assert warning.msg.startswith("BACKUP_SIGNING_KEY is not set, so SECRET_KEY signs backups.")


@pytest.mark.parametrize("name", ["BACKUP_AGE_IDENTITY", "BACKUP_AGE_RECIPIENTS"])
def test_key_that_cannot_be_used_is_an_error_that_does_not_show_it(settings: Any, name: str) -> None:
    setattr(settings, name, f"{new_identity()}x")
    (error,) = found()
    assert error.id == "ops.E017"
    assert getattr(settings, name) not in error.msg + (error.hint or "")


def test_encrypted_location_without_a_key_of_the_machine_is_an_error(settings: Any) -> None:
    settings.BACKUP_LOCATIONS = [{"name": "disk", "url": "/mnt/disk"}, {"name": "nas", "url": "/mnt/nas"}]
    (error,) = found()
    assert error.id == "ops.E018"
    assert error.msg.startswith("The storage location disk is encrypted, but this machine has no key")
    settings.BACKUP_AGE_IDENTITY = new_identity()
    assert found() == []
    settings.BACKUP_AGE_IDENTITY = ""
    settings.BACKUP_LOCATIONS = [{"name": "disk", "url": "/mnt/disk", "encrypted": False}]
    assert found() == []


def test_storage_location_that_is_not_valid_is_an_error(settings: Any) -> None:
    settings.BACKUP_LOCATIONS = [{"name": "nas", "url": "sftp://ada:secret@nas/backups"}]
    (error,) = found()
    assert (error.id, error.msg, error.hint) == (
        "ops.E009",
        "The address of the storage location 'nas' contains a password.",
        "Remove it from the address, and set BACKUP_LOCATION_NAS_PASSWORD.",
    )


def test_unsupported_database_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(connections["default"]), "vendor", "mysql")
    (error,) = (message for message in found() if message.id == "ops.E006")
    assert error.msg == "DATABASE_URL is mysql; ops backs up PostgreSQL and SQLite."


def test_celery_app_that_cannot_be_imported_is_an_error(settings: Any) -> None:
    settings.OPS_CELERY_APP = "homerack.cellery.app"
    (error,) = found()
    assert error.msg == "OPS_CELERY_APP cannot be imported: No module named 'homerack.cellery'."


def test_tasks_that_are_repeated_are_an_error(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.OPS_CELERY_APP, settings.REDIS_URL = "homerack.celery.app", "redis://127.0.0.1:1/0"
    for name, value in {"broker_url": settings.REDIS_URL, "task_acks_late": True}.items():
        monkeypatch.setitem(app.conf, name, value)
    (error,) = found()
    assert error.hint == "CELERY_TASK_ACKS_LATE = False"


def test_unfold_after_the_admin_is_an_error(settings: Any) -> None:
    settings.INSTALLED_APPS = sorted(settings.INSTALLED_APPS, key=lambda name: name.startswith("unfold"))
    (error,) = (message for message in found() if message.id == "ops.E004")
    assert error.msg.startswith("'unfold' comes after 'django.contrib.admin' in INSTALLED_APPS")


def test_missing_urls_are_an_error(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "without_ops", SimpleNamespace(urlpatterns=[]))
    settings.ROOT_URLCONF = "without_ops"
    with pytest.raises(SystemCheckError, match=r"ops\.E010"):
        call_command("check", tags=["urls"])


@contextlib.contextmanager
def table(name: str) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {name} (n integer)")
        yield


@pytest.mark.django_db
def test_unknown_table_is_a_warning(settings: Any) -> None:
    settings.OPS_BACKUP_EXCLUDED_TABLES = ["everything", "by_hand", "pg_catalog.pg_class"]
    settings.OPS_UNTRUSTED_EXCLUDED_TABLES = ["otherproject_bok"]
    with table("by_hand"):
        (warning,) = found(databases=["default"])
    assert warning.id == "ops.W003"
    assert warning.msg == "OPS_UNTRUSTED_EXCLUDED_TABLES names otherproject_bok, but there is no such table."
    assert found(databases=[]) == []
