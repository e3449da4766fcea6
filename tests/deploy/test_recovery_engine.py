"""A deployed machine is lost; a new deployment recovers its data from a storage location with the recovery kit."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.backups.encryption import new_identity, recipient_of
from tests.deploy.machine import SCRIPT, Machine, engine_answers

pytestmark = [pytest.mark.deploy, pytest.mark.skipif(not engine_answers(), reason="no Docker engine answers")]

FAR = "/var/lib/homerack/uploads/far"
"""In a volume. It is copied out of the container before the machine is lost."""

NAMES = "SELECT name FROM ops_backup ORDER BY taken_at DESC"


def manage(machine: Machine, *command: str) -> str:
    return machine.docker("exec", "homerack-web", "python", "manage.py", *command)


@pytest.fixture
def empty_machine(machine: Machine) -> Iterator[Machine]:
    """Nothing is deployed before, and nothing is afterwards."""
    machine.clean()
    yield machine
    machine.clean()
    machine.configure()


def test_new_deployment_recovers_rows_and_history(empty_machine: Machine, tmp_path: Path) -> None:
    machine = empty_machine
    secret_key = new_identity()
    recipients = recipient_of(secret_key)
    machine.configure(BACKUP_LOCATIONS="far", BACKUP_LOCATION_FAR=FAR, BACKUP_AGE_RECIPIENTS=recipients)
    ended = machine.run(SCRIPT)
    assert ended.code == 0, ended.text
    manage(machine, "load_demo")
    manage(machine, "backup_database", "--note", "the last one")
    manage(machine, "copy_backups")
    names = machine.query(NAMES).split()
    users = machine.query("SELECT count(*) FROM accounts_user")
    folder = tmp_path / "disk"
    machine.docker("cp", f"homerack-web:{FAR}", str(folder))
    kit = tmp_path / "kit.txt"
    signing_key = machine.value_of("BACKUP_SIGNING_KEY")
    kit.write_text(f"{secret_key}\nBACKUP_SIGNING_KEY={signing_key}\n")
    machine.clean()
    keys = {"BACKUP_SIGNING_KEY": "signing-key-of-the-new-machine-0123456789", "BACKUP_AGE_IDENTITY": new_identity()}
    machine.configure(**keys)

    ended = machine.run(SCRIPT, "--recover-from", str(folder), "--identity-file", str(kit))

    assert ended.code == 0, ended.text
    assert re.search(rf"✓ Recover the database from {folder} \d+\.\d s", ended.text)
    assert f"Recovered {names[0]} into homerack" in ended.text
    assert "healthy on postgresql" in ended.text
    assert machine.query("SELECT count(*) FROM devices") == "40"
    assert machine.query("SELECT count(*) FROM accounts_user") == users
    assert set(names) < set(machine.query(NAMES).split())
    assert machine.query("SELECT count(*) FROM ops_run WHERE kind = 'restore' AND status = 'succeeded'") == "1"
    assert machine.query("SELECT count(*) FROM ops_run WHERE kind = 'backup'") >= "2"
    written = machine.folder.joinpath("deploy.log").read_text() + machine.environment_file.read_text()
    assert secret_key not in written
    assert signing_key not in written

    again = machine.run(SCRIPT, "--recover-from", str(folder), "--identity-file", str(kit), "--force")
    assert again.code == 1
    assert "PostgreSQL is not empty: only an empty database is recovered." in again.text
