"""The machine that all tests of this folder share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.machine import LEGACY, SCRIPT, Machine


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("machine"))
    if remains := machine.remains():
        pytest.fail(f"The engine is not clean; the tests would remove {', '.join(remains)}")
    machine.configure()
    yield machine
    machine.clean()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of HomeRack 1.0.1, readable by its owner only."""
    path = tmp_path_factory.mktemp("old") / "legacy_lab.db"
    path.write_bytes(LEGACY.read_bytes())
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def deployed(machine: Machine, lab: Path) -> Machine:
    """The machine that `test_deployment` has left, or else a first deployment."""
    if not machine.remains():
        ended = machine.run(SCRIPT, "--sqlite-path", str(lab))
        assert ended.code == 0, ended.text
    return machine
