"""Databases, and an engine for each, for the tests of PostgreSQL's part of backups."""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ops.backups.engines.postgresql.engine import PostgresEngine
from tests.backups.postgresql import support
from tests.backups.postgresql.support import Database


@pytest.fixture(scope="session", autouse=True)
def databases_are_open(django_db_blocker: Any) -> Iterator[None]:
    """These tests make databases of their own, so pytest-django need not watch over the default one."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture(scope="session")
def lab_template() -> Iterator[str]:
    """The name of a database with a few tables, to make others from."""
    name = support.new_name()
    support.create(name)
    support.database_named(name).rows(support.LAB)
    yield name
    support.drop(name)


@pytest.fixture
def lab(lab_template: str) -> Iterator[Database]:
    """A database with every kind of object that Django makes, and texts that are hard to write down."""
    name = support.new_name()
    yield support.create(name, lab_template)
    support.drop(name)


@pytest.fixture
def engine(lab: Database) -> PostgresEngine:
    return support.engine_of(lab)


@pytest.fixture
def role() -> Iterator[Callable[..., tuple[str, str]]]:
    """Makes roles: name and password of each. They own nothing yet."""
    made = []

    def make(*options: str) -> tuple[str, str]:
        name, password = f"role_{support.new_name()}", f"pw-{os.urandom(6).hex()}"
        support.server().rows(f"CREATE ROLE {name} LOGIN PASSWORD '{password}' {' '.join(options)}")
        made.append(name)
        return name, password

    with contextlib.ExitStack() as at_the_end:
        at_the_end.callback(lambda: [support.drop_role(name) for name in made])
        yield make
