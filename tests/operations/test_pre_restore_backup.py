"""The pre-restore backup, which is made of the previous database after the swap where whole databases are swapped."""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.backups.postgresql.support import drop, give_tables
from tests.engine_migration.support import database_named, end_lock_session, new_name, server
from tests.notifications.conftest import Receiver, receiver
from tests.operations.harness import Command, Lab
from tests.operations.test_suspicious_backups import delete_rows, shell, suspicions

__all__ = ["receiver"]

CHANGE = "UPDATE racks SET name = 'Changed'"
CHANGED = "SELECT count(*) FROM racks WHERE name = 'Changed'"
AFTER = ("snapshot", "dump", "verify", "published")
"""The moments after the swap at which a restore is killed; `published`: the backup is complete, and not yet marked."""
NOT_BACKED_UP = "has no verified backup yet. Nothing was changed."


@pytest.fixture
def lab(postgres_lab: Lab) -> Lab:
    """One with a backup, and a change since."""
    postgres_lab.back_up()
    postgres_lab.rows(CHANGE)
    return postgres_lab


def name_of(lab: Lab) -> str:
    """The oldest backup."""
    return lab.listed()[-1]


def previous_of(lab: Lab) -> Any:
    return lab.run_json("list_backups")["previous"]


def manifest_of(lab: Lab, name: str) -> Any:
    return json.loads((lab.backups / f"{name}.json").read_text())


def stages_of(lab: Lab, kind: str) -> list[str]:
    """Of the run of this kind that ended last."""
    events = [event for event in lab.events() if event["kind"] == kind and event["event"] == "ended"]
    return [stage["stage"] for stage in events[-1]["stages"]]


def killed(lab: Lab, stage: str) -> None:
    """A restore that is killed at this stage."""
    restore = lab.start("restore_database", name_of(lab), "--yes", stop_at=stage).until_stopped()
    assert restore.kill().code == -9


def require_refused(lab: Lab, *arguments: str, words: str, code: int = 1) -> str:
    outcome = lab.manage(*arguments)
    assert (outcome.code, words in outcome.error) == (code, True), outcome
    return outcome.error


def expire(lab: Lab) -> None:
    """The task that drops expired databases, for which this one has expired."""
    shell(
        lab,
        "import dataclasses\n"
        "from ops import stored_settings, tasks\n"
        "retained = stored_settings.retained\n"
        "stored_settings.retained = lambda **given: dataclasses.replace(retained(**given), undo_keep_days=0)\n"
        "tasks.drop_expired_previous()",
    )


def assert_due(lab: Lab) -> None:
    """Nothing drops the previous database."""
    assert previous_of(lab)["backup_due"] is True
    assert "It has no verified backup yet. Make one: manage.py backup_database" in lab.run("list_backups").out
    error = require_refused(lab, "restore_database", name_of(lab), "--yes", words=NOT_BACKED_UP)
    for command in ("backup_database", "undo_restore", "drop_previous_database --without-backup"):
        assert f"manage.py {command}" in error
    require_refused(lab, "drop_previous_database", "--yes", words=NOT_BACKED_UP)
    expire(lab)
    assert previous_of(lab)["backup_due"] is True


def assert_is_backup_of(lab: Lab, name: str, content: Any) -> None:
    """The backup `name` restores `content`."""
    lab.run("restore_database", name, "--yes", "--no-pre-backup")
    assert lab.content() == content


def test_previous_database_is_backed_up_after_the_swap_and_the_backup_restores_it(lab: Lab) -> None:
    lab.rows(f"COMMENT ON DATABASE \"{lab.name}\" IS 'the lab'")
    changed, name = lab.content(), name_of(lab)
    output = lab.run("restore_database", name, "--yes").out
    assert "1. The live database is read completely, and the space for a backup of it is checked.\n" in output
    assert "3. Writes are blocked for about a second, while the restored database goes live.\n" in output
    stages = stages_of(lab, "restore")
    assert stages[0] == "read live database"
    assert stages[stages.index("cut-over") :] == ["cut-over", "snapshot", "dump", "verify"]
    made = lab.listed()[0]
    assert f"The database as it was before the restore was backed up as {made}." in output
    previous, manifest = previous_of(lab), manifest_of(lab, made)
    assert previous["backup_due"] is False
    assert (manifest["origin"], manifest["database"], manifest["run"]) == ("pre-restore", lab.name, previous["run"])
    # The time of its rows: a backup of the restored database is newer, whenever this one was made.
    assert manifest["taken_at"] == previous["replaced_at"]
    assert manifest["properties"]["comment"] == "the lab"
    assert manifest["verifications"][0]["level"] == "read"
    assert lab.rows("SELECT name, origin FROM ops_backup ORDER BY taken_at DESC LIMIT 1") == [(made, "pre-restore")]
    assert lab.runs() == [("backup", "succeeded"), ("restore", "succeeded")]
    kept = lab.run_json("prune_backups", "--retention-days", "0", "--dry-run")["kept"]
    assert kept[made] == "kept because an undo needs it"
    assert_is_backup_of(lab, made, changed)


