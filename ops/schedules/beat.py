"""``celery beat`` with the schedules of the database: ``CELERY_BEAT_SCHEDULER = "ops.schedules.beat:Scheduler"``.

Needs django-celery-beat. Only beat itself imports this module.
"""

import contextlib
import logging
import uuid
from typing import Any

import redis
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler
from redis.exceptions import LockError, RedisError

from ops.conf import conf

logger = logging.getLogger(__name__)

LOCK_NAME = "ops:beat"
LOCK_TIMEOUT = 15
"""Seconds until the lock of a beat that was killed expires. The lock is renewed at each tick."""
POLL_INTERVAL = 5.0
"""Seconds between two attempts of a standby beat to get the lock, and at most between two ticks of the leader."""
SOCKET_TIMEOUT = 5.0


class LeaderLock:
    """A lock in Redis that one beat holds at a time: only the leader starts tasks, all others are on standby."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.token = uuid.uuid4().hex
        self.lock = self.connect().lock(LOCK_NAME, timeout=LOCK_TIMEOUT)

    def connect(self) -> "redis.Redis":
        return redis.Redis.from_url(
            self.url, socket_timeout=SOCKET_TIMEOUT, socket_connect_timeout=SOCKET_TIMEOUT, decode_responses=True
        )

    def acquire(self) -> bool:
        """Acquire or renew the lock. False without Redis, where tasks could not be sent either."""
        try:
            if self.lock.owned():
                return bool(self.lock.reacquire())
            return bool(self.lock.acquire(blocking=False, token=self.token))
        except LockError:  # it expired between the two calls
            return False
        except RedisError as error:
            logger.warning("The scheduler lock cannot be read from Redis: %s", type(error).__name__)
            return False

    def release(self) -> None:
        """Let another beat start at once. Uses a new connection: a signal may have interrupted the old one."""
        with contextlib.suppress(RedisError), self.connect() as client:
            if client.get(LOCK_NAME) == self.token:
                client.delete(LOCK_NAME)


class Scheduler(DatabaseScheduler):
    """django-celery-beat's scheduler, which also starts what was due while no beat ran.

    Of several beats, on one machine or many, one starts the tasks.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.leader_lock = LeaderLock(conf.REDIS_URL)
        self.is_standby = True
        self.is_closed = False
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        if self.is_closed:
            # The handler of SIGTERM raises this itself, but Python ignores what is raised within a destructor.
            raise SystemExit
        if not self.leader_lock.acquire():
            if not self.is_standby:
                logger.warning("Lost the scheduler lock; on standby.")
            self.is_standby = True
            return POLL_INTERVAL
        if self.is_standby:
            self.is_standby = False
            logger.info("Acquired the scheduler lock.")
            self.reload_schedule()
        return min(POLL_INTERVAL, float(super().tick(*args, **kwargs)))

    def reload_schedule(self) -> None:
        """Read the last starts again: another beat has started tasks since."""
        self._dirty.clear()
        self._heap = None
        self._initial_read = True

    def close(self) -> None:
        """Called by the handler of SIGTERM, too, at any point of the code.

        An error raised here would count as one of the task that was being sent, and beat would continue.
        """
        self.is_closed = True
        try:
            super().close()
        except Exception:
            logger.exception("Beat could not save the times of its last starts.")
        self.leader_lock.release()

    def enabled_models_qs(self) -> Any:
        """All enabled ones. The original omits crontabs whose hour is far from the current one, and so overdue ones.

        A machine that is off at night would start its nightly backup around the next midnight, not in the morning.
        """
        return PeriodicTask.objects.enabled()

    def install_default_entries(self, data: object) -> None:
        """None: Redis expires results itself, and the list of schedules has only what users created."""
