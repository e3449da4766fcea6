"""What tests share: their databases, people who are signed in, and style sheets that nobody had to collect."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.test import Client, TransactionTestCase
from pytest_django.plugin import DjangoDbBlocker

import homerack.urls  # noqa: F401  # imports the classes of the admin, which some tests look at without a page
from homerack.accounts.models import User
from ops.databases.migration_state import run_migrations
from ops.databases.override import override_database
from ops.databases.postgres import start
from tests.celery.support import manage
from tests.engine_migration import support
from tests.support.bucket import S3, s3_server
from tests.support.replayed_migrations import replaying
from tests.support.shared import made_once
from tests.support.sshd import INSTALL, Sshd, find_sshd, sshd_server


@pytest.fixture(scope="session")
def statements_of_migrate(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker) -> Path:
    """The folder for `replaying`, with what Django has sent to the database "schema"."""

    def migrate(folder: Path) -> None:
        with django_db_blocker.unblock(), override_database(support.create("schema").address.wrapper()):
            replaying(run_migrations, folder)()

    return made_once(tmp_path_factory, "schema", migrate)


@pytest.fixture(scope="session")
def schema(statements_of_migrate: Path) -> str:
    """The name of a database that Django has migrated, to make others from."""
    return statements_of_migrate.name


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a migrated database in a file, ``homerack.db``, which is copied and not changed."""

    def migrate(folder: Path) -> None:
        assert manage(folder, "migrate").returncode == 0

    return made_once(tmp_path_factory, "migrated", migrate)


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment: None, schema: str, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """pytest-django's databases: a copy of `schema` instead of migrations for every worker."""
    name = f"test_{support.new_name()}"
    with django_db_blocker.unblock():
        connection.close()
        connection.settings_dict["NAME"] = support.create(name, schema).name
    TransactionTestCase._fixture_teardown = delete_rows  # type: ignore[attr-defined]
    yield
    with django_db_blocker.unblock():
        connection.close()
        support.drop(name)


def delete_rows(_case: TransactionTestCase) -> None:
    """Do what ``flush`` does after a test that commits, in a tenth of its time.

    Content types and permissions stay: Django would make the same again.
    """
    names = set(connection.introspection.django_table_names(only_existing=True, include_views=False))
    names -= {ContentType._meta.db_table, Permission._meta.db_table}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(";".join(f'DELETE FROM "{name}"' for name in sorted(names)))


@pytest.fixture(autouse=True)
def uncollected_static_files(settings: Any, tmp_path: Path) -> None:
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}
    settings.STATIC_ROOT = tmp_path


@pytest.fixture(autouse=True)
def short_wait_for_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that tests call wait one second for a server that takes writes, not 30."""
    monkeypatch.setattr(start, "LONGEST_WAIT", 1.0)


@pytest.fixture
def sign_in(db: None) -> Callable[..., Client]:
    """A browser in which somebody of these groups is signed in."""

    def as_member_of(*groups: str, **fields: bool) -> Client:
        user = User.objects.create_user(f"{'-'.join(groups) or 'nobody'}@example.com", is_staff=True, **fields)
        user.groups.set(Group.objects.filter(name__in=groups))
        client = Client()
        client.force_login(user)
        return client

    return as_member_of


@pytest.fixture
def viewer_client(sign_in: Callable[..., Client]) -> Client:
    return sign_in("Viewers")


@pytest.fixture
def editor_client(sign_in: Callable[..., Client]) -> Client:
    return sign_in("Editors")


@pytest.fixture
def stranger_client(sign_in: Callable[..., Client]) -> Client:
    return sign_in()


@pytest.fixture(scope="session")
def s3_in_memory() -> Iterator[S3]:
    with s3_server() as s3:
        yield s3


@pytest.fixture
def s3(s3_in_memory: S3) -> S3:
    """The server with an empty bucket."""
    s3_in_memory.empty()
    return s3_in_memory


@pytest.fixture(scope="session")
def running_sshd() -> Iterator[Sshd]:
    if not find_sshd():
        pytest.skip(INSTALL)
    with sshd_server() as sshd:
        yield sshd


@pytest.fixture
def sshd(running_sshd: Sshd) -> Sshd:
    """An SFTP server with an empty directory."""
    running_sshd.empty()
    return running_sshd
