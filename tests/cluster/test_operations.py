"""Another server leads in the middle of a run: the old or the new database is live, never a mixture, and it is said."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.conftest import make_lab
from tests.engine_migration.support import new_name
from tests.operations.harness import Lab, Outcome

pytestmark = pytest.mark.slow

CHANGE = "UPDATE racks SET name = name || ' (changed)'; UPDATE brands SET name = name || ' (changed)'"
Content = dict[str, tuple[int, str]]
AFTER_THE_SWAP = frozenset({"in place", "dump", "verify"})


def kill_server(cluster: Cluster) -> None:
    former = cluster.kill_leader(with_patroni=False)
    cluster.wait_for_leader(other_than=former)


def switch_over(cluster: Cluster) -> None:
    cluster.switchover()


FAULTS = pytest.mark.parametrize("fault", [kill_server, switch_over])


def interrupted(cluster: Cluster, lab: Lab, fault: Callable[[Cluster], None], stage: str, *command: str) -> Outcome:
    """The outcome of a command during which another server becomes the leader, at the beginning of `stage`."""
    running = lab.start(*command, stop_at=stage).until_stopped()
    fault(cluster)
    outcome = running.resume().wait()
    cluster.heal()
    assert "Traceback" not in outcome.error, outcome
    return outcome


def last_run(lab: Lab, kind: str) -> str:
    return str(lab.value(f"SELECT status FROM ops_run WHERE kind = '{kind}' ORDER BY requested_at DESC LIMIT 1"))


def next_run_succeeds(lab: Lab, *, previous: bool) -> None:
    """It sweeps, and nothing is left after it but the previous database, if there should be one."""
    lab.back_up()
    assert lab.run_json("rebuild_backup_index")["recovered"] == []
    left = {found for (found,) in lab.rows(f"SELECT datname FROM pg_database WHERE datname LIKE '{lab.name}\\_%'")}
    assert left == ({f"{lab.name}_ops_undo"} if previous else set())
    checks = lab.manage("check_database", "--json").json["checks"]
    assert checks["last_restore"] == checks["backups"] == {"status": "healthy"}


@FAULTS
@pytest.mark.parametrize("stage", ["snapshot", "dump", "verify", "prune"])
def test_backup_is_whole_or_fails(cluster: Cluster, lab: Lab, fault: Callable[[Cluster], None], stage: str) -> None:
    outcome = interrupted(cluster, lab, fault, stage, "backup_database")
    assert len(lab.listed()) == (stage == "prune" or outcome.code == 0), outcome
    next_run_succeeds(lab, previous=False)
    assert ("backup", "succeeded" if outcome.code == 0 else "failed") in lab.runs()
    lab.run("verify_backup", "--all", "--restore")


@FAULTS
@pytest.mark.parametrize("stage", ["load", "compare", "clean up"])
def test_restore_test_drops_its_scratch_database(
    cluster: Cluster, lab: Lab, fault: Callable[[Cluster], None], stage: str
) -> None:
    name, content = lab.back_up(), lab.content()
    interrupted(cluster, lab, fault, stage, "verify_backup", name, "--restore")
    assert lab.content() == content
    next_run_succeeds(lab, previous=False)
    lab.run("verify_backup", name, "--restore")


def check_swap(lab: Lab, kind: str, outcome: Outcome, *, old: Content, new: Content) -> bool:
    """Whether the swap was done, which all say in the same way."""
    live = lab.content()
    assert live in (old, new)
    is_done = live == new
    # A pre-restore backup that failed is exit code 3.
    assert outcome.code in ((0, 3) if is_done else (1,)), outcome
    if not is_done:
        assert "Nothing was changed." in outcome.error or "The database is unchanged." in outcome.error, outcome
    lab.back_up()
    assert last_run(lab, kind) == ("succeeded" if is_done else "failed")
    return is_done


@FAULTS
@pytest.mark.parametrize(
    "stage", ["read live database", "load", "compare", "migrate", "write history", "cut-over", "in place", "dump"]
)
def test_restore_is_done_or_changes_nothing(
    cluster: Cluster, lab: Lab, fault: Callable[[Cluster], None], stage: str
) -> None:
    name, restored = lab.back_up(), lab.content()
    lab.rows(CHANGE)
    changed = lab.content()
    outcome = interrupted(cluster, lab, fault, stage, "restore_database", name, "--yes")
    is_done = check_swap(lab, "restore", outcome, old=changed, new=restored)
    assert is_done == (stage in AFTER_THE_SWAP), outcome
    next_run_succeeds(lab, previous=is_done)
    lab.run("restore_database", name, "--yes")
    assert lab.content() == restored


@FAULTS
@pytest.mark.parametrize("stage", ["migrate", "write history", "cut-over", "in place"])
def test_undo_is_done_or_changes_nothing(
    cluster: Cluster, lab: Lab, fault: Callable[[Cluster], None], stage: str
) -> None:
    name = lab.back_up()
    lab.rows(CHANGE)
    changed = lab.content()
    lab.run("restore_database", name, "--yes")
    restored = lab.content()
    outcome = interrupted(cluster, lab, fault, stage, "undo_restore", "--yes")
    is_done = check_swap(lab, "undo", outcome, old=restored, new=changed)
    assert is_done == (stage in AFTER_THE_SWAP), outcome
    next_run_succeeds(lab, previous=True)
    lab.run("undo_restore", "--yes")
    assert lab.content() == (restored if is_done else changed)


@pytest.fixture(scope="session")
def lab_file(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A HomeRack with the demo lab in a SQLite file."""
    folder = tmp_path_factory.mktemp("file")
    shutil.copy(migrated / "homerack.db", folder / "lab.db")
    lab = Lab("sqlite", "lab", f"sqlite:///{folder}/lab.db", folder)
    lab.run("load_demo")
    return lab


