"""Servers that are elsewhere, and a database with the demo lab, which is made once and copied."""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.support import Home
from tests.integration.tls_servers import GUARDED, PgBouncer, Server, pgbouncer, tls_server
from tests.support.bucket import S3

numbers = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    if not shutil.which("openssl"):
        pytest.skip("apt-get install openssl")
    with tls_server() as server:
        yield server


@pytest.fixture(scope="session")
def template(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database of 40 devices."""
    server.query(f"CREATE DATABASE template_lab OWNER {GUARDED}")
    home = Home(tmp_path_factory.mktemp("template"), DATABASE_URL=server.guarded_url("template_lab"))
    home.manage("migrate", "--verbosity", "0")
    home.manage("load_demo")
    return "template_lab"


@pytest.fixture
def database(server: Server, template: str) -> str:
    """The name of a copy of the template."""
    name = f"lab_{next(numbers)}"
    server.query(f"CREATE DATABASE {name} TEMPLATE {template} OWNER {GUARDED}")
    return name


@pytest.fixture(scope="session")
def bouncer(server: Server) -> Iterator[PgBouncer]:
    if not shutil.which("pgbouncer"):
        pytest.skip("apt-get install pgbouncer")
    with pgbouncer(server.postgres.port) as bouncer:
        yield bouncer


@pytest.fixture
def home(tmp_path: Path, server: Server, database: str, s3: S3) -> Home:
    """A host whose backups are copied to S3."""
    return Home(tmp_path, DATABASE_URL=server.url(database), **s3.variables())
