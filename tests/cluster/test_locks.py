"""The session that holds the lock of a run, and the start of a run, on a cluster whose leader fails."""

import contextlib
import logging
import time
from dataclasses import replace

import psycopg2
import pytest

from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.databases.postgres import silence
from ops.databases.postgres.connection import parse_url
from tests.cluster.cluster import Cluster, answers, free_ports
from tests.operations.harness import Lab

pytestmark = pytest.mark.slow
logger = logging.getLogger(__name__)

CHANGE = "UPDATE racks SET name = name || ' (changed)'"
LONGEST_END = 75.0
"""Seconds after which a run whose server has frozen has ended by name."""
HAPROXY_SILENCE = 3
"""Seconds."""
PROXIED = pytest.mark.parametrize("proxied", [False, True], ids=["several hosts", "HAProxy"])


def on(cluster: Cluster, lab: Lab, *, proxied: bool) -> Lab:
    return replace(lab, url=cluster.haproxy_url(lab.name)) if proxied else lab


def test_session_of_the_lock_is_never_silent_for_haproxy(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    cluster.start_haproxy(port=port, silence=f"{HAPROXY_SILENCE}s")
    cluster.wait_until(lambda: answers(port), "HAProxy answers")
    monkeypatch.setattr(silence, "INTERVAL", 1.0)
    engine = PostgresEngine(parse_url(cluster.haproxy_url(port=port)))
    # It begins with all servers, until its checks have failed twice.
    time.sleep(4)
    cluster.wait_until(lambda: connects(engine), "HAProxy has found the leader")
    with engine.locked("silent"), contextlib.closing(engine.address.connect(autocommit=True)) as other:
        time.sleep(3 * HAPROXY_SILENCE)
        # HAProxy does end what is silent.
        with pytest.raises(psycopg2.OperationalError, match="closed the connection"), other.cursor() as cursor:
            cursor.execute("SELECT 1")
        assert engine.leftovers() == []


def connects(engine: PostgresEngine) -> bool:
    with contextlib.suppress(Exception):
        engine.leftovers()
        return True
    return False


@PROXIED
@pytest.mark.parametrize("stage", ["load", "cut-over"])
def test_restore_on_a_leader_that_freezes_ends_by_name(
    cluster: Cluster, lab: Lab, stage: str, *, proxied: bool
) -> None:
    name = lab.back_up()
    lab.rows(CHANGE)
    before = lab.content()
    restore = on(cluster, lab, proxied=proxied).start("restore_database", name, "--yes", stop_at=stage).until_stopped()
    former = cluster.freeze_leader(with_patroni=True)
    began = time.monotonic()
    outcome = restore.resume().wait()
    took = time.monotonic() - began
    logger.info("Ended after %.1f s: %s", took, outcome.error.strip())
    assert outcome.code == 1, outcome
    assert "Traceback" not in outcome.error, outcome
    assert "Nothing was changed." in outcome.error or "The database is unchanged" in outcome.error, outcome
    assert took < LONGEST_END
    cluster.wait_for_leader(other_than=former)
    # Patroni calls it the leader before it can be written.
    cluster.wait_until(lambda: connects(PostgresEngine(parse_url(lab.url))), "the new leader can be written")
    assert lab.content() == before
    cluster.heal()
    lab.run_json("rebuild_backup_index")
    assert lab.run_json("rebuild_backup_index")["recovered"] == []
    lab.run("restore_database", name, "--yes")


@PROXIED
def test_command_that_starts_while_nobody_leads_waits(cluster: Cluster, lab: Lab, *, proxied: bool) -> None:
    cluster.kill_leader(with_patroni=True)
    began = time.monotonic()
    outcome = on(cluster, lab, proxied=proxied).manage("backup_database")
    logger.info("Done after %.1f s: %s", time.monotonic() - began, outcome.error.strip())
    assert outcome.code == 0, outcome
    assert "Waits for a writable server" in outcome.error