def stop_after_the_swap(lab: Lab) -> Command:
    return lab.start("restore_database", name_of(lab), "--yes", stop_at="verify").until_stopped()


def test_site_works_while_the_previous_database_is_backed_up_and_other_runs_wait(lab: Lab) -> None:
    restore = stop_after_the_swap(lab)
    assert lab.value(CHANGED) == 0
    lab.rows("UPDATE racks SET name = 'Meanwhile'")
    assert not list(lab.backups.glob(".maintenance"))
    require_refused(lab, "backup_database", words="is running", code=4)
    # The row is written again since the swap.
    assert lab.rows("SELECT status, stage FROM ops_run WHERE kind = 'restore'") != [("running", "write history")]
    previous = f"{lab.name}_ops_undo"
    others = f"SELECT application_name FROM pg_stat_activity WHERE datname = '{previous}'"
    assert {name for (name,) in lab.rows(others)} <= {"ops", "pg_dump"}
    assert restore.resume().wait().code == 0
    assert lab.value("SELECT count(*) FROM racks WHERE name <> 'Meanwhile'") == 0
    assert previous_of(lab)["backup_due"] is False


@pytest.mark.parametrize(
    "stage", [pytest.param(name, marks=[] if name == "dump" else pytest.mark.slow) for name in AFTER]
)
def test_backup_of_a_killed_restore_is_made_by_the_next_backup_run(lab: Lab, stage: str) -> None:
    changed, name = lab.content(), name_of(lab)
    killed(lab, stage)
    assert lab.value(CHANGED) == 0
    assert_due(lab)
    done = lab.run_json("backup_database")
    assert lab.runs()[1:] == [("restore", "succeeded"), ("backup", "succeeded")]
    assert lab.listed() == [done["backup"], done["pre_restore"], name]
    assert previous_of(lab)["backup_due"] is False
    assert not [file for file in lab.files() if "partial" in file]
    assert lab.run_json("prune_backups")["recovered"] == []
    lab.run("undo_restore", "--yes")
    assert lab.content() == changed
    lab.run("undo_restore", "--yes")
    assert_is_backup_of(lab, done["pre_restore"], changed)


@pytest.mark.slow
def test_undo_cancels_a_backup_that_is_due(lab: Lab) -> None:
    changed = lab.content()
    killed(lab, "dump")
    assert previous_of(lab)["backup_due"] is True
    lab.run("undo_restore", "--yes")
    assert lab.content() == changed
    assert previous_of(lab)["backup_due"] is False
    assert lab.run_json("backup_database")["pre_restore"] == ""
    lab.run("restore_database", name_of(lab), "--yes")


@pytest.fixture
def own_role(make_lab: Any) -> Iterator[tuple[Lab, str]]:
    """A lab as `lab`, and the role that owns it, which no other lab has."""
    lab, role, password = make_lab("postgresql"), f"role_{new_name()}", "kept-secret-by-the-tests"
    server().rows(f"CREATE ROLE {role} LOGIN CREATEDB PASSWORD '{password}'")
    server().rows(f'ALTER DATABASE "{lab.name}" OWNER TO {role}')
    give_tables(database_named(lab.name), role)
    lab.database = database_named(lab.name, user=role, password=password)
    lab.url = lab.database.url
    lab.back_up()
    lab.rows(CHANGE)
    yield lab, role
    lab.end()
    drop(lab.name)
    server().rows(f"DROP ROLE {role}")


@pytest.mark.slow
def test_backup_that_is_due_is_made_by_a_role_that_may_not_create_databases_any_more(own_role: Any) -> None:
    lab, role = own_role
    changed = lab.content()
    killed(lab, "dump")
    server().rows(f"ALTER ROLE {role} NOCREATEDB")
    assert_due(lab)
    error = require_refused(lab, "undo_restore", "--yes", words="may not rename databases any more")
    assert f'As an administrator: ALTER ROLE "{role}" CREATEDB;' in error
    asked = "from ops.health.backups import find_backup_due; print(find_backup_due('default'))"
    assert f"{lab.name}_ops_undo" in shell(lab, asked)
    made = lab.run_json("backup_database")["pre_restore"]
    assert made in lab.listed()
    assert previous_of(lab)["backup_due"] is False
    assert shell(lab, asked) == "None\n"
    lab.run("drop_previous_database", "--yes")
    assert previous_of(lab) is None
    assert_is_backup_of(lab, made, changed)


