"""A HomeRack with the demo lab for each test, on each kind of database."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.backups.postgresql.support import drop as drop_all
from tests.engine_migration import support
from tests.operations.harness import Lab

PASSWORD = "kept-secret-by-the-tests"


@pytest.fixture(scope="session")
def roles() -> Iterator[dict[str, str]]:
    """The role that each kind of lab on PostgreSQL connects as; none is a superuser, and one may not make databases."""
    names = {"postgresql": f"ordinary_{support.new_name()}", "within": f"small_{support.new_name()}"}
    for kind, name in names.items():
        option = "CREATEDB" if kind == "postgresql" else "NOCREATEDB"
        support.server().rows(f"CREATE ROLE {name} LOGIN {option} PASSWORD '{PASSWORD}'")
    yield names
    for name in names.values():
        support.server().rows(f"DROP ROLE {name}")


def migrated(lab: Lab) -> Lab:
    lab.do("migrate", "--verbosity", "0", "--skip-checks")
    lab.do("load_demo")
    return lab


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory, roles: dict[str, str]) -> Iterator[Callable[[str], Lab]]:
    """A lab of each kind to make others from; made when it is first wanted."""
    made: dict[str, Lab] = {}

    def template(kind: str) -> Lab:
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            made[kind] = migrated(new_lab(kind, folder, roles.get(kind, "")))
        return made[kind]

    yield template
    for lab in made.values():
        if lab.database:
            drop_all(lab.name)


def new_lab(kind: str, folder: Path, role: str = "", template: str = "template0") -> Lab:
    """A lab whose database is empty, or as `template`."""
    if kind == "sqlite":
        return Lab(kind, "lab", f"sqlite:///{folder}/lab.db", folder)
    name = support.new_name()
    owner = f'OWNER "{role}"' if role else ""
    support.server().rows(f'CREATE DATABASE "{name}" TEMPLATE "{template}" {owner}')
    database = support.database_named(name, user=role, password=PASSWORD if role else "")
    return Lab(kind, name, database.url, folder, database)


@pytest.fixture
def make_lab(templates: Callable[[str], Lab], tmp_path: Path, roles: dict[str, str]) -> Iterator[Callable[[str], Lab]]:
    made: list[Lab] = []

    def make(kind: str) -> Lab:
        template = templates(kind)
        folder = tmp_path / f"lab{len(made)}"
        folder.mkdir()
        lab = new_lab(kind, folder, roles.get(kind, ""), template.name)
        if kind == "sqlite":
            shutil.copy(template.file, lab.file)
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
