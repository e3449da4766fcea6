"""A backup or a restore runs while the leader dies: the old or the new database, never a mixture."""

import pytest

from tests.cluster.cluster import Cluster
from tests.operations.harness import Lab

pytestmark = pytest.mark.slow


def let_another_lead(cluster: Cluster) -> None:
    former = cluster.kill_leader(with_patroni=False)
    cluster.wait_for_leader(other_than=former)


@pytest.mark.parametrize("stage", ["dump", "verify"])
def test_backup_is_whole_or_fails_when_the_leader_dies(cluster: Cluster, lab: Lab, stage: str) -> None:
    backup = lab.start("backup_database", stop_at=stage).until_stopped()
    let_another_lead(cluster)
    outcome = backup.resume().wait()
    cluster.heal()
    assert len(lab.listed()) == (outcome.code == 0), outcome
    name = lab.back_up()
    lab.run("verify_backup", name, "--restore")


@pytest.mark.parametrize("stage", ["load", "compare", "write history", "cut-over"])
def test_restore_leaves_the_old_or_the_new_database_when_the_leader_dies(
    cluster: Cluster, lab: Lab, stage: str
) -> None:
    name, restored = lab.back_up(), lab.content()
    lab.rows("DELETE FROM connections; UPDATE racks SET name = name || ' (changed)'")
    changed = lab.content()
    restore = lab.start("restore_database", name, "--yes", stop_at=stage).until_stopped()
    let_another_lead(cluster)
    outcome = restore.resume().wait()
    cluster.heal()
    assert lab.content() in ((restored, changed) if outcome.code else (restored,)), outcome
    lab.back_up()
    left = {found for (found,) in lab.rows(f"SELECT datname FROM pg_database WHERE datname LIKE '{lab.name}_%'")}
    assert left <= ({f"{lab.name}_ops_undo"} if lab.content() == restored else set())
