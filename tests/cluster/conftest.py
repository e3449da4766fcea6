"""The cluster, the site on it, and the table of what was measured."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.databases.postgres.connection import parse_url
from tests.cluster import report
from tests.cluster.cluster import Cluster
from tests.cluster.programs import ProgramMissing, Programs, find_or_install
from tests.cluster.report import Measured
from tests.cluster.site import Site
from tests.engine_migration.support import Database, new_name
from tests.operations.harness import Lab


@pytest.fixture(scope="session")
def programs() -> Programs:
    try:
        return find_or_install()
    except ProgramMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def running_cluster(programs: Programs) -> Iterator[Cluster]:
    cluster = Cluster.start(programs)
    yield cluster
    cluster.stop()


@pytest.fixture
def cluster(running_cluster: Cluster) -> Iterator[Cluster]:
    """Three servers in synchronous mode. Whatever a test stops continues after it, even if the test fails."""
    running_cluster.heal()
    running_cluster.configure(synchronous_mode=True, failsafe_mode=True)
    yield running_cluster
    running_cluster.heal()


@pytest.fixture(scope="session")
def site(running_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """HomeRack, whose address has all hosts."""
    site = Site.start(running_cluster.url(), tmp_path_factory.mktemp("site"))
    yield site
    site.stop()


@pytest.fixture(scope="session")
def proxied_site(running_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """HomeRack behind HAProxy."""
    site = Site.start(running_cluster.haproxy_url(), tmp_path_factory.mktemp("proxied"))
    yield site
    site.stop()


FIGURES = pytest.StashKey[dict[str, Measured]]()


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> dict[str, Measured]:
    """By the name of the fault."""
    return request.config.stash.setdefault(FIGURES, {})


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table of what was measured, and keep it with the variable KEEP_FIGURES."""
    if found := config.stash.get(FIGURES, {}):
        terminalreporter.section("faults")
        terminalreporter.line(report.table(found))
        terminalreporter.line(f"{report.minutes(found):.1f} minutes")
        if os.environ.get("KEEP_FIGURES"):
            report.keep(found)


@pytest.fixture(scope="session")
def lab_template(running_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database on the cluster with the demo lab, to make others from."""
    running_cluster.heal()
    lab = make_lab(running_cluster, "lab_template", tmp_path_factory.mktemp("lab_template"))
    lab.run("migrate", "--verbosity", "0")
    lab.run("load_demo")
    return lab.name


@pytest.fixture
def lab(cluster: Cluster, lab_template: str, tmp_path: Path) -> Iterator[Lab]:
    """A HomeRack with the demo lab on the cluster, operated through ``manage.py``."""
    lab = make_lab(cluster, new_name(), tmp_path, template=lab_template)
    yield lab
    lab.end()


def make_lab(cluster: Cluster, name: str, folder: Path, *, template: str = "template0") -> Lab:
    cluster.execute(f"CREATE DATABASE {name} OWNER homerack TEMPLATE {template}")
    url = cluster.url(name)
    return Lab("postgresql", name, url, folder, Database(address=parse_url(url), url=url))