@pytest.fixture
def source(lab_file: Lab, tmp_path: Path) -> Iterator[Lab]:
    shutil.copy(lab_file.file, tmp_path / "lab.db")
    source = replace(lab_file, url=f"sqlite:///{tmp_path}/lab.db", folder=tmp_path, commands=[])
    yield source
    source.end()


@FAULTS
@pytest.mark.parametrize("stage", ["schema", "copy", "verify", "cut-over"])
def test_migration_is_done_or_changes_nothing(
    cluster: Cluster, source: Lab, fault: Callable[[Cluster], None], stage: str
) -> None:
    target = make_lab(cluster, new_name(), source.folder)
    command = ("migrate_to_postgres", "--sqlite-path", str(source.file), "--postgres-url", target.url, "--yes")
    outcome = interrupted(cluster, source, fault, stage, *command)
    assert outcome.code == 1, outcome
    assert "is unchanged" in outcome.error, outcome
    assert target.content() == {}
    source.run(*command)
    counts = {name: number for name, (number, _) in source.project_content().items()}
    assert {name: number for name, (number, _) in target.project_content().items() if name in counts} == counts
    left = {
        found for (found,) in target.rows(f"SELECT datname FROM pg_database WHERE datname LIKE '{target.name}\\_%'")
    }
    assert left == set()


def lose_what_follows(cluster: Cluster, lab: Lab, *command: str) -> None:
    """The command succeeds from its cut-over on, and the server that takes over has not received that."""
    running = lab.start(*command, stop_at="cut-over").until_stopped()
    former = cluster.pause_replication()
    outcome = running.resume().wait()
    assert outcome.code == 0, outcome
    cluster.kill_leader(with_patroni=True)
    leader = cluster.wait_for_leader(other_than=former)
    # Patroni calls it the leader from the moment on at which it promotes it.
    cluster.wait_until(lambda: cluster.rows("SELECT pg_is_in_recovery()", node=leader) == [(False,)], "it is promoted")


@pytest.mark.parametrize("kind", ["restore", "undo"])
def test_swap_that_an_asynchronous_failover_has_lost_is_reported(cluster: Cluster, lab: Lab, kind: str) -> None:
    name = lab.back_up()
    lab.rows(CHANGE)
    if kind == "undo":
        lab.run("restore_database", name, "--yes")
    before = lab.content()
    command = {"restore": ("restore_database", name, "--yes"), "undo": ("undo_restore", "--yes")}[kind]
    cluster.configure(synchronous_mode=False)
    lose_what_follows(cluster, lab, *command)
    assert lab.content() == before
    assert lab.manage("check_database", "--json").json["checks"]["last_restore"]["error"] == "LostReplacement"
    cluster.heal()
    assert lab.content() == before
    found = lab.run_json("rebuild_backup_index")["recovered"]
    assert len([sentence for sentence in found if "is lost: the live database does not have it" in sentence]) == 1
    assert last_run(lab, kind) == "failed"
    next_run_succeeds(lab, previous=kind == "undo")
    lab.run(*command)
    assert last_run(lab, kind) == "succeeded"
    next_run_succeeds(lab, previous=True)
