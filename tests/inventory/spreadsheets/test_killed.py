"""A process that is killed while it writes has changed nothing."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.celery.support import environment
from tests.engine_migration import support
from tests.support import forked

RACKS = 6000


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def variables(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a process with a migrated, empty database."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated") / "homerack.db", tmp_path)
        yield environment(tmp_path)
        return
    name = support.new_name()
    database = support.create(name, request.getfixturevalue("schema"))
    yield environment(tmp_path, DATABASE_URL=database.url)
    support.drop(name)


def test_a_killed_import_has_changed_nothing(variables: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "racks.csv"
    file.write_text("name\n" + "".join(f"Rack {number}\n" for number in range(RACKS)))
    command = ["manage.py", "import_inventory", str(file), "--yes", "--verbosity", "2"]
    process = forked.start(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr
    seen = next(line for line in process.stderr if line.startswith("writing"))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert seen == f"writing: 1,000 of {RACKS:,}\n"
    export = tmp_path / "after"
    done = forked.run(["manage.py", "export_inventory", str(export), "--table", "racks"], env=variables)
    assert done.returncode == 0, done.stderr
    assert len((export / "racks.csv").read_text().splitlines()) == 1