@pytest.mark.slow
def test_due_backup_can_be_given_up_by_a_role_that_may_not_create_databases_any_more(own_role: Any) -> None:
    lab, role = own_role
    killed(lab, "dump")
    server().rows(f"ALTER ROLE {role} NOCREATEDB")
    lab.run("drop_previous_database", "--yes", "--without-backup")
    assert previous_of(lab) is None
    assert lab.run_json("backup_database")["pre_restore"] == ""
    lab.run("restore_database", name_of(lab), "--yes")


@pytest.mark.slow
def test_restore_is_undone_by_a_role_that_may_create_databases_since(own_role: Any) -> None:
    lab, role = own_role
    server().rows(f"ALTER ROLE {role} NOCREATEDB")
    changed = lab.content()
    lab.run("restore_database", name_of(lab), "--yes")
    assert lab.content() != changed
    server().rows(f"ALTER ROLE {role} CREATEDB")
    assert previous_of(lab)["name"] == "ops_undo"
    lab.run("undo_restore", "--yes")
    assert lab.content() == changed
    expire(lab)
    assert previous_of(lab) is None


@pytest.mark.slow
def test_previous_database_can_be_given_up_without_its_backup(lab: Lab) -> None:
    killed(lab, "dump")
    lab.run("drop_previous_database", "--yes", "--without-backup")
    assert previous_of(lab) is None
    assert lab.run_json("backup_database")["pre_restore"] == ""
    lab.run("restore_database", name_of(lab), "--yes")


def test_restore_is_done_although_its_backup_does_not_fit_on_the_disk(lab: Lab) -> None:
    outcome = lab.manage("restore_database", name_of(lab), "--yes", "--json", largest_file=lab.full_disk)
    assert outcome.code == 3, outcome
    assert outcome.json["status"] == "done"
    assert outcome.json["pre_backup"] == ""
    assert "File too large" in outcome.json["pre_backup_error"]
    assert "and the previous database was NOT backed up. " in outcome.error
    assert "Every backup run tries it again; to do that now: manage.py backup_database" in outcome.error
    assert lab.value(CHANGED) == 0
    assert lab.runs()[-1] == ("restore", "succeeded")
    assert_due(lab)
    # It is tried again with the next backup, which is made in any case.
    failed = lab.manage("backup_database", "--json", largest_file=lab.full_disk)
    assert failed.code == 1
    assert lab.run_json("backup_database")["pre_restore"] in lab.listed()
    assert previous_of(lab)["backup_due"] is False


def test_live_backup_is_made_although_the_one_that_is_due_fails(lab: Lab) -> None:
    killed(lab, "dump")
    previous = database_named(f"{lab.name}_ops_undo")
    previous.rows("ALTER TABLE racks ENABLE ROW LEVEL SECURITY; ALTER TABLE racks FORCE ROW LEVEL SECURITY")
    outcome = lab.manage("backup_database", "--json")
    assert outcome.code == 3, outcome
    assert outcome.json["backup"] in lab.listed()
    assert "Row level security hides rows of racks" in outcome.json["pre_restore_error"]
    assert lab.runs()[-1] == ("backup", "failed")
    assert previous_of(lab)["backup_due"] is True


@pytest.mark.slow
def test_live_backup_is_made_although_the_role_may_not_connect_to_the_previous_database(lab: Lab) -> None:
    killed(lab, "dump")
    server().rows(f'REVOKE CONNECT ON DATABASE "{lab.name}_ops_undo" FROM PUBLIC, ordinary')
    outcome = lab.manage("backup_database", "--json")
    assert outcome.code == 3, outcome
    assert outcome.json["backup"] in lab.listed()
    assert "permission denied for database" in outcome.json["pre_restore_error"]
    previous = previous_of(lab)
    assert (previous["backup_due"], previous["size"]) == (True, None)
    assert f"{lab.name}_ops_undo, size unknown." in lab.run("list_backups").out
    dropped = lab.run("drop_previous_database", "--yes", "--without-backup").out
    assert f"{lab.name}_ops_undo was dropped.\n" in dropped
    assert previous_of(lab) is None


