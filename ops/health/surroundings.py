"""What is beside the database: broker, worker, schedules, room for backups, and whether the site takes writes."""

import datetime as dt
import shutil
from pathlib import Path

import redis
from celery import Celery
from django.db import connections
from django.utils.module_loading import import_string
from redis.backoff import NoBackoff
from redis.retry import Retry

from ops import schedules
from ops.health.database import hurried
from ops.health.results import CheckResult, Status
from ops.maintenance import sign_from_settings

SOCKET_TIMEOUT = 1.0
PING_TIMEOUT = 0.7
"""Seconds a worker or beat has to answer a ping. The first answer ends the wait."""
BEAT = "celerybeat@"
"""How beat's name begins; workers are called otherwise."""
LEAST_FREE = 1 << 30
"""Bytes. Below it a backup is likely to fail for want of room."""


def ask_redis(url: str) -> CheckResult:
    """Ping the Redis at `url` once. Raises redis.RedisError."""
    timeouts = {"socket_timeout": SOCKET_TIMEOUT, "socket_connect_timeout": SOCKET_TIMEOUT}
    with redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **timeouts) as client:
        client.ping()
    return CheckResult()


def ask_worker(app_path: str, redis_url: str) -> CheckResult:
    """Whether any Celery worker of the app at the dotted `app_path` answers. Raises what the broker raises."""
    if _ping(app_path, redis_url, pattern=f"^(?!{BEAT})"):
        return CheckResult()
    return CheckResult(status=Status.DEGRADED, error="NoWorker", detail="No Celery worker answered.")


def ask_beat(app_path: str, redis_url: str) -> CheckResult:
    """Whether Celery's beat answers, which it does while it ticks. Raises what the broker raises.

    It answers where the setting ``CELERY_BEAT_ENABLE_REMOTE_CONTROL`` is on, as of Celery 5.7.
    """
    if _ping(app_path, redis_url, pattern=f"^{BEAT}"):
        return CheckResult()
    detail = "Celery's beat did not answer: no schedule is started. Start it: celery -A … beat"
    return CheckResult(status=Status.DEGRADED, error="NoBeat", detail=detail)


def _ping(app_path: str, redis_url: str, *, pattern: str) -> bool:
    """Whether one of the nodes whose names match `pattern` answers.

    The broker is asked first: Celery itself would try to reach it for much longer than anybody waits here.
    """
    ask_redis(redis_url)
    app: Celery = import_string(app_path)
    return bool(app.control.ping(timeout=PING_TIMEOUT, limit=1, pattern=pattern, matcher="pcre"))


def look_at_schedules(alias: str) -> CheckResult:
    """Whether everything that was due has been started. Raises Django's database errors."""
    with hurried(connections[alias]):
        missed = schedules.find_missed(alias)
    if not missed:
        return CheckResult()
    name, due = missed[0]
    others = f" ({len(missed)} are late)" if missed[1:] else ""
    detail = f"{name!r} was due at {schedules.in_words(due)} and was not started{others}. Is Celery's beat running?"
    return CheckResult(status=Status.DEGRADED, error="MissedSchedules", detail=detail)


def look_at_disk(folder: Path) -> CheckResult:
    """Whether there is room where backups are (or will be) kept."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free >= LEAST_FREE:
        return CheckResult()
    detail = f"{free / 1e6:.0f} MB are free in {existing}."
    return CheckResult(status=Status.DEGRADED, error="DiskNearlyFull", detail=detail)


def look_for_maintenance(alias: str) -> CheckResult:
    """Whether an operation on the database `alias` holds back writes."""
    notice = sign_from_settings(alias).read()
    if notice is None:
        return CheckResult()
    detail = f"{notice.reason} Since {notice.since.astimezone(dt.UTC):%H:%M:%S} UTC writes are answered with 503."
    return CheckResult(status=Status.MAINTENANCE, error="Maintenance", detail=detail)
