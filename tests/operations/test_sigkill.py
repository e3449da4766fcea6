"""SIGKILL at every stage: the live database keeps working, and the next command cleans up and reports it."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.operations.harness import Lab

BEFORE = {
    "postgresql": ("read live database", "load", "compare", "migrate", "write history", "cut-over"),
    **dict.fromkeys(
        ("schema", "sqlite"), ("load", "compare", "migrate", "snapshot", "dump", "verify", "write history", "cut-over")
    ),
}
"""By the kind of database: where whole databases are swapped, the pre-restore backup is made afterwards."""


def stages(*names: str, quick: tuple[str, ...] = ()) -> list[Any]:
    """As parameters; all but the `quick` ones belong to the slow tests."""
    return [pytest.param(name, marks=[] if name in quick else pytest.mark.slow) for name in names]


CHANGE = "UPDATE racks SET name = 'Changed'"


def found_by(lab: Lab) -> str:
    """What the next command finds; the one after it finds nothing."""
    outcome = lab.run("verify_backup", "--latest")
    found = [line for line in outcome.out.splitlines() if line.startswith("Cleaned up:")]
    assert lab.run_json("prune_backups")["recovered"] == []
    return "\n".join(found)


def nothing_is_left(lab: Lab) -> None:
    assert not [name for name in lab.files() if "partial" in name]
    assert len(lab.listed()) == len([name for name in lab.files() if name.endswith(".json")])
    if lab.database:
        names = [name for (name,) in lab.rows("SELECT datname FROM pg_database")]
        assert not [name for name in names if name.startswith(lab.name) and name.endswith(("_new", "_test", "_aside"))]
        assert lab.value("SELECT count(*) FROM pg_namespace WHERE nspname ~ 'ops_(new|aside)'") == 0
    else:
        assert not [path.name for path in lab.folder.iterdir() if "-work-" in path.name]


def test_restores_killed_before_the_cut_over_change_nothing(lab: Lab) -> None:
    kill_restores_before_their_end(lab, "load", "dump" if lab.kind == "sqlite" else "read live database", "cut-over")


@pytest.mark.slow
@pytest.mark.parametrize("kind", BEFORE)
def test_restores_killed_at_any_stage_before_the_cut_over_change_nothing(
    make_lab: Callable[[str], Lab], kind: str
) -> None:
    kill_restores_before_their_end(make_lab(kind), *BEFORE[kind])


def kill_restores_before_their_end(lab: Lab, *stages: str) -> None:
    name = lab.back_up()
    lab.rows(CHANGE)
    before = lab.content()
    for stage in stages:
        restore = lab.start("restore_database", name, "--yes", stop_at=stage).until_stopped()
        assert restore.kill().code == -9
        assert lab.content() == before, stage
        found = found_by(lab)
        assert "The restore that " in found, stage
        assert "was killed. It was marked as interrupted." in found
        assert lab.content() == before, stage
        nothing_is_left(lab)
    assert lab.run_json("list_backups")["previous"] is None
    assert [run for run in lab.runs() if run[0] == "restore"] == [("restore", "interrupted")] * len(stages)
    hints = lab.rows("SELECT DISTINCT hint FROM ops_run WHERE kind = 'restore'")
    assert hints == [("The database is unchanged. Start the run again.",)]
    lab.run("restore_database", name, "--yes")
    assert lab.value("SELECT count(*) FROM racks WHERE name = 'Changed'") == 0


def test_restore_killed_after_the_cut_over_has_succeeded(lab: Lab) -> None:
    before = lab.content()
    name = lab.back_up()
    lab.rows(CHANGE)
    changed = lab.content()
    restore = lab.start("restore_database", name, "--yes", stop_at="in place").until_stopped()
    restore.kill()
    assert lab.content() == before
    assert "It was marked as succeeded." in found_by(lab)
    assert lab.runs()[:2] == [("backup", "succeeded"), ("restore", "succeeded")]
    assert lab.content() == before
    nothing_is_left(lab)
    lab.run("undo_restore", "--yes")
    assert lab.content() == changed


@pytest.mark.parametrize("stage", stages("migrate", "write history", "cut-over", quick=("cut-over",)))
def test_killed_undo_changes_nothing_and_can_be_repeated(lab: Lab, stage: str) -> None:
    name = lab.back_up()
    lab.rows(CHANGE)
    changed = lab.content()
    lab.run("restore_database", name, "--yes")
    before = lab.content()
    undo = lab.start("undo_restore", "--yes", stop_at=stage).until_stopped()
    undo.kill()
    assert lab.content() == before
    assert "The undo of a restore that " in found_by(lab)
    assert ("undo", "interrupted") in lab.runs()
    lab.run("undo_restore", "--yes")
    assert lab.content() == changed


@pytest.mark.parametrize("stage", stages("snapshot", "dump", "verify", "prune", quick=("dump", "prune")))
def test_backup_killed_at_any_stage_leaves_no_partial_backup(lab: Lab, stage: str) -> None:
    old = lab.back_up()
    backup = lab.start("backup_database", stop_at=stage).until_stopped()
    backup.kill()
    found = found_by(lab)
    assert "The backup that " in found
    # Once it is verified it is a backup, even if pruning is interrupted.
    assert lab.listed()[-1] == old
    assert len(lab.listed()) == (2 if stage == "prune" else 1)
    assert lab.value("SELECT count(*) FROM ops_backup") == len(lab.listed())
    nothing_is_left(lab)


@pytest.mark.parametrize("command", [("verify_backup", "--restore"), ("restore_database", "--to", "{}_old")])
def test_scratch_database_of_a_killed_run_is_dropped(postgres_lab: Lab, command: tuple[str, ...]) -> None:
    lab, others = postgres_lab, "SELECT datname FROM pg_database WHERE datname LIKE '{}\\_%'"
    name = lab.back_up()
    first, *more = command
    killed = lab.start(first, name, *(word.format(lab.name) for word in more), stop_at="compare").until_stopped()
    killed.kill()
    ((scratch,),) = lab.rows(others.format(lab.name))
    assert f"Dropped the database {scratch}, which a killed run had left." in found_by(lab)
    assert lab.rows(others.format(lab.name)) == []


def test_rebuild_backup_index_cleans_up_after_a_killed_run(lab: Lab) -> None:
    backup = lab.start("backup_database", stop_at="verify").until_stopped()
    backup.kill()
    document = lab.run_json("rebuild_backup_index")
    assert "marked as interrupted" in document["recovered"][0]
    assert (document["backups"], document["runs"]) == (0, 1)
    assert lab.runs() == [("backup", "interrupted")]
