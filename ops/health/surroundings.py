"""What is beside the database: the broker, a worker, room for backups, and whether the site takes writes."""

import datetime as dt
import shutil
from pathlib import Path

import redis
from celery import Celery
from django.utils.module_loading import import_string
from redis.backoff import NoBackoff
from redis.retry import Retry

from ops.health.results import CheckResult, Status
from ops.maintenance import sign_from_settings

SOCKET_TIMEOUT = 1.0
WORKER_TIMEOUT = 0.7
"""Seconds a worker has to answer a ping. The first answer ends the wait."""
LEAST_FREE = 1 << 30
"""Bytes. Below it a backup is likely to fail for want of room."""


def ask_redis(url: str) -> CheckResult:
    """Ping the Redis at `url` once. Raises redis.RedisError."""
    timeouts = {"socket_timeout": SOCKET_TIMEOUT, "socket_connect_timeout": SOCKET_TIMEOUT}
    with redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **timeouts) as client:
        client.ping()
    return CheckResult()


def ask_worker(app_path: str, redis_url: str) -> CheckResult:
    """Whether any Celery worker of the app at the dotted `app_path` answers. Raises what the broker raises.

    The broker is asked first: Celery itself would try to reach it for much longer than anybody waits here.
    """
    ask_redis(redis_url)
    app: Celery = import_string(app_path)
    if app.control.ping(timeout=WORKER_TIMEOUT, limit=1):
        return CheckResult()
    return CheckResult(status=Status.DEGRADED, error="NoWorker", detail="No Celery worker answered.")


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
