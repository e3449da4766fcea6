"""Failures of backups and restores: killed processes, full disks, concurrent operations, missing privileges."""

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.engine_migration.support import server
from tests.operations.harness import Command, Lab, postgresql_first, sqlite_first
from tests.support.postgres import children_of

LARGE = "CREATE TABLE large AS SELECT g AS id, repeat(md5(g::text), 4) AS text FROM generate_series(1, 150000) AS g"


def command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return ""


def dumping(command: Command) -> int | None:
    """The pg_dump process that the command has started."""
    return next((pid for pid in children_of(command.pid) if "pg_dump --no-password" in command_line(pid)), None)


def mid_dump(lab: Lab) -> tuple[Command, int]:
    """A stopped backup that has written a part of its file, and its running pg_dump."""
    command = lab.start("backup_database", "--no-compress")
    command.until(lambda: any(path.stat().st_size for path in lab.backups.glob("*.partial")))
    command.stop()
    pid = dumping(command)
    assert pid, "pg_dump has ended already"
    return command, pid


def assert_no_new_backup(lab: Lab, old: str, *, status: str = "failed") -> None:
    assert lab.listed() == [old]
    assert lab.files() == [old, f"{old}.json"]
    assert lab.runs()[-1] == ("backup", status)
    assert lab.run_json("verify_backup", "--latest")["recovered"] == []


def test_backup_with_killed_pg_dump_or_terminated_session_leaves_nothing(postgres_lab: Lab) -> None:
    old = postgres_lab.back_up()
    postgres_lab.rows(LARGE)
    command, pid = mid_dump(postgres_lab)
    os.kill(pid, signal.SIGKILL)
    outcome = command.resume().wait()
    assert outcome.code == 1
    assert "pg_dump was ended by signal 9" in outcome.error
    assert_no_new_backup(postgres_lab, old)

    command, _ = mid_dump(postgres_lab)
    ended = postgres_lab.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND query LIKE 'COPY %'"
    )
    assert ended == [(True,)]
    outcome = command.resume().wait()
    assert outcome.code == 1
    assert "pg_dump failed with exit code 1" in outcome.error
    assert_no_new_backup(postgres_lab, old)


def test_backup_on_a_full_disk_leaves_nothing(lab: Lab) -> None:
    old = lab.back_up()
    outcome = lab.manage("backup_database", largest_file=lab.full_disk)
    assert outcome.code == 1
    assert "Traceback" not in outcome.error
    assert_no_new_backup(lab, old)


def test_terminated_backup_leaves_nothing(lab: Lab) -> None:
    old = lab.back_up()
    backup = lab.start("backup_database", stop_at="verify").until_stopped()
    os.kill(backup.pid, signal.SIGTERM)
    outcome = backup.resume().wait()
    assert (outcome.code, outcome.error) == (130, "CommandError: Interrupted. The live database was not changed.\n")
    assert_no_new_backup(lab, old, status="interrupted")


@postgresql_first
def test_operation_during_another_is_refused(lab: Lab) -> None:
    name = lab.back_up()
    lab.run("restore_database", name, "--yes")
    listed, runs = lab.listed(), lab.runs()
    first = lab.start("backup_database", stop_at="dump").until_stopped()
    for arguments in (
        ["backup_database"],
        ["verify_backup", name],
        ["verify_backup", name, "--restore"],
        ["restore_database", name, "--yes"],
        ["restore_database", name, "--to", str(lab.folder / "other.db") if lab.kind == "sqlite" else "other"],
        ["undo_restore", "--yes"],
        ["drop_previous_database", "--yes"],
        ["prune_backups"],
    ):
        refused = lab.manage(*arguments)
        assert refused.code == 4, refused
        assert "backup by " in refused.error
        assert " since 20" in refused.error
        assert "Wait until it has ended" in refused.error
    assert lab.listed() == listed
    assert lab.run_json("rebuild_backup_index")["recovered"] == []
    assert first.resume().wait().code == 0
    assert lab.runs() == [*runs, ("backup", "succeeded")]


