"""Databases and engines for the tests of the PostgreSQL engine."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.backups.manifest import TableDigest
from tests.backups.postgresql import support
from tests.backups.postgresql.support import Backup, Database, Role
from tests.support.shared import made_once


@pytest.fixture(scope="session", autouse=True)
def databases_are_open(django_db_blocker: Any) -> Iterator[None]:
    """These tests create their own databases, so pytest-django need not block the default one."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture(scope="session")
def lab_folder(tmp_path_factory: pytest.TempPathFactory, databases_are_open: None) -> Path:
    """A folder with a backup of the lab. Its name is that of a template database with a few tables."""
    return made_once(tmp_path_factory, "postgresql_lab", make_lab)


def make_lab(folder: Path) -> None:
    lab = support.create(folder.name)
    lab.rows(support.LAB)
    dump, tables = support.dump_of(support.engine_of(lab))
    (folder / "dump").write_bytes(dump)
    (folder / "tables").write_bytes(msgspec.json.encode(tables))


@pytest.fixture(scope="session")
def lab_backup(lab_folder: Path) -> Backup:
    """A backup of the lab as it is before a test changes it, whoever owns it."""
    tables = msgspec.json.decode((lab_folder / "tables").read_bytes(), type=dict[str, TableDigest])
    return (lab_folder / "dump").read_bytes(), tables


@pytest.fixture
def lab(lab_folder: Path) -> Iterator[Database]:
    """A database with every kind of object that Django creates, and texts that need escapes."""
    name = support.new_name()
    yield support.create(name, lab_folder.name)
    support.drop(name)


@pytest.fixture
def engine(lab: Database) -> PostgresEngine:
    return support.engine_of(lab)


@pytest.fixture
def role() -> Iterator[Callable[..., tuple[str, str]]]:
    """Creates roles, and returns name and password of each."""
    made = []

    def make(*options: str) -> tuple[str, str]:
        name, password = f"role_{support.new_name()}", f"pw-{os.urandom(6).hex()}"
        support.server().rows(f"CREATE ROLE {name} LOGIN PASSWORD '{password}' {' '.join(options)}")
        made.append(name)
        return name, password

    with contextlib.ExitStack() as at_the_end:
        at_the_end.callback(lambda: [support.drop_role(name) for name in made])
        yield make


@pytest.fixture
def owner(role: Role, lab: Database) -> Database:
    """The database with a role that owns it and may not create databases."""
    name, password = role()
    lab.rows(f"ALTER DATABASE {lab.name} OWNER TO {name}")
    support.give_tables(lab, name)
    return support.database_named(lab.name, user=name, password=password)
