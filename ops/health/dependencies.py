"""Checks of what the site needs besides the database: Redis, worker, beat, schedules, disk space, operations."""

import datetime as dt
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.utils.module_loading import import_string

from ops.databases.postgres import sequences
from ops.health.database import explain_no_session, with_health_deadline
from ops.health.results import CheckResult, Status
from ops.maintenance import mode_from_settings
from ops.schedules import timetable
from ops.utils.formatting import format_datetime
from ops.utils.redis_client import redis_client

if TYPE_CHECKING:
    # 10 MB and 0.2 s, which the commands do not need.
    from celery import Celery

SOCKET_TIMEOUT = 1.0
ANSWER_TIMEOUT = 0.7
"""Seconds that a worker has to answer. The first right answer ends the wait."""
EXECUTE_RUN = "ops.tasks.execute_run"
"""The task that executes queued runs."""
LEAST_FREE = 1 << 30
"""Bytes. With less, a backup is likely to fail because the disk is full."""


def ping_redis(url: str) -> CheckResult:
    """Ping the Redis at `url` once. Raises redis.RedisError."""
    with redis_client(url, timeout=SOCKET_TIMEOUT) as client:
        client.ping()
    return CheckResult()


def ping_worker(app_path: str, redis_url: str) -> CheckResult:
    """Whether a Celery worker takes tasks from the queue that runs are sent to. Raises what the broker raises.

    `app_path` is the dotted path of the Celery app. Another worker may consume other queues: so one answer is not
    enough, it has to be a right one.
    """
    app: Celery = import_string(app_path)
    queue = app.amqp.router.route({}, EXECUTE_RUN)["queue"].name

    def consumes_queue(reply: Any) -> bool:
        return isinstance(reply, list) and any(consumed["name"] == queue for consumed in reply)

    if _is_answered(app, redis_url, "active_queues", consumes_queue):
        return CheckResult()
    detail = f"No Celery worker answered that takes tasks from the queue {queue!r}."
    return CheckResult(status=Status.DEGRADED, error="NoWorker", detail=detail)


def count_connected_nodes(redis_url: str) -> int | None:
    """How many connections wait for control commands: one or two for each worker.

    A frozen worker is still connected, a dead one is not. None where Redis keeps its list of clients to itself. Raises
    other errors of Redis.
    """
    from redis import ResponseError  # noqa: PLC0415

    with redis_client(redis_url, timeout=SOCKET_TIMEOUT) as client:
        try:
            clients = client.client_list()
        except ResponseError:
            return None
    return sum(int(each.get("psub", 0)) > 0 for each in clients)


def check_beat(redis_url: str) -> CheckResult:
    """Whether a beat starts tasks: it renews its lock at each tick. Raises redis.RedisError.

    A ping of Celery would not do: after a failover of Redis beat may wait for commands of the former leader, and starts
    tasks nevertheless.
    """
    with redis_client(redis_url, timeout=SOCKET_TIMEOUT) as client:
        if client.exists(timetable.LEADER_LOCK):
            return CheckResult()
    detail = "Celery's beat does not run or is frozen, so no schedule starts. Start it with: celery -A … beat"
    return CheckResult(status=Status.DEGRADED, error="NoBeat", detail=detail)


class _Answered(Exception):
    """The right reply came, which ends the wait."""


def _is_answered(app: "Celery", redis_url: str, command: str, is_right: Callable[[Any], bool]) -> bool:
    """Whether a worker gives the right reply to a control command.

    The broker is pinged first: Celery itself would try to reach it for much longer than a probe waits. Celery's own
    ``limit`` would end the wait at the first reply, right or wrong, and even at a late one to an earlier command.
    """

    def receive(replies: Mapping[str, Any]) -> None:
        if any(map(is_right, replies.values())):
            raise _Answered

    ping_redis(redis_url)
    try:
        app.control.broadcast(command, reply=True, timeout=ANSWER_TIMEOUT, callback=receive)
    except _Answered:
        return True
    return False


def check_operations(alias: str) -> CheckResult:
    """Whether backups, restores and migrations can connect to the PostgreSQL server of the database `alias`."""
    sentence, hint = explain_no_session(alias)
    if not sentence:
        return CheckResult()
    return CheckResult(status=Status.DEGRADED, error="NoSession", detail=f"{sentence} {hint}".strip())


def check_sequences(alias: str) -> CheckResult:
    """Whether new rows of a PostgreSQL database get numbers that are free. Raises Django's database errors."""
    connection = connections[alias]
    with with_health_deadline(connection), connection.cursor() as cursor:
        problems = sequences.find_problems(cursor)
    if not problems:
        return CheckResult()
    others = f" ({len(problems)} sequences are wrong)" if problems[1:] else ""
    return CheckResult(status=Status.DEGRADED, error="SequenceProblem", detail=f"{problems[0]}{others}")


def check_schedules(alias: str) -> CheckResult:
    """Whether every schedule that was due has been started. Raises Django's database errors."""
    with with_health_deadline(connections[alias]):
        missed = timetable.find_missed(alias)
    if not missed:
        return CheckResult()
    name, due = missed[0]
    others = f" ({len(missed)} are late)" if missed[1:] else ""
    detail = f"{name!r} was due at {format_datetime(due)} and was not started{others}. Is Celery's beat running?"
    return CheckResult(status=Status.DEGRADED, error="MissedSchedules", detail=detail)


def check_disk(folder: Path) -> CheckResult:
    """Whether there is space where backups are (or will be) stored."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free >= LEAST_FREE:
        return CheckResult()
    detail = f"{free / 1e6:.0f} MB is free in {existing}."
    return CheckResult(status=Status.DEGRADED, error="DiskNearlyFull", detail=detail)


def check_maintenance(alias: str) -> CheckResult:
    """Whether an operation on the database `alias` blocks writes."""
    state = mode_from_settings(alias).read()
    if state is None:
        return CheckResult()
    detail = f"{state.reason} Since {state.since.astimezone(dt.UTC):%H:%M:%S} UTC writes are answered with 503."
    return CheckResult(status=Status.MAINTENANCE, error="Maintenance", detail=detail)
