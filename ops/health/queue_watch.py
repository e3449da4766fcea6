"""Whether Redis and a worker answer, for pages that ask every second: however many do, one question is asked at a time,
and the answer counts for a few seconds.
"""

import datetime as dt
import time
from dataclasses import dataclass
from enum import StrEnum

from ops.conf import conf
from ops.health.dependencies import count_connected_nodes, ping_redis, ping_worker
from ops.health.results import Status
from ops.utils import clock
from ops.utils.redis_client import redis_errors
from ops.utils.single_flight import Call, shared_calls

INTERVAL = 3.0
"""Seconds for which an answer counts."""
WITHIN = 0.9
"""Seconds that a page waits for the first answer; later ones find that of the last question meanwhile."""
HANGS = 4.0
"""Seconds after which a question counts as one without an answer."""
FORGOTTEN = dt.timedelta(minutes=1)
"""Without a question for so long, nothing is known of the time before."""
CERTAIN_AFTER = dt.timedelta(seconds=2)
"""A worker on a busy machine may miss one question."""


class Fault(StrEnum):
    """What keeps queued runs from being taken."""

    NONE = "none"
    REDIS = "redis"
    NO_WORKER = "no worker"
    """No worker is connected to Redis."""
    SILENT_WORKER = "silent worker"
    """One is connected, or Redis does not say, but none answers: it is frozen or overloaded."""


@dataclass(frozen=True, kw_only=True)
class QueueState:
    """`since`: when this process first saw this `fault`; `asked`: when it asked last."""

    fault: Fault
    since: dt.datetime
    asked: dt.datetime
    answered: float
    """As `time.monotonic`."""

    @property
    def is_certain(self) -> bool:
        """Whether the fault was seen twice, or needs no second look."""
        return self.fault in {Fault.NONE, Fault.REDIS} or self.asked - self.since >= CERTAIN_AFTER


class QueueWatch:
    """The last answer, and how to get a new one."""

    def __init__(self) -> None:
        self.last: QueueState | None = None

    def read(self) -> QueueState | None:
        """The state of a few seconds ago at most; None while it is not known. Returns within `WITHIN` seconds."""
        last = self.last
        if last and time.monotonic() - last.answered < INTERVAL:
            return last
        call = shared_calls.run("queue", self._ask)
        outcome = call.result(within=WITHIN)
        if isinstance(outcome, QueueState):
            return outcome
        return self._unanswered(call)

    def _unanswered(self, call: Call[QueueState]) -> QueueState | None:
        if call.seconds > HANGS:
            return self._state(Fault.REDIS)
        return self.last if self.last and time.monotonic() - self.last.answered < HANGS + INTERVAL else None

    def _ask(self) -> QueueState:
        self.last = self._state(find_fault(conf.OPS_CELERY_APP, conf.REDIS_URL))
        return self.last

    def _state(self, fault: Fault) -> QueueState:
        now, last = clock.now(), self.last
        is_same = last is not None and last.fault == fault and now - last.asked < FORGOTTEN
        since = last.since if last and is_same else now
        return QueueState(fault=fault, since=since, asked=now, answered=time.monotonic())


def find_fault(app_path: str, redis_url: str) -> Fault:
    """Ask Redis, then the worker. Takes two seconds at most, unless the name of the server cannot be resolved."""
    from celery.exceptions import OperationalError  # noqa: PLC0415  # takes 0.1 s, and commands do not need it

    try:
        ping_redis(redis_url)
        if ping_worker(app_path, redis_url).status is Status.HEALTHY:
            return Fault.NONE
        return Fault.NO_WORKER if count_connected_nodes(redis_url) == 0 else Fault.SILENT_WORKER
    except (redis_errors(), OperationalError, OSError):
        return Fault.REDIS


queue_watch = QueueWatch()
