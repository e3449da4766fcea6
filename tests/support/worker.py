"""The project's Celery app with tasks of the tests. Used as ``celery -A tests.support.worker worker``."""

import os
from typing import Any

import django
from celery.signals import worker_init

from homerack.celery import app

django.setup()

from django.db import connection  # noqa: E402  # the settings come first


@app.task
def query(sql: str) -> Any:
    """The process that answers, its backend, and the first column of the first row."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        answer = cursor.fetchone()[0]
        cursor.execute("SELECT pg_backend_pid()")
        return os.getpid(), cursor.fetchone()[0], str(answer)


@app.task
def look_at_pool() -> Any:
    return connection.pool_status()  # type: ignore[attr-defined]


@worker_init.connect
def use_the_database_before_forking(**_kwargs: object) -> None:
    query("SELECT 1")
