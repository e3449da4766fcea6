"""``celery beat`` with the schedules of the database: ``CELERY_BEAT_SCHEDULER = "ops.schedules.beat:Scheduler"``.

Needs django-celery-beat. Only beat itself imports this module.
"""

import contextlib
import logging
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from django.db import DatabaseError, InterfaceError
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry
from redis import Redis
from redis.exceptions import LockError, RedisError

from ops.conf import conf
from ops.schedules import starts, timetable
from ops.schedules.builtin import BY_TASK
from ops.utils.redis_client import redis_client

logger = logging.getLogger(__name__)

LOCK_TIMEOUT = 15
"""Seconds until the lock of a beat that was killed expires. The lock is renewed at each tick."""
POLL_INTERVAL = 5.0
"""Seconds between two attempts of a standby beat to get the lock, and at most between two ticks of the leader."""
SOCKET_TIMEOUT = 2.0
SEND_AGAIN_AFTER = 60.0
LONGEST_WAIT = 3600.0
"""Seconds after which a start is sent again that no worker has begun: at first, and at most. Each wait is twice as long
as the one before, because messages pile up while no worker runs.
"""


class LeaderLock:
    """A lock in Redis that one beat holds at a time: only the leader starts tasks, all others are on standby.

    The lock saves work. It does not decide, because Redis may lose it (`ops.schedules.starts`).
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.token = uuid.uuid4().hex
        self.is_answered = False
        """Whether Redis answered the last attempt."""
        self.lock = self.connect().lock(timetable.LEADER_LOCK, timeout=LOCK_TIMEOUT)

    def connect(self) -> "Redis":
        return redis_client(self.url, timeout=SOCKET_TIMEOUT, decode_responses=True)

    def acquire(self) -> bool:
        """Acquire or renew the lock. False without Redis, where tasks could not be sent either."""
        try:
            is_acquired = self._acquire()
        except RedisError as error:
            logger.warning("The scheduler lock cannot be read from Redis: %s", type(error).__name__)
            self.is_answered = False
            return False
        self.is_answered = True
        return is_acquired

    def _acquire(self) -> bool:
        try:
            if self.lock.owned():
                return bool(self.lock.reacquire())
            return bool(self.lock.acquire(blocking=False, token=self.token))
        except LockError:  # it expired between the two calls
            return False

    def release(self) -> None:
        """Let another beat start at once. Uses a new connection: a signal may have interrupted the old one."""
        with contextlib.suppress(RedisError), self.connect() as client:
            if client.get(timetable.LEADER_LOCK) == self.token:
                client.delete(timetable.LEADER_LOCK)


class RowEntry(ModelEntry):
    """A schedule, and `last`: the last start in its row, None before the first one."""

    def __init__(self, model: PeriodicTask, app: Any = None) -> None:
        # The original replaces None by the last change of the row.
        self.last = model.last_run_at
        super().__init__(model, app=app)

    @property
    def is_builtin(self) -> bool:
        """Whether its task records in the database that a start has begun."""
        return self.task in BY_TASK and BY_TASK[self.task].name == self.name


@dataclass
class SentStart:
    """Start `number` of a schedule, until a worker has begun it. `again` and `expires` are as `time.monotonic`."""

    entry: RowEntry
    number: int
    expires: float
    again: float = 0
    wait: float = field(default_factory=lambda: SEND_AGAIN_AFTER)


class Scheduler(DatabaseScheduler):
    """django-celery-beat's scheduler, which also starts what was due while no beat ran.

    Several beats, on one machine or many, start each due task once: one of them has a lock in Redis, and if that is
    lost, the database decides (`ops.schedules.starts`). Starts of the schedules of ops are sent again until a worker
    has begun them. Those of other schedules are sent once, because their tasks would be executed a second time.
    """

    Entry = RowEntry

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.leader_lock = LeaderLock(conf.REDIS_URL)
        self.is_standby = True
        self.is_ticking = self.is_closed = False
        self.sent: dict[str, SentStart] = {}
        super().__init__(*args, **kwargs)

    def setup_schedule(self) -> None:
        """Not yet: a beat needs no database until it leads, and may be stopped while it is made."""

    def tick(self, *args: Any, **kwargs: Any) -> float:
        self.is_ticking = True
        try:
            interval = self.tick_once(*args, **kwargs)
        finally:
            self.is_ticking = False
        if self.is_closed:
            # The handler of SIGTERM raises this itself, but Python ignores what is raised within a destructor.
            raise SystemExit
        return interval

    def tick_once(self, *args: Any, **kwargs: Any) -> float:
        is_leader = self.leader_lock.acquire()
        try:
            if self.leader_lock.is_answered:
                # On standby, too: the next leader does not know what was sent.
                self.send_waiting()
            return self.tick_as_leader(*args, **kwargs) if is_leader else self.stand_by()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("The database does not answer the scheduler: %s", type(error).__name__)
            self.reload_schedule()
            return POLL_INTERVAL

    def stand_by(self) -> float:
        if not self.is_standby:
            logger.warning("Lost the scheduler lock; on standby.")
        self.is_standby = True
        return POLL_INTERVAL

    def tick_as_leader(self, *args: Any, **kwargs: Any) -> float:
        if self.is_standby:
            self.reload_schedule()
            super().setup_schedule()
            self.is_standby = False
            logger.info("Acquired the scheduler lock.")
        return min(POLL_INTERVAL, float(super().tick(*args, **kwargs)))

    def reload_schedule(self) -> None:
        """Read the last starts again: another beat has started tasks since."""
        self._heap = None
        self._initial_read = True

    def reserve(self, entry: RowEntry) -> Any:
        """The entry with its next start. `apply_entry` records this one in the database."""
        return next(entry)

    def apply_entry(self, entry: RowEntry, producer: Any = None) -> None:
        """Start a due task, unless another beat has. Raises Django's database errors."""
        number = starts.reserve(entry.name, last=entry.last, now=entry.model.last_run_at)
        if number is None:
            logger.info("The schedule %r was changed, or started by another beat.", entry.name)
            self.reload_schedule()
        elif not entry.is_builtin:
            if starts.begin(entry.name, number):
                super().apply_entry(entry, producer=producer)
        else:
            expires = time.monotonic() + BY_TASK[entry.task].expire_seconds
            self.sent[entry.name] = SentStart(entry, number, expires)
            logger.info("Sending the due task %r (%s)", entry.name, entry.task)
            self.send(self.sent[entry.name])

    def send_waiting(self) -> None:
        """Send starts again that no worker has begun in time. Raises Django's database errors."""
        now = time.monotonic()
        for name, sent in list(self.sent.items()):
            if sent.again > now:
                continue
            if sent.expires <= now or starts.wanted(name) != sent.number:
                del self.sent[name]
                continue
            logger.warning("No worker has begun the start of %r; sending it again.", name)
            self.send(sent)

    def send(self, sent: SentStart) -> None:
        """Send it. If Redis does not take it, the next tick tries again."""
        entry = RowEntry(sent.entry.model, self.app)
        entry.kwargs = {**entry.kwargs, "schedule": entry.name, "number": sent.number}
        try:
            self.apply_async(entry, producer=self.producer, advance=False)
        except Exception as error:  # noqa: BLE001  # Celery's own tick catches what kombu and Redis's client raise, too
            logger.warning("The start of %r could not be sent: %s", entry.name, type(error.__cause__ or error).__name__)
            sent.again = 0
            return
        sent.again, sent.wait = time.monotonic() + sent.wait, min(2 * sent.wait, LONGEST_WAIT)

    def close(self) -> None:
        """Called by the handler of SIGTERM, too, at any point of the code, and once more after the last tick.

        Within a tick it closes nothing: Django fails when its connection is closed in the middle of a statement. An
        error raised here would count as one of the task that was being sent, and beat would continue.
        """
        self.is_closed = True
        if self.is_ticking:
            return
        try:
            super().close()
        except Exception:
            logger.exception("Beat could not close its connection to the broker.")
        self.leader_lock.release()

    def enabled_models_qs(self) -> Any:
        """All enabled ones. The original omits crontabs whose hour is far from the current one, and so overdue ones.

        A machine that is off at night would start its nightly backup around the next midnight, not in the morning.
        """
        return PeriodicTask.objects.enabled()

    def install_default_entries(self, data: object) -> None:
        """None: Redis expires results itself, and the list of schedules has only what users created."""
