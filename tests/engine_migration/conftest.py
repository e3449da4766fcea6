"""Files and databases for the tests of the migration; each test has its own."""

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from ops.databases.migration_state import run_migrations
from ops.databases.override import override_database, sqlite_wrapper
from ops.engine_migration.to_postgres import target
from tests.engine_migration import support
from tests.engine_migration.factories import write_library
from tests.engine_migration.support import Database, Migration, Outcome
from tests.support.replayed_migrations import FOLDER, replaying
from tests.support.shared import made_once


@pytest.fixture(scope="session", autouse=True)
def databases_are_open(django_db_blocker: Any) -> Iterator[None]:
    """These tests make databases of their own, so pytest-django need not watch over the default one."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture(autouse=True)
def live_database(databases_are_open: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The database of the project, which a migration locks: a SQLite file of the test's own."""
    with override_database(sqlite_wrapper(str(tmp_path_factory.mktemp("live") / "live.db"))):
        yield


@pytest.fixture(autouse=True)
def private_places(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings_with(tmp_path / "backups").items():
        setattr(settings, name, value)
    monkeypatch.setenv("COLUMNS", "200")


def settings_with(backups: Path) -> dict[str, Any]:
    return {"BACKUP_DIR": backups, "OPS_LEGACY_FORMAT": ""}


@pytest.fixture(autouse=True)
def replayed_migrations(monkeypatch: pytest.MonkeyPatch, statements_of_migrate: Path) -> None:
    monkeypatch.setenv(FOLDER, str(statements_of_migrate))
    monkeypatch.setattr(target, "run_migrations", replaying(run_migrations, statements_of_migrate))


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory, databases_are_open: None, statements_of_migrate: Path) -> Path:
    """``empty.db``: just migrated by Django. ``library.db``: with rows that Django wrote."""
    return made_once(tmp_path_factory, "files", partial(write_templates, statements_of_migrate))


def write_templates(statements: Path, folder: Path) -> None:
    with override_database(sqlite_wrapper(str(folder / "empty.db"))):
        replaying(run_migrations, statements)()
    shutil.copy(folder / "empty.db", folder / "library.db")
    with override_database(sqlite_wrapper(str(folder / "library.db"))):
        write_library()


@pytest.fixture
def file(templates: Path, tmp_path: Path) -> Path:
    """A file that Django has just migrated."""
    return Path(shutil.copy(templates / "empty.db", tmp_path / "lab.db"))


@pytest.fixture
def library(templates: Path, tmp_path: Path) -> Path:
    """A file in which every table has rows."""
    return Path(shutil.copy(templates / "library.db", tmp_path / "library.db"))


@pytest.fixture
def database() -> Iterator[Database]:
    """An empty database."""
    name = support.new_name()
    yield support.create(name)
    support.drop(name)


@pytest.fixture
def nowhere() -> Iterator[Database]:
    """The name of a database that does not exist yet."""
    name = support.new_name()
    yield support.database_named(name)
    support.drop(name)


@pytest.fixture
def migrated(schema: str) -> Iterator[Database]:
    """A database with the project's tables and what `migrate` puts into them."""
    name = support.new_name()
    yield support.create(name, schema)
    support.drop(name)


@pytest.fixture(scope="session")
def migration(
    templates: Path,
    tmp_path_factory: pytest.TempPathFactory,
    databases_are_open: None,
    statements_of_migrate: Path,
) -> Migration:
    """The library, which the command has migrated to a database that did not exist: made once, and only read."""

    def migrate(folder: Path) -> None:
        library = Path(shutil.copy(templates / "library.db", folder))
        with (
            pytest.MonkeyPatch.context() as patch,
            override_settings(**settings_with(folder / "backups")),
            override_database(sqlite_wrapper(str(folder / "live.db"))),
        ):
            patch.setenv("COLUMNS", "200")
            patch.setattr(target, "run_migrations", replaying(run_migrations, statements_of_migrate))
            outcome = support.migrate(library, support.database_named("library"))
        (folder / "outcome.json").write_text(json.dumps(dataclasses.asdict(outcome)))

    folder = made_once(tmp_path_factory, "migration", migrate)
    return Migration(
        outcome=Outcome(**json.loads((folder / "outcome.json").read_text())),
        library=folder / "library.db",
        backups=folder / "backups",
        target=support.database_named("library"),
    )


@pytest.fixture
def moved(migration: Migration) -> Iterator[Database]:
    """What this migration has put into PostgreSQL, in a database of the test's own, which Django points at."""
    name = support.new_name()
    with override_database(support.create(name, migration.target.name).address.wrapper()):
        yield support.database_named(name)
    support.drop(name)


@pytest.fixture
def small_role() -> Iterator[tuple[str, str]]:
    """Name and password of a role that may not create databases."""
    name = f"small_{support.new_name()}"
    password = f"pw-{os.urandom(6).hex()}"
    support.server().rows(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
    yield name, password
    support.server().rows(f"DROP OWNED BY {name}")
    support.server().rows(f"DROP ROLE {name}")


@pytest.fixture
def small(database: Database, small_role: tuple[str, str]) -> Iterator[Database]:
    """The database as a role sees it that may not create others."""
    role, password = small_role
    support.server().rows(f"ALTER DATABASE {database.name} OWNER TO {role}")
    yield support.database_named(database.name, user=role, password=password)
    support.drop(database.name)
