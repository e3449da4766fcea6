"""What users see, and which acknowledged writes are kept, when servers of the cluster fail."""

import time

import pytest

from tests.cluster import report
from tests.cluster.cluster import Cluster
from tests.cluster.faults import FAULTS
from tests.cluster.oracle import Oracle
from tests.cluster.report import Measured

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
