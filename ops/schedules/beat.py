"""``celery beat`` with the schedules of the database: ``CELERY_BEAT_SCHEDULER = "ops.schedules.beat:Scheduler"``.

Needs django-celery-beat, and only beat itself imports it.
"""

import contextlib
import logging
import uuid
from typing import Any

import redis
from django.conf import settings
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler
from redis.exceptions import LockError, RedisError

logger = logging.getLogger(__name__)

LOCK_NAME = "ops:beat"
LOCK_TIMEOUT = 15
"""Seconds that the right to start tasks outlives a beat that was killed. It is renewed at each tick."""
POLL_INTERVAL = 5.0
"""Seconds between two looks of a beat that stands by; that is also how far beat's own ticks are apart at most."""
SOCKET_TIMEOUT = 5.0


class LeaderLock:
    """The right to start tasks, which one beat of a broker has at a time: all others stand by."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.token = uuid.uuid4().hex
        self.lock = self.connect().lock(LOCK_NAME, timeout=LOCK_TIMEOUT)

    def connect(self) -> "redis.Redis":
        return redis.Redis.from_url(
            self.url, socket_timeout=SOCKET_TIMEOUT, socket_connect_timeout=SOCKET_TIMEOUT, decode_responses=True
        )

    def acquire(self) -> bool:
        """Take or renew it. Without Redis nobody has it, and tasks could not be sent either."""
        try:
            if self.lock.owned():
                return bool(self.lock.reacquire())
            return bool(self.lock.acquire(blocking=False, token=self.token))
        except LockError:  # it ran out between the two questions
            return False
        except RedisError as error:
            logger.warning("Redis can not be asked who starts the tasks: %s", type(error).__name__)
            return False

    def release(self) -> None:
        """Let the next begin at once. The signal to stop may have come amid a question: its connection is spent."""
        with contextlib.suppress(RedisError), self.connect() as client:
            if client.get(LOCK_NAME) == self.token:
                client.delete(LOCK_NAME)


class Scheduler(DatabaseScheduler):
    """django-celery-beat's scheduler, which makes up for what fell into a time when it did not run.

    Of several, on one machine or many, one starts the tasks.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.leader_lock = LeaderLock(settings.REDIS_URL)
        self.is_standby = True
        self.is_closed = False
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        if self.is_closed:
            # The handler of SIGTERM raises this itself; in the middle of a destructor Python drops it.
            raise SystemExit
        if not self.leader_lock.acquire():
            if not self.is_standby:
                logger.warning("Another beat starts the tasks now; this one stands by.")
            self.is_standby = True
            return POLL_INTERVAL
        if self.is_standby:
            self.is_standby = False
            logger.info("This beat starts the tasks.")
            self.reload_schedule()
        return min(POLL_INTERVAL, float(super().tick(*args, **kwargs)))

    def reload_schedule(self) -> None:
        """Forget what this beat believes about last runs: another one has started tasks since."""
        self._dirty.clear()
        self._heap = None
        self._initial_read = True

    def close(self) -> None:
        """Called by the handler of SIGTERM, too, amid whatever was under way.

        An error here would be taken for one of the task that was being sent, and beat would go on.
        """
        self.is_closed = True
        try:
            super().close()
        except Exception:
            logger.exception("Beat could not keep what it knows of its last starts.")
        self.leader_lock.release()

    def enabled_models_qs(self) -> Any:
        """All of them. The original leaves out what is hours away on the clock, and with it what is overdue since then:

        a machine that sleeps at night would start its nightly backup not in the morning but around the next midnight.
        """
        return PeriodicTask.objects.enabled()

    def install_default_entries(self, data: object) -> None:
        """None: Redis lets results expire by itself, and the list holds nothing that nobody asked for."""
