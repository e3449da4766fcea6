"""A HomeRack with the demo lab for each test, on each kind of database."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.backups.postgresql.support import drop as drop_all
from tests.backups.postgresql.support import give_tables
from tests.engine_migration import support
from tests.operations.harness import Lab
from tests.support.shared import made_once

PASSWORD = "kept-secret-by-the-tests"


ROLES = {"postgresql": "ordinary", "schema": "small"}
"""The role that each kind of lab on PostgreSQL connects as; none is a superuser, and one may not make databases."""


def create_roles(_folder: Path) -> None:
    for kind, name in ROLES.items():
        option = "CREATEDB" if kind == "postgresql" else "NOCREATEDB"
        support.server().rows(f"CREATE ROLE {name} LOGIN {option} PASSWORD '{PASSWORD}'")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, schema: str, migrated: Path) -> Callable[[str], Lab]:
    """The lab of a kind that others are copies of: migrated, and with the demo's rows."""
    made_once(tmp_path_factory, "roles", create_roles)

    def make(kind: str) -> Lab:
        name = f"template_{kind}"
        original = make("postgresql").name if kind == "schema" else schema
        folder = made_once(tmp_path_factory, name, lambda folder: fill(new_lab(kind, folder, name, original), migrated))
        return lab_at(kind, folder, name)

    return make


def fill(lab: Lab, migrated: Path) -> None:
    if lab.database:
        # It is a copy of what another role has migrated.
        give_tables(support.database_named(lab.name), ROLES[lab.kind])
    else:
        shutil.copy(migrated / "homerack.db", lab.file)
    if lab.kind != "schema":
        lab.run("load_demo")


def lab_at(kind: str, folder: Path, name: str) -> Lab:
    if kind == "sqlite":
        return Lab(kind, "lab", f"sqlite:///{folder}/lab.db", folder)
    role = ROLES.get(kind, "")
    database = support.database_named(name, user=role, password=PASSWORD if role else "")
    return Lab(kind, name, database.url, folder, database)


def new_lab(kind: str, folder: Path, name: str, template: str) -> Lab:
    """A lab whose database is as `template`, or has no file yet."""
    if kind != "sqlite":
        owner = f'OWNER "{ROLES[kind]}"' if kind in ROLES else ""
        support.server().rows(f'CREATE DATABASE "{name}" TEMPLATE "{template}" {owner} STRATEGY FILE_COPY')
    return lab_at(kind, folder, name)


@pytest.fixture
def make_lab(
    template: Callable[[str], Lab], statements_of_migrate: Path, tmp_path: Path
) -> Iterator[Callable[[str], Lab]]:
    made: list[Lab] = []

    def make(kind: str) -> Lab:
        original = template(kind)
        folder = tmp_path / f"lab{len(made)}"
        folder.mkdir()
        lab = new_lab(kind, folder, support.new_name(), original.name)
        lab.statements = str(statements_of_migrate)
        if kind == "sqlite":
            shutil.copy(original.file, lab.file)
        made.append(lab)
        return lab

    yield make
    for lab in made:
        lab.end()
        if lab.database:
            drop_all(lab.name)


@pytest.fixture(params=["postgresql", "sqlite"])
def lab(request: pytest.FixtureRequest, make_lab: Callable[[str], Lab]) -> Lab:
    return make_lab(request.param)


@pytest.fixture
def postgres_lab(make_lab: Callable[[str], Lab]) -> Lab:
    return make_lab("postgresql")


@pytest.fixture
def sqlite_lab(make_lab: Callable[[str], Lab]) -> Lab:
    return make_lab("sqlite")
