"""Back up, change, restore, undo and undo the undo by the commands, and compare the contents each time."""

from collections.abc import Callable

import pytest

from tests.operations.harness import Lab

SIGN_IN = """
from django.contrib.auth import get_user_model
from django.test import Client
person = get_user_model().objects.create_superuser("{name}@example.org", password="a long enough one")
client = Client()
client.force_login(person)
"""
CHANGES = (
    "UPDATE racks SET name = 'Renamed' WHERE id = (SELECT min(id) FROM racks)",
    "DELETE FROM connections",
    "UPDATE devices SET custom_name = 'changed'",
)


@pytest.fixture(params=["postgresql", "schema", "sqlite"])
def lab(request: pytest.FixtureRequest, make_lab: Callable[[str], Lab]) -> Lab:
    return make_lab(request.param)


def test_backup_restore_undo_and_redo_return_the_same_contents(lab: Lab) -> None:
    lab.run("shell", "-c", SIGN_IN.format(name="early"))
    before = lab.content()
    assert before["connections"][0] > 0
    made = lab.run("backup_database", "--note", "before the move")
    (name,) = lab.listed()
    assert f"Restore it with: manage.py restore_database {name}" in made.out

    for change in CHANGES:
        lab.rows(change)
    lab.rows("DELETE FROM django_session")
    lab.run("shell", "-c", SIGN_IN.format(name="late"))
    changed = lab.content()
    assert lab.value("SELECT count(*) FROM django_session") == 1

    restored = lab.run("restore_database", name, typed=f"{lab.name}\n")
    assert "1 user will be removed: late@example.org" in restored.out
    assert "All users will be signed out." in restored.out
    assert "No user will get more permissions." in restored.out
    assert lab.content() == before
    assert lab.value("SELECT count(*) FROM django_session") == 0
    assert lab.runs() == [("backup", "succeeded"), ("restore", "succeeded")]
    assert len(lab.listed()) == 2
    origins = "SELECT origin FROM ops_backup ORDER BY origin"
    assert lab.rows(origins) == [("manual",), ("pre-restore",)]
    assert lab.value("SELECT count(*) FROM ops_run WHERE requested_by LIKE '%@%' AND origin = 'command'") == 2

    entry = "SELECT description FROM history_changeset WHERE entry_point = 'restore'"
    assert lab.rows(entry) == [(f"Backup {name}",)]

    undone = lab.run("undo_restore", typed=f"{lab.name}\n")
    assert "Undid the restore of " in undone.out
    assert lab.content() == changed
    assert lab.rows(entry) == [("Undo of a restore",)]
    assert lab.value("SELECT count(*) FROM django_session") == 0
    assert lab.value("SELECT count(*) FROM ops_backup") == 2

    lab.run("undo_restore", typed=f"{lab.name}\n")
    assert lab.content() == before
    assert lab.runs() == [("backup", "succeeded"), ("restore", "succeeded"), *[("undo", "succeeded")] * 2]
    assert lab.value("SELECT count(*) FROM ops_backup") == 2

    lab.run("drop_previous_database", "--yes")
    assert lab.manage("undo_restore").error.startswith(
        "CommandError: There is nothing to undo: no previous database is kept"
    )
    assert lab.content() == before
    for path in (lab.backups, *lab.backups.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
