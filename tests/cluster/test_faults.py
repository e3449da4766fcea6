"""What users see, and which acknowledged writes are kept, when servers of the cluster fail."""

import shutil
import time
from pathlib import Path

import pytest

from tests.cluster import faults, report
from tests.cluster.cluster import DATABASE, Cluster
from tests.cluster.faults import FAULTS
from tests.cluster.oracle import Oracle
from tests.cluster.report import Measured
from tests.cluster.site import Site
from tests.integration.tls_servers import pgbouncer

pytestmark = pytest.mark.slow

LONGEST_GAP_AFTER_LEADER = 5
SLOWEST_HEALTH = 2


@pytest.mark.parametrize("name", FAULTS)
def test_users_wait_and_keep_what_was_acknowledged(
    name: str, cluster: Cluster, request: pytest.FixtureRequest, measured: dict[str, Measured]
) -> None:
    fault, begun = FAULTS[name], time.monotonic()
    site = request.getfixturevalue("proxied_site" if fault.proxied else "site")
    cluster.configure(synchronous_mode=fault.synchronous, failsafe_mode=fault.failsafe)
    with Oracle(cluster, site) as oracle:
        fault.cause(cluster)
    figures = oracle.figures()
    measured[name] = report.measured(figures, seconds=time.monotonic() - begun)
    assert figures.acknowledged
    assert figures.leaders >= fault.leaders
    if not fault.leaders:
        assert figures.longest_gap <= LONGEST_GAP_AFTER_LEADER
    assert fault.loses in {None, figures.lost > 0}
    assert not figures.unexpected, site.web.log.read_text()[-20_000:]
    assert figures.slowest_health <= SLOWEST_HEALTH
    assert figures.gap_after_leader <= LONGEST_GAP_AFTER_LEADER


def test_users_behind_pgbouncer_get_the_new_leader_and_lose_nothing(cluster: Cluster, tmp_path: Path) -> None:
    """With the settings of docs/high-availability.md: PgBouncer in front of HAProxy, and operations past both."""
    if not shutil.which("pgbouncer"):
        pytest.skip("apt-get install pgbouncer")
    more = "default_pool_size = 20\nquery_wait_timeout = 5"
    with pgbouncer(cluster.haproxy_port, password=cluster.password, more=more) as bouncer:
        settings = {"DATABASE_DIRECT_URL": cluster.url(), "DB_POOL_SIZE": "0", "DB_POOL_RECYCLE": "0"}
        site = Site.start(bouncer.url(DATABASE), tmp_path, **settings)
        try:
            with Oracle(cluster, site) as oracle:
                faults.kill_server(cluster)
            figures = oracle.figures()
            assert figures.acknowledged
            assert (figures.lost, figures.unexpected) == (0, {}), site.web.log.read_text()[-20_000:]
            assert figures.slowest_health <= SLOWEST_HEALTH
            assert figures.gap_after_leader <= LONGEST_GAP_AFTER_LEADER
        finally:
            site.stop()
