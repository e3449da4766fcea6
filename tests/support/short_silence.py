"""The tests' settings, and a run that gives a silent server up sooner, or waits less for one at its start."""

from ops.databases.postgres import lock, silence, start
from tests.settings import *  # noqa: F403

silence.INTERVAL, silence.SILENCE = 0.5, 2.0
start.LONGEST_WAIT = 3.0
lock.LONGEST_FAILOVER = 5.0
