"""The faults of the table in docs/high-availability.md: what is done to the cluster while the site is used."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.cluster.cluster import Cluster

SWITCHOVERS = 20
ETCD_AWAY = 20
"""Seconds: as long as a leader keeps its key in etcd."""
LEFT_BEHIND = 3
"""Seconds in which the leader commits what no other server receives."""
PAUSED = 12
"""Seconds that are longer than `DB_STATEMENT_TIMEOUT`."""
OVERLAP = 5
"""Seconds that a new leader has been there when the former one continues."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """`cause` does it, and lets the cluster become whole again."""

    title: str
    cause: Callable[[Cluster], None]
    leaders: int = 1
    """How many new leaders there must be at least."""
    synchronous: bool = True
    failsafe: bool = True
    proxied: bool = False
    """Through HAProxy, not by an address with all hosts."""
    loses: bool | None = False
    """Whether acknowledged writes are lost: never in synchronous mode. None: it may happen."""


def switch_over_often(cluster: Cluster) -> None:
    for _ in range(SWITCHOVERS):
        cluster.switchover()
        cluster.heal()


def switch_over(cluster: Cluster) -> None:
    cluster.switchover()
    cluster.heal()


def kill_server(cluster: Cluster) -> None:
    kill(cluster, with_patroni=False)


def kill_server_and_patroni(cluster: Cluster) -> None:
    kill(cluster, with_patroni=True)


def kill(cluster: Cluster, *, with_patroni: bool) -> None:
    former = cluster.kill_leader(with_patroni=with_patroni)
    cluster.wait_for_leader(other_than=former)
    cluster.heal()


def freeze_server(cluster: Cluster) -> None:
    freeze(cluster, with_patroni=False)


def freeze_server_and_patroni(cluster: Cluster) -> None:
    freeze(cluster, with_patroni=True)


def freeze(cluster: Cluster, *, with_patroni: bool) -> None:
    former = cluster.freeze_leader(with_patroni=with_patroni)
    cluster.wait_for_leader(other_than=former)
    time.sleep(OVERLAP)
    cluster.thaw()
    cluster.heal()


def stop_etcd(cluster: Cluster) -> None:
    cluster.stop_etcd()
    time.sleep(ETCD_AWAY)
    cluster.start_etcd()
    cluster.wait_for_leader()
    cluster.heal()


def pause_replication_and_kill(cluster: Cluster) -> None:
    """In synchronous mode no commit is acknowledged meanwhile, however long a client waits."""
    former = cluster.pause_replication()
    time.sleep(PAUSED)
    cluster.kill_leader(with_patroni=True)
    cluster.wait_for_leader(other_than=former)
    cluster.heal()


def fail_over_with_loss(cluster: Cluster) -> None:
    former = cluster.pause_replication()
    time.sleep(LEFT_BEHIND)
    cluster.kill_leader(with_patroni=True)
    cluster.wait_for_leader(other_than=former)
    cluster.heal()


FAULTS = {
    "switchovers": Fault(title="20 switchovers", cause=switch_over_often, leaders=SWITCHOVERS),
    "kill-server": Fault(title="`kill -9` of PostgreSQL", cause=kill_server),
    "kill-both": Fault(title="`kill -9` of PostgreSQL and Patroni", cause=kill_server_and_patroni),
    "freeze-server": Fault(title="PostgreSQL stops (SIGSTOP) and continues", cause=freeze_server),
    "freeze-both": Fault(title="PostgreSQL and Patroni stop and continue", cause=freeze_server_and_patroni),
    "pause-kill": Fault(title="replication pauses for 12 s, then `kill -9` of both", cause=pause_replication_and_kill),
    "etcd": Fault(title="etcd is away for 20 s", cause=stop_etcd, leaders=0),
    "etcd-no-failsafe": Fault(title="etcd is away for 20 s, without `failsafe_mode`", cause=stop_etcd, failsafe=False),
    "haproxy-switchover": Fault(title="switchover, HAProxy", cause=switch_over, proxied=True),
    "haproxy-kill-both": Fault(
        title="`kill -9` of PostgreSQL and Patroni, HAProxy", cause=kill_server_and_patroni, proxied=True
    ),
    "haproxy-freeze-both": Fault(
        title="PostgreSQL and Patroni stop and continue, HAProxy", cause=freeze_server_and_patroni, proxied=True
    ),
    "async-kill-both": Fault(
        title="asynchronous: `kill -9` of PostgreSQL and Patroni",
        cause=kill_server_and_patroni,
        synchronous=False,
        loses=None,
    ),
    "async-freeze-both": Fault(
        title="asynchronous: PostgreSQL and Patroni stop and continue",
        cause=freeze_server_and_patroni,
        synchronous=False,
        loses=None,
    ),
    "async-loss": Fault(
        title="asynchronous: replication is 3 s behind, then `kill -9` of both",
        cause=fail_over_with_loss,
        synchronous=False,
        loses=True,
    ),
}