def test_simultaneous_backups_succeed_or_are_refused(lab: Lab) -> None:
    outcomes = []
    threads = [threading.Thread(target=lambda: outcomes.append(lab.manage("backup_database"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    codes = sorted(outcome.code for outcome in outcomes)
    assert set(codes) <= {0, 4}, outcomes
    assert len(lab.listed()) == codes.count(0) >= 1
    lab.run("verify_backup", "--all")


@contextlib.contextmanager
def locked_table(lab: Lab) -> Iterator[None]:
    """Programs that want the table wait."""
    assert lab.database
    with contextlib.closing(lab.database.connect()) as connection, connection.cursor() as cursor:
        connection.autocommit = False
        cursor.execute("LOCK TABLE racks IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


def test_backup_does_not_expose_the_password(postgres_lab: Lab) -> None:
    lab = postgres_lab
    assert lab.database
    password = lab.database.address.password
    with locked_table(lab):
        command = lab.start("backup_database", "--json")
        command.until(lambda: dumping(command))
        lines = [command_line(int(path.name)) for path in Path("/proc").glob("[0-9]*")]
        assert [line for line in lines if "pg_dump" in line and lab.name in line]
        assert not [line for line in lines if password in line]
        names = lab.rows("SELECT application_name || query FROM pg_stat_activity")
        assert password not in repr(names)
    outcome = command.wait()
    assert outcome.code == 0, outcome
    wrong = lab.manage("backup_database", DATABASE_URL=lab.url.replace(password, "wrong-" + password))
    assert wrong.code == 1
    everything = [outcome.out, outcome.error, wrong.out, wrong.error, json.dumps(lab.events())]
    everything += [path.read_text() for path in lab.backups.glob("*.json")]
    everything += [repr(lab.rows(f"SELECT * FROM {table}")) for table in ("ops_run", "ops_backup")]
    assert password not in "".join(everything)


def test_restore_ends_other_sessions_which_can_reconnect(postgres_lab: Lab) -> None:
    lab = postgres_lab
    name = lab.back_up()
    assert lab.database
    with contextlib.closing(lab.database.connect()) as connection, connection.cursor() as cursor:
        connection.autocommit = False
        cursor.execute("SELECT count(*) FROM racks")
        lab.run("restore_database", name, "--yes")
    assert lab.value("SELECT count(*) FROM racks") > 0


@sqlite_first
def test_restore_keeps_the_history_of_runs_and_backups(lab: Lab) -> None:
    name = lab.back_up()
    lab.run("verify_backup", name)
    lab.manage("backup_database", largest_file=lab.full_disk)
    lab.run("backup_database", "--note", "another")
    runs = lab.runs()
    assert runs == [
        ("backup", "succeeded"),
        ("verification", "succeeded"),
        ("backup", "failed"),
        ("backup", "succeeded"),
    ]
    lab.run("restore_database", name, "--yes")
    assert lab.runs() == [*runs, ("restore", "succeeded")]
    listed = {backup["name"] for backup in lab.run_json("list_backups")["backups"]}
    assert {row[0] for row in lab.rows("SELECT name FROM ops_backup")} == listed
    assert len(listed) == 3
    (ended,) = lab.rows("SELECT requested_by, backup, stage, error FROM ops_run WHERE kind = 'restore'")
    # Where whole databases are swapped, the previous one is backed up afterwards.
    assert ended[1:] == (name, "verify" if lab.kind == "postgresql" else "cut-over", "")
    assert "@" in ended[0]


def test_backup_by_a_role_without_privileges_names_the_grant(postgres_lab: Lab) -> None:
    lab = postgres_lab
    role = f"nobody_{lab.name}"
    server().rows(f"CREATE ROLE {role} LOGIN PASSWORD 'pw'")
    try:
        head, _, tail = lab.url.partition("://")
        url = f"{head}://{role}:pw@{tail.partition('@')[2]}"
        outcome = lab.manage("backup_database", DATABASE_URL=url)
        assert outcome.code == 1
        assert f"GRANT pg_read_all_data TO {role};" in outcome.error.replace('"', "")
        assert "Traceback" not in outcome.error
    finally:
        server().rows(f"DROP ROLE {role}")


@postgresql_first
def test_restore_is_in_maintenance_mode_from_after_loading_until_the_swap(lab: Lab) -> None:
    name = lab.back_up()
    # A database that is swapped as a whole is backed up afterwards.
    stages = "load,write history,dump" if lab.kind == "postgresql" else "load,snapshot"
    restore = lab.start("restore_database", name, "--yes", stop_at=stages).until_stopped()
    assert maintenance_status(lab) == "healthy"
    restore.resume().until_stopped()
    assert maintenance_status(lab) == "maintenance"
    if lab.kind == "postgresql":
        restore.resume().until_stopped()
        assert maintenance_status(lab) == "healthy"
    assert restore.resume().wait().code == 0
    assert maintenance_status(lab) == "healthy"


def maintenance_status(lab: Lab) -> str:
    return str(lab.manage("check_database", "--json").json["checks"]["maintenance"]["status"])
