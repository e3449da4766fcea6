"""``celery beat`` with the schedules of the database: the setting ``CELERY_BEAT_SCHEDULER = "ops.beat:Scheduler"``.

Needs django-celery-beat, and only beat itself imports it.
"""

import contextlib
import logging
from typing import Any

import redis
from django.conf import settings
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler
from redis.exceptions import LockError, RedisError

logger = logging.getLogger(__name__)

LEASE = 15
"""Seconds that the right to start tasks outlives a beat that was killed. It is renewed at each tick."""
LOOK = 5.0
"""Seconds between two looks of a beat that stands by; that is also how far beat's own ticks are apart at most."""
SOCKET_TIMEOUT = 5.0


class Lease:
    """The right to start tasks, which one beat of a broker has at a time: all others stand by."""

    def __init__(self, url: str) -> None:
        client = redis.Redis.from_url(url, socket_timeout=SOCKET_TIMEOUT, socket_connect_timeout=SOCKET_TIMEOUT)
        self.lock = client.lock("ops:beat", timeout=LEASE)

    def hold(self) -> bool:
        """Take or renew it. Without Redis nobody has it, and tasks could not be sent either."""
        try:
            if self.lock.owned():
                return bool(self.lock.reacquire())
            return bool(self.lock.acquire(blocking=False))
        except LockError:  # it ran out between the two questions
            return False
        except RedisError as error:
            logger.warning("Redis can not be asked who starts the tasks: %s", type(error).__name__)
            return False

    def give_back(self) -> None:
        with contextlib.suppress(LockError, RedisError):
            self.lock.release()


class Scheduler(DatabaseScheduler):
    """django-celery-beat's scheduler, which makes up for what fell into a time when it did not run.

    Of several, on one machine or many, one starts the tasks.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.lease = Lease(settings.REDIS_URL)
        self.stands_by = True
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        if not self.lease.hold():
            if not self.stands_by:
                logger.warning("Another beat starts the tasks now; this one stands by.")
            self.stands_by = True
            return LOOK
        if self.stands_by:
            self.stands_by = False
            logger.info("This beat starts the tasks.")
            self.read_anew()
        return min(LOOK, float(super().tick(*args, **kwargs)))

    def read_anew(self) -> None:
        """Forget what this beat believes about last runs: another one has started tasks since."""
        self._dirty.clear()
        self._heap = None
        self._initial_read = True

    def close(self) -> None:
        super().close()
        self.lease.give_back()

    def enabled_models_qs(self) -> Any:
        """All of them. The original leaves out what is hours away on the clock, and with it what is overdue since then:

        a machine that sleeps at night would start its nightly backup not in the morning but around the next midnight.
        """
        return PeriodicTask.objects.enabled()

    def install_default_entries(self, data: object) -> None:
        """None: Redis lets results expire by itself, and the list holds nothing that nobody asked for."""
