"""What is beside the database: broker, worker, schedules, room for backups, and whether the site takes writes."""

import datetime as dt
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import redis
from celery import Celery
from django.db import connections
from django.utils.module_loading import import_string
from redis.backoff import NoBackoff
from redis.retry import Retry

from ops.health.database import with_health_deadline
from ops.health.results import CheckResult, Status
from ops.maintenance import mode_from_settings
from ops.schedules import timetable

SOCKET_TIMEOUT = 1.0
ANSWER_TIMEOUT = 0.7
"""Seconds that a worker or beat has to answer. The first right answer ends the wait."""
BEAT = "celerybeat@"
"""How beat's name begins; workers are called otherwise."""
PONG = {"ok": "pong"}
PERFORM = "ops.tasks.execute_run"
"""The task that does what pages queue."""
LEAST_FREE = 1 << 30
"""Bytes. Below it a backup is likely to fail for want of room."""


def ping_redis(url: str) -> CheckResult:
    """Ping the Redis at `url` once. Raises redis.RedisError."""
    timeouts = {"socket_timeout": SOCKET_TIMEOUT, "socket_connect_timeout": SOCKET_TIMEOUT}
    with redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **timeouts) as client:
        client.ping()
    return CheckResult()


def ping_worker(app_path: str, redis_url: str) -> CheckResult:
    """Whether a Celery worker takes tasks from the queue that runs are sent to. Raises what the broker raises.

    `app_path` is the dotted path of the Celery app. Beat answers control commands, too, but has no queues, and another
    worker may listen to other queues: the first answer proves nothing, the first right one does.
    """
    app: Celery = import_string(app_path)
    queue = app.amqp.router.route({}, PERFORM)["queue"].name

    def takes_it(answer: Any) -> bool:
        return isinstance(answer, list) and any(known["name"] == queue for known in answer)

    if _is_answered(app, redis_url, "active_queues", takes_it, pattern=f"^(?!{BEAT})"):
        return CheckResult()
    detail = f"No Celery worker answered that takes tasks from the queue {queue!r}."
    return CheckResult(status=Status.DEGRADED, error="NoWorker", detail=detail)


def ping_beat(app_path: str, redis_url: str) -> CheckResult:
    """Whether Celery's beat answers, which it does while it ticks. Raises what the broker raises.

    It answers where the setting ``CELERY_BEAT_ENABLE_REMOTE_CONTROL`` is on, as of Celery 5.7.
    """
    app: Celery = import_string(app_path)
    if _is_answered(app, redis_url, "ping", lambda answer: answer == PONG, pattern=f"^{BEAT}"):
        return CheckResult()
    detail = "Celery's beat did not answer: no schedule is started. Start it: celery -A … beat"
    return CheckResult(status=Status.DEGRADED, error="NoBeat", detail=detail)


class _Answered(Exception):
    """The answer that ends the wait."""


def _is_answered(app: Celery, redis_url: str, command: str, is_right: Callable[[Any], bool], *, pattern: str) -> bool:
    """Whether one of the nodes whose names match `pattern` gives the right answer to a control command.

    The broker is asked first: Celery itself would try to reach it for much longer than anybody waits here. Celery's
    own ``limit`` would end the wait at the first answer, right or wrong, and even at a late one to an earlier question.
    """

    def hear(reply: Mapping[str, Any]) -> None:
        if any(map(is_right, reply.values())):
            raise _Answered

    ping_redis(redis_url)
    options = {"reply": True, "timeout": ANSWER_TIMEOUT, "callback": hear, "pattern": pattern, "matcher": "pcre"}
    try:
        app.control.broadcast(command, **options)
    except _Answered:
        return True
    return False


def check_schedules(alias: str) -> CheckResult:
    """Whether everything that was due has been started. Raises Django's database errors."""
    with with_health_deadline(connections[alias]):
        missed = timetable.find_missed(alias)
    if not missed:
        return CheckResult()
    name, due = missed[0]
    others = f" ({len(missed)} are late)" if missed[1:] else ""
    detail = f"{name!r} was due at {timetable.format_due(due)} and was not started{others}. Is Celery's beat running?"
    return CheckResult(status=Status.DEGRADED, error="MissedSchedules", detail=detail)


def check_disk(folder: Path) -> CheckResult:
    """Whether there is room where backups are (or will be) kept."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free >= LEAST_FREE:
        return CheckResult()
    detail = f"{free / 1e6:.0f} MB are free in {existing}."
    return CheckResult(status=Status.DEGRADED, error="DiskNearlyFull", detail=detail)


def check_maintenance(alias: str) -> CheckResult:
    """Whether an operation on the database `alias` blocks writes."""
    state = mode_from_settings(alias).read()
    if state is None:
        return CheckResult()
    detail = f"{state.reason} Since {state.since.astimezone(dt.UTC):%H:%M:%S} UTC writes are answered with 503."
    return CheckResult(status=Status.MAINTENANCE, error="Maintenance", detail=detail)