def test_session_that_is_lost_after_the_swap_leaves_the_restore_done(lab: Lab) -> None:
    restore = lab.start("restore_database", name_of(lab), "--yes", "--json", stop_at="in place").until_stopped()
    end_lock_session(lab.name)
    outcome = restore.resume().wait()
    assert outcome.code == 3, outcome
    assert (outcome.json["status"], "connection already closed" in outcome.json["pre_backup_error"]) == ("done", True)
    assert "The restore is done, and the previous database was NOT backed up. " in outcome.error
    assert lab.runs()[-1] == ("restore", "succeeded")
    assert lab.value(CHANGED) == 0
    assert_due(lab)
    lab.run("backup_database")
    assert previous_of(lab)["backup_due"] is False


def test_no_fault_of_the_backup_after_the_swap_makes_the_restore_fail(lab: Lab) -> None:
    code = f"""
from django.core.management import call_command
from ops.backups import create
def read_back(**_):
    raise MemoryError("out of memory")
create.read_back = read_back
try:
    call_command("restore_database", "{name_of(lab)}", yes=True)
except SystemExit as end:
    print(end.code)
"""
    assert shell(lab, code).splitlines()[-1] == "3"
    assert lab.runs()[-1] == ("restore", "succeeded")
    assert_due(lab)


def test_decision_that_cannot_be_recorded_leaves_the_restore_done(lab: Lab) -> None:
    delete_rows(lab)
    suspicious = lab.back_up()
    assert suspicions(lab)[suspicious] == "undecided"
    code = f"""
from django.core.management import call_command
from ops.backups.locations.catalog import BackupCatalog
def change(*_, **_changes):
    raise OSError("No space left on device")
BackupCatalog.change = change
call_command("restore_database", "{name_of(lab)}", yes=True)
"""
    shell(lab, code)
    assert lab.runs()[-1] == ("restore", "succeeded")
    assert suspicions(lab)[suspicious] == "undecided"
    assert "It was not decided whether suspicious backups are wrong: " in str(lab.rows("SELECT log FROM ops_run"))


def test_server_that_ends_the_sessions_of_the_backup_leaves_the_restore_done(lab: Lab) -> None:
    restore = lab.start("restore_database", name_of(lab), "--yes", "--json", stop_at="dump").until_stopped()
    sessions = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{lab.name}_ops_undo'"
    assert lab.rows(sessions)
    outcome = restore.resume().wait()
    assert outcome.code == 3, outcome
    assert outcome.json["pre_backup_error"]
    assert lab.runs()[-1] == ("restore", "succeeded")
    assert previous_of(lab)["backup_due"] is True
    assert lab.run_json("backup_database")["pre_restore"]


def test_interrupted_backup_after_the_swap_says_that_the_restore_is_complete(lab: Lab) -> None:
    restore = stop_after_the_swap(lab)
    os.kill(restore.pid, signal.SIGTERM)
    outcome = restore.resume().wait()
    assert outcome.code == 130, outcome
    assert "Interrupted after the restore, which is complete. The previous database is not backed up yet" in (
        outcome.error
    )
    assert lab.runs()[-1] == ("restore", "succeeded")
    assert previous_of(lab)["backup_due"] is True
    (event,) = [event for event in lab.events() if event["kind"] == "restore" and event["event"] == "ended"]
    assert event["result"]["previous"]["backup_due"] is True


@pytest.mark.slow
def test_backup_first_keeps_the_order_and_leaves_nothing_due(lab: Lab) -> None:
    name, changed = name_of(lab), lab.content()
    arguments = ("restore_database", name, "--yes", "--backup-first")
    assert lab.start(*arguments, stop_at="dump").until_stopped().kill().code == -9
    assert lab.content() == changed
    assert previous_of(lab) is None
    output = lab.run(*arguments).out
    assert "2. Writes are blocked while the live database is backed up" in output
    stages = stages_of(lab, "restore")
    assert stages[-5:] == ["snapshot", "dump", "verify", "write history", "cut-over"]
    assert previous_of(lab)["backup_due"] is False
    assert_is_backup_of(lab, lab.listed()[0], changed)


@pytest.mark.parametrize("kind", ["schema", "sqlite"])
def test_database_that_is_not_swapped_as_a_whole_is_backed_up_first(make_lab: Any, kind: str) -> None:
    lab = make_lab(kind)
    name = lab.back_up()
    lab.rows(CHANGE)
    lab.run("restore_database", name, "--yes")
    assert stages_of(lab, "restore")[-5:] == ["snapshot", "dump", "verify", "write history", "cut-over"]
    assert lab.run_json("backup_database")["pre_restore"] == ""


