"""The machine that all tests here deploy on, one after the other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.machine import LEGACY, Machine


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("machine"))
    if remains := machine.remains():
        pytest.fail(f"The engine is not clean; these would be lost: {', '.join(remains)}")
    machine.configure()
    yield machine
    machine.clean()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The older HomeRack's file, readable by its owner only."""
    path = tmp_path_factory.mktemp("old") / "legacy_lab.db"
    path.write_bytes(LEGACY.read_bytes())
    path.chmod(0o600)
    return path
