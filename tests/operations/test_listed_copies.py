"""Where the copies of backups are, in `list_backups` and in the rows of the admin."""

import json
import shutil

import pytest

from tests.operations.harness import Lab, sqlite_first

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO0CjY+UT1iBZ0XtXOSmEoUFRbNOlr5JsnPnILhLfL8v"
ROWS = """
import json
from ops.models import Backup
print(json.dumps(list(Backup.objects.values("copies", "copy_count"))))
"""


@pytest.fixture
def places(lab: Lab) -> dict[str, str]:
    """Two more locations: a plain directory on the same disk, and an SFTP server that does not answer."""
    return {
        "BACKUP_LOCATIONS": "disk far",
        "BACKUP_LOCATION_DISK": str(lab.folder / "disk"),
        "BACKUP_LOCATION_DISK_ENCRYPTED": "false",
        "BACKUP_LOCATION_FAR": "sftp://ada@127.0.0.1:1/backups",
        "BACKUP_LOCATION_FAR_ENCRYPTED": "false",
        "BACKUP_LOCATION_FAR_HOST_KEY": HOST_KEY,
        "BACKUP_LOCATION_FAR_PASSWORD": "a password of the tests",
    }


@sqlite_first
def test_list_names_the_locations_of_each_backup(lab: Lab, places: dict[str, str]) -> None:
    name = lab.back_up()
    assert " · in " not in lab.run("list_backups").out

    lab.manage("copy_backups", "--location", "disk", **places)
    listed = lab.run("list_backups", **places).out

    assert " · in local, disk · " in listed
    assert "The newest backup has 2 good copies instead of 3 so far: no copy in far." in listed
    without_far = {**places, "BACKUP_LOCATIONS": "disk"}
    assert (
        "The newest verified backup has 2 copies in 1 location, none off-site."
        in lab.run("list_backups", **without_far).out
    )
    (backup,) = lab.run_json("list_backups", **places)["backups"]
    assert backup["name"] == name
    assert [(copy["location"], copy["error"], copy["answers"]) for copy in backup["copies"]] == [
        ("local", "", True),
        ("disk", "", True),
    ]
    assert all(copy["verified_at"] and copy["size"] == backup["manifest"]["size"] for copy in backup["copies"])


@sqlite_first
def test_list_names_a_location_that_fails_without_its_password(lab: Lab, places: dict[str, str]) -> None:
    lab.back_up()
    assert lab.manage("copy_backups", **places).code == 1

    listed = lab.run("list_backups", **places).out

    assert "instead of 3 so far: no copy in far." in listed
    assert "far has failed since" in listed
    assert places["BACKUP_LOCATION_FAR_PASSWORD"] not in listed


@sqlite_first
def test_damaged_and_unreachable_copies_do_not_count(lab: Lab, places: dict[str, str]) -> None:
    places = {**places, "BACKUP_LOCATIONS": "disk"}
    name = lab.back_up()
    lab.run("copy_backups", **places)
    copy = lab.folder / "disk" / name
    copy.write_bytes(copy.read_bytes()[:-1] + b"x")
    assert lab.manage("verify_backup", name, "--location", "disk", **places).code == 3
    assert " · in local, disk (damaged) · " in (listed := lab.run("list_backups", **places).out)
    assert "The newest backup has 1 good copy instead of 2 so far: damaged in disk." in listed

    lab.run("copy_backups", **places)
    shutil.rmtree(lab.folder / "disk")
    assert lab.manage("copy_backups", **places).code == 1
    assert " · in local, disk (unreachable) · " in (listed := lab.run("list_backups", **places).out)
    assert "The newest backup has 1 good copy instead of 2 so far: unreachable in disk." in listed


@sqlite_first
def test_rows_have_the_copies_that_the_list_has(lab: Lab, places: dict[str, str]) -> None:
    lab.back_up()
    places = {**places, "BACKUP_LOCATIONS": "disk"}
    lab.run("copy_backups", **places)
    (listed,) = lab.run_json("list_backups", **places)["backups"]

    (row,) = json.loads(lab.run("shell", "--no-imports", "--command", ROWS, **places).out)

    assert row == {"copies": listed["copies"], "copy_count": 2}