def test_restore_is_refused_without_space_for_the_backup_before_anything_changes(lab: Lab) -> None:
    changed = lab.content()
    code = f"""
from ops.backups.locations.catalog import BackupCatalog
from django.core.management import CommandError, call_command
BackupCatalog.free_bytes = lambda _self: 1000
try:
    call_command("restore_database", "{name_of(lab)}", yes=True)
except CommandError as error:
    print(error)
"""
    error = shell(lab, code)
    assert "The database could not be backed up before the restore: The backup needs about " in error
    assert "--no-pre-backup" in error
    assert lab.content() == changed
    assert previous_of(lab) is None
    assert stages_of(lab, "restore") == ["read live database"]


def test_restore_is_refused_before_anything_changes_where_only_the_digests_find_the_fault(lab: Lab) -> None:
    """As with text that is not in UTF-8 in a database of the encoding SQL_ASCII, which pg_dump writes as it is."""
    changed = lab.content()
    code = f"""
import time
from psycopg2 import errors
from ops.backups.engines.postgresql import snapshot
from django.core.management import CommandError, call_command
def read_digests(*_, **__):
    time.sleep(1)
    raise errors.CharacterNotInRepertoire("invalid byte sequence")
snapshot.read_digests = read_digests
try:
    call_command("restore_database", "{name_of(lab)}", yes=True)
except CommandError as error:
    print(error)
"""
    error = shell(lab, code)
    assert "The database could not be backed up before the restore: A text in " in error
    assert lab.content() == changed
    assert previous_of(lab) is None
    assert stages_of(lab, "restore") == ["read live database"]


@pytest.mark.slow
def test_loss_is_judged_as_of_the_swap_when_the_backup_is_made_later(lab: Lab) -> None:
    full = name_of(lab)
    delete_rows(lab)
    killed(lab, "dump")
    done = lab.run_json("backup_database")
    assert suspicions(lab) == {full: "", done["pre_restore"]: "wrong", done["backup"]: ""}
    # The restored database is not compared with the one that it replaced.
    after = lab.back_up()
    assert suspicions(lab)[after] == ""


@pytest.mark.slow
def test_worker_makes_the_backup_of_a_killed_restore_once(lab: Lab) -> None:
    reconcile = "from ops import tasks; tasks.reconcile()"
    restore = stop_after_the_swap(lab)
    shell(lab, reconcile)
    assert ("backup", "succeeded") not in lab.runs()[1:]
    restore.kill()
    shell(lab, reconcile)
    assert lab.runs() == [("backup", "succeeded"), ("restore", "succeeded"), ("backup", "succeeded")]
    assert previous_of(lab)["backup_due"] is False
    shell(lab, reconcile)
    assert len(lab.runs()) == 3
    expire(lab)
    assert previous_of(lab) is None


def test_backup_that_failed_is_reported_until_the_next_backup_run_makes_it(lab: Lab, receiver: Receiver) -> None:
    notified = {"NOTIFY_URLS": f"json://{receiver.host}/hook"}

    def titles() -> list[str]:
        """Without those of schedules: no beat runs, and the database may be some minutes old."""
        titles = [json.loads(body)["title"].partition(" on ")[0] for _, _, body in receiver.requests]
        return [title for title in titles if not title.endswith("was not started")]

    assert lab.manage("restore_database", name_of(lab), "--yes", largest_file=lab.full_disk).code == 3
    # A worker tries it again with a backup only.
    shell(lab, "from ops import tasks; tasks.reconcile()", **notified)
    assert lab.runs()[-1] == ("restore", "succeeded")
    due = "HomeRack: The database that a restore replaced is not backed up"
    assert titles() == [due]
    found = lab.manage("check_database", "--json")
    assert (found.code, found.json["checks"]["backups"]["error"]) == (3, "PreRestoreBackupDue")
    assert f"({lab.name}_ops_undo) has no verified backup yet. Until then" in found.json["checks"]["backups"]["detail"]
    shell(lab, "from ops import tasks; tasks.back_up()", **notified)
    assert previous_of(lab)["backup_due"] is False
    assert titles() == [due, "HomeRack: No pre-restore backup is due any more"]
    assert "backups" not in {
        name for name, check in lab.manage("check_database", "--json").json["checks"].items() if check.get("error")
    }
